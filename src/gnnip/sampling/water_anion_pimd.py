"""Path integrals of the water cluster anion on V_SPC/F + E_0: a bead and the centroid.

Each trajectory is a ring polymer (`gnnip.sampling.langevin`) at one size and temperature. It starts
collapsed from a classical frame of that size and temperature (of the data set `water_anion`),
equilibrates, and then gives a pair of frames at each stride: one bead, drawn at random, and the
centroid. V_SPC/F acts on all beads, its intramolecular part at every step; between molecules it
comes with the impulse of the electron, which lives on a contracted ring of a few beads.

The series follows the energy of the quantum cluster, <V + E_0> plus the kinetic energy, in the
centroid virial and in the primitive estimator: a ring in equilibrium has no drift in the first and
the same mean of both.

Everything inside is in atomic units.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gnnip.errors import DataError
from gnnip.reference import spcf
from gnnip.sampling import clusters, intervals, water_anion
from gnnip.sampling.atomic_units import FEMTOSECOND
from gnnip.sampling.correlation import drift
from gnnip.sampling.frames import Frame, Progress, Trajectory
from gnnip.sampling.intervals import State
from gnnip.sampling.langevin import Langevin, maxwell_momenta
from gnnip.sampling.path_integrals import contraction, kinetic_energies
from gnnip.sampling.plans import check_plan, check_temperatures
from gnnip.sampling.water_anion import TEMPERATURES, Electron, Interval

TITLE = "Water cluster anions by path integrals: V_SPC/F + E_0 of beads and centroids"
#: what is written down after every impulse while sampling: means over the ring (Hartree), the
#: radius of the centroid's cluster (Bohr), the energy in both estimators (Hartree)
SERIES = (*water_anion.SERIES, "energy_virial", "energy_primitive")
#: units of the columns that frames have beside those of `water_anion`
COLUMNS = {"geometry": "", "kinetic_virial": "Hartree", "kinetic_primitive": "Hartree"}
#: beads times kelvin of the shipped data set
BEADS_KELVIN = 9600.0


@dataclass(frozen=True)
class Plan(water_anion.Dynamics):
    """Every number of a trajectory: those of `water_anion.Dynamics`, and the ring's.

    temperature in kelvin; beads of the ring; electron_beads of the contracted ring, odd, or as many
    as the beads. frames: instants, two frames of each.

    Raises ConfigError for a number out of its range.
    """

    temperature: float = 200.0
    beads: int = 16
    electron_beads: int = 3

    def __post_init__(self) -> None:
        """Raise ConfigError for a number out of its range."""
        super().__post_init__()
        check_temperatures((self.temperature,))
        check_plan(self, "beads")
        contraction(self.beads, self.electron_beads)

    @property
    def name(self) -> str:
        """Return the trajectory's name, e.g. n020-t050-p0."""
        return f"n{self.size:03d}-t{self.temperature:03.0f}-p{self.replica}"


def paper_plan(size: int = 20, replica: int = 0, seed: int = 3) -> Plan:
    """Return the plan of the shipped data set: 20 instants at the temperature of the replica."""
    temperature = TEMPERATURES[replica % 4]
    return Plan(
        size,
        replica,
        seed,
        temperature=temperature,
        beads=round(BEADS_KELVIN / temperature),
        electron_beads=5,
        frames=20,
        stride_fs=250.0,
        equilibration_fs=2000.0,
        checkpoint_fs=250.0,
    )


def smoke_plan(size: int = 20, replica: int = 0, seed: int = 3) -> Plan:
    """Return a plan of a few seconds for tests: two instants of a ring of a few beads."""
    return replace(
        paper_plan(size, replica, seed),
        beads=8,
        electron_beads=3,
        frames=2,
        stride_fs=8.0,
        equilibration_fs=16.0,
        checkpoint_fs=8.0,
    )


def schedule(plan: Plan) -> list[Interval]:
    """Return the intervals of a plan, in order."""
    stage = ("equilibration", plan.temperature, plan.equilibration_fs, plan.electron_fs)
    return water_anion.stretches(plan, *stage) + water_anion.sampling(plan, plan.temperature)


def told(trajectory: Trajectory) -> str:
    """Return what the registry says of a trajectory's ring and of its equilibrium."""
    plan, step = trajectory.plan, trajectory.plan["electron_fs"]
    virial, primitive = trajectory.series[:, -2:].T
    moved, error = drift(virial, step)
    return (
        f"{plan['beads']} beads, {plan['electron_beads']} of the electron, energy "
        f"{virial.mean():.4f} Ha (primitive estimator {primitive.mean() - virial.mean():+.4f}), "
        f"drift {moved:+.4f} +- {error:.4f}"
    )


