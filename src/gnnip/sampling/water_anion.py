"""Langevin dynamics of the water cluster anion on V_SPC/F + E_0, and the labels of its frames.

A trajectory is one independent story of one cluster: a random drop is quenched and annealed
without the electron; the electron joins it (a surface state that deepens) or is held in a soft
cavity until it lives inside (an interior state); the anion equilibrates at the first temperature,
gives frames, and is cooled to the next temperatures, if there are any, with frames at each. So
frames of one trajectory are related, frames of different trajectories are not: split data by
trajectory.

The plan of this module is the data set `water_anion`: one trajectory in equilibrium for each size
and temperature. Clusters below 150 K get their electron at 200 K and are cooled with it: from a
drop that is already cold it would not find its place. The plan of
`gnnip.sampling.water_anion_ladder` takes the frames of all temperatures from each trajectory.

The work is a list of intervals (`gnnip.sampling.intervals`). In each the electron is solved anew,
which also guards against following an excited state; a run that was killed continues to the same
frames, bit for bit on one machine.

A cluster that loses a molecule (evaporation) or whose electron is not bound when a frame is due is
no (H2O)N- any more: the attempt is abandoned, recorded in `events`, and the trajectory starts
again with the next seed. All frames therefore come from one intact cluster with a bound electron.
Whether the electron stayed in the state that it was started in, the frames say.

This module needs numpy, scipy and numba only. Everything inside is in atomic units.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from gnnip.errors import ConfigError, ConvergenceError, StructureError
from gnnip.reference import spcf
from gnnip.reference.electron import ElectronSolver, ElectronState
from gnnip.sampling import clusters, intervals
from gnnip.sampling.atomic_units import FEMTOSECOND
from gnnip.sampling.frames import Frame, Progress, Trajectory
from gnnip.sampling.intervals import LostError, State
from gnnip.sampling.langevin import Langevin, kinetic_temperature, maxwell_momenta
from gnnip.sampling.plans import check_plan, check_temperatures

TITLE = "Water cluster anions in equilibrium: V_SPC/F + E_0"
TEMPERATURES = (50.0, 100.0, 150.0, 200.0)  #: kelvin, of the replicas 0 to 3
STATES = ("surface", "interior")
#: of the frames, whose energies are as exact as the dynamics
UNITS = {
    "positions": "Bohr",
    "temperature_k": "K",
    "time_fs": "fs",
    "energy_atomic": "Hartree",
    "energy_electronic": "Hartree",
    "electron_gyration_radius": "Bohr",
    "electron_offset": "Bohr",
    "kinetic_temperature_k": "K",
}

#: what is written down after every impulse while sampling: both terms (Hartree) and the radius of
#: the cluster (Bohr)
SERIES = ("energy_atomic", "energy_electronic", "radius")

# seeding of interior states: a soft sphere that pushes atoms out of the centre and keeps the
# electron in
CAVITY_STIFFNESS = 0.02  #: Hartree/Bohr^2
CAVITY_RADIUS = np.array([6.5, 4.2, 4.2])  #: Bohr, for O H H
CONFINEMENT = (0.03, 4.0)  #: Hartree/Bohr and Bohr, for the electron


@dataclass(frozen=True)
class Dynamics:
    """What every trajectory of the anion states. Times in fs.

    size: molecules; frames: per temperature. electron_fs: interval of the electron's impulse while
    sampling (4 fs at most: resonance with the O-H stretch). An electron that is not bound for a
    moment is held in a box of margin capture_box (Bohr). spacing (Bohr), wall_accuracy and residual
    (Hartree), precision: the electron solver while moving.

    Raises ConfigError for a number out of its range.
    """

    size: int
    replica: int = 0
    seed: int = 1
    frames: int = 10
    stride_fs: float = 300.0
    equilibration_fs: float = 4000.0
    checkpoint_fs: float = 500.0
    timestep_fs: float = 0.5
    electron_fs: float = 2.0
    friction_per_fs: float = 1.0 / 40.0
    capture_box: float = 14.0
    spacing: float = 2.0
    wall_accuracy: float = 3e-4
    residual: float = 5e-4
    precision: Literal["single", "double"] = "single"
    max_attempts: int = 6

    def __post_init__(self) -> None:
        """Raise ConfigError for a number out of its range."""
        times = ("stride_fs", "timestep_fs", "electron_fs")
        check_plan(self, "size", "frames", *times, "max_attempts")
        _check_impulse(self.electron_fs)

    @property
    def name(self) -> str:
        """Return the trajectory's name."""
        return f"n{self.size:03d}-r{self.replica}"


