"""The water cluster anion cooled down a ladder: each trajectory gives frames at four temperatures.

The dynamics are those of `gnnip.sampling.water_anion`. The shape of a cluster says nothing of the
temperature here, as all temperatures of a trajectory share it.
"""

from __future__ import annotations

from dataclasses import replace

from gnnip.sampling.water_anion import SERIES, SMOKE, Plan, run_trajectory, told

__all__ = ["SERIES", "TITLE", "paper_plan", "run_trajectory", "seeded_state", "smoke_plan", "told"]

TITLE = "Water cluster anions: V_SPC/F + E_0 of Langevin trajectories"


def seeded_state(size: int, replica: int) -> str:
    """Return the state that a replica starts in: small clusters surface, large ones mostly
    interior.

    Of four replicas none start inside at N < 40, one below 70, two up to 120, three above.
    """
    inside = 0 if size < 40 else 1 if size < 70 else 2 if size < 120 else 3
    return "interior" if replica % 4 >= 4 - inside else "surface"


def paper_plan(size: int = 20, replica: int = 0, seed: int = 1) -> Plan:
    """Return the plan of the shipped data set.

    Small clusters equilibrate longer (12 ps up to N = 47, 6 ps up to 100, else 4 ps): their surface
    states deepen slowly, and they are cheap. Frames come every 250 fs, above N = 100 every 200 fs.
    """
    return Plan(
        size,
        replica,
        seed,
        start=seeded_state(size, replica),
        equilibration_fs=12000.0 if size <= 47 else 6000.0 if size <= 100 else 4000.0,
        stride_fs=250.0 if size <= 100 else 200.0,
        cooling_fs=1000.0,
    )


def smoke_plan(size: int = 20, replica: int = 0, seed: int = 1) -> Plan:
    """Return a plan of a few seconds for tests: two frames at two temperatures, femtosecond
    strides."""
    return replace(paper_plan(size, replica, seed), temperatures=(200.0, 100.0), **SMOKE)
