"""Molecular dynamics with any engine: Langevin at a ladder of temperatures, melt and quench.

A trajectory is one independent story of one system: its own start, velocities and noise; optionally
molten and cooled; then at each temperature of the ladder a time to settle and frames. Frames of one
trajectory are related, frames of different trajectories are not: split data by trajectory.

The work is a list of intervals. Each begins from positions, momenta and the random generator's
state alone, with a calculator that knows nothing of the one before, and ends with an atomic
checkpoint: a run that was killed continues to the same frames. A calculation that fails, or atoms
that fly apart, end the attempt; it is recorded in `events` and the trajectory starts again with the
next seed.

Configurations of the canonical ensemble do not depend on masses, so hydrogen may be made heavy for
longer time steps (`hydrogen_mass`); the vibrations are then no longer those of the material.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gnnip.errors import ConfigError, ConvergenceError, DataError
from gnnip.reference.engines import evaluate, make_engine, running
from gnnip.sampling import frames as files
from gnnip.sampling.atomic_units import FEMTOSECOND
from gnnip.sampling.frames import Frame
from gnnip.sampling.langevin import Langevin, kinetic_temperature, maxwell_momenta
from gnnip.units import AMU_ELECTRON_MASSES, BOHR, HARTREE_PER_BOHR

#: units of the columns of a frame
UNITS = {"temperature_k": "K", "time_fs": "fs", "kinetic_temperature_k": "K"}
CLOSEST = 0.5  #: Angstrom: atoms nearer than this are lost
HOTTEST = 8.0  #: times the highest temperature of the plan: atoms hotter than this are lost


@dataclass(frozen=True)
class Plan:
    """Every number of a trajectory. Times in fs, temperatures in kelvin.

    system : names the module that knows the start.  size : atoms.  phase : which start, one of the
    system's.  lattice : constant of the crystal or edge of the box, Angstrom; 0 takes the system's
    own.  engine : text for `make_engine`; label_engine : what labels the frames, when it is
    another.  temperatures : the ladder.  frames : per temperature, every stride_fs.
    equilibration_fs : at the first temperature; settling_fs : at each of the later ones.  A
    melt_kelvin above zero keeps the start at this temperature for melt_fs and cools it evenly to
    the first of the ladder in quench_fs.  boost : factor on the kinetic energy at the start (2
    where the atoms start at rest in a crystal, which takes half of it).  hydrogen_mass : amu, 0 for
    its own.  interval_steps : steps between checkpoints.

    Raises ConfigError for values that cannot be run.
    """

    system: str
    size: int
    replica: int = 0
    seed: int = 1
    phase: str = ""
    lattice: float = 0.0
    engine: str = "xtb"
    label_engine: str = ""
    temperatures: tuple[float, ...] = (300.0,)
    frames: int = 20
    stride_fs: float = 10.0
    equilibration_fs: float = 200.0
    settling_fs: float = 100.0
    melt_kelvin: float = 0.0
    melt_fs: float = 0.0
    quench_fs: float = 0.0
    timestep_fs: float = 1.0
    friction_per_fs: float = 0.02
    boost: float = 1.0
    hydrogen_mass: float = 0.0
    interval_steps: int = 25
    max_attempts: int = 3

    def __post_init__(self) -> None:
        """Refuse plans that cannot be run."""
        object.__setattr__(self, "temperatures", tuple(float(t) for t in self.temperatures))
        for name in (
            "size",
            "frames",
            "stride_fs",
            "timestep_fs",
            "friction_per_fs",
            "boost",
            "interval_steps",
            "max_attempts",
        ):
            if not getattr(self, name) > 0:
                raise ConfigError(
                    f"A trajectory cannot use {name} = {getattr(self, name)}; it must be > 0."
                )
        for name in (
            "lattice",
            "equilibration_fs",
            "settling_fs",
            "melt_kelvin",
            "melt_fs",
            "quench_fs",
            "hydrogen_mass",
        ):
            if not getattr(self, name) >= 0:
                raise ConfigError(
                    f"A trajectory cannot use {name} = {getattr(self, name)}; it must be >= 0."
                )
        if not self.temperatures or min(self.temperatures) <= 0:
            raise ConfigError("A trajectory needs at least one temperature, all above 0 K.")
        if self.melt_kelvin == 0 and self.melt_fs + self.quench_fs > 0:
            raise ConfigError(
                "The plan melts for some time but states no melt_kelvin; give the temperature."
            )

    @property
    def name(self) -> str:
        """Return the trajectory's name, e.g. sic-n064-r0."""
        return f"{self.system}-n{self.size:03d}-r{self.replica}"


