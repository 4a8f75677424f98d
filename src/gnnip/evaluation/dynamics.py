"""Molecular dynamics of trained potentials and of references, from the same starts.

A replica is a start (a frame of the data set) run with a seed of its own; every start is run
`repeats` times. Potentials share starts, not seeds: their trajectories are independent samples, and
the reference's first repeats against its last ones are the noise floor of every comparison
(`gnnip.evaluation.dynamics_comparison`). A replica that fails is a result, and is not run again.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gnnip.errors import ConfigError, DataError
from gnnip.evaluation.selection import frames_with, spread_evenly
from gnnip.files import atomic_path
from gnnip.models.hyperparameters import read_options, require

if TYPE_CHECKING:
    from gnnip.datasets.arrays import FrameArrays
    from gnnip.md import Criteria, State, Structure, Trajectory

#: name of the reference among the potentials
REFERENCE = "reference"
#: of the tables that steps about dynamics write
COLUMNS = ("potential", "record", "name", "replica", "x", "value", "text")


@dataclass(frozen=True)
class Limits:
    """When a replica counts as failed; null switches a limit off.

    temperature_factor : kinetic temperature over the thermostat's.
    distance_factor : distance of two atoms over the sum of their covalent radii.
    displacement : Angstrom that an atom may move in one step.
    energy_sigma : standard deviations of the potential energy (the sum of the data set's terms) of
        the frames that the starts are selected from, about their mean; only frames with the
        composition of the start count. Off unless stated.
    rdf_threshold : Angstrom, integral of |g - g_ref| over the distance for any pair of elements, g
        over a window of time, g_ref over the frames that the starts are selected from. Off unless
        stated.
    rdf_window, rdf_sample : fs; length of a window and time between two samples in it.
    rdf_range, rdf_bins : Angstrom and bins of g.
    equilibration : fs, before which energies and radial distributions are not judged.
    """

    temperature_factor: float | None = 3.0
    distance_factor: float | None = 0.6
    displacement: float | None = 1.0
    energy_sigma: float | None = None
    rdf_threshold: float | None = None
    rdf_window: float = 1000.0
    rdf_sample: float = 10.0
    rdf_range: float = 6.0
    rdf_bins: int = 60
    equilibration: float = 0.0

    def criteria(
        self, arrays: FrameArrays, starts: np.ndarray, selected: np.ndarray, copies: int = 1
    ) -> Criteria:
        """Return the criteria of `gnnip.md` for replicas that start from the frames `starts`, each
        repeated to that many `copies`, whose energies are independent of each other.

        Raises DataError when fewer than two of the `selected` frames have a start's composition.
        """
        from gnnip.md import Criteria, RdfCriterion, mean_radial_distribution

        energies = rdf = None
        if self.energy_sigma is not None:
            total = np.sum([arrays.energies[term] for term in arrays.terms], axis=0)
            one = [_mean_and_spread(total[_alike(arrays, f, selected)], f) for f in starts]
            energies = [(copies * mean, copies**0.5 * spread) for mean, spread in one]
        if self.rdf_threshold is not None:
            structures = [arrays.structure(f) for f in spread_evenly(selected, 200)]
            g = mean_radial_distribution(structures, r_max=self.rdf_range, bins=self.rdf_bins)
            rdf = RdfCriterion(g, self.rdf_threshold, self.rdf_window, self.rdf_sample)
        return Criteria(
            temperature_factor=self.temperature_factor,
            distance_factor=self.distance_factor,
            energy_sigma=self.energy_sigma,
            energy_reference=energies,
            displacement=self.displacement,
            rdf=rdf,
            equilibration_fs=self.equilibration,
        )


def _alike(arrays: FrameArrays, frame: int, selected: np.ndarray) -> np.ndarray:
    """Return those of the `selected` frames that have the elements of `frame`."""
    own = np.sort(arrays.numbers[arrays.atom_slice(frame)])
    return np.array(
        [
            f
            for f in selected
            if np.array_equal(np.sort(arrays.numbers[arrays.atom_slice(int(f))]), own)
        ],
        dtype=np.int64,
    )


def _mean_and_spread(energies: np.ndarray, frame: int) -> tuple[float, float]:
    spread = float(np.std(energies, ddof=1)) if len(energies) > 1 else 0.0
    if not spread > 0:
        raise DataError(
            f"The energies of the frames like frame {frame} have no spread: select more frames, or "
            "leave energy_sigma out."
        )
    return float(np.mean(energies)), spread


def repeated(structure: Structure, times: Sequence[int]) -> Structure:
    """Return a periodic structure repeated `times` (3) along its cell vectors, copy by copy."""
    positions, numbers, cell, pbc = structure
    if tuple(times) == (1, 1, 1):
        return structure
    if cell is None or pbc is None or not np.all(np.asarray(pbc) | (np.asarray(times) == 1)):
        raise ConfigError(
            f"The start is not periodic along every direction that supercell = {list(times)} "
            "repeats; leave supercell out."
        )
    shifts = np.array(list(product(*(range(n) for n in times)))) @ cell
    copies = (shifts[:, None, :] + positions[None]).reshape(-1, 3)
    return copies, np.tile(numbers, len(shifts)), cell * np.array(times)[:, None], pbc


@dataclass(frozen=True)
class Motion:
    """How replicas are moved.

    temperature : K, of the thermostat and of the velocities at the start.
    select : values of metadata columns that a start must have, e.g. {n_molecules: 32}.
    starts, repeats : frames to start from, drawn evenly from those selected, and replicas of each.
    supercell : times that a start is repeated along its three cell vectors; the copies get
        velocities of their own.
    duration, time_step : fs.
    thermostat : "csvr", "langevin" or "none" (constant energy).
    relaxation : fs; of Langevin dynamics the inverse friction.
    record_every, frame_every : fs between rows of the time series and between frames.
    seed : of velocities and thermostat, with the potential's name and the replica's number.
    criteria : when a replica counts as failed, fields of `Limits`.
    """

    temperature: float
    select: dict[str, Any] = field(default_factory=dict)
    starts: int = 2
    repeats: int = 2
    supercell: tuple[int, ...] = (1, 1, 1)
    duration: float = 1000.0
    time_step: float = 0.5
    thermostat: Literal["csvr", "langevin", "none"] = "csvr"
    relaxation: float = 100.0
    record_every: float = 2.0
    frame_every: float = 2.0
    seed: int = 1
    criteria: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        """Raise ConfigError for values that cannot be."""
        for name in ("starts", "repeats"):
            require(getattr(self, name) >= 1, f"Motion: {name} must be at least 1.")
        require(
            len(self.supercell) == 3 and min(self.supercell) >= 1,
            f"Motion: supercell is {list(self.supercell)}; give three numbers, at least 1 each.",
        )
        for name in ("duration", "time_step", "relaxation", "record_every", "frame_every"):
            require(getattr(self, name) > 0, f"Motion: {name} must be greater than zero (fs).")
        require(self.temperature >= 0, "Motion: temperature must not be negative (K).")

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Motion:
        """Build from plain values; ConfigError names an unknown key and the nearest valid one."""
        return read_options(cls, values, "Motion")

    def steps(self, interval: float) -> int:
        """Return how many steps an interval (fs) is, at least one."""
        return max(1, round(interval / self.time_step))

    def frames(self, arrays: FrameArrays) -> np.ndarray:
        """Return the frames to start from; DataError when too few are there."""
        chosen = frames_with(arrays, self.select)
        if len(chosen) < self.starts:
            raise DataError(
                f"Only {len(chosen)} frames of the data set have {self.select}, {self.starts} are "
                "needed to start from."
            )
        return spread_evenly(chosen, self.starts)

    def limits(self, arrays: FrameArrays) -> Criteria:
        """Return the criteria of the replicas, in their order."""
        starts = np.repeat(self.frames(arrays), self.repeats)
        selected, copies = frames_with(arrays, self.select), math.prod(self.supercell)
        return self.criteria.criteria(arrays, starts, selected, copies)

    def state(self, arrays: FrameArrays, name: str, device: str = "cpu") -> State:
        """Return the replicas of the potential `name` at their start, start by start."""
        from gnnip.md import make_state

        frames = np.repeat(self.frames(arrays), self.repeats)
        digest = hashlib.sha256(f"{self.seed}/{name}".encode()).digest()
        first = int.from_bytes(digest[:6], "big")
        starts = [repeated(arrays.structure(f), self.supercell) for f in frames]
        positions, numbers, cells, pbc = (list(parts) for parts in zip(*starts, strict=True))
        periodic = all(cell is not None for cell in cells)
        return make_state(
            positions,
            numbers,
            temperature=self.temperature,
            seeds=[first + replica for replica in range(len(frames))],
            cells=cells if periodic else None,
            pbc=pbc if periodic else None,
            device=device,
        )

    def integrator(self) -> Any:
        """Return the integrator of `gnnip.md`."""
        from gnnip import md

        if self.thermostat == "csvr":
            return md.CSVR(self.time_step, self.relaxation)
        if self.thermostat == "langevin":
            return md.Langevin(self.time_step, 1.0 / self.relaxation)
        return md.VelocityVerlet(self.time_step)


def run_dynamics(
    dataset: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    name: str,
    motion: Mapping[str, Any],
    model: str | os.PathLike[str] | None = None,
    reference: str | None = None,
    failures: str | os.PathLike[str] | None = None,
    code: str = "",
    device: str = "cpu",
    threads: int = 1,
    progress: Callable[[str], None] = print,
) -> list[Trajectory]:
    """Run the replicas of one potential and write their trajectories to `output` (HDF5).

    The file also says how they were moved: its facts (`gnnip.md.read_facts`) are motion, potential,
    and the versions of what moved them.

    Parameters
    ----------
    name : of the potential, which its seeds depend on.
    motion : fields of `Motion`.
    model, reference : a trained potential, or the text that `gnnip.reference.make_calculator`
        understands: one of the two.
    failures : folder for the last good and the first bad frame of every replica that failed, one
        file of extended XYZ each, named by `failure_file`.
    code : hash of the code that moves the replicas; another one starts anew.
    threads : of torch.

    A run that was killed continues from the checkpoints beside `output`, which are kept under a key
    of everything that decides the run. The electron, say, that a reference remembers from step to
    step is not in a checkpoint: a reference that continues agrees to its accuracy, not to the bit.
    """
    import torch

    from gnnip.datasets.store import load_arrays
    from gnnip.files import sha256
    from gnnip.md import Simulation, add_facts, write_failure
    from gnnip.models.contract import choose_device, model_files

    if (model is None) == (reference is None):
        raise ConfigError("Dynamics need either a trained model or the name of a reference.")
    torch.set_num_threads(threads)
    plan = Motion.read(motion)
    place = str(choose_device(device)) if model is not None else "cpu"
    arrays = load_arrays(dataset)
    state = plan.state(arrays, name, place)
    identity = {
        "motion": asdict(plan),
        "name": name,
        "potential": reference if model is None else sha256(model_files(model)[0]),
        "code": code,
    }
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]
    output = Path(output)
    folder = output.parent / f"run-{key}"
    for stale in output.parent.glob("run-*"):
        if stale != folder:
            shutil.rmtree(stale)
    n_steps = plan.steps(plan.duration)
    simulation = Simulation(
        load_potential(model, reference, place),
        state,
        plan.integrator(),
        criteria=plan.limits(arrays),
        record_every=plan.steps(plan.record_every),
        frame_every=plan.steps(plan.frame_every),
        folder=folder,
        checkpoint_every=max(1, n_steps // 20),
    )
    if simulation.step:
        progress(f"continues at step {simulation.step} of {n_steps}")
    result = simulation.run(n_steps, progress=progress)
    assert result.path is not None
    if failures is not None:
        Path(failures).mkdir(parents=True, exist_ok=True)
        for replica, failure in result.failures.items():
            write_failure(failure, Path(failures) / failure_file(replica))
    with atomic_path(output) as temporary:
        shutil.copyfile(result.path, temporary)
        add_facts(temporary, {"motion": asdict(plan), **_origin(model, reference)})
    shutil.rmtree(folder)
    return result.trajectories


def failure_file(replica: int) -> str:
    """Return the name of the file with the last frames of a replica that failed."""
    return f"replica-{replica:04d}.xyz"


def _origin(model: str | os.PathLike[str] | None, reference: str | None) -> dict[str, Any]:
    """Return what moved the atoms, and the versions of it."""
    import platform
    from importlib import metadata

    import gnnip

    facts = {"gnnip": gnnip.__version__, "python": platform.python_version()}
    facts |= {name: metadata.version(name) for name in ("numpy", "torch")}
    if model is not None or reference is None:
        return facts | {"potential": "trained"}
    from gnnip.reference import origin

    return facts | {"potential": reference, **origin(reference)}


def motion_of_reference(
    motion: Mapping[str, Any], own: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the motion of the reference: that of the potentials but for what is its own."""
    return {**motion, **(own or {})}


def take_archived(
    name: str,
    output: str | os.PathLike[str],
    *,
    motion: Mapping[str, Any],
    own: Mapping[str, Any] | None = None,
    reference: str,
    registry: str | os.PathLike[str] | None = None,
) -> None:
    """Copy the registered trajectory `name` to `output`, as if `run_dynamics` had just made it.

    Its checksum must be the registered one, it must have been moved by `reference` at the
    temperature of `motion`, and whatever `own` states must be what it says of itself; all else
    (duration, time step, starts, ...) is what it is. DataError otherwise.
    """
    from gnnip.datasets.registry import check_archive
    from gnnip.md import read_facts

    archive = check_archive(name, registry, kind="trajectory")
    facts = read_facts(archive)
    has = {"reference": facts.get("potential"), **facts.get("motion", {})}
    wanted = asdict(Motion.read(motion_of_reference(motion, own)))
    wanted = {key: wanted[key] for key in ("temperature", *(own or {}))} | {"reference": reference}
    for key, value in wanted.items():
        # through JSON, as the file's own words came
        if json.loads(json.dumps(value)) != has.get(key):
            raise DataError(
                f"The trajectory '{name}' has {key} {has.get(key)!r}, the card states {value!r}: "
                f"change the card, or make it anew with sources={{{name}: generate}}."
            )
    with atomic_path(output) as temporary:
        shutil.copyfile(archive, temporary)


def register_trajectory(
    name: str,
    archive: str | os.PathLike[str],
    *,
    title: str,
    reference: str,
    licence: str,
    made: Mapping[str, Any],
    path: str | os.PathLike[str] | None = None,
) -> dict[str, Any]:
    """Add or replace the registry's entry of a trajectory of `run_dynamics`, and return it.

    The file, best packed by `gnnip.md.pack_trajectory`, lies beside the registry. Arguments are
    those of `gnnip.datasets.registry.register`; `made` is joined by what moved the atoms, and how,
    as the file itself records it. A card names it as `reference_archive`.

    Raises DataError for a file that is not in the registry's folder, is no trajectory, or does not
    say how it was moved.
    """
    from gnnip.datasets.registry import add_entry, check_place
    from gnnip.md import read_facts, read_trajectory

    check_place(archive, path)
    replicas, facts = read_trajectory(archive), read_facts(archive)
    if "motion" not in facts:
        raise DataError(
            f"{archive} does not say how its atoms were moved: register what run_dynamics wrote."
        )
    counts = {
        "kind": "trajectory",
        "n_replicas": len(replicas),
        "n_frames": sum(len(t.time_fs) for t in replicas),
        "n_atoms": sum(len(t.time_fs) * len(t.atomic_numbers) for t in replicas),
    }
    said = {"title": title, "reference": reference, "licence": licence, "made": made}
    return add_entry(name, archive, said, counts, facts, path)


def load_potential(
    model: str | os.PathLike[str] | None, reference: str | None, device: str = "cpu"
) -> Any:
    """Return what `gnnip.md.Simulation` moves atoms by."""
    if model is not None:
        from gnnip.models import load

        return load(model, device=device)
    from gnnip.reference import make_calculator

    assert reference is not None
    # what a reference remembers belongs to one trajectory
    return lambda replica: make_calculator(reference)
