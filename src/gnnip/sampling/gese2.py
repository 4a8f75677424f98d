"""Germanium diselenide: crystal, damaged network and melt, 1100 to 1800 K.

The crystal is a cristobalite-like network of corner-sharing GeSe4 tetrahedra (space group I-42d, Ge
on 4a, Se on 8d): the layered phase has edge-sharing tetrahedra too, which come up in the melt.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gnnip.errors import ConfigError
from gnnip.sampling import aimd

TITLE = "GeSe2: crystal, network and melt, 1100 to 1800 K"
LATTICE = 5.7835  #: a, Angstrom; with c = 1.8847 a 4.20 g/cm^3
_C_BY_A = 10.900 / 5.7835
_X_SE = 0.2203
_REPEATS = {12: (1, 1, 1), 48: (2, 2, 1), 72: (2, 3, 1), 96: (2, 2, 2), 384: (4, 4, 2)}


def start(plan: aimd.Plan, rng: np.random.Generator) -> Any:
    """Return the crystal, from which the other phases are molten; ConfigError for other sizes."""
    from ase.spacegroup import crystal

    if plan.size not in _REPEATS:
        raise ConfigError(
            f"GeSe2 has no cell of {plan.size} atoms; give one of {', '.join(map(str, _REPEATS))}."
        )
    a = plan.lattice or LATTICE
    atoms = crystal(
        ("Ge", "Se"),
        basis=[(0, 0, 0), (_X_SE, 0.25, 0.125)],
        spacegroup=122,
        cellpar=[a, a, _C_BY_A * a, 90, 90, 90],
    )
    return atoms * _REPEATS[plan.size]


#: of four replicas of the shipped set one starts from the crystal, one from a network shaken at
#: 2500 K, and two from a melt at 3500 K; those are cooled
_LADDER = (1100.0, 1450.0, 1800.0)
_MELT = {
    "phase": "melt",
    "temperatures": _LADDER[::-1],
    "melt_kelvin": 3500.0,
    "melt_fs": 600.0,
    "quench_fs": 240.0,
}
_NETWORK = {
    "phase": "network",
    "temperatures": _LADDER[::-1],
    "melt_kelvin": 2500.0,
    "melt_fs": 450.0,
    "quench_fs": 150.0,
}
SYSTEM = aimd.System(
    "gese2",
    start,
    settings={
        "engine": "xtb method=GFN1-xTB accuracy=10",
        "label_engine": "xtb method=GFN1-xTB",
        "timestep_fs": 3.0,
        "boost": 2.0,
    },
    paper={
        "size": 48,
        "frames": 28,
        "stride_fs": 9.0,
        "equilibration_fs": 180.0,
        "settling_fs": 90.0,
        "friction_per_fs": 0.03,
        "interval_steps": 24,
    },
    in_turn=({"phase": "crystal", "temperatures": _LADDER}, _NETWORK, _MELT, _MELT),
    smoke={
        "size": 12,
        "phase": "melt",
        "temperatures": (1800.0, 1100.0),
        "frames": 2,
        "stride_fs": 3.0,
        "equilibration_fs": 3.0,
        "settling_fs": 3.0,
        "melt_kelvin": 3000.0,
        "melt_fs": 6.0,
        "quench_fs": 3.0,
        "interval_steps": 4,
    },
)
paper_plan, smoke_plan = SYSTEM.paper_plan, SYSTEM.smoke_plan
run_trajectory = SYSTEM.run_trajectory