def _check_impulse(interval_fs: float) -> None:
    if interval_fs > 4.0:
        raise ConfigError(
            "The electron's impulse must come at least every 4 fs: longer intervals resonate "
            "with the O-H stretch and the trajectory explodes."
        )


@dataclass(frozen=True)
class Plan(Dynamics):
    """Every number of a trajectory. Times in fs, temperatures in kelvin.

    start: "surface" or "interior". Before the first of the temperatures the new electron lives at
    those of joining, joining_fs at each. A surface start holds the new electron for capture_fs in a
    box: it would drift off a cluster that has not yet turned to it.
    electron_equilibration_fs is electron_fs while not sampling.

    Raises ConfigError for a number out of its range.
    """

    start: str = "surface"
    joining: tuple[float, ...] = ()
    temperatures: tuple[float, ...] = (200.0, 150.0, 100.0, 50.0)
    quench_steps: int = 200
    anneal_kelvin: float = 260.0
    anneal_fs: float = 8000.0
    neutral_fs: float = 4000.0
    seeding_fs: float = 600.0
    capture_fs: float = 4000.0
    joining_fs: float = 4000.0
    cooling_fs: float = 1500.0
    electron_equilibration_fs: float = 4.0

    def __post_init__(self) -> None:
        """Raise ConfigError for a number out of its range."""
        super().__post_init__()
        for name in ("joining", "temperatures"):
            object.__setattr__(self, name, tuple(float(t) for t in getattr(self, name)))
        if self.start not in STATES:
            raise ConfigError(f"start = '{self.start}' is unknown; give 'surface' or 'interior'.")
        check_temperatures(self.temperatures)
        check_temperatures((*self.joining, *self.temperatures))
        _check_impulse(self.electron_equilibration_fs)

    @property
    def joins_at(self) -> float:
        """Return the temperature (kelvin) at which the electron joins the cluster."""
        return (*self.joining, *self.temperatures)[0]

    @property
    def name(self) -> str:
        """Return the trajectory's name, e.g. n020-t050-r0, without t where there are several."""
        if len(self.temperatures) > 1:
            return super().name
        return f"n{self.size:03d}-t{self.temperatures[0]:03.0f}-r{self.replica}"


def paper_plan(size: int = 20, replica: int = 0, seed: int = 2) -> Plan:
    """Return the plan of the shipped data set: 40 frames at the temperature of the replica.

    Small clusters start at the surface, large ones inside, those between in both states. The seed
    is not that of the ladder, whose drops would be the same.
    """
    temperature = TEMPERATURES[replica % 4]
    warmer = tuple(t for t in TEMPERATURES[::-1] if t > temperature)
    inside = size > 100 or (size > 32 and temperature in (100.0, 200.0))
    return Plan(
        size,
        replica,
        seed,
        start="interior" if inside else "surface",
        joining=warmer if temperature < 150.0 else (),
        temperatures=(temperature,),
        frames=40,
        stride_fs=800.0,
        equilibration_fs=12000.0,
        max_attempts=12,
    )


#: what makes a plan one of a few seconds
SMOKE: dict[str, Any] = {
    "frames": 2,
    "stride_fs": 8.0,
    "quench_steps": 60,
    "anneal_fs": 200.0,
    "neutral_fs": 100.0,
    "seeding_fs": 60.0,
    "capture_fs": 400.0,
    "joining_fs": 12.0,
    "equilibration_fs": 24.0,
    "cooling_fs": 12.0,
    "checkpoint_fs": 100.0,
}


