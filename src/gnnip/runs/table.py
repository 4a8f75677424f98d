"""The list of long runs as text."""

from __future__ import annotations

from gnnip.runs.entries import Run, load_runs
from gnnip.runs.project import DONE, FINISHED, PLANNED, Project
from gnnip.terminal import columns

_HEADER = ("name", "state", "estimate", "measured", "left", "feeds")


def _left(project: Project, name: str, run: Run) -> float:
    """Return the core-hours that an entry still takes if its estimate is right."""
    if project.state(name, run)[0] in (DONE, FINISHED):
        return 0.0
    return max(run.estimate - project.core_hours(name), 0.0)


def hours_left(project: Project) -> str:
    """Return how many core-hours of the list are left, in words."""
    runs = load_runs(project.root)
    left = {name: _left(project, name, run) for name, run in runs.items()}
    planned = sum(left[n] for n, run in runs.items() if project.state(n, run)[0] == PLANNED)
    return f"{sum(left.values()):.1f} core-hours left, {planned:.1f} of them planned only"


def table(project: Project) -> str:
    """Return one line per entry with its core-hours, then what there is to say of some of them."""
    rows, remarks = [_HEADER], []
    for name, run in load_runs(project.root).items():
        state, reason = project.state(name, run)
        measured = project.core_hours(name)
        hours = (f"{run.estimate:g}", f"{measured:.2f}" if measured else "")
        left = f"{_left(project, name, run):.1f}"
        rows.append((name, state, *hours, left, ", ".join(run.feeds)))
        remarks += [f"{name}: {reason}"] if reason else []
    return "\n".join([columns(rows, "llrrrl"), f"{hours_left(project)}.", *remarks])
