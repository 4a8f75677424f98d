"""Silicon carbide in the zincblende structure, 1500 to 3500 K."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gnnip.errors import ConfigError
from gnnip.sampling import aimd
from gnnip.sampling.frames import Progress

TITLE = "SiC, zincblende, 1500 to 3500 K"
#: GFN2-xTB has its minimum there (+0.5 % from experiment); GFN1-xTB is 2.9 % too large
LATTICE = 4.382
SIZES = (64,)


def start(plan: aimd.Plan, rng: np.random.Generator) -> Any:
    """Return the perfect crystal, 8 n^3 atoms; ConfigError for any other size."""
    from ase.build import bulk

    n = round((plan.size / 8) ** (1 / 3))
    if plan.size != 8 * n**3:
        raise ConfigError(f"A cube of SiC cannot have {plan.size} atoms; give 8, 64, 216, ...")
    return bulk("SiC", "zincblende", a=plan.lattice or LATTICE, cubic=True) * (n, n, n)


#: what every plan of the system has
_plan = partial(
    aimd.Plan,
    "sic",
    phase="crystal",
    timestep_fs=2.0,
    boost=2.0,
)


def paper_plan(size: int = 64, replica: int = 0, seed: int = 1) -> aimd.Plan:
    """Return the plan of the shipped data set: 17 frames at each of five temperatures.

    GFN1-xTB draws the frames, at the lattice constant of GFN2-xTB, which labels them: a step of it
    costs a third.
    """
    return _plan(
        size,
        replica,
        seed,
        engine="xtb method=GFN1-xTB accuracy=10",
        label_engine="xtb method=GFN2-xTB",
        temperatures=(1500.0, 2000.0, 2500.0, 3000.0, 3500.0),
        frames=17,
        stride_fs=6.0,
        equilibration_fs=120.0,
        settling_fs=40.0,
        friction_per_fs=0.05,
        interval_steps=21,
    )


def smoke_plan(size: int = 8, replica: int = 0, seed: int = 1) -> aimd.Plan:
    """Return a plan of a second or two."""
    return _plan(
        size,
        replica,
        seed,
        engine="xtb method=GFN1-xTB accuracy=10",
        label_engine="xtb method=GFN1-xTB",
        temperatures=(1500.0, 2500.0),
        frames=3,
        stride_fs=2.0,
        equilibration_fs=4.0,
        settling_fs=2.0,
        interval_steps=4,
    )


def run_trajectory(plan: aimd.Plan, folder: str | Path, progress: Progress = print) -> Path:
    """Run or continue one trajectory, as `aimd.run`."""
    return aimd.run(plan, folder, start, progress)