def smoke_plan(size: int = 20, replica: int = 0, seed: int = 2) -> Plan:
    """Return a plan of a few seconds for tests: two frames, femtosecond strides."""
    return replace(paper_plan(size, replica, seed), **SMOKE)


def told(trajectory: Trajectory) -> str:
    """Return how a trajectory was started, for the registry."""
    return f"started {trajectory.plan['start']}"


@dataclass(frozen=True)
class Interval:
    """A stretch of a trajectory: impulses of the electron at one temperature (kelvin)."""

    stage: str  # neutral, seeding, capture, joining, equilibration, cooling, sampling
    temperature: float
    impulses: int
    electron_fs: float  # the neutral stage has impulses too, without an electron


def stretches(
    plan: Dynamics, stage: str, temperature: float, length: float, step: float
) -> list[Interval]:
    """Return the intervals, of checkpoint_fs at most, of a stage of a length (fs)."""
    left, chunk = round(length / step), max(1, round(plan.checkpoint_fs / step))
    return [
        Interval(stage, temperature, min(chunk, left - done), step)
        for done in range(0, left, chunk)
    ]


def sampling(plan: Dynamics, temperature: float) -> list[Interval]:
    """Return the intervals at whose ends frames are taken."""
    impulses = max(1, round(plan.stride_fs / plan.electron_fs))
    return [Interval("sampling", temperature, impulses, plan.electron_fs)] * plan.frames


def schedule(plan: Plan) -> list[Interval]:
    """Return the intervals of a plan, in order."""
    found: list[Interval] = []

    def add(*stage: Any) -> None:
        found.extend(stretches(plan, *stage))

    slow = plan.electron_equilibration_fs
    add("neutral", plan.anneal_kelvin, plan.anneal_fs, slow)
    add("neutral", plan.joins_at, plan.neutral_fs, slow)
    if plan.start == "interior":
        add("seeding", plan.joins_at, plan.seeding_fs, slow)
    else:
        add("capture", plan.joins_at, plan.capture_fs, slow)
    for temperature in plan.joining:
        add("joining", temperature, plan.joining_fs, slow)
    for i, temperature in enumerate(plan.temperatures):
        if i == 0:
            add("equilibration", temperature, plan.equilibration_fs, slow)
        else:
            add("cooling", temperature, plan.cooling_fs, slow)
        found += sampling(plan, temperature)
    return found


def electron_state(
    positions: np.ndarray, centre: np.ndarray, gyration_radius: float
) -> tuple[str, float]:
    """Return ("surface" or "interior", offset): where the electron lives.

    The offset (Bohr) is the distance of the electron's centroid from the cluster's centre of mass.
    The state is interior when the electron's sphere of gyration lies inside the cluster's sphere,
    offset + r_g <= R, R = sqrt(5/3) R_g of the oxygens. `positions` (3N, 3), `centre` (3,), Bohr.
    """
    offset = float(np.linalg.norm(centre - clusters.centre_of_mass(positions)))
    inside = offset + gyration_radius <= clusters.radius(positions)
    return ("interior" if inside else "surface"), offset


def label(positions: np.ndarray, accuracy: float = 1e-5) -> dict[str, Any]:
    """Return the labels of one geometry, `positions` (3N, 3) in Bohr, order O H H; atomic units.

    Keys: energy_atomic (V_SPC/F), energy_electronic (E_0), forces_atomic and forces_electronic
    (3N, 3), electron_gyration_radius, electron_offset, gap (E_1 - E_0), state, bound.

    Raises StructureError for atoms that are not water, ConvergenceError when E_0 misses `accuracy`
    (Hartree).
    """
    energy, forces = spcf.energy_and_forces(positions)
    electron = ElectronSolver(accuracy=accuracy).solve(positions, gap=True)
    state, offset = electron_state(positions, electron.centre, electron.gyration_radius)
    return {
        "energy_atomic": energy,
        "energy_electronic": electron.energy,
        "forces_atomic": forces,
        "forces_electronic": electron.forces,
        "electron_gyration_radius": electron.gyration_radius,
        "electron_offset": offset,
        "gap": electron.gap,
        "state": state,
        "bound": electron.bound,
    }


