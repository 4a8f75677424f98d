"""Liquid white phosphorus: P4 molecules packed into a box at the density of the liquid.

By GFN2-xTB: GFN1-xTB binds two molecules three times as strongly and links those of a liquid within
a picosecond (docs/references.md).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gnnip.errors import ConfigError
from gnnip.sampling import aimd
from gnnip.sampling.packing import pack_box

TITLE = "Liquid of P4 molecules, 350 and 500 K"
BOND = 2.21  #: Angstrom
#: of the liquid at its melting point, 1.745 g/cm^3
VOLUME_PER_MOLECULE = 4 * 30.973762 / (1.745 * 0.602214076)  #: Angstrom^3
MINIMUM_DISTANCE = 2.9  #: between atoms of two molecules at the start, Angstrom


def molecule() -> np.ndarray:
    """Return the positions (4, 3) of a regular tetrahedron with the bond length of P4."""
    corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=np.float64)
    return corners * BOND / np.sqrt(8.0)


def start(plan: aimd.Plan, rng: np.random.Generator) -> Any:
    """Return a packed cube; ConfigError unless the size is a multiple of four."""
    from ase import Atoms

    n, rest = divmod(plan.size, 4)
    if rest:
        raise ConfigError(
            f"{plan.size} atoms are not a whole number of P4 molecules; give 16, 64, ..."
        )
    edge = plan.lattice or (n * VOLUME_PER_MOLECULE) ** (1 / 3)
    bodies = pack_box([molecule()] * n, [edge] * 3, MINIMUM_DISTANCE, rng)
    return Atoms(f"P{plan.size}", positions=np.concatenate(bodies), cell=[edge] * 3, pbc=True)


SYSTEM = aimd.System(
    "p4",
    start,
    settings={
        "phase": "liquid",
        "engine": "xtb method=GFN2-xTB accuracy=10",
        "label_engine": "xtb method=GFN2-xTB",
        "timestep_fs": 3.0,
    },
    paper={
        "size": 64,
        "temperatures": (500.0, 350.0),
        "frames": 38,
        "stride_fs": 9.0,
        "equilibration_fs": 300.0,
        "settling_fs": 120.0,
        "friction_per_fs": 0.02,
        "interval_steps": 24,
    },
    smoke={
        "size": 16,
        "temperatures": (500.0,),
        "frames": 3,
        "stride_fs": 3.0,
        "equilibration_fs": 6.0,
        "interval_steps": 4,
    },
)
paper_plan, smoke_plan = SYSTEM.paper_plan, SYSTEM.smoke_plan
run_trajectory = SYSTEM.run_trajectory
