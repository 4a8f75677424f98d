"""Disks that are full or cannot be written, and a limit of file sizes, for a moment."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def limited(size: int) -> Iterator[None]:
    """Let this process and those that it starts write no file beyond a size in bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextlib.contextmanager
def mounted(folder: Path, *options: str) -> Iterator[None]:
    """Mount something on a folder, as root may where the machine lets it.

    Raises PermissionError elsewhere.
    """
    done = subprocess.run(["mount", *options, folder], capture_output=True, text=True, check=False)
    if done.returncode:
        raise PermissionError(done.stderr.strip())
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Mount a disk of 4 MB on a folder; see `mounted`."""
    with mounted(folder, "-t", "tmpfs", "-o", "size=4m", "tmpfs"):
        yield


def resize(folder: Path, size: int) -> None:
    """Give a small disk another size in bytes, no less than what is on it."""
    subprocess.run(["mount", "-o", f"remount,size={size}", folder], check=True)


def fill(folder: Path) -> Path:
    """Fill the disk of a folder to the last byte; return the file that does it."""
    rest, ballast = os.statvfs(folder), folder / "ballast"
    ballast.write_bytes(bytes(rest.f_bavail * rest.f_frsize))
    return ballast


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Let nobody write into a folder: root too, where the machine lets it mount."""
    if os.getuid() == 0:
        with mounted(folder, "-o", "bind,ro", str(folder)):
            yield
        return
    mode = folder.stat().st_mode
    folder.chmod(0o555)
    try:
        yield
    finally:
        folder.chmod(mode)
