"""A gold dimer on MgO(001) and on Al-doped MgO, labelled by density functional theory (CP2K, PBE).

Slab, dimer and displacements are those of `gnnip.sampling.au_mgo`; height and length of the dimer
are relaxed by the engine itself. A trajectory is one of the four kinds (undoped and doped, upright
and flat): the relaxed structure (purpose fig2b) and frames displaced around the path of the dimer
lifted and lowered (purpose train).

Three Al give three electrons: the doped slab has an odd number of them. Levels are filled at an
electronic temperature, and no spin is polarised.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gnnip.errors import ConfigError
from gnnip.reference.engines import make_engine
from gnnip.reference.labelling import PATIENCE_S, label_frames
from gnnip.sampling import au_mgo
from gnnip.sampling import frames as files
from gnnip.sampling.displacements import around_path
from gnnip.sampling.frames import Frame, Progress
from gnnip.sampling.plans import check_plan

TITLE = "Au2 on MgO and on Al-doped MgO: displaced, wetting and non-wetting, PBE"
UNITS = {"path_a": "Angstrom", "gold_oxygen_a": "Angstrom"}
ENGINE = (
    "cp2k basis=DZVP-MOLOPT-SR-GTH cutoff=300 valence=Mg2 electronic_temperature=1000 "
    "convergence=5e-6"
)
#: supports and configurations of the replicas
KINDS = [(s, c) for s in au_mgo.SUPPORTS for c in au_mgo.CONFIGURATIONS]
STIFFNESS = 10.0  #: eV/Angstrom^2, about that of the dimer's bond


@dataclass(frozen=True)
class Plan:
    """What is drawn of one kind.

    size : atoms.  replica : which of KINDS.  frames : places on the path.  path : its ends, in
    Angstrom of height from the relaxed dimer.  slab_deviation, gold_deviation : of the normal
    displacement of each coordinate, Angstrom.  residual : force that a relaxation leaves,
    eV/Angstrom.  engine : relaxes and labels; label_engine : labels, when it is another.

    Raises ConfigError for a number out of its range.
    """

    size: int = 110
    replica: int = 0
    seed: int = 1
    frames: int = 10
    path: tuple[float, float] = (-0.25, 0.35)
    slab_deviation: float = 0.02
    gold_deviation: float = 0.1
    residual: float = 0.02
    engine: str = ENGINE
    label_engine: str = ""

    def __post_init__(self) -> None:
        """Raise ConfigError for a number out of its range."""
        if self.size not in _SLABS or not 0 <= self.replica < len(KINDS):
            raise ConfigError(
                f"Au on MgO has no slab of {self.size} atoms and kind {self.replica}; give one of "
                f"{', '.join(map(str, _SLABS))} atoms and replicas 0 to {len(KINDS) - 1}."
            )
        if self.frames < 2 or not self.path[0] < self.path[1]:
            raise ConfigError(
                f"Au on MgO: {self.frames} frames between {list(self.path)}; a path has two ends, "
                "the lower first."
            )
        check_plan(self, "residual", not_negative=("slab_deviation", "gold_deviation"))

    @property
    def name(self) -> str:
        """Return the name of the kind, e.g. au_mgo_dft-n110-r0."""
        return f"au_mgo_dft-n{self.size:03d}-r{self.replica}"


#: cells along each edge and layers, by number of atoms
_SLABS = {18: (2, 2), 110: (au_mgo.CELLS, au_mgo.LAYERS)}


def paper_plan(size: int = 110, replica: int = 0, seed: int = 1) -> Plan:
    """Return the plan of the shipped data set."""
    return Plan(size, replica, seed)


def smoke_plan(size: int = 18, replica: int = 0, seed: int = 1) -> Plan:
    """Return a plan of seconds: a small slab and a dimer hardly relaxed, by xTB."""
    return Plan(size, replica, seed, frames=2, residual=2.0, engine="xtb method=GFN1-xTB")


def run_trajectory(plan: Plan, folder: str | Path, progress: Progress = print) -> Path:
    """Relax the dimer of one kind, draw its frames and return the path of frames.npz.

    Each step of the relaxation is kept in the folder `relaxation` until the end, so that a run that
    was killed continues to the same frames. Columns: those of `au_mgo.structures`, and replica.

    Raises CheckpointError for a frames.npz of another plan, EngineError for an engine that is not
    installed, DataError where it fails, ConvergenceError when no minimum is found.
    """
    result = Path(folder, "frames.npz")
    if result.exists():
        files.load(result, plan)
        return result
    support, configuration = KINDS[plan.replica]
    cells, layers = _SLABS[plan.size]
    engine = make_engine(plan.engine)
    seconds = {"relaxation": 0.0}

    def forces(atoms: Any) -> tuple[float, np.ndarray]:
        labels = label_frames(
            [atoms],
            engine,
            Path(folder, "relaxation"),
            time_limit_s=PATIENCE_S,
            progress=lambda line: None,
        )
        seconds["relaxation"] += labels.seconds
        progress(f"{plan.name} relaxation: {labels.energies[0]:.4f} eV, {labels.seconds:.0f} s")
        return float(labels.energies[0]), labels.forces[0]

    dimer = partial(au_mgo.with_dimer, support, configuration, cells=cells, layers=layers)
    height, length = au_mgo.relax(
        dimer, forces, configuration, au_mgo.START[configuration], plan.residual, STIFFNESS
    )
    ends = [dimer(height + x, length) for x in plan.path]
    widths = np.where(ends[0].numbers == au_mgo.GOLD, plan.gold_deviation, plan.slab_deviation)
    rng = np.random.default_rng([plan.seed, plan.size, plan.replica])
    kind = f"{support}-{configuration}"
    drawn = [(dimer(height, length), "fig2b", "relaxed", 0.0)]
    for place, atoms in around_path(ends, plan.frames, widths, rng):
        along = plan.path[0] + place * (plan.path[1] - plan.path[0])
        drawn.append((atoms, "train", f"{kind}-train-0", along))
    frames: list[Frame] = []
    for atoms, purpose, trajectory, along in drawn:
        frame = au_mgo.describe(atoms, support, configuration, purpose, trajectory, along)
        frame.columns["replica"] = plan.replica
        frames.append(frame)
    files.write_trajectory(result, plan, frames, units=UNITS, seconds=seconds["relaxation"])
    return result
