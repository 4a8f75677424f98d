"""A made-up project with a runs.yaml, in a repository of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

from gnnip.runs.entries import Run, load_runs
from gnnip.runs.project import Project, Status

#: `python -m gnnip long-run` that notes the CPU time often and that a busy machine does not stop
LONG_RUN = """
import sys
from functools import partial
from pathlib import Path
from gnnip.runs import process, work
from gnnip.runs.project import Project
process._lower_priority = lambda: None
sys.exit(work.work(Project(Path.cwd()), 1, partial(print, flush=True), interval=0.05))
"""


@dataclass
class Repository:
    """A project in a repository, and what is asked of it."""

    root: Path

    @property
    def project(self) -> Project:
        return Project(self.root)

    def git(self, *arguments: str) -> str:
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        done = subprocess.run(
            ["git", *who, *arguments], cwd=self.root, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def commit(self, files: dict[str, str]) -> str:
        """Write files, commit them and return the hash."""
        for name, text in files.items():
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_text(text, encoding="utf-8")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "change")
        return self.git("rev-parse", "HEAD")

    def write_runs(self, **entries: dict) -> None:
        """Write runs.yaml; what an entry does not state is made up, at the present commit."""
        usual = {"what": "counts", "estimate": 1.0, "commit": self.git("rev-parse", "HEAD")}
        filled = {name: usual | {"brings": ["out.txt"]} | entry for name, entry in entries.items()}
        text = yaml.safe_dump(filled, sort_keys=False)
        (self.root / "runs.yaml").write_text(text, encoding="utf-8")

    def runs(self) -> dict[str, Run]:
        return load_runs(self.root)

    def start(self) -> subprocess.Popen[str]:
        """Start a long run."""
        return subprocess.Popen(
            [sys.executable, "-c", LONG_RUN],
            cwd=self.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # tests in the background of a shell inherit that it is ignored
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def work(self, failed: int = 0) -> str:
        """Work the list off and return what was said; so many entries must fail."""
        done = self.start()
        said, _ = done.communicate(timeout=60)
        assert done.returncode == failed, said
        return said

    def status(self, name: str) -> Status:
        status = self.project.status(name)
        assert status is not None
        return status


def wait_for(condition: Callable[[], object]) -> None:
    """Wait until something is true, half a minute at most."""
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "in vain"
        time.sleep(0.02)