@dataclass(frozen=True)
class _Interval:
    stage: str  # melt, quench, equilibration, settling, sampling
    temperature: float
    steps: int
    record_every: int = 0


def schedule(plan: Plan) -> list[_Interval]:
    """Return the intervals of a plan, in order."""
    intervals: list[_Interval] = []

    def add(stage: str, begin: float, end: float, length_fs: float, record_every: int = 0) -> None:
        total = round(length_fs / plan.timestep_fs)
        done = 0
        while done < total:
            chunk = plan.interval_steps
            if record_every:
                chunk = max(1, chunk // record_every) * record_every
            steps = min(chunk, total - done)
            middle = begin + (end - begin) * (done + 0.5 * steps) / total
            intervals.append(_Interval(stage, middle, steps, record_every))
            done += steps

    first = plan.temperatures[0]
    if plan.melt_kelvin > 0:
        add("melt", plan.melt_kelvin, plan.melt_kelvin, plan.melt_fs)
        add("quench", plan.melt_kelvin, first, plan.quench_fs)
    stride = max(1, round(plan.stride_fs / plan.timestep_fs))
    for i, temperature in enumerate(plan.temperatures):
        stage, length = (
            ("settling", plan.settling_fs) if i else ("equilibration", plan.equilibration_fs)
        )
        add(stage, temperature, temperature, length)
        add(
            "sampling",
            temperature,
            temperature,
            plan.frames * stride * plan.timestep_fs,
            record_every=stride,
        )
    return intervals


@dataclass
class _Progress:
    """What a checkpoint holds: everything the next interval depends on, and the frames so far."""

    positions: np.ndarray  # (n, 3), Bohr
    momenta: np.ndarray  # (n, 3), atomic units
    rng: np.random.Generator
    attempt: int = 0
    interval: int = 0
    steps: int = 0
    seconds: float = 0.0
    events: list[str] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)


class _LostError(Exception):
    """The trajectory cannot go on."""


def run(
    plan: Plan,
    folder: str | Path,
    start: Callable[[Plan, np.random.Generator], Any],
    progress: files.Progress = print,
) -> Path:
    """Run or continue a trajectory and return the path of its frames.npz.

    `folder` belongs to this trajectory alone; it holds checkpoint.npz while running and frames.npz
    (see `gnnip.sampling.frames`) at the end. `start` makes the first structure (`ase.Atoms`,
    Angstrom) from the plan and a random generator. `progress` gets one line per interval.

    Columns of the frames: trajectory, replica, phase, temperature_k, time_fs since the start,
    kinetic_temperature_k.

    Raises CheckpointError for a checkpoint that is damaged or of another plan, EngineError for an
    engine that is not installed, DataError when `plan.max_attempts` attempts in a row were lost.
    """
    folder = Path(folder)
    result, checkpoint = folder / "frames.npz", folder / "checkpoint.npz"
    if result.exists():
        files.load(result, plan)
        return result
    engine = make_engine(plan.engine)
    engine.version()
    intervals = schedule(plan)
    attempt = 0
    if checkpoint.exists():
        content = files.load(checkpoint, plan)
        attempt = int(content["attempt"])
    atoms = start(plan, _generator(plan, attempt))
    if checkpoint.exists():
        state = _restored(content)
        progress(f"{plan.name} continues at interval {state.interval} of {len(intervals)}")
    else:
        state = _begin(plan, atoms, 0)
    while state.interval < len(intervals):
        interval = intervals[state.interval]
        began = time.perf_counter()
        try:
            with running(engine) as calculator:
                _run_interval(plan, interval, state, atoms, calculator)
        except (_LostError, ConvergenceError) as lost:
            event = f"attempt {state.attempt}, interval {state.interval} ({interval.stage}): {lost}"
            progress(f"{plan.name} {event}; starting again with the next seed")
            if state.attempt + 1 == plan.max_attempts:
                raise DataError(
                    f"{plan.name}: {plan.max_attempts} attempts in a row were lost (last: {lost}); "
                    "lower the temperatures or the time step, or take another engine."
                ) from None
            events, spent = [*state.events, event], state.seconds + time.perf_counter() - began
            atoms = start(plan, _generator(plan, state.attempt + 1))
            state = _begin(plan, atoms, state.attempt + 1)
            state.events, state.seconds = events, spent
            continue
        spent = time.perf_counter() - began
        state.interval += 1
        state.steps += interval.steps
        state.seconds += spent
        _write_checkpoint(checkpoint, plan, state)
        kinetic = kinetic_temperature(state.momenta[None], _masses(plan, atoms))
        progress(
            f"{plan.name} {state.interval}/{len(intervals)} {interval.stage} "
            f"{interval.temperature:.0f} K, T {kinetic:.0f} K, "
            f"{spent / interval.steps:.2f} s/step, {len(state.frames)} frames"
        )
    files.write_trajectory(
        result,
        plan,
        state.frames,
        units=UNITS,
        events=state.events,
        seconds=state.seconds,
        evaluations=state.steps,
    )
    checkpoint.unlink()
    return result


