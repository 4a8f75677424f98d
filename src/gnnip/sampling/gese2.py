"""Germanium diselenide: crystal, damaged network and melt, 1100 to 1800 K.

The crystal is a cristobalite-like network of corner-sharing GeSe4 tetrahedra (space group I-42d, Ge
on 4a, Se on 8d). The phases whose names begin with `layered` start from the stable phase instead,
whose layers have edge-sharing tetrahedra too: chains of corners, joined by pairs of tetrahedra
(G. Dittmar and H. Schaefer, Acta Cryst. B32, 2726 (1976), space group P2_1/c; the coordinates are
those of entry mp-540625 of the Materials Project as it was before relaxation).
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
#: a, b, c (Angstrom) and beta (degrees) of the layered phase, and its sites
_LAYERED_CELL = (7.016, 16.796, 11.831, 90.65)
_LAYERED_SITES = {
    "Ge": (
        (0.6558, 0.1537, 0.7791),
        (0.8283, 0.1494, 0.2227),
        (0.1586, 0.0008, 0.2983),
        (0.3248, 0.3090, 0.7266),
    ),
    "Se": (
        (0.3243, 0.1770, 0.7905),
        (0.7222, 0.0357, 0.8809),
        (0.7695, 0.1156, 0.5998),
        (0.8353, 0.2559, 0.8674),
        (0.5722, 0.3302, 0.5972),
        (0.0801, 0.3373, 0.5952),
        (0.3249, 0.3926, 0.8855),
        (0.8262, 0.4779, 0.8061),
    ),
}
_REPEATS = {12: (1, 1, 1), 48: (2, 2, 1), 72: (2, 3, 1), 96: (2, 2, 2), 384: (4, 4, 2)}


def start(plan: aimd.Plan, rng: np.random.Generator) -> Any:
    """Return the crystal, from which the other phases are molten; ConfigError for other sizes."""
    from ase.spacegroup import crystal

    if plan.phase.startswith("layered"):
        if plan.size != 48 or plan.lattice:
            raise ConfigError(
                "The layered phase of GeSe2 has one cell, of 48 atoms and with its own lattice; "
                f"the plan says {plan.size} atoms and lattice {plan.lattice:g}."
            )
        a, b, c, beta = _LAYERED_CELL
        return crystal(
            [element for element, sites in _LAYERED_SITES.items() for _ in sites],
            basis=[site for sites in _LAYERED_SITES.values() for site in sites],
            spacegroup=14,
            cellpar=[a, b, c, 90, beta, 90],
        )
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
LADDER = (1100.0, 1450.0, 1800.0)
MELT = {
    "phase": "melt",
    "temperatures": LADDER[::-1],
    "melt_kelvin": 3500.0,
    "melt_fs": 600.0,
    "quench_fs": 240.0,
}
NETWORK = {
    "phase": "network",
    "temperatures": LADDER[::-1],
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
    in_turn=({"phase": "crystal", "temperatures": LADDER}, NETWORK, MELT, MELT),
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
