"""Molecular dynamics with any engine: Langevin at a ladder of temperatures, melt and quench.

A trajectory is one independent story of one system: its own start, velocities and noise; optionally
molten and cooled; then at each temperature of the ladder a time to settle and frames. Frames of one
trajectory are related, frames of different trajectories are not: split data by trajectory.

The work is a list of intervals (`gnnip.sampling.intervals`), each with a calculator that knows
nothing of the one before. A calculation that fails, or atoms that fly apart, end an attempt.

Configurations of the canonical ensemble do not depend on masses, so hydrogen may be made heavy for
longer time steps (`hydrogen_mass`); the vibrations are then no longer those of the material.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gnnip.errors import ConfigError, ConvergenceError
from gnnip.reference.engines import evaluate, make_engine, running
from gnnip.sampling import intervals
from gnnip.sampling.atomic_units import FEMTOSECOND
from gnnip.sampling.frames import Frame, Progress
from gnnip.sampling.intervals import LostError, State
from gnnip.sampling.langevin import Langevin, kinetic_temperature, maxwell_momenta
from gnnip.sampling.plans import check_plan, check_temperatures
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
    the first of the ladder in quench_fs.  wall_pair : elements, e.g. O-O, that until then repel
    each other within wall_distance (Angstrom) by the energy wall_stiffness (eV/Angstrom^2) / 2
    (wall_distance - r)^2, so that they form no bonds; no frame is recorded under it.  boost :
    factor on the kinetic energy at the start (2 where the atoms start at rest in a crystal, which
    takes half of it).  hydrogen_mass : amu, 0 for its own.  interval_steps : steps between
    checkpoints.

    Raises ConfigError for a number out of its range.
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
    wall_pair: str = ""
    wall_distance: float = 0.0
    wall_stiffness: float = 20.0
    timestep_fs: float = 1.0
    friction_per_fs: float = 0.02
    boost: float = 1.0
    hydrogen_mass: float = 0.0
    interval_steps: int = 25
    max_attempts: int = 3

    def __post_init__(self) -> None:
        """Raise ConfigError for a number out of its range."""
        object.__setattr__(self, "temperatures", tuple(float(t) for t in self.temperatures))
        check_temperatures(self.temperatures)
        positive = ("size", "frames", "stride_fs", "timestep_fs", "friction_per_fs", "boost")
        times = ("equilibration_fs", "settling_fs", "melt_fs", "quench_fs")
        check_plan(
            self,
            *positive,
            "interval_steps",
            "max_attempts",
            "wall_stiffness",
            not_negative=(*times, "lattice", "melt_kelvin", "hydrogen_mass", "wall_distance"),
        )
        if self.melt_kelvin == 0 and self.melt_fs + self.quench_fs > 0:
            raise ConfigError(
                "The plan melts for some time but states no melt_kelvin; give the temperature."
            )
        if self.wall_pair or self.wall_distance > 0:
            self._check_wall()

    def _check_wall(self) -> None:
        from ase.data import atomic_numbers

        pair = self.wall_pair.split("-")
        known = len(pair) == 2 and all(symbol in atomic_numbers for symbol in pair)
        if not (known and self.wall_distance > 0 and self.melt_kelvin > 0):
            raise ConfigError(
                f"The plan has wall_pair = '{self.wall_pair}', wall_distance = "
                f"{self.wall_distance:g} and melt_kelvin = {self.melt_kelvin:g}; a wall takes two "
                "elements such as O-O, a distance and a melt."
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
    found: list[_Interval] = []

    def add(stage: str, begin: float, end: float, length_fs: float, record_every: int = 0) -> None:
        total = round(length_fs / plan.timestep_fs)
        done = 0
        while done < total:
            chunk = plan.interval_steps
            if record_every:
                chunk = max(1, chunk // record_every) * record_every
            steps = min(chunk, total - done)
            middle = begin + (end - begin) * (done + 0.5 * steps) / total
            found.append(_Interval(stage, middle, steps, record_every))
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
    return found


#: makes the first structure (`ase.Atoms`, Angstrom) of a trajectory from its plan
Start = Callable[[Plan, np.random.Generator], Any]


@dataclass(frozen=True)
class System:
    """A material that is sampled by dynamics: how it starts, and the plans of its data set.

    name : of the data set.  Fields of a `Plan`: settings, those of all its plans; paper, further
    ones of the shipped set; smoke, of a trajectory of seconds for tests; both with the size.
    in_turn : what the replicas of the shipped set differ in; after the last the first comes again.
    """

    name: str
    start: Start
    settings: Mapping[str, Any]
    paper: Mapping[str, Any]
    smoke: Mapping[str, Any]
    in_turn: Sequence[Mapping[str, Any]] = ({},)

    def paper_plan(self, size: int | None = None, replica: int = 0, seed: int = 1) -> Plan:
        """Return the plan of one trajectory of the shipped data set, or of another size."""
        own = self.in_turn[replica % len(self.in_turn)]
        return self._plan({**self.paper, **own}, size, replica, seed)

    def smoke_plan(self, size: int | None = None, replica: int = 0, seed: int = 1) -> Plan:
        """Return a plan of a few seconds."""
        return self._plan(self.smoke, size, replica, seed)

    def _plan(self, preset: Mapping[str, Any], size: int | None, replica: int, seed: int) -> Plan:
        values = {**self.settings, **preset, "replica": replica, "seed": seed}
        return Plan(self.name, **(values if size is None else {**values, "size": size}))

    def run_trajectory(self, plan: Plan, folder: str | Path, progress: Progress = print) -> Path:
        """Run or continue one trajectory, as `run`."""
        return run(plan, folder, self.start, progress)


def run(plan: Plan, folder: str | Path, start: Start, progress: Progress = print) -> Path:
    """Run or continue a trajectory and return the path of its frames.npz.

    Columns of the frames: trajectory, replica, phase, temperature_k, time_fs since the start,
    kinetic_temperature_k.

    Raises EngineError for an engine that is not installed, and as `intervals.run` does.
    """
    engine = make_engine(plan.engine)

    @functools.cache
    def atoms(attempt: int) -> Any:
        return start(plan, _generator(plan, attempt))

    def begin(attempt: int) -> State:
        engine.version()
        return _begin(plan, atoms(attempt), attempt)

    def advance(interval: _Interval, state: State) -> str:
        try:
            with running(engine) as calculator:
                _run_interval(plan, interval, state, atoms(state.attempt), calculator)
        except ConvergenceError as error:
            raise LostError(str(error)) from error
        masses = _masses(plan, atoms(state.attempt))
        return f"T {kinetic_temperature(state.momenta[None], masses):.0f} K"

    return intervals.run(
        plan,
        folder,
        schedule(plan),
        begin,
        advance,
        units=UNITS,
        cure="lower the temperatures or the time step, or take another engine",
        progress=progress,
    )


def _generator(plan: Plan, attempt: int) -> np.random.Generator:
    return np.random.default_rng([plan.seed, plan.size, plan.replica, attempt])


def _masses(plan: Plan, atoms: Any) -> np.ndarray:
    masses = atoms.get_masses()
    if plan.hydrogen_mass > 0:
        masses = np.where(atoms.numbers == 1, plan.hydrogen_mass, masses)
    return masses * AMU_ELECTRON_MASSES


def _begin(plan: Plan, atoms: Any, attempt: int) -> State:
    # a stream of its own: the start may have drawn any number of values
    rng = np.random.default_rng([plan.seed, plan.size, plan.replica, attempt, 1])
    masses = _masses(plan, atoms)
    first = plan.melt_kelvin if plan.melt_kelvin > 0 else plan.temperatures[0]
    momenta = maxwell_momenta(masses, plan.boost * first, 1, rng)[0]
    momenta -= masses[:, None] * (momenta.sum(axis=0) / masses.sum())
    return State(atoms.get_positions() / BOHR, momenta, rng, attempt)


def _run_interval(
    plan: Plan, interval: _Interval, state: State, atoms: Any, calculator: Any
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
    walled = plan.wall_distance > 0 and interval.stage in ("melt", "quench")

    def forces(positions: np.ndarray) -> np.ndarray:
        work.positions = positions[0] * BOHR
        _check_distances(work, interval)
        found = evaluate(calculator, work).forces
        if walled:
            found = found + wall_forces(work, plan)
        return found[None] / HARTREE_PER_BOHR

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
            raise LostError(f"the atoms fly apart, {kinetic:.0f} K")
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
    state.steps += interval.steps
    state.evaluations += interval.steps
    state.frames += recorded


def wall_forces(atoms: Any, plan: Plan) -> np.ndarray:
    """Return the forces (n, 3) (eV/Angstrom) of the plan's wall on `atoms`."""
    from ase.neighborlist import neighbor_list

    first, second = plan.wall_pair.split("-")
    target, r, away = neighbor_list("jdD", atoms, {(first, second): plan.wall_distance})
    forces = np.zeros((len(atoms), 3))
    # every pair is listed from both of its ends
    np.add.at(
        forces, target, (plan.wall_stiffness * (plan.wall_distance / r - 1.0))[:, None] * away
    )
    return forces


def _check_distances(atoms: Any, interval: _Interval) -> None:
    if not np.isfinite(atoms.positions).all():
        raise LostError("positions are not finite")
    if len(atoms) > 1:
        distances = atoms.get_all_distances(mic=bool(atoms.pbc.any()))
        np.fill_diagonal(distances, np.inf)
        if distances.min() < CLOSEST:
            raise LostError(f"two atoms are {distances.min():.2f} Å apart")
