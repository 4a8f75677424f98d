"""A copy of the project to run the workflow in, and what reads its answers."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PARTS = (
    "Snakefile",
    "Makefile",
    "config.yaml",
    "workflow",
    "profiles",
    "papers",
    "src",
    "README.md",
    "CITATION.cff",
    "codecheck.yml",
)
#: jobs that only pass files on; a list of what is redone is clearer without them
BOOKKEEPING = {
    *("all", "judge_card", "collect_verdicts", "collect_costs", "collect_provenance"),
    *("write_page", "total"),
}


@dataclass
class Project:
    """A copy of the project in which a test may change and run anything."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    copied: bool = False

    def __post_init__(self) -> None:
        if self.copied:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        for part in PARTS:
            source = ROOT / part
            ignore = shutil.ignore_patterns("__pycache__", "*.egg-info", "*.nbi", "*.nbc")
            if source.is_dir():
                shutil.copytree(source, self.folder / part, ignore=ignore)
            elif source.exists():
                shutil.copy(source, self.folder / part)
        (self.folder / "data").symlink_to(ROOT / "data")

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", *arguments]

    @property
    def variables(self) -> dict[str, str]:
        return os.environ | {"PYTHONPATH": str(self.folder / "src")} | self.environment

    def run(self, *arguments: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Run a Python module of the project's environment in the copy, e.g. snakemake."""
        return subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env=self.variables,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def snakemake(self, *arguments: str, timeout: float = 300) -> str:
        """Run snakemake, which must succeed, and return all that it printed."""
        done = self.run("snakemake", *arguments, timeout=timeout)
        text = done.stdout + done.stderr
        assert done.returncode == 0, text[-6000:]
        return text

    def todo(self, *arguments: str) -> dict[str, int]:
        """Return the jobs of a dry-run by rule, without bookkeeping."""
        return jobs(self.snakemake("-n", *arguments))

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start snakemake as the leader of a process group of its own, to be killed with it."""
        return subprocess.Popen(
            self.command("snakemake", *arguments),
            cwd=self.folder,
            env=self.variables,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            # tests in the background of a shell inherit that it is ignored
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )


def jobs(text: str) -> dict[str, int]:
    """Read the table of job counts that snakemake prints."""
    table = re.search(r"^Job stats:\n.*?^total +\d+$", text, re.MULTILINE | re.DOTALL)
    if table is None:
        assert "Nothing to be done" in text, text[-3000:]
        return {}
    rows = re.findall(r"^([a-z_0-9]+) +(\d+)$", table.group(), re.MULTILINE)
    return {name: int(count) for name, count in rows if name not in BOOKKEEPING}


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Send SIGKILL to a process and all its children."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
