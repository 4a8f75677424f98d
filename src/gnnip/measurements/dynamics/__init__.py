"""Molecular dynamics of trained potentials and of references, from the same starts.

`motion` says how replicas are moved, `run` moves them, `archive` takes registered trajectories in
place of a run. What the trajectories have in common is measured by `comparison`, which is not
imported here: an edit of it must not run the dynamics again.
"""

from gnnip.measurements.dynamics.archive import register_trajectory, take_archived
from gnnip.measurements.dynamics.motion import (
    COLUMNS,
    REFERENCE,
    Limits,
    Motion,
    motion_of_reference,
)
from gnnip.measurements.dynamics.run import failure_file, load_potential, run_dynamics

__all__ = [
    "COLUMNS",
    "REFERENCE",
    "Limits",
    "Motion",
    "failure_file",
    "load_potential",
    "motion_of_reference",
    "register_trajectory",
    "run_dynamics",
    "take_archived",
]
