"""Works the list of long runs off: one after the other, each where it was stopped."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gnnip.errors import DataError, GnnipError
from gnnip.runs import clone
from gnnip.runs.bring_back import find_made, now
from gnnip.runs.entries import Run, load_runs
from gnnip.runs.process import execute
from gnnip.runs.project import DONE, FAILED, FINISHED, PLANNED, Project, Status
from gnnip.runs.table import hours_left

_ENVIRONMENT = """
import json
from gnnip.provenance import environment
print(json.dumps(environment()))
"""
_REPORT = 600.0  #: seconds between two lines about a run


def work(project: Project, cores: int, say: Callable[[str], object], interval: float = 10.0) -> int:
    """Run what can be run of runs.yaml, which is read again before each entry; return how many
    entries failed.

    Args:
        cores: that one entry may use.
        say: called with each line about the progress; the file long-run.log gets them too.
        interval: seconds after which the CPU time is written down.

    Raises:
        ConfigError: a long run is at work already, or runs.yaml is wrong.
    """
    with project.lock() as lock:
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) != signal.SIG_IGN:  # as nohup has it
                signal.signal(number, lambda number, _: sys.exit(128 + number))
        worker = _Worker(project, cores, say, interval, lock)
        succeeded: dict[str, bool] = {}
        while name := next((n for n in load_runs(project.root) if n not in succeeded), None):
            succeeded[name] = worker.take(name, load_runs(project.root))
        failed = list(succeeded.values()).count(False)
        worker.tell(f"The list is through, {failed} failed; {hours_left(project)}.")
        return failed


@dataclass(frozen=True)
class _Worker:
    project: Project
    cores: int
    say: Callable[[str], object]
    interval: float
    lock: int

    def tell(self, text: str) -> None:
        line = f"{now()} {text}"
        self.say(line)
        # on a disk that is full the run goes on as long as its command does
        with (
            contextlib.suppress(OSError),
            open(self.project.folder / "long-run.log", "a", encoding="utf-8") as stream,
        ):
            print(line, file=stream)

    def take(self, name: str, runs: Mapping[str, Run]) -> bool:
        """Run an entry, or go on with it, or leave it out; return False when it failed."""
        hindrance = self._hindrance(name, runs)
        if hindrance:
            self.tell(f"{name} is left out: {hindrance}.")
            return True
        run, earlier = runs[name], self.project.status(name)
        status = Status(run.commit, run.command, started_at=now())
        if earlier:
            status.core_seconds, status.started_at = earlier.core_seconds, earlier.started_at
        try:
            self._run(name, run, status)
            status.state = FINISHED
        except (GnnipError, OSError) as error:
            status.state, status.reason = FAILED, str(error)
        status.finished_at = now()
        self.project.write(name, status)
        told = status.reason or "'make bring-back' copies what it made."
        self.tell(
            f"{name} {status.state} after {status.core_seconds / 3600:.2f} core-hours: {told}"
        )
        return status.state == FINISHED

    def _hindrance(self, name: str, runs: Mapping[str, Run]) -> str:
        """Return why an entry is not run now; empty for one that is."""
        state, reason = self.project.state(name, runs[name])
        if state in (DONE, FINISHED, PLANNED):
            return f"it is {state}" + (f" ({reason})" if reason else "")
        for other in runs[name].after:
            state = self.project.state(other, runs[other])[0]
            if state not in (DONE, FINISHED):
                return f"it comes after {other}, which is {state}"
        missing = [program for program in runs[name].needs if shutil.which(program) is None]
        return f"{' and '.join(missing)} must be on the PATH; install that" if missing else ""

    def _run(self, name: str, run: Run, status: Status) -> None:
        root, folder, log = self.project.root, self.project.clone(name), self.project.log(name)
        status.commit = clone.find_commit(root, run.commit)
        clone.prepare(root, folder, status.commit)
        self.project.write(name, status)
        command = run.command
        if clone.needs_own_packages(root, folder):
            command = f"make --silent PYTHON='{sys.executable}' install\n{command}"
        self.tell(f"{name} starts at {status.commit[:8]} in {folder}, log {log}")
        with open(log, "a", encoding="utf-8") as stream:
            print(f"== {now()} {name}\n{command}", file=stream)
        variables, note = clone.environment(folder, self.cores), self._accountant(name, run, status)
        code = execute(command, folder, variables, log, self.lock, note, self.interval)
        if code:
            raise DataError(f"Its command ended with status {code}; see {log}.")
        status.files, status.removed = find_made(folder, status.commit, run.brings)
        status.environment = _environment(folder, variables)

    def _accountant(self, name: str, run: Run, status: Status) -> Callable[[float], None]:
        """Return what writes the CPU seconds of this start down, and reports them now and then."""
        before, told = status.core_seconds, time.monotonic()

        def note(seconds: float) -> None:
            nonlocal told
            status.core_seconds = before + seconds
            # a disk that is full now, or a list that is being edited, may not be so later
            with contextlib.suppress(GnnipError, OSError):
                self.project.write(name, status)
                if time.monotonic() - told > _REPORT:
                    told = time.monotonic()
                    spent = f"{status.core_seconds / 3600:.2f} of {run.estimate:g} core-hours"
                    self.tell(f"{name}: {spent}; in all {hours_left(self.project)}.")

        return note


def _environment(folder: Path, variables: Mapping[str, str]) -> dict[str, Any]:
    """Return versions and hardware as the clone's own code tells them."""
    done = subprocess.run(
        ["python", "-c", _ENVIRONMENT],
        cwd=folder,
        env=dict(variables),
        capture_output=True,
        text=True,
        check=False,
    )
    found: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 else {}
    # the files that git sees changed are those that the run made
    return {key: value for key, value in found.items() if not key.startswith("git_")}
