"""What the dynamics of trained potentials and of their reference have in common, and what not.

`compare_dynamics` turns the trajectories that `gnnip.evaluation.dynamics` left into one tidy table:
survival, autopsies, temperature, conservation of energy, structure, vibrations, what the reference
says of frames along the way, and the time that a step takes.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gnnip.errors import GnnipError
from gnnip.evaluation.dynamics import (
    COLUMNS,
    REFERENCE,
    Motion,
    failure_file,
    load_potential,
    motion_of_reference,
)
from gnnip.evaluation.selection import frames_with, spread_evenly
from gnnip.models.hyperparameters import read_options, require

if TYPE_CHECKING:
    from gnnip.datasets.arrays import FrameArrays
    from gnnip.md import EnvironmentLibrary, Simulation, State, Structure, Trajectory

#: name of the reference compared with itself
NOISE_FLOOR = "noise_floor"
#: name of the data set's frames, where autopsies are compared with them
DATASET = "dataset"
_SERIES = ("temperature_k", "potential_energy_ev", "conserved_energy_ev")
#: rows of each time series of each replica that the table keeps
_SERIES_ROWS = 160


_CUTOFF = "Comparison: adf_cutoff must be greater than zero (Angstrom), for all or by pair."


def _numbers(text: str, count: int, option: str, example: str) -> list[int]:
    """Return the atomic numbers of elements joined by hyphens; ConfigError when they are none."""
    from ase.data import atomic_numbers

    symbols = text.split("-")
    known = len(symbols) == count and all(s in atomic_numbers for s in symbols)
    require(known, f"Comparison: {option} has '{text}', elements such as {example} are expected.")
    return [int(atomic_numbers[s]) for s in symbols]


@dataclass(frozen=True)
class Comparison:
    """What is measured on the trajectories.

    discard : fs at the start that no average is made of.
    r_max, bins : Angstrom and bins of the radial distributions.
    adf_cutoff : Angstrom, up to which two atoms are neighbours in the angular distributions; one
        for all, or one by pair of elements, {Ge-Se: 3.0}, where other pairs are no neighbours.
        Without it there are no angles.
    adf_triplets, adf_bins : end-centre-end, e.g. [Se-Ge-Se], all that occur when empty; and bins.
    max_frames : most frames of a replica that go into a radial or angular distribution.
    environment_frames : frames of the data set, drawn evenly, whose environments and shortest
        distances the failures are held against; 0 for none.
    snapshots : keep the last structure of the first replica of each potential that lived, and the
        first bad one of the first that failed.
    relabel : frames of each replica that the reference computes again; 0 for none.
    observables : values of the reference's `results` to keep of those frames, and their names.
    timed_steps, timing_repeats : steps of each potential in each turn of the clock, and turns;
        0 steps for no timing.
    time_reference : whether the reference is timed beside them, for which it must be installed.
    """

    discard: float = 100.0
    r_max: float = 8.0
    bins: int = 160
    adf_cutoff: dict[str, float] | float | None = None
    adf_triplets: tuple[str, ...] = ()
    adf_bins: int = 90
    max_frames: int = 200
    environment_frames: int = 200
    snapshots: bool = False
    relabel: int = 0
    observables: dict[str, str] = field(default_factory=dict)
    timed_steps: int = 10
    timing_repeats: int = 5
    time_reference: bool = True

    def __post_init__(self) -> None:
        """Raise ConfigError for pairs and triplets that are none."""
        for triplet in self.adf_triplets:
            _numbers(triplet, 3, "adf_triplets", "Se-Ge-Se")
        self.limits()

    def limits(self) -> float | dict[tuple[int, int], float] | None:
        """Return the cutoff of angles as `gnnip.md.angular_distribution` takes it."""
        if self.adf_cutoff is None or isinstance(self.adf_cutoff, float):
            require(self.adf_cutoff is None or self.adf_cutoff > 0, _CUTOFF)
            return self.adf_cutoff
        limits = {}
        for pair, cutoff in self.adf_cutoff.items():
            first, last = sorted(_numbers(pair, 2, "adf_cutoff", "Ge-Se"))
            require(isinstance(cutoff, int | float) and cutoff > 0, _CUTOFF)
            limits[first, last] = float(cutoff)
        require(bool(limits), _CUTOFF)
        return limits

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Comparison:
        """Build from plain values; ConfigError names an unknown key and the nearest valid one."""
        return read_options(cls, values, "Comparison")


def compare_dynamics(
    dataset: str | os.PathLike[str],
    trajectories: Mapping[str, str | os.PathLike[str]],
    *,
    motion: Mapping[str, Any],
    models: Mapping[str, str | os.PathLike[str]],
    reference: str | None = None,
    reference_motion: Mapping[str, Any] | None = None,
    comparison: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """Return one tidy table of what the replicas of all potentials did.

    Parameters
    ----------
    trajectories : files of `run_dynamics` by the name of the potential; the reference's, if it was
        run, has the name "reference". Without it the frames of the data set that the starts were
        selected from stand in for it.
    models : the trained potentials by the same names, to be timed and relabelled.
    reference_motion : what the reference's motion has of its own. What its file says of itself, as
        that of an archive does, comes first.
    comparison : fields of `Comparison`.

    Returns
    -------
    Columns potential, record, name, replica, x, value, text. By record:

    run : one number per replica; `name` ends in its unit, or is
        failed (1 or 0, `text` the reason), simulated_fs (until the failure or the end).
    autopsy : of each replica that failed, x the time (fs). kind (`text`: collapse, explosion,
        melting, non-finite or refused; value: the time in fs); of the pair closest in units of
        covalent radii, whose elements are the `text`, pair_distance_a, pair_ratio (over the sum of
        the radii) and pair_share (over the shortest distance of such a pair in frames of the data
        set); environment_distance, of the last good frame from those frames' environments, as
        `gnnip.md.EnvironmentLibrary` measures it, for the atom of the pair that is further away,
        whose element is the `text`; frames (`text`: the file with the last good and the first bad
        frame, from the folder of the step's dynamics).
    frame : atoms of a structure of a replica (see `Comparison.snapshots`), `name` the element, x
        the atom, `text` its place (Angstrom), wrapped into the cell, in whose middle lies the
        closest pair of a failure.
    closest : shortest distance (Angstrom) of each pair of elements in the first bad frame, and of
        the potential "dataset", where any replica failed, in frames of the data set.
    survival : share of replicas alive at time x (fs), with `survival_low` and `survival_high`.
    series : time series, x in fs.
    rdf : g(r) of the elements in `name`, x in Angstrom; for open systems the probability density of
        the distance, 1/Angstrom.  rdf_error : percent, as `gnnip.md.rdf_errors` defines it.
    adf : probability density of the angle at the middle of the three elements in `name`, 1/degree,
        x in degrees.  adf_error : percent, as `gnnip.md.adf_errors` defines it.
    profile : atoms of the element in `name` per Angstrom at the distance x (Angstrom) from the
        centre of mass; open systems only.  profile_error : percent of the atoms that lie elsewhere.
    vdos : vibrational density of states, 1/THz, x in THz.  vdos_error : percent, as
        `gnnip.md.vdos_error` defines it.
    relabel : what the reference says of frames along the trajectory, x in fs: force_rmse_ev_per_a
        and energy_error_ev of the potential, and the observables asked for; NaN and the reason
        where it says nothing.
    relabel_error : size of the difference between the mean observable on the paths and on the
        reference's, in the observable's unit.
    speed : seconds_per_step of one replica, measured in turn in one process on one core:
        `alone` and, for models, `batched` with all replicas; `text` is the processor.

    The potential "noise_floor" has the errors of the reference's own halves. The reference may have
    been moved for another time, by another step and from other starts than the potentials: spectra
    are then of pieces as long as the shortest run, everything else is averaged as it is.
    """
    from gnnip.datasets.store import load_arrays
    from gnnip.md import read_facts, read_trajectory

    plan, wanted = Motion.read(motion), Comparison.read(comparison or {})
    arrays = load_arrays(dataset)
    runs = {name: read_trajectory(path) for name, path in trajectories.items()}
    own = Motion.read(motion_of_reference(motion, reference_motion))
    if REFERENCE in runs:
        own = Motion.read(read_facts(trajectories[REFERENCE]).get("motion", asdict(own)))
    rows: list[dict[str, Any]] = []
    for name, replicas in runs.items():
        moved = own if name == REFERENCE else plan
        rows += _runs(name, replicas, moved, wanted)
        rows += _survival(name, replicas, moved)
        rows += _series(name, replicas)
    rows += _autopsies(runs, trajectories, arrays, wanted)
    if wanted.snapshots:
        for name, replicas in runs.items():
            rows += _snapshots(name, replicas)
    rows += _structure(runs, arrays, own, wanted)
    rows += _spectra(runs, own, wanted)
    if reference is not None and wanted.relabel:
        for name, replicas in runs.items():
            rows += _relabelled(name, replicas, models.get(name), reference, wanted)
        rows += _observable_errors(rows, own, wanted)
    if wanted.timed_steps:
        from gnnip.evaluation.timing import in_one_thread

        files = {name: os.fspath(path) for name, path in models.items()}
        beside = reference if wanted.time_reference else None
        arguments = (os.fspath(dataset), files, beside, asdict(plan), asdict(own))
        rows += in_one_thread(_time_steps, *arguments, wanted.timed_steps, wanted.timing_repeats)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _row(
    potential: str,
    record: str,
    name: str,
    value: float,
    *,
    replica: int | None = None,
    x: float | None = None,
    text: str = "",
) -> dict[str, Any]:
    return dict(zip(COLUMNS, (potential, record, name, replica, x, value, text), strict=True))


def _curve(
    potential: str,
    record: str,
    name: str,
    x: Iterable[float],
    values: Iterable[float],
    replica: int | None = None,
) -> list[dict[str, Any]]:
    pairs = zip(x, values, strict=True)
    return [
        _row(potential, record, name, float(f"{v:.6g}"), replica=replica, x=float(f"{u:.6g}"))
        for u, v in pairs
    ]


def _runs(
    name: str, replicas: Sequence[Trajectory], plan: Motion, wanted: Comparison
) -> list[dict[str, Any]]:
    rows = []
    for t in replicas:
        time = t.series["time_fs"]
        late = time >= wanted.discard
        failed = t.failure is not None
        values = {
            "n_atoms": float(len(t.atomic_numbers)),
            "target_temperature_k": plan.temperature,
            "simulated_fs": t.failure.time_fs if t.failure else plan.duration,
        }
        if late.any():
            values["temperature_mean_k"] = float(t.series["temperature_k"][late].mean())
        if late.sum() > 2:
            drift, fluctuation = _conservation(t, late)
            values["drift_mev_per_atom_ps"] = drift
            values["fluctuation_mev_per_atom"] = fluctuation
        rows += [_row(name, "run", key, v, replica=t.replica) for key, v in values.items()]
        reason = f"{t.failure.reason}: {t.failure.detail}" if t.failure else ""
        rows.append(_row(name, "run", "failed", float(failed), replica=t.replica, text=reason))
    return rows


def _conservation(t: Trajectory, late: np.ndarray) -> tuple[float, float]:
    """Return slope (meV/atom/ps) and scatter (meV/atom) of the conserved energy over time."""
    time = t.series["time_fs"][late] / 1000.0
    energy = 1000.0 * t.series["conserved_energy_ev"][late] / len(t.atomic_numbers)
    line = np.polyfit(time - time.mean(), energy - energy.mean(), 1)
    rest = energy - energy.mean() - np.polyval(line, time - time.mean())
    return float(line[0]), float(np.sqrt(np.mean(rest**2)))


def _survival(name: str, replicas: Sequence[Trajectory], plan: Motion) -> list[dict[str, Any]]:
    from gnnip.md import survival_curve

    failures = [t.failure for t in replicas]
    curve = survival_curve(
        [plan.duration if f is None else min(f.time_fs, plan.duration) for f in failures],
        [f is not None for f in failures],
    )
    return [
        row
        for key, values in (
            ("survival", curve.survival),
            ("survival_low", curve.lower),
            ("survival_high", curve.upper),
        )
        for row in _curve(name, "survival", key, curve.time_fs, values)
    ]


def _series(name: str, replicas: Sequence[Trajectory]) -> list[dict[str, Any]]:
    rows = []
    for t in replicas:
        time = t.series["time_fs"]
        kept = np.unique(np.linspace(0, len(time) - 1, min(len(time), _SERIES_ROWS)).astype(int))
        for key in _SERIES:
            rows += _curve(name, "series", key, time[kept], t.series[key][kept], t.replica)
    return rows


# --- autopsies ------------------------------------------------------------------------------------


def _autopsies(
    runs: Mapping[str, Sequence[Trajectory]],
    files: Mapping[str, str | os.PathLike[str]],
    arrays: FrameArrays,
    wanted: Comparison,
) -> list[dict[str, Any]]:
    """Say of every replica that failed how, where, and how far from the data set."""
    from gnnip.md import EnvironmentLibrary, shortest_distances

    if not any(t.failure for replicas in runs.values() for t in replicas):
        return []
    rows: list[dict[str, Any]] = []
    chosen = spread_evenly(np.arange(arrays.n_frames), wanted.environment_frames)
    known = [arrays.structure(f) for f in chosen] if wanted.environment_frames else []
    library = EnvironmentLibrary().fit(known) if len(known) > 1 else None
    shortest = shortest_distances(known)
    rows += [_row(DATASET, "closest", _pair(p), value) for p, value in shortest.items()]
    for name, replicas in runs.items():
        for t in replicas:
            if t.failure is not None:
                rows += _autopsy(name, t, library, shortest)
                folder = Path(files[name]).parent
                frames = Path("failures") / failure_file(t.replica)
                if (folder / frames).exists():
                    place: dict[str, Any] = {"replica": t.replica, "x": t.failure.time_fs}
                    text = str(Path(name) / frames)
                    rows.append(_row(name, "autopsy", "frames", math.nan, **place, text=text))
    return rows


def _autopsy(
    name: str,
    t: Trajectory,
    library: EnvironmentLibrary | None,
    shortest: Mapping[tuple[int, int], float],
) -> list[dict[str, Any]]:
    from gnnip.md import shortest_distances

    failure = t.failure
    assert failure is not None
    place: dict[str, Any] = {"replica": t.replica, "x": failure.time_fs}
    rows = [_row(name, "autopsy", "kind", failure.time_fs, **place, text=failure.kind)]
    if failure.pair_numbers is not None:
        low, high = sorted(failure.pair_numbers)
        share = failure.pair_distance / shortest.get((low, high), math.nan)
        for key, value in (
            ("pair_distance_a", failure.pair_distance),
            ("pair_ratio", failure.pair_ratio),
            ("pair_share", share),
        ):
            rows.append(_row(name, "autopsy", key, value, **place, text=_pair((low, high))))
    if library is not None and failure.last_good is not None:
        last = (failure.last_good.positions, t.atomic_numbers, t.cell, t.pbc)
        distance, atom = library.strangest(last, failure.pair)
        element = _symbol(t.atomic_numbers[atom])
        rows.append(_row(name, "autopsy", "environment_distance", distance, **place, text=element))
    bad = (failure.first_bad.positions, t.atomic_numbers, t.cell, t.pbc)
    return rows + [
        _row(name, "closest", _pair(pair), value, **place)
        for pair, value in shortest_distances([bad]).items()
    ]


def _snapshots(name: str, replicas: Sequence[Trajectory]) -> list[dict[str, Any]]:
    """Return the structures that a figure shows of a potential: a lasting and a failed one."""
    from ase import Atoms

    rows = []
    for failed in (False, True):
        t = next((t for t in replicas if (t.failure is not None) == failed), None)
        if t is None or not (failed or len(t.positions)):
            continue
        positions = t.positions[-1] if t.failure is None else t.failure.first_bad.positions
        if not np.isfinite(positions).all():
            continue
        atoms = Atoms(numbers=t.atomic_numbers, positions=positions, cell=t.cell, pbc=t.pbc)
        if t.failure is not None and t.failure.pair is not None and atoms.pbc.any():
            # in the middle, where no boundary parts the two
            place = atoms.cell.scaled_positions(atoms.positions[t.failure.pair[0]])
            shift = np.where(atoms.pbc, 0.5 - place, 0.0)
            atoms.positions += atoms.cell.cartesian_positions(shift)
        atoms.wrap()
        rows += [
            _row(
                name,
                "frame",
                symbol,
                math.nan,
                replica=t.replica,
                x=float(number),
                text=" ".join(f"{value:.4f}" for value in place),
            )
            for number, (symbol, place) in enumerate(
                zip(atoms.get_chemical_symbols(), atoms.positions, strict=True)
            )
        ]
    return rows


# --- structure ------------------------------------------------------------------------------------


def _late_frames(t: Trajectory, wanted: Comparison) -> list[Structure]:
    """Return at most `max_frames` frames after the discarded time, evenly spread."""
    late = np.flatnonzero(t.time_fs >= wanted.discard)
    chosen = late[_evenly(len(late), min(len(late), wanted.max_frames))]
    return [(t.positions[k], t.atomic_numbers, t.cell, t.pbc) for k in chosen]


def _evenly(length: int, count: int) -> np.ndarray:
    """Return `count` of the numbers below `length`, evenly spread."""
    return np.linspace(0, length - 1, count).round().astype(int) if count else np.zeros(0, int)


def _pooled(replicas: Sequence[Trajectory], wanted: Comparison) -> list[Structure]:
    """Return the frames of all replicas, the same number of each that lives as long."""
    return [frame for t in replicas for frame in _late_frames(t, wanted)]


def _halves(
    replicas: Sequence[Trajectory], plan: Motion, wanted: Comparison
) -> tuple[list[Structure], list[Structure]] | None:
    """Return frames of the first and of the last repeats of every start, or of early and late
    times where each start was run once, as many of both; None when a half is empty.
    """
    if plan.repeats > 1:
        rank = [t.replica % plan.repeats for t in replicas]
        first = [t for t, r in zip(replicas, rank, strict=True) if r < plan.repeats // 2]
        last = [t for t, r in zip(replicas, rank, strict=True) if r >= (plan.repeats + 1) // 2]
        halves = (_pooled(first, wanted), _pooled(last, wanted))
    else:
        parts = [_late_frames(t, wanted) for t in replicas]
        halves = (
            [frame for x in parts for frame in x[: len(x) // 2]],
            [frame for x in parts for frame in x[len(x) // 2 :]],
        )
    count = min(len(half) for half in halves)
    if not count:
        return None
    early, late = ([half[k] for k in _evenly(len(half), count)] for half in halves)
    return early, late


def _structure(
    runs: Mapping[str, Sequence[Trajectory]], arrays: FrameArrays, plan: Motion, wanted: Comparison
) -> list[dict[str, Any]]:
    """Radial and angular distributions and profiles, their errors and their noise floors."""
    some = next(iter(runs.values()))[0]
    measures: dict[str, Any] = {"rdf": _Radial(wanted)}
    if wanted.adf_cutoff is not None:
        measures["adf"] = _Angular(wanted)
    if some.cell is None:
        measures["profile"] = _Profile(some)
    frames = {name: _pooled(replicas, wanted) for name, replicas in runs.items()}
    if REFERENCE in runs:
        halves = _halves(runs[REFERENCE], plan, wanted)
    else:
        own = frames_with(arrays, plan.select)
        copies = math.prod(plan.supercell)
        own = own[copies * arrays.n_atoms[own] == len(some.atomic_numbers)]
        stand_in = frames[REFERENCE] = [arrays.structure(f) for f in own]
        half = len(own) // 2
        # neighbouring frames of one trajectory are alike: halves are of whole stretches
        halves = (stand_in[:half], stand_in[half : 2 * half]) if half else None
    rows = []
    for record, measure in measures.items():
        expected = measure.of(frames[REFERENCE]) if frames[REFERENCE] else None
        for name, own_frames in frames.items():
            if not own_frames:
                continue
            found = expected if name == REFERENCE else measure.of(own_frames)
            for key, (x, values) in measure.curves(found).items():
                rows += _curve(name, record, key, x, values)
            if name != REFERENCE and expected is not None:
                rows += _errors(name, record, measure.errors(found, expected))
        if halves is not None:
            floor = measure.errors(*(measure.of(half) for half in halves))
            rows += _errors(NOISE_FLOOR, record, floor)
    return rows


def _errors(name: str, record: str, errors: Mapping[str, float]) -> list[dict[str, Any]]:
    return [_row(name, f"{record}_error", key, value) for key, value in errors.items()]


class _Radial:
    """Radial distribution functions by pairs of elements."""

    def __init__(self, wanted: Comparison) -> None:
        self.wanted = wanted

    def of(self, frames: Sequence[Structure]) -> Any:
        from gnnip.md import mean_radial_distribution

        return mean_radial_distribution(frames, r_max=self.wanted.r_max, bins=self.wanted.bins)

    def curves(self, found: Any) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        return {_pair(pair): (found.r, g) for pair, g in found.g.items()}

    def errors(self, found: Any, expected: Any) -> dict[str, float]:
        from gnnip.md import rdf_errors

        return {_pair(p): e["percent"] for p, e in rdf_errors(found, expected).items()}


class _Angular:
    """Angular distributions by triplets of elements."""

    def __init__(self, wanted: Comparison) -> None:
        self.cutoff, self.bins = wanted.limits(), wanted.adf_bins
        self.chosen = {_triplet_key(text) for text in wanted.adf_triplets}

    def of(self, frames: Sequence[Structure]) -> Any:
        from gnnip.md import mean_angular_distribution

        assert self.cutoff is not None
        found = mean_angular_distribution(frames, cutoff=self.cutoff, bins=self.bins)
        if not self.chosen:
            return found
        return replace(found, p={key: p for key, p in found.p.items() if key in self.chosen})

    def curves(self, found: Any) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        degrees = np.degrees(found.angle)
        return {_triplet(key): (degrees, np.radians(p)) for key, p in found.p.items()}

    def errors(self, found: Any, expected: Any) -> dict[str, float]:
        from gnnip.md import adf_errors

        return {_triplet(k): e["percent"] for k, e in adf_errors(found, expected).items()}


class _Profile:
    """Atoms of each element per Angstrom of distance from the centre of mass of a cluster."""

    def __init__(self, system: Trajectory) -> None:
        self.masses = dict(zip(system.atomic_numbers.tolist(), system.masses, strict=True))
        start = _centred(system.positions[0], system.masses)
        reach = 1.3 * float(np.linalg.norm(start, axis=1).max())
        self.edges = np.linspace(0.0, max(reach, 1.0), 41)

    def of(self, frames: Sequence[Structure]) -> dict[str, np.ndarray]:
        width = self.edges[1] - self.edges[0]
        counts: dict[str, Any] = {}
        for positions, numbers, _, _ in frames:
            masses = np.array([self.masses[int(z)] for z in numbers])
            distance = np.linalg.norm(_centred(positions, masses), axis=1)
            for z in np.unique(numbers):
                own = np.histogram(distance[numbers == z], self.edges)[0]
                counts[_symbol(z)] = counts.get(_symbol(z), 0) + own
        return {key: count / (len(frames) * width) for key, count in counts.items()}

    def curves(self, found: dict[str, np.ndarray]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        middle = 0.5 * (self.edges[1:] + self.edges[:-1])
        return {key: (middle, values) for key, values in found.items()}

    def errors(
        self, found: dict[str, np.ndarray], expected: dict[str, np.ndarray]
    ) -> dict[str, float]:
        # half, since an atom in the wrong place is missing in the right one
        return {
            key: float(50.0 * np.abs(found[key] - values).sum() / max(values.sum(), 1e-300))
            for key, values in expected.items()
        }


def _centred(positions: np.ndarray, masses: np.ndarray) -> np.ndarray:
    return positions - np.einsum("a,ad->d", masses, positions) / masses.sum()


def _symbol(number: int) -> str:
    from ase.data import chemical_symbols

    return str(chemical_symbols[int(number)])


def _pair(numbers: tuple[int, int]) -> str:
    return "-".join(_symbol(z) for z in sorted(numbers, reverse=True))


def _triplet(numbers: tuple[int, int, int]) -> str:
    """Return end-centre-end of (centre, end, end)."""
    centre, first, last = numbers
    ends = sorted((first, last), reverse=True)
    return "-".join(_symbol(z) for z in (ends[0], centre, ends[1]))


def _triplet_key(text: str) -> tuple[int, int, int]:
    """Turn `_triplet` round, whichever end comes first."""
    first, centre, last = _numbers(text, 3, "adf_triplets", "Se-Ge-Se")
    return centre, min(first, last), max(first, last)


# --- vibrations -----------------------------------------------------------------------------------


def _spectra(
    runs: Mapping[str, Sequence[Trajectory]], plan: Motion, wanted: Comparison
) -> list[dict[str, Any]]:
    """Vibrational densities of states of the replicas that lived to the end, and their errors."""
    alive = {name: _survivors(replicas, wanted) for name, replicas in runs.items()}
    lengths = [len(v) * t.frame_interval_fs for own in alive.values() for t, v in own]
    if not lengths:
        return []
    # pieces of one length resolve the same lines, however long a run was
    length = min(lengths)
    found = {name: _mean_spectrum(own, length) for name, own in alive.items()}
    rows = []
    for name, spectrum in found.items():
        if spectrum is not None:
            rows += _curve(name, "vdos", "total", spectrum.frequency, spectrum.total)
    expected = found.get(REFERENCE)
    if expected is None:
        return rows
    for name, spectrum in found.items():
        if name != REFERENCE and spectrum is not None:
            rows.append(_row(name, "vdos_error", "total", _spectral_error(spectrum, expected)))
    halves = _spectral_halves(alive[REFERENCE], plan, length)
    if all(half is not None for half in halves):
        rows.append(_row(NOISE_FLOOR, "vdos_error", "total", _spectral_error(*halves)))
    return rows


def _spectral_halves(
    alive: Sequence[tuple[Trajectory, np.ndarray]], plan: Motion, length: float
) -> tuple[Any, Any]:
    """Return the spectra of the first and of the last repeats of every start or, of early and late
    times in pieces half as long, where each start was run once."""
    if plan.repeats == 1:
        early = [(t, v[: len(v) // 2]) for t, v in alive]
        late = [(t, v[len(v) // 2 :]) for t, v in alive]
        return _mean_spectrum(early, length / 2), _mean_spectrum(late, length / 2)
    middle, rank = plan.repeats // 2, [t.replica % plan.repeats for t, _ in alive]
    first = [own for own, r in zip(alive, rank, strict=True) if r < middle]
    last = [own for own, r in zip(alive, rank, strict=True) if r >= plan.repeats - middle]
    return _mean_spectrum(first, length), _mean_spectrum(last, length)


def _survivors(
    replicas: Sequence[Trajectory], wanted: Comparison
) -> list[tuple[Trajectory, np.ndarray]]:
    """Return the replicas that did not fail, with their velocities after the discarded time."""
    found = []
    for t in replicas:
        late = t.time_fs >= wanted.discard
        if t.failure is None and late.sum() > 7:
            found.append((t, t.velocities[late]))
    return found


def _mean_spectrum(alive: Sequence[tuple[Trajectory, np.ndarray]], length: float) -> Any:
    """Return the mean spectrum of all pieces of `length` (fs) that fit into the runs."""
    from gnnip.md import vibrational_density_of_states

    spectra = []
    for t, velocities in alive:
        frames = min(round(length / t.frame_interval_fs), len(velocities))
        if frames < 8:
            continue
        for start in range(0, len(velocities) - frames + 1, frames):
            piece = velocities[start : start + frames]
            spectra.append(
                vibrational_density_of_states(
                    piece, t.masses, t.atomic_numbers, t.frame_interval_fs
                )
            )
    if not spectra:
        return None
    grid = spectra[0].frequency
    total = np.mean([s.at(grid).total for s in spectra], axis=0)
    return replace(spectra[0], total=total, species={})


def _spectral_error(spectrum: Any, expected: Any) -> float:
    """Return `vdos_error` in percent, up to the highest frequency that both runs resolve."""
    from gnnip.md import vdos_error

    top = min(spectrum.frequency[-1], expected.frequency[-1])
    grid = expected.frequency[expected.frequency <= top * (1.0 + 1e-9)]
    return float(vdos_error(spectrum.at(grid), expected.at(grid))["percent"])


# --- what the reference says of the trajectories --------------------------------------------------


def _relabelled(
    name: str,
    replicas: Sequence[Trajectory],
    model: str | os.PathLike[str] | None,
    reference: str,
    wanted: Comparison,
) -> list[dict[str, Any]]:
    from ase import Atoms

    from gnnip.reference import make_calculator

    rows = []
    potential = None if model is None else _AseView(model)
    for t in replicas:
        calculator = make_calculator(reference)
        for k in spread_evenly(np.arange(len(t.time_fs)), wanted.relabel):
            atoms = Atoms(
                numbers=t.atomic_numbers,
                positions=np.asarray(t.positions[k], dtype=np.float64),
                cell=t.cell,
                pbc=t.pbc,
            )
            place: dict[str, Any] = {"replica": t.replica, "x": float(t.time_fs[k])}
            names = list(wanted.observables.values())
            if potential is not None:
                names += ["force_rmse_ev_per_a", "energy_error_ev"]
            try:
                calculator.calculate(atoms)
            except GnnipError as error:
                rows += [
                    _row(name, "relabel", n, math.nan, **place, text=str(error)) for n in names
                ]
                continue
            results = calculator.results
            values = {n: float(results[key]) for key, n in wanted.observables.items()}
            if potential is not None:
                energy, forces = potential(atoms)
                error_of_force = np.sqrt(np.mean((forces - results["forces"]) ** 2))
                values["force_rmse_ev_per_a"] = float(error_of_force)
                values["energy_error_ev"] = energy - float(results["energy"])
            rows += [_row(name, "relabel", n, v, **place) for n, v in values.items()]
    return rows


def _observable_errors(
    rows: Sequence[Mapping[str, Any]], plan: Motion, wanted: Comparison
) -> list[dict[str, Any]]:
    """Compare means of what the reference said of the paths; its repeats give the noise floor."""
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    table = table[(table["record"] == "relabel") & (table["x"] >= wanted.discard)]
    table = table.dropna(subset=["value"])
    found = []
    for name in wanted.observables.values():
        part = table[table["name"] == name]
        means = part.groupby("potential")["value"].mean()
        if REFERENCE not in means.index:
            continue
        found += [
            _row(str(potential), "relabel_error", name, abs(float(mean - means[REFERENCE])))
            for potential, mean in means.items()
            if potential != REFERENCE
        ]
        own = part[part["potential"] == REFERENCE]
        repeat = own["replica"] % plan.repeats
        first = own.loc[repeat < plan.repeats // 2, "value"]
        last = own.loc[repeat >= (plan.repeats + 1) // 2, "value"]
        if plan.repeats > 1 and len(first) and len(last):
            floor = abs(float(first.mean() - last.mean()))
            found.append(_row(NOISE_FLOOR, "relabel_error", name, floor))
    return found


class _AseView:
    """Energy (eV) and forces (eV/Angstrom) of a trained potential for ASE structures."""

    def __init__(self, model: str | os.PathLike[str]) -> None:
        from gnnip import load_calculator

        self.calculator = load_calculator(model, device="cpu")

    def __call__(self, atoms: Any) -> tuple[float, np.ndarray]:
        copy = atoms.copy()
        copy.calc = self.calculator
        return float(copy.get_potential_energy()), np.asarray(copy.get_forces())


# --- speed ----------------------------------------------------------------------------------------


def _time_steps(
    dataset: str,
    models: Mapping[str, str],
    reference: str | None,
    motion: Mapping[str, Any],
    reference_motion: Mapping[str, Any],
    steps: int,
    repeats: int,
) -> list[dict[str, Any]]:
    """Let all potentials take `steps` steps in turn, `repeats` times, after one unmeasured turn."""
    import torch

    from gnnip.datasets.store import load_arrays
    from gnnip.evaluation.timing import interleave
    from gnnip.provenance import environment

    torch.set_num_threads(1)
    plan, own = Motion.read(motion), Motion.read(reference_motion)
    arrays = load_arrays(dataset)
    jobs: dict[tuple[str, str, int], Callable[[], None]] = {}
    for name, file in models.items():
        everybody = plan.state(arrays, name)
        jobs[name, "alone", 1] = _stepper(
            _simulation(file, None, everybody.select([0]), plan), steps
        )
        count = everybody.n_replicas
        if count > 1:
            jobs[name, "batched", count] = _stepper(_simulation(file, None, everybody, plan), steps)
    if reference is not None:
        alone = own.state(arrays, REFERENCE).select([0])
        jobs[REFERENCE, "alone", 1] = _stepper(_simulation(None, reference, alone, own), steps)
    hardware = str(environment().get("cpu") or "unknown processor")
    return [
        _row(
            name,
            "speed",
            f"{how}_seconds_per_step",
            float(np.median(seconds)) / (steps * count),
            text=hardware,
        )
        for (name, how, count), seconds in interleave(jobs, repeats).items()
    ]


def _simulation(model: str | None, reference: str | None, state: State, plan: Motion) -> Simulation:
    from gnnip.md import Simulation

    return Simulation(load_potential(model, reference), state, plan.integrator(), frame_every=None)


def _stepper(simulation: Simulation, steps: int) -> Callable[[], None]:
    def advance() -> None:
        simulation.run(simulation.step + steps)

    return advance