def _begin(plan: Plan, attempt: int) -> State:
    rng = np.random.default_rng([plan.seed, plan.size, plan.replica, attempt])
    positions = clusters.random_cluster(plan.size, rng)
    positions = clusters.quench(positions, spcf.energy_and_forces, plan.quench_steps)
    temperature = plan.anneal_kelvin if plan.anneal_fs > 0 else plan.joins_at
    momenta = maxwell_momenta(clusters.masses(plan.size), temperature, 1, rng)
    return State(positions[None], momenta, rng, attempt)


class Electron:
    """Forces of the electron on each of several geometries, warm-started; `states` of the last
    ones."""

    def __init__(self, plan: Dynamics, stage: str = "") -> None:
        """Start without a guess; an interior state is seeded and a new electron held in a box."""
        self.plan = plan
        self.seeding = stage == "seeding"
        self.boxed = stage in ("seeding", "capture")
        self.solver = self._solver(None)
        self.box_solver = self._solver(plan.capture_box)
        self.states: list[ElectronState] = []
        self.solves = 0

    def _solver(self, margin: float | None) -> ElectronSolver:
        return ElectronSolver(
            self.plan.wall_accuracy,
            self.plan.spacing,
            margin,
            self.plan.residual,
            precision=self.plan.precision,
        )

    def forces(self, positions: np.ndarray) -> np.ndarray:
        """Return the forces (geometries, 3N, 3) at `positions` of that shape."""
        guesses: Sequence[ElectronState | None] = self.states or [None] * len(positions)
        try:
            self.states = [self.solve(x, g) for x, g in zip(positions, guesses, strict=True)]
        except StructureError as error:
            raise LostError(f"no box holds the cluster ({error})") from error
        return np.array([state.forces for state in self.states])

    def solve(self, x: np.ndarray, guess: ElectronState | None) -> ElectronState:
        """Return the state of one geometry, on the grid of the guess while that will do."""
        self.solves += 1
        if not self.boxed:
            try:
                state = self.solver.solve(x, guess=guess, fixed_grid=guess is not None)
                if state.forces is not None:
                    return state
            except ConvergenceError:
                pass
            # not bound at the moment: the box keeps it near, and no frame is taken of it
            guess = None
        return self.box_solver.solve(
            x,
            guess=guess,
            fixed_grid=guess is not None,
            confinement=CONFINEMENT if self.seeding else None,
        )

    def check_bound(self, state: ElectronState) -> None:
        """Raise LostError when the electron is not bound without the help of the walls."""
        if not (state.bound and state.boundary_error <= self.plan.wall_accuracy):
            raise LostError("the electron is not bound")


class _AtomForces:
    """Forces of V_SPC/F (with the seeding cavity) on the one geometry, and the last energy."""

    def __init__(self, seeding: bool) -> None:
        self.seeding = seeding
        self.energy = 0.0

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        self.energy, forces = spcf.energy_and_forces(positions[0])
        return (forces + cavity_forces(positions[0]) if self.seeding else forces)[None]


