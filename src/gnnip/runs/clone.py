"""The clone that an entry is run in, and the environment in which everything comes from it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from gnnip.errors import DataError
from gnnip.machine import THREADS

#: of make and git, which would point a command at the project; and the place of the project's runs
_NOT_INHERITED = ("MAKE", "MFLAGS", "GIT_", "GNNIP_RUNS", "VIRTUAL_ENV", "PYTHONPATH")
_REQUIREMENTS = ("requirements.txt", "requirements-engines.txt")


def git(folder: Path, *arguments: str, text: str | None = None) -> str:
    """Return what git prints in a folder; DataError with its complaint when it fails."""
    command = ("git", "-C", str(folder), *arguments)
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        complaint = done.stderr.strip().splitlines() or ["no reason given"]
        raise DataError(f"git {arguments[0]} fails in {folder}: {complaint[-1]}")
    return done.stdout


def find_commit(root: Path, commit: str) -> str:
    """Return the full hash of a commit of the project; DataError where there is none."""
    try:
        return git(root, "rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}").strip()
    except DataError:
        raise DataError(
            f"There is no commit {commit} in {root}; 'git log --oneline' lists them."
        ) from None


def prepare(root: Path, folder: Path, commit: str) -> None:
    """Make `folder` a clone of the project at a commit, where it is none yet.

    A clone at another commit is brought to this one; what its runs made stays. DataError for a
    folder that is no clone of this project.
    """
    if not folder.exists():
        with tempfile.TemporaryDirectory(dir=folder.parent) as place:
            new = Path(place) / "clone"
            git(root, "clone", "--quiet", "--no-checkout", str(root), str(new))
            git(new, "checkout", "--quiet", "--detach", commit)
            new.rename(folder)
    if git(folder, "remote", "get-url", "origin").strip() != str(root):
        raise DataError(f"{folder} is no clone of {root}; move it away, or set GNNIP_RUNS.")
    if git(folder, "rev-parse", "HEAD").strip() != commit:
        git(folder, "fetch", "--quiet", "origin", commit)
        git(folder, "checkout", "--quiet", "--detach", "--force", commit)
    for lock in folder.glob(".snakemake/locks/*"):  # of a run that was killed: ours is the only one
        lock.unlink()


def environment(folder: Path, cores: int) -> dict[str, str]:
    """Return the environment variables in which Python takes library and papers from the clone,
    and packages from the clone's .venv if there is one, else from this program's."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(_NOT_INHERITED)}
    programs = [folder / ".venv/bin", Path(sys.executable).parent, os.environ.get("PATH", "")]
    return {
        **kept,
        **dict.fromkeys([*THREADS, "CORES"], str(cores)),
        "PATH": os.pathsep.join(map(str, programs)),
        "PYTHONPATH": os.pathsep.join(str(folder / part) for part in ("src", "papers")),
    }


def needs_own_packages(root: Path, folder: Path) -> bool:
    """Return whether the clone asks for other packages than the project."""

    def wanted(place: Path) -> list[str]:
        return [f.read_text("utf-8") for name in _REQUIREMENTS if (f := place / name).exists()]

    return wanted(root) != wanted(folder)