def _generator(plan: Plan, attempt: int) -> np.random.Generator:
    return np.random.default_rng([plan.seed, plan.size, plan.replica, attempt])


def _masses(plan: Plan, atoms: Any) -> np.ndarray:
    masses = atoms.get_masses()
    if plan.hydrogen_mass > 0:
        masses = np.where(atoms.numbers == 1, plan.hydrogen_mass, masses)
    return masses * AMU_ELECTRON_MASSES


def _begin(plan: Plan, atoms: Any, attempt: int) -> _Progress:
    # a stream of its own: the start may have drawn any number of values
    rng = np.random.default_rng([plan.seed, plan.size, plan.replica, attempt, 1])
    masses = _masses(plan, atoms)
    first = plan.melt_kelvin if plan.melt_kelvin > 0 else plan.temperatures[0]
    momenta = maxwell_momenta(masses, plan.boost * first, 1, rng)[0]
    momenta -= masses[:, None] * (momenta.sum(axis=0) / masses.sum())
    return _Progress(atoms.get_positions() / BOHR, momenta, rng, attempt)


def _run_interval(
    plan: Plan, interval: _Interval, state: _Progress, atoms: Any, calculator: Any
) -> None:
    """Advance `state` by one interval; leave it as it was when the interval fails."""
    masses = _masses(plan, atoms)
    dynamics = Langevin(
        masses,
        plan.timestep_fs * FEMTOSECOND,
        plan.friction_per_fs / FEMTOSECOND,
        interval.temperature,
    )
    work = atoms.copy()

    def forces(positions: np.ndarray) -> np.ndarray:
        work.positions = positions[0] * BOHR
        _check_distances(work, interval)
        return evaluate(calculator, work).forces[None] / HARTREE_PER_BOHR

    x, p = state.positions[None], state.momenta[None]
    rng = np.random.default_rng()
    rng.bit_generator.state = state.rng.bit_generator.state
    recorded: list[Frame] = []
    hottest = HOTTEST * max(300.0, plan.melt_kelvin, *plan.temperatures)
    f = forces(x)
    for step in range(1, interval.steps + 1):
        x, p, f, _ = dynamics.advance(x, p, f, forces, rng)
        kinetic = kinetic_temperature(p, masses)
        if not kinetic < hottest:
            raise _LostError(f"the atoms fly apart, {kinetic:.0f} K")
        if interval.record_every and step % interval.record_every == 0:
            recorded.append(
                Frame(
                    atoms.numbers.copy(),
                    x[0] * BOHR,
                    np.array(atoms.cell) if atoms.pbc.any() else None,
                    {
                        "trajectory": plan.name,
                        "replica": plan.replica,
                        "phase": plan.phase,
                        "temperature_k": interval.temperature,
                        "time_fs": (state.steps + step) * plan.timestep_fs,
                        "kinetic_temperature_k": kinetic,
                    },
                )
            )
    state.positions, state.momenta, state.rng = x[0], p[0], rng
    state.frames += recorded


def _check_distances(atoms: Any, interval: _Interval) -> None:
    if not np.isfinite(atoms.positions).all():
        raise _LostError("positions are not finite")
    if len(atoms) > 1:
        distances = atoms.get_all_distances(mic=bool(atoms.pbc.any()))
        np.fill_diagonal(distances, np.inf)
        if distances.min() < CLOSEST:
            raise _LostError(f"two atoms are {distances.min():.2f} Å apart")


def _write_checkpoint(path: Path, plan: Plan, state: _Progress) -> None:
    files.save(
        path,
        plan,
        state_positions=state.positions,
        state_momenta=state.momenta,
        rng=json.dumps(state.rng.bit_generator.state),
        events=json.dumps(state.events),
        **{k: getattr(state, k) for k in ("attempt", "interval", "steps", "seconds")},
        **files.pack(state.frames),
    )


def _restored(content: dict[str, np.ndarray]) -> _Progress:
    rng = np.random.default_rng()
    rng.bit_generator.state = json.loads(str(content["rng"]))
    return _Progress(
        positions=content["state_positions"],
        momenta=content["state_momenta"],
        rng=rng,
        attempt=int(content["attempt"]),
        interval=int(content["interval"]),
        steps=int(content["steps"]),
        seconds=float(content["seconds"]),
        events=json.loads(str(content["events"])),
        frames=files.unpack(content),
    )
