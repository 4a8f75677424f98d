"""Silicon carbide in the zincblende structure, 1500 to 3500 K."""

from __future__ import annotations

from typing import Any

import numpy as np

from gnnip.errors import ConfigError
from gnnip.sampling import aimd

TITLE = "SiC, zincblende, 1500 to 3500 K"
#: GFN2-xTB has its minimum there (+0.5 % from experiment); GFN1-xTB is 2.9 % too large
LATTICE = 4.382


def start(plan: aimd.Plan, rng: np.random.Generator) -> Any:
    """Return the perfect crystal, 8 n^3 atoms; ConfigError for any other size."""
    from ase.build import bulk

    n = round((plan.size / 8) ** (1 / 3))
    if plan.size != 8 * n**3:
        raise ConfigError(f"A cube of SiC cannot have {plan.size} atoms; give 8, 64, 216, ...")
    return bulk("SiC", "zincblende", a=plan.lattice or LATTICE, cubic=True) * (n, n, n)


#: GFN1-xTB draws the frames, at the lattice constant of GFN2-xTB, which labels them: a step of it
#: costs a third
SYSTEM = aimd.System(
    "sic",
    start,
    settings={
        "phase": "crystal",
        "engine": "xtb method=GFN1-xTB accuracy=10",
        "timestep_fs": 2.0,
        "boost": 2.0,
    },
    paper={
        "size": 64,
        "label_engine": "xtb method=GFN2-xTB",
        "temperatures": (1500.0, 2000.0, 2500.0, 3000.0, 3500.0),
        "frames": 17,
        "stride_fs": 6.0,
        "equilibration_fs": 120.0,
        "settling_fs": 40.0,
        "friction_per_fs": 0.05,
        "interval_steps": 21,
    },
    smoke={
        "size": 8,
        "label_engine": "xtb method=GFN1-xTB",
        "temperatures": (1500.0, 2500.0),
        "frames": 3,
        "stride_fs": 2.0,
        "equilibration_fs": 4.0,
        "settling_fs": 2.0,
        "interval_steps": 4,
    },
)
paper_plan, smoke_plan = SYSTEM.paper_plan, SYSTEM.smoke_plan
run_trajectory = SYSTEM.run_trajectory
