"""Locks that end with their process, and processes that end with another one."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from gnnip import locks
from gnnip.errors import ConfigError

HOLDER = """
import sys, time
from gnnip.locks import hold
with hold(sys.argv[1], str):
    print("held", flush=True)
    time.sleep(100)
"""
#: a process whose child ends with it, and prints the number of that
PARENT = """
import os, subprocess, sys, time
child = "import os, time; from gnnip.locks import end_with; end_with(os.getppid()); " \
    "print(os.getpid(), flush=True); time.sleep(100)"
subprocess.Popen([sys.executable, "-c", child])
time.sleep(100)
"""


def start(code: str, *arguments: object) -> tuple[subprocess.Popen[str], str]:
    """Start a program and return it with the first line that it prints."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def busy(holder: str) -> str:
    return f"It is held by {holder}."


def test_a_lock_names_its_holder_and_ends_with_it(tmp_path):
    path = tmp_path / "folder/lock"
    process, _ = start(HOLDER, path)
    with pytest.raises(ConfigError, match=rf"^It is held by process {process.pid} on .+\.$"):
        locks.hold(path, busy, 0.0).__enter__()
    process.kill()
    process.communicate()
    with locks.hold(path, busy, 0.0):
        pass


def test_who_waits_is_told_so_once(tmp_path):
    said: list[str] = []
    path = tmp_path / "lock"
    process, _ = start(HOLDER, path)

    def say(line):
        said.append(line)
        process.kill()

    with locks.hold(path, busy, 60.0, say):
        process.communicate()
    assert [line.partition(" on ")[0] for line in said] == [f"It is held by process {process.pid}"]


def test_a_file_system_without_locks_stops_nobody(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(locks.errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    with locks.hold(tmp_path / "lock", busy, 0.0):
        pass


def test_a_process_ends_with_another_that_is_killed():
    process, child = start(PARENT)
    assert alive(int(child))
    process.kill()
    end = time.monotonic() + 20
    while alive(int(child)):
        assert time.monotonic() < end
        time.sleep(0.02)
    process.communicate()


def test_a_process_does_not_outlive_one_that_is_gone_already():
    gone, _ = start("print()")
    gone.communicate()
    code = f"from gnnip.locks import end_with; end_with({gone.pid}); import time; time.sleep(100)"
    process, _ = start(code)
    assert process.wait(20) == -9


def test_another_machine_has_other_processes(monkeypatch):
    watched: list[int] = []
    monkeypatch.setattr(locks, "end_with", watched.append)
    locks.end_with_snakemake()
    assert watched == []
    monkeypatch.setenv("GNNIP_SNAKEMAKE", "")
    locks.announce_snakemake()
    locks.end_with_snakemake()
    assert watched == [locks.os.getpid()]
    monkeypatch.setattr(locks.platform, "node", lambda: "elsewhere")
    locks.end_with_snakemake()
    assert len(watched) == 1


def alive(pid: int) -> bool:
    """Tell whether a process is there and no zombie."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as stream:
            return stream.read().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False
