"""Where the long runs of a project lie, and what is known of each.

Beside the project: a clone and a log of each entry, its status, and the lock. In the project, and
committed: results/recorded/runs/<name>.json of each entry that was brought back.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gnnip.errors import DataError
from gnnip.files import read_json, write_json
from gnnip.locks import hold
from gnnip.machine import long_run_is_on, runs_folder
from gnnip.runs.entries import Run

PLANNED, WAITING, RUNNING, FAILED = "planned", "waiting", "running", "failed"
#: in its clone, and in the project
FINISHED, DONE = "finished", "done"


@dataclass
class Status:
    """How far the run of an entry is: what was run, the CPU seconds that it took over all starts,
    and, when it has finished, the SHA-256 of what it made, what it removed, and where it ran."""

    commit: str
    command: str
    state: str = RUNNING
    core_seconds: float = 0.0
    reason: str = ""
    started_at: str = ""
    finished_at: str = ""
    files: dict[str, str] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    environment: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Project:
    """A checkout with a runs.yaml."""

    root: Path

    @property
    def folder(self) -> Path:
        """Return the folder of its long runs."""
        return runs_folder(self.root)

    def clone(self, name: str) -> Path:
        """Return the clone that an entry is run in."""
        return self.folder / name

    def log(self, name: str) -> Path:
        """Return the file of what an entry has printed."""
        return self.folder / f"{name}.log"

    def status_file(self, name: str) -> Path:
        """Return the file of the status of an entry."""
        return self.folder / f"{name}.json"

    def record(self, name: str) -> Path:
        """Return the file that says what was brought back of an entry."""
        return self.root / "results/recorded/runs" / f"{name}.json"

    def status(self, name: str) -> Status | None:
        """Return the status of an entry; None before its first start."""
        path = self.status_file(name)
        if not path.exists():
            return None
        try:
            return Status(**read_json(path, dict))
        except TypeError:
            raise DataError(f"{path} is no status of a run; delete it and run again.") from None

    def write(self, name: str, status: Status) -> None:
        """Keep the status of an entry."""
        write_json(self.status_file(name), asdict(status))

    @contextlib.contextmanager
    def lock(self) -> Iterator[int]:
        """Hold the lock and yield its file descriptor; a process that inherits that holds it too.

        ConfigError when another process does.
        """

        def busy(holder: str) -> str:
            log = self.folder / "long-run.log"
            return (
                f"A long run is at work here already ({holder}, log {log}); wait for it or stop it."
            )

        # who only asks holds it for a moment
        with hold(self.folder / "lock", busy) as number:
            yield number

    def state(self, name: str, run: Run) -> tuple[str, str]:
        """Return the state of an entry and the reason, where there is one.

        A finished run counts for the command and the commit that it was made with alone.
        """
        if self.record(name).exists() and _of(run, read_json(self.record(name), dict)):
            return DONE, ""
        if run.planned:
            return PLANNED, f"waits for {run.planned}"
        status = self.status(name)
        if status is None or not _of(run, asdict(status)):
            return WAITING, ""
        if status.state == RUNNING and not long_run_is_on(self.root):
            return WAITING, "was stopped and goes on where it was"
        return status.state, status.reason

    def core_hours(self, name: str) -> float:
        """Return the core-hours that an entry has taken so far, 0 before its first start."""
        if self.record(name).exists():
            return float(read_json(self.record(name), dict)["core_hours"])
        status = self.status(name)
        return status.core_seconds / 3600.0 if status else 0.0


def _of(run: Run, made: dict[str, Any]) -> bool:
    """Tell whether something was made by the run as it is written now."""
    return bool(
        run.commit and made["commit"].startswith(run.commit) and made["command"] == run.command
    )
