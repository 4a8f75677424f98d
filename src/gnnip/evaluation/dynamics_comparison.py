"""What the dynamics of trained potentials and of their reference have in common, and what not.

`compare_dynamics` turns the trajectories that `gnnip.evaluation.dynamics` left into one tidy table:
survival, temperature, conservation of energy, structure, vibrations, what the reference says of
frames along the way, and the time that a step takes.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gnnip.errors import GnnipError
from gnnip.evaluation.dynamics import REFERENCE, Motion, load_potential
from gnnip.evaluation.selection import frames_with, spread_evenly
from gnnip.models.hyperparameters import read_options

if TYPE_CHECKING:
    from gnnip.datasets.arrays import FrameArrays
    from gnnip.md import Simulation, State, Trajectory

#: name of the reference compared with itself
NOISE_FLOOR = "noise_floor"
COLUMNS = ("potential", "record", "name", "replica", "x", "value", "text")
_SERIES = ("temperature_k", "potential_energy_ev", "conserved_energy_ev")
#: rows of each time series of each replica that the table keeps
_SERIES_ROWS = 160


@dataclass(frozen=True)
class Comparison:
    """What is measured on the trajectories.

    discard : fs at the start that no average is made of.
    r_max, bins : Angstrom and bins of the radial distributions.
    max_frames : most frames of a replica that go into a radial distribution.
    relabel : frames of each replica that the reference computes again; 0 for none.
    observables : values of the reference's `results` to keep of those frames, and their names.
    timed_steps, timing_repeats : steps of each potential in each turn of the clock, and turns;
        0 steps for no timing.
    """

    discard: float = 100.0
    r_max: float = 8.0
    bins: int = 160
    max_frames: int = 200
    relabel: int = 0
    observables: dict[str, str] = field(default_factory=dict)
    timed_steps: int = 10
    timing_repeats: int = 5

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
    comparison: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """Return one tidy table of what the replicas of all potentials did.

    Parameters
    ----------
    trajectories : files of `run_dynamics` by the name of the potential; the reference's, if it was
        run, has the name "reference". Without it the frames of the data set that the starts were
        selected from stand in for it.
    models : the trained potentials by the same names, to be timed and relabelled.
    comparison : fields of `Comparison`.

    Returns
    -------
    Columns potential, record, name, replica, x, value, text. By record:

    run : one number per replica; `name` ends in its unit, or is
        failed (1 or 0, `text` the reason), simulated_fs (until the failure or the end).
    survival : share of replicas alive at time x (fs), with `survival_low` and `survival_high`.
    series : time series, x in fs.
    rdf : g(r) of the elements in `name`, x in Angstrom; for open systems the probability density of
        the distance, 1/Angstrom.  rdf_error : percent, as `gnnip.md.rdf_errors` defines it.
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

    The potential "noise_floor" has the errors of the reference's own halves.
    """
    from gnnip.datasets.arrays import load_arrays
    from gnnip.md import read_trajectory

    plan, wanted = Motion.read(motion), Comparison.read(comparison or {})
    arrays = load_arrays(dataset)
    runs = {name: read_trajectory(path) for name, path in trajectories.items()}
    rows: list[dict[str, Any]] = []
    for name, replicas in runs.items():
        rows += _runs(name, replicas, plan, wanted)
        rows += _survival(name, replicas, plan)
        rows += _series(name, replicas)
    rows += _structure(runs, arrays, plan, wanted)
    rows += _spectra(runs, plan, wanted)
    if reference is not None and wanted.relabel:
        for name, replicas in runs.items():
            rows += _relabelled(name, replicas, models.get(name), reference, wanted)
        rows += _observable_errors(rows, plan, wanted)
    if wanted.timed_steps:
        from gnnip.evaluation.timing import in_one_thread

        files = {name: os.fspath(path) for name, path in models.items()}
        arguments = (os.fspath(dataset), files, reference, dict(motion))
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


# --- structure ------------------------------------------------------------------------------------


def _late_frames(t: Trajectory, wanted: Comparison, n_frames: int) -> np.ndarray:
    """Return at most `n_frames` frames (k, n, 3) after the discarded time, evenly spread."""
    late = np.flatnonzero(t.time_fs >= wanted.discard)
    count = min(len(late), n_frames)
    chosen = late[np.linspace(0, len(late) - 1, count).round().astype(int)] if count else late
    return t.positions[chosen]


def _pooled(replicas: Sequence[Trajectory], wanted: Comparison) -> np.ndarray:
    """Return the frames of all replicas, the same number of each that lives as long."""
    parts = [_late_frames(t, wanted, wanted.max_frames) for t in replicas]
    return np.concatenate(parts)


def _halves(
    replicas: Sequence[Trajectory], plan: Motion, wanted: Comparison
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return frames of the first and of the last repeats of every start, or of early and late
    times where each start was run once; None when a half is empty.

    Both halves have as many frames, as `gnnip.md.noise_floor` needs them one behind the other.
    """
    if plan.repeats > 1:
        rank = [t.replica % plan.repeats for t in replicas]
        first = [t for t, r in zip(replicas, rank, strict=True) if r < plan.repeats // 2]
        last = [t for t, r in zip(replicas, rank, strict=True) if r >= (plan.repeats + 1) // 2]
        halves = (_pooled(first, wanted), _pooled(last, wanted))
    else:
        parts = [_late_frames(t, wanted, wanted.max_frames) for t in replicas]
        halves = (
            np.concatenate([x[: len(x) // 2] for x in parts]),
            np.concatenate([x[len(x) // 2 :] for x in parts]),
        )
    count = min(len(half) for half in halves)
    if not count:
        return None
    even = [np.linspace(0, len(half) - 1, count).round().astype(int) for half in halves]
    return halves[0][even[0]], halves[1][even[1]]


def _structure(
    runs: Mapping[str, Sequence[Trajectory]], arrays: FrameArrays, plan: Motion, wanted: Comparison
) -> list[dict[str, Any]]:
    """Radial distributions and profiles, their errors and their noise floors."""
    from gnnip.md import noise_floor

    some = next(iter(runs.values()))[0]
    measures: dict[str, Any] = {"rdf": _Radial(some, wanted)}
    if some.cell is None:
        measures["profile"] = _Profile(some, wanted)
    frames = {name: _pooled(replicas, wanted) for name, replicas in runs.items()}
    if REFERENCE in runs:
        halves = _halves(runs[REFERENCE], plan, wanted)
    else:
        own = frames_with(arrays, plan.select)
        own = own[arrays.n_atoms[own] == len(some.atomic_numbers)]
        frames[REFERENCE] = np.stack([arrays.positions[arrays.atoms(f)] for f in own])
        half = len(own) // 2
        # neighbouring frames of one trajectory are alike: halves are of whole stretches
        halves = (frames[REFERENCE][:half], frames[REFERENCE][half : 2 * half]) if half else None
    rows = []
    for record, measure in measures.items():
        expected = measure.of(frames[REFERENCE]) if len(frames[REFERENCE]) else None
        for name, own_frames in frames.items():
            if not len(own_frames):
                continue
            found = measure.of(own_frames)
            for key, (x, values) in measure.curves(found).items():
                rows += _curve(name, record, key, x, values)
            if name != REFERENCE and expected is not None:
                rows += _errors(name, record, measure.errors(found, expected))
        if halves is not None:
            both = np.concatenate(halves)
            floor = noise_floor(measure.of, measure.errors, both)
            rows += _errors(NOISE_FLOOR, record, floor)
    return rows


def _errors(name: str, record: str, errors: Mapping[str, float]) -> list[dict[str, Any]]:
    return [_row(name, f"{record}_error", key, value) for key, value in errors.items()]


class _Radial:
    """Radial distribution functions by pairs of elements."""

    def __init__(self, system: Trajectory, wanted: Comparison) -> None:
        self.numbers, self.wanted = system.atomic_numbers, wanted
        self.cell, self.pbc = system.cell, system.pbc

    def of(self, frames: np.ndarray) -> Any:
        from gnnip.md import radial_distribution

        return radial_distribution(
            frames,
            self.numbers,
            self.cell,
            self.pbc,
            r_max=self.wanted.r_max,
            bins=self.wanted.bins,
        )

    def curves(self, found: Any) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        return {_pair(pair): (found.r, g) for pair, g in found.g.items()}

    def errors(self, found: Any, expected: Any) -> dict[str, float]:
        from gnnip.md import rdf_errors

        return {_pair(p): e["percent"] for p, e in rdf_errors(found, expected).items()}


class _Profile:
    """Atoms of each element per Angstrom of distance from the centre of mass of a cluster."""

    def __init__(self, system: Trajectory, wanted: Comparison) -> None:
        self.numbers, self.masses = system.atomic_numbers, system.masses
        start = _centred(system.positions[:1], self.masses)
        reach = 1.3 * float(np.linalg.norm(start, axis=2).max())
        self.edges = np.linspace(0.0, max(reach, 1.0), 41)

    def of(self, frames: np.ndarray) -> dict[str, np.ndarray]:
        distance = np.linalg.norm(_centred(frames, self.masses), axis=2)
        width = self.edges[1] - self.edges[0]
        return {
            _symbol(z): np.histogram(distance[:, self.numbers == z], self.edges)[0]
            / (len(frames) * width)
            for z in np.unique(self.numbers)
        }

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


def _centred(frames: np.ndarray, masses: np.ndarray) -> np.ndarray:
    centre = np.einsum("a,tad->td", masses, frames) / masses.sum()
    return frames - centre[:, None, :]


def _symbol(number: int) -> str:
    from ase.data import chemical_symbols

    return str(chemical_symbols[int(number)])


def _pair(numbers: tuple[int, int]) -> str:
    return "-".join(_symbol(z) for z in sorted(numbers, reverse=True))


# --- vibrations -----------------------------------------------------------------------------------


def _spectra(
    runs: Mapping[str, Sequence[Trajectory]], plan: Motion, wanted: Comparison
) -> list[dict[str, Any]]:
    """Vibrational densities of states of the replicas that lived to the end, and their errors."""
    from gnnip.md import vdos_error

    found = {name: _mean_spectrum(replicas, wanted) for name, replicas in runs.items()}
    rows = []
    for name, spectrum in found.items():
        if spectrum is not None:
            rows += _curve(name, "vdos", "total", spectrum.frequency, spectrum.total)
    expected = found.get(REFERENCE)
    if expected is None:
        return rows
    for name, spectrum in found.items():
        if name != REFERENCE and spectrum is not None:
            error = vdos_error(spectrum, expected)["percent"]
            rows.append(_row(name, "vdos_error", "total", error))
    replicas = runs[REFERENCE]
    if plan.repeats > 1:
        halves = [
            _mean_spectrum(
                [t for t in replicas if (t.replica % plan.repeats < middle) == early], wanted
            )
            for middle, early in ((plan.repeats // 2, True), ((plan.repeats + 1) // 2, False))
        ]
        if halves[0] is not None and halves[1] is not None:
            error = vdos_error(halves[0], halves[1])["percent"]
            rows.append(_row(NOISE_FLOOR, "vdos_error", "total", error))
    return rows


def _mean_spectrum(replicas: Sequence[Trajectory], wanted: Comparison) -> Any:
    from gnnip.md import vibrational_density_of_states

    spectra = []
    for t in replicas:
        late = t.time_fs >= wanted.discard
        if t.failure is None and late.sum() > 7:
            spectra.append(
                vibrational_density_of_states(
                    t.velocities[late], t.masses, t.atomic_numbers, t.frame_interval_fs
                )
            )
    if not spectra:
        return None
    return replace(spectra[0], total=np.mean([s.total for s in spectra], axis=0), species={})


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
    steps: int,
    repeats: int,
) -> list[dict[str, Any]]:
    """Let all potentials take `steps` steps in turn, `repeats` times, after one unmeasured turn."""
    import torch

    from gnnip.datasets.arrays import load_arrays
    from gnnip.evaluation.timing import interleave
    from gnnip.provenance import environment

    torch.set_num_threads(1)
    plan = Motion.read(motion)
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
        alone = plan.state(arrays, REFERENCE).select([0])
        jobs[REFERENCE, "alone", 1] = _stepper(_simulation(None, reference, alone, plan), steps)
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