def cavity_forces(positions: np.ndarray) -> np.ndarray:
    """Return forces (3N, 3) that push atoms out of a soft sphere at the centre of mass (atomic
    units).

    V = k/2 (r_c - r)^2 for r < r_c, with r_c = 6.5 Bohr for O and 4.2 Bohr for H, k = 0.02
    Hartree/Bohr^2.
    """
    away = positions - clusters.centre_of_mass(positions)
    distance = np.linalg.norm(away, axis=1)
    reach = np.tile(CAVITY_RADIUS, len(positions) // 3)
    push = CAVITY_STIFFNESS * np.maximum(reach - distance, 0.0)
    return (push / np.maximum(distance, 1e-6))[:, None] * away


def _run_interval(plan: Plan, interval: Interval, state: State) -> str:
    """Advance `state` by one interval; return what to tell of it."""
    dynamics = Langevin(
        clusters.masses(plan.size),
        plan.timestep_fs * FEMTOSECOND,
        plan.friction_per_fs / FEMTOSECOND,
        interval.temperature,
        rigid_motion=False,
    )
    atoms, electron = _AtomForces(interval.stage == "seeding"), Electron(plan, interval.stage)
    n_inner = max(1, round(interval.electron_fs / plan.timestep_fs))
    charged = interval.stage != "neutral"
    x, p = state.positions, state.momenta
    fast = atoms(x)
    slow = electron.forces(x) if charged else None
    for _ in range(interval.impulses):
        x, p, fast, slow = dynamics.advance(
            x,
            p,
            fast,
            atoms,
            state.rng,
            n_inner=n_inner,
            slow_forces=slow,
            slow=electron.forces if charged else None,
        )
        if interval.stage == "sampling":
            state.series.append((atoms.energy, electron.states[0].energy, clusters.radius(x[0])))
    state.positions, state.momenta = x, p
    state.time_fs += interval.impulses * n_inner * plan.timestep_fs if charged else 0.0
    state.evaluations += electron.solves
    check_whole(x[0])
    if interval.stage == "sampling":
        electron.check_bound(electron.states[0])
        state.frames.append(
            frame_of(plan, state, x[0], electron.states[0], temperature_k=interval.temperature)
        )
    return _told(plan, state, electron.states)


def check_whole(positions: np.ndarray) -> None:
    """Raise LostError for a cluster (3N, 3) that has lost a molecule."""
    pieces = clusters.fragments(positions)
    if len(pieces) > 1:
        raise LostError(f"evaporation into pieces of {', '.join(map(str, pieces))} molecules")


def frame_of(
    plan: Dynamics, state: State, x: np.ndarray, electron: ElectronState, **columns: Any
) -> Frame:
    """Return the frame of a geometry `x` (3N, 3) with its electron; `columns` are joined."""
    where, offset = electron_state(x, electron.centre, electron.gyration_radius)
    return Frame(
        np.tile([8, 1, 1], plan.size),
        x - clusters.centre_of_mass(x),
        None,
        {
            "trajectory": plan.name,
            "replica": plan.replica,
            "time_fs": state.time_fs,
            "state": where,
            "energy_atomic": spcf.energy_and_forces(x)[0],
            "energy_electronic": electron.energy,
            "electron_gyration_radius": electron.gyration_radius,
            "electron_offset": offset,
            "kinetic_temperature_k": temperature_of(state),
            **columns,
        },
    )


def temperature_of(state: State) -> float:
    """Return the kinetic temperature (kelvin) of the momenta, rigid motion apart."""
    masses = clusters.masses(state.momenta.shape[1] // 3)
    return kinetic_temperature(state.momenta, masses, constraints=6)


def _told(plan: Plan, state: State, electrons: Sequence[ElectronState]) -> str:
    x = state.positions[0]
    line = f"T {temperature_of(state):.0f} K, V {spcf.energy_and_forces(x)[0]:.4f} Ha"
    for electron in electrons:
        where, _ = electron_state(x, electron.centre, electron.gyration_radius)
        line += f", E0 {electron.energy:.4f} Ha, r_g {electron.gyration_radius:.1f} Bohr, {where}"
    return line


def run_trajectory(
    plan: Plan,
    folder: str | os.PathLike[str],
    progress: Progress = print,
    deadline: float | None = None,
) -> Path:
    """Run or continue a trajectory and return the path of its frames.npz.

    Positions of the frames are in Bohr around the centre of mass. Columns: trajectory, replica,
    temperature_k, time_fs (of the anion), state, energy_atomic and energy_electronic (Hartree, at
    the accuracy of the dynamics), electron_gyration_radius and electron_offset (Bohr),
    kinetic_temperature_k. The series has the columns SERIES. Evaluations are solutions for the
    electron.

    Raises as `intervals.run` does.
    """

    def advance(interval: Interval, state: State) -> str:
        return _run_interval(plan, interval, state)

    return intervals.run(
        plan,
        folder,
        schedule(plan),
        functools.partial(_begin, plan),
        advance,
        units=UNITS,
        cure="lower the temperatures or raise max_attempts",
        progress=progress,
        deadline=deadline,
    )
