"""Ethylammonium nitrate, an ionic liquid: ion pairs packed into a box, 300 to 500 K.

Atoms are ordered as in the published set: all cations (N H H H C H H C H H H), then all anions (N O
O O).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gnnip.errors import ConfigError
from gnnip.sampling import aimd
from gnnip.sampling.packing import pack_box

TITLE = "Ethylammonium nitrate, 15 ion pairs, 300 to 500 K"
CATION = "NHHHCHHCHHH"
ANION = "NOOO"
#: of the published box: 12.9 Angstrom for 15 pairs, 1.25 g/cm^3
VOLUME_PER_PAIR = 12.9**3 / 15  #: Angstrom^3
RADII = {"H": 0.85, "C": 1.40, "N": 1.40, "O": 1.40}  #: of the atoms at the start, Angstrom
_COS = -1.0 / 3.0  #: of the tetrahedral angle


def _tripod(axis: np.ndarray, length: float, twist: float) -> np.ndarray:
    """Return three arms (3, 3) of a tetrahedral atom whose fourth bond points along -axis."""
    z = axis / np.linalg.norm(axis)
    x = np.cross(z, [0.0, 1.0, 0.0] if abs(z[1]) < 0.9 else [1.0, 0.0, 0.0])
    x /= np.linalg.norm(x)
    y = np.cross(z, x)
    angles = np.deg2rad(twist + np.array([0.0, 120.0, 240.0]))[:, None]
    return length * (-_COS * z + np.sqrt(1.0 - _COS**2) * (np.cos(angles) * x + np.sin(angles) * y))


def cation() -> np.ndarray:
    """Return the positions (11, 3) of a staggered ethylammonium ion, order N H3 C H2 C H3."""
    up = np.array([0.0, 0.0, 1.0])
    nitrogen, first = np.zeros(3), 1.50 * up
    on_nitrogen = nitrogen + _tripod(-up, 1.03, 60.0)
    arms = _tripod(up, 1.0, 0.0)
    second = first + 1.52 * arms[0]
    on_first = first + 1.09 * arms[1:]
    on_second = second + _tripod(arms[0], 1.09, 60.0)
    return np.vstack([nitrogen, on_nitrogen, first, on_first, second, on_second])


def anion() -> np.ndarray:
    """Return the positions (4, 3) of a planar nitrate ion, order N O3."""
    angles = np.deg2rad([0.0, 120.0, 240.0])
    oxygens = 1.25 * np.stack([np.cos(angles), np.sin(angles), np.zeros(3)], axis=1)
    return np.vstack([np.zeros(3), oxygens])


def start(plan: aimd.Plan, rng: np.random.Generator) -> Any:
    """Return a packed cube; ConfigError unless the size is a multiple of fifteen."""
    from ase import Atoms

    n, rest = divmod(plan.size, 15)
    if rest:
        raise ConfigError(
            f"{plan.size} atoms are not a whole number of ion pairs; give 30, 225, ..."
        )
    edge = plan.lattice or (n * VOLUME_PER_PAIR) ** (1 / 3)
    # cations and anions in turn, so that none is left for the corners
    radii = [np.array([RADII[s] for s in ion]) for ion in (CATION, ANION)]
    bodies = pack_box([cation(), anion()] * n, [edge] * 3, radii * n, rng)
    return Atoms(
        list(CATION) * n + list(ANION) * n,
        positions=np.concatenate(bodies[0::2] + bodies[1::2]),
        cell=[edge] * 3,
        pbc=True,
    )


#: hydrogen weighs 4 amu for steps of 2 fs: configurations do not depend on it
SYSTEM = aimd.System(
    "ean",
    start,
    settings={
        "phase": "liquid",
        "engine": "xtb method=GFN1-xTB accuracy=10",
        "label_engine": "xtb method=GFN1-xTB",
        "timestep_fs": 2.0,
        "hydrogen_mass": 4.0,
    },
    paper={
        "size": 225,
        "temperatures": (500.0, 400.0, 300.0),
        "frames": 34,
        "stride_fs": 6.0,
        "equilibration_fs": 300.0,
        "settling_fs": 60.0,
        "friction_per_fs": 0.03,
        "interval_steps": 24,
    },
    smoke={
        "size": 30,
        "lattice": 8.5,
        "temperatures": (300.0,),
        "frames": 3,
        "stride_fs": 3.0,
        "equilibration_fs": 6.0,
        "friction_per_fs": 0.1,
        "interval_steps": 4,
    },
)
paper_plan, smoke_plan = SYSTEM.paper_plan, SYSTEM.smoke_plan
run_trajectory = SYSTEM.run_trajectory