class _RingForces:
    """Forces on the beads' potentials: intramolecular fast, the others slow; and energies."""

    def __init__(self, plan: Plan) -> None:
        self.electron = Electron(plan)
        self.contraction = contraction(plan.beads, plan.electron_beads)
        self.intramolecular = self.intermolecular = 0.0

    def fast(self, positions: np.ndarray) -> np.ndarray:
        energies, forces = spcf.of_beads("intramolecular", positions)
        self.intramolecular = float(energies.mean())
        return forces

    def slow(self, positions: np.ndarray) -> np.ndarray:
        energies, forces = spcf.of_beads("intermolecular", positions)
        self.intermolecular = float(energies.mean())
        pull = self.electron.forces(np.tensordot(self.contraction, positions, 1))
        share = self.contraction.T * (len(positions) / len(pull))
        return forces + np.tensordot(share, pull, 1)

    def terms(self) -> tuple[float, float]:
        """Return V and E_0 (Hartree) at the last positions, means over the ring."""
        electronic = float(np.mean([state.energy for state in self.electron.states]))
        return self.intramolecular + self.intermolecular, electronic


def begin(plan: Plan, starts: Sequence[np.ndarray], attempt: int = 0) -> State:
    """Return a collapsed ring at one of the positions (3N, 3) of `starts`."""
    rng = np.random.default_rng([plan.seed, plan.size, plan.replica, attempt])
    # the last frame is the best equilibrated; a lost ring starts again from the one before
    start = starts[-1 - attempt % len(starts)]
    momenta = maxwell_momenta(clusters.masses(plan.size), plan.temperature, plan.beads, rng)
    return State(np.repeat(start[None], plan.beads, axis=0), momenta, rng, attempt)


def run_interval(plan: Plan, interval: Interval, state: State) -> str:
    """Advance `state` by one interval; return what to tell of it."""
    masses = clusters.masses(plan.size)
    dynamics = Langevin(
        masses,
        plan.timestep_fs * FEMTOSECOND,
        plan.friction_per_fs / FEMTOSECOND,
        plan.temperature,
        plan.beads,
        rigid_motion=False,
    )
    forces = _RingForces(plan)
    n_inner = max(1, round(interval.electron_fs / plan.timestep_fs))
    x, p = state.positions, state.momenta
    f, g = forces.fast(x), forces.slow(x)
    for _ in range(interval.impulses):
        x, p, f, slow = dynamics.advance(
            x, p, f, forces.fast, state.rng, n_inner=n_inner, slow_forces=g, slow=forces.slow
        )
        assert slow is not None
        g = slow
        kinetic = np.array(kinetic_energies(x, f + g, masses, plan.temperature))
        terms = forces.terms()
        if interval.stage == "sampling":
            radius = clusters.radius(x.mean(axis=0))
            state.series.append((*terms, radius, *(kinetic + sum(terms)).tolist()))
    state.positions, state.momenta = x, p
    state.time_fs += interval.impulses * n_inner * plan.timestep_fs
    centroid = x.mean(axis=0)
    water_anion.check_whole(centroid)
    if interval.stage == "sampling":
        geometries = {"bead": x[int(state.rng.integers(plan.beads))], "centroid": centroid}
        for geometry, positions in geometries.items():
            electron = forces.electron.solve(positions, None)
            forces.electron.check_bound(electron)
            about = {
                "temperature_k": plan.temperature,
                "geometry": geometry,
                "kinetic_virial": float(kinetic[0]),
                "kinetic_primitive": float(kinetic[1]),
            }
            frame = water_anion.frame_of(plan, state, positions, electron, **about)
            state.frames.append(frame)
    state.evaluations += forces.electron.solves
    return (
        f"T {water_anion.temperature_of(state):.0f} K, V {terms[0]:.4f} Ha, E0 {terms[1]:.4f} Ha, "
        f"kinetic {kinetic[0]:.4f} Ha (virial) {kinetic[1]:.4f} Ha (primitive)"
    )


def run_trajectory(
    plan: Plan,
    folder: str | os.PathLike[str],
    progress: Progress = print,
    deadline: float | None = None,
    *,
    starts: Sequence[Frame] = (),
) -> Path:
    """Run or continue a trajectory and return the path of its frames.npz.

    `starts` are frames of classical clusters in Bohr; the last one of the plan's size and of its
    temperature (column temperature_k) is the start. Columns are those of `water_anion` and COLUMNS,
    with the estimators of the kinetic energy (Hartree) at the instant; energies and states are
    those of the frame's own geometry. The series has the columns SERIES.

    Raises DataError when none of `starts` fits, and as `intervals.run` does.
    """
    fitting = [
        frame.positions
        for frame in starts
        if len(frame.numbers) == 3 * plan.size
        and frame.columns.get("temperature_k") == plan.temperature
    ]
    if not fitting:
        raise DataError(
            f"{plan.name} starts from a classical frame of {plan.size} molecules at "
            f"{plan.temperature:g} K, but there is none among {len(starts)}; name a data set that "
            "has one (starts)."
        )

    def advance(interval: Interval, state: State) -> str:
        return run_interval(plan, interval, state)

    return intervals.run(
        plan,
        folder,
        schedule(plan),
        functools.partial(begin, plan, fitting),
        advance,
        units=water_anion.UNITS | COLUMNS,
        cure="start from other frames or raise max_attempts",
        progress=progress,
        deadline=deadline,
    )
