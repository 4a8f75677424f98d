"""GPUs that are made up, shared out among real processes."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable

import pytest

from gnnip import gpus

#: holds GPUs until it is told to end, and prints them and what CUDA would read
HOLDER = """
import os, sys
from gnnip.gpus import hold_gpus
with hold_gpus(int(sys.argv[1])) as names:
    print(",".join(names), os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
    sys.stdin.read()
print(os.environ.get("CUDA_VISIBLE_DEVICES"))
"""


class Holder:
    """A process that holds GPUs."""

    def __init__(self, count: int, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(count)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    @property
    def said(self) -> list[str]:
        """The GPUs and the variable, as soon as it has them."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n").split(" ")

    def end(self) -> str:
        return self.process.communicate(timeout=30)[0].strip()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=30)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A function that makes up a machine with GPUs of these names; and the environment of its
    processes."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.delenv(gpus.VISIBLE, raising=False)
    programs = tmp_path / "bin"
    programs.mkdir()

    def make(*names: str) -> None:
        smi = programs / "nvidia-smi"
        smi.write_text("#!/bin/sh\n" + "".join(f"echo {name}\n" for name in names))
        smi.chmod(0o755)
        monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")

    return make


@pytest.fixture
def start(machine):
    """A function that starts a process which holds GPUs."""
    started: list[Holder] = []

    def begin(count: int = 1, **variables: str) -> Holder:
        started.append(Holder(count, os.environ | variables))
        return started[-1]

    yield begin
    for holder in started:
        holder.kill()


def test_jobs_at_the_same_time_get_a_gpu_each(machine, start):
    machine("a", "b", "c")
    said = [holder.said for holder in [start() for _ in range(3)]]
    assert sorted(said) == [["a", "a"], ["b", "b"], ["c", "c"]]


def test_more_jobs_than_gpus_share_and_a_killed_one_is_replaced(machine, start):
    machine("a", "b", "c")
    holders = [start() for _ in range(6)]
    held = [holder.said[0] for holder in holders]
    assert Counter(held) == {"a": 2, "b": 2, "c": 2}
    holders[4].kill()
    assert start().said[0] == held[4]
    # and one that ends as it should, leaving the environment as it was
    assert holders[2].end() == "None"
    assert start().said[0] == held[2]


def test_the_least_used_one_is_taken_where_slots_were_given_back(machine, start):
    machine("a", "b")
    holders = {name: [] for name in "ab"}
    for _ in range(4):
        holder = start()
        holders[holder.said[0]].append(holder)
    # the first slot of one GPU is free, and both slots of the other
    holders["a"][0].kill()
    for holder in holders["b"]:
        holder.kill()
    assert [start().said[0], start().said[0]] == ["b", "a"]


def test_a_job_may_ask_for_several(machine, start):
    machine("a", "b", "c")
    assert start(2).said == ["a,b", "a,b"]
    assert start(2).said == ["a,c", "a,c"]
    # all that there are, and nothing is changed
    assert start(4).said == ["a,b,c", "None"]


@pytest.mark.parametrize(
    ("visible", "said"),
    [
        ("5,7", [["5", "5"], ["7", "7"], ["5", "5"]]),
        ("MIG-GPU-x/1/0, 7", [["MIG-GPU-x/1/0", "MIG-GPU-x/1/0"], ["7", "7"]]),
        ("3", [["3", "3"], ["3", "3"]]),  # as a scheduler gives
        ("3,-1,4", [["3", "3,-1,4"]]),
        ("", [["", ""]]),
        ("-1", [["", "-1"]]),
    ],
)
def test_what_is_visible_already_is_shared_out(machine, start, visible, said):
    machine("a", "b")
    assert [start(**{gpus.VISIBLE: visible}).said for _ in said] == said


def test_without_a_gpu_or_a_wish_for_one_nothing_changes(machine, start, monkeypatch):
    assert start(PATH="/nowhere").said == ["", "None"]
    machine("a", "b")
    assert start(0).said == ["", "None"]
    monkeypatch.setenv(gpus.VISIBLE, "0,1")
    with gpus.hold_gpus(1) as names:
        assert os.environ[gpus.VISIBLE] == "0"
    assert (names, os.environ[gpus.VISIBLE]) == (["0"], "0,1")


@pytest.mark.parametrize("name", ["train_model", "run_dynamics", "measure"])
def test_a_job_chooses_before_torch_is_there(root, name):
    """What these scripts import before they are jobs does not bring torch, which starts CUDA."""
    script = ast.parse((root / f"workflow/scripts/{name}.py").read_text(encoding="utf-8"))
    imports = [node for node in script.body if isinstance(node, ast.Import | ast.ImportFrom)]
    code = "\n".join([*map(ast.unparse, imports), "import sys", "sys.exit('torch' in sys.modules)"])
    assert "gnnip.jobs" in code
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_who_chooses_for_ever_is_named(machine, tmp_path, monkeypatch):
    machine("a", "b")
    monkeypatch.setattr(gpus, "_PATIENCE_S", 0.0)
    monkeypatch.setattr(gpus.tempfile, "gettempdir", lambda: str(tmp_path))
    place = tmp_path / f"gnnip-gpus-{os.getuid()}/choosing"
    choice: Callable[[], object] = gpus.hold_gpus(1).__enter__
    with (
        gpus.hold(place, str),
        pytest.raises(gpus.ConfigError, match=rf"\(process {os.getpid()} on .+\).+; end it"),
    ):
        choice()
