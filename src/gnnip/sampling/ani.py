"""Molecules of one to three heavy atoms (H C N O) by normal-mode sampling, as in ANI-1.

Minima and force constants are those of a cheap engine (GFN2-xTB): they only say where structures
are drawn, the labels come from another. All conformations of a molecule form one trajectory; the
isomers of two formulas are kept apart (purpose held_out) to test what was never seen.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gnnip.errors import ConfigError
from gnnip.reference.engines import make_engine, running
from gnnip.sampling import frames as files
from gnnip.sampling import normal_modes
from gnnip.sampling.frames import Frame, Progress
from gnnip.sampling.plans import check_plan

TITLE = "Molecules of 1 to 3 heavy atoms (H C N O), normal-mode sampling"
#: by number of heavy atoms, names as in ASE's G2 collection; H2NCHO is not among them
MOLECULES: dict[int, tuple[str, ...]] = {
    1: ("CH4", "NH3", "H2O"),
    2: ("C2H6", "C2H4", "C2H2", "H3CNH2", "HCN", "CH3OH", "H2CO", "N2H4", "H2O2"),
    3: (
        "C3H8",
        "C3H6_Cs",
        "C3H6_D3h",
        "C3H4_C3v",
        "C3H4_D2d",
        "C3H4_C2v",
        "CH3CH2OH",
        "CH3OCH3",
        "CH3CHO",
        "CH2OCH2",
        "H2CCO",
        "HCOOH",
        "CO2",
        "CH3CH2NH2",
        "C2H6NH",
        "CH2NHCH2",
        "CH3CN",
        "N2O",
    ),
}
HELD_OUT_FORMULAS = ("C3H4", "C2H4O")
TEMPERATURES = {1: 2000.0, 2: 1500.0, 3: 1000.0}  #: kelvin: small molecules are shaken more
UNITS = {"temperature_k": "K"}


@dataclass(frozen=True)
class Plan:
    """What is drawn.

    size : heavy atoms.  conformations : per molecule.  temperature : kelvin, 0 takes that of the
    size.  engine : of minima and force constants; label_engine : what
    labels the conformations.  molecules : names out of `MOLECULES[size]`, all
    when empty.

    Raises ConfigError for a number out of its range.
    """

    size: int
    replica: int = 0
    seed: int = 1
    conformations: int = 56
    temperature: float = 0.0
    engine: str = "xtb method=GFN2-xTB accuracy=0.01"
    label_engine: str = "pyscf"
    molecules: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Fill in molecules and temperature and refuse what is unknown."""
        if self.size not in MOLECULES:
            raise ConfigError(
                f"There are no molecules of {self.size} heavy atoms; give {list(MOLECULES)}."
            )
        object.__setattr__(self, "molecules", tuple(self.molecules or MOLECULES[self.size]))
        object.__setattr__(self, "temperature", self.temperature or TEMPERATURES[self.size])
        unknown = [name for name in self.molecules if name not in MOLECULES[self.size]]
        if unknown:
            raise ConfigError(
                f"'{unknown[0]}' is not a molecule of {self.size} heavy atoms; known are "
                f"{', '.join(MOLECULES[self.size])}."
            )
        check_plan(self, "conformations", "temperature")

    @property
    def name(self) -> str:
        """Return the name of this draw, e.g. ani-n003-r0."""
        return f"ani-n{self.size:03d}-r{self.replica}"


def paper_plan(size: int = 1, replica: int = 0, seed: int = 1) -> Plan:
    """Return the plan of the shipped data set: 400, 66 and 12 conformations per molecule."""
    return Plan(size, replica, seed, conformations={1: 400, 2: 66}.get(size, 12))


def smoke_plan(size: int = 1, replica: int = 0, seed: int = 1) -> Plan:
    """Return a plan of a second."""
    return Plan(size, replica, seed, conformations=3, molecules=MOLECULES[size][:2])


def run_trajectory(plan: Plan, folder: str | Path, progress: Progress = print) -> Path:
    """Draw the conformations of all molecules of one size and return the path of frames.npz.

    Columns of the frames: trajectory and molecule, replica, n_heavy, purpose (train or held_out),
    temperature_k. It takes seconds, so there is nothing to resume.

    Raises CheckpointError for a frames.npz of another plan, EngineError for an engine that is not
    installed.
    """
    result = Path(folder) / "frames.npz"
    if result.exists():
        files.load(result, plan)
        return result
    began = time.perf_counter()
    frames: list[Frame] = []
    with running(make_engine(plan.engine)) as calculator:
        for name in plan.molecules:
            frames += _conformations(plan, name, calculator)
            progress(f"{plan.name} {name}: {len(frames)} conformations in all")
    seconds = time.perf_counter() - began
    files.write_trajectory(result, plan, frames, units=UNITS, seconds=seconds)
    return result


def _conformations(plan: Plan, name: str, calculator: Any) -> list[Frame]:
    from ase.build import molecule

    # a stream of its own for every molecule: it does not depend on what else is drawn
    number = MOLECULES[plan.size].index(name)
    rng = np.random.default_rng([plan.seed, plan.size, plan.replica, number])
    start = molecule(name)
    start.set_initial_magnetic_moments(None)
    minimum = normal_modes.relax(start, calculator)
    constants, vectors = normal_modes.modes(
        minimum.get_masses(), minimum.positions, normal_modes.hessian(minimum, calculator)
    )
    held_out = minimum.get_chemical_formula("hill") in HELD_OUT_FORMULAS
    columns: dict[str, str | int | float] = {
        "trajectory": name,
        "molecule": name,
        "replica": plan.replica,
        "n_heavy": plan.size,
        "purpose": "held_out" if held_out else "train",
        "temperature_k": plan.temperature,
    }
    return [
        Frame(
            minimum.numbers.copy(),
            normal_modes.sample(minimum.positions, constants, vectors, plan.temperature, rng),
            None,
            dict(columns),
        )
        for _ in range(plan.conformations)
    ]
