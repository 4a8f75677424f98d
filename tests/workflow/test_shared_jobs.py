"""Jobs forked from a process that has loaded what they load: as in processes of their own."""

from __future__ import annotations

import csv
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from textwrap import indent

import pytest
from project import Project

DATASET = "results/quick/datasets/ean.h5"
TARGET = ("--cores", "1", "--config", "tier=quick", "papers=hoedl2022", "--", DATASET)
LOGS = [f"logs/quick/{name}/provide_dataset.log" for name in ("ean", "ani")]
#: takes the place of a script of the workflow, and tells what it finds
SCRIPT = """
import json, multiprocessing, os, signal, subprocess, sys, time
from pathlib import Path

from gnnip.jobs import job


def double(number):
    return 2 * number


def facts():
    # of a shell, of the test, of one run
    own = {"_", "PWD", "OLDPWD", "SHLVL", "GNNIP_PLAIN_JOBS", "GNNIP_SNAKEMAKE"}
    threads = len(os.listdir("/proc/self/task"))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        doubled = pool.map(double, [1, 2])
    return {
        "parent": Path(f"/proc/{os.getppid()}/cmdline").read_text(),
        "name": __name__,
        "file": __file__,
        "folder": os.getcwd(),
        "umask": os.umask(0o022),
        "path": [sys.path[0], *sorted(p for p in sys.path if "runtime-cache" not in p)],
        "threads": threads,
        "environment": {k: v for k, v in os.environ.items() if k not in own},
        "signals": [str(signal.getsignal(n)) for n in (signal.SIGINT, signal.SIGTERM)],
        "doubled": doubled,
    }


if __name__ == "__main__":
    print("begun")
    marker = Path("marker")
    with job(snakemake):
BODY
        Path(snakemake.output.archive).write_text(json.dumps(facts()))
"""
KILL_ONCE = """
if not marker.exists():
    marker.touch()
    os.kill({process}, signal.SIGKILL)
    time.sleep(60)
"""


@pytest.fixture
def write(project: Project) -> Callable[[str], None]:
    """Give the job of the tests its body."""

    def write_body(body: str) -> None:
        path = project.folder / "workflow/scripts/provide_dataset.py"
        path.write_text(SCRIPT.replace("BODY", indent(body, " " * 8)), encoding="utf-8")

    return write_body


def fail(project: Project) -> str:
    done = project.run("snakemake", *TARGET)
    assert done.returncode != 0
    return done.stdout + done.stderr


def made(project: Project) -> dict:
    return json.loads((project.folder / DATASET).read_text(encoding="utf-8"))


def test_a_job_finds_what_it_finds_in_a_process_of_its_own(project, write):
    write("import numpy as np; print(np.random.random())")
    found, receipts = [], []
    for plain in ("1", "0"):
        project.environment["GNNIP_PLAIN_JOBS"] = plain
        project.snakemake("--forceall", *TARGET, DATASET.replace("ean", "ani"))
        receipt = project.folder / f"results/.receipts/{DATASET}.json"
        receipts.append(set(json.loads(receipt.read_text(encoding="utf-8"))))
        found.append(made(project))
    assert "forkserver" not in found[0].pop("parent")
    assert "forkserver" in found[1].pop("parent")
    assert found[0] == found[1]
    assert found[0]["doubled"] == [2, 4]
    assert receipts[0] == receipts[1] == {DATASET, "made_of"}
    drawn = [(project.folder / log).read_text(encoding="utf-8") for log in LOGS]
    assert drawn[0] != drawn[1]  # of two jobs of one server
    measured = project.folder / "results/quick/datasets/benchmarks/provide_dataset/ean.tsv"
    with open(measured, encoding="utf-8") as stream:
        (row,) = csv.DictReader(stream, delimiter="\t")
    assert min(float(row[key]) for key in ("s", "max_rss", "cpu_time", "mean_load")) > 0


def test_an_error_is_its_sentence(project, write):
    write("from gnnip.errors import DataError; raise DataError('The file x is gone.')")
    text = fail(project)
    assert "The file x is gone." in text
    assert "Traceback" not in text
    assert (project.folder / LOGS[0]).read_text(encoding="utf-8") == "The file x is gone.\n"


def test_a_killed_job_fails_and_the_next_run_makes_it(project, write):
    write(KILL_ONCE.format(process="os.getpid()"))
    assert "SIGKILL" in fail(project)
    assert not (project.folder / DATASET).exists()
    project.snakemake(*TARGET)
    assert "forkserver" in made(project)["parent"]


def test_jobs_go_on_without_their_server(project, write):
    write(KILL_ONCE.format(process="os.getppid()"))
    project.snakemake("--retries", "1", *TARGET)
    assert "forkserver" not in made(project)["parent"]


@pytest.mark.parametrize("alone", ["0", "1"])
def test_nothing_outlives_a_killed_run(project, write, alone):
    project.environment["GNNIP_PLAIN_JOBS"] = alone
    write(
        "child = subprocess.Popen(['sleep', '100'])\n"
        "Path('pids.tmp').write_text(f'{os.getpid()} {os.getppid()} {child.pid}')\n"
        "os.rename('pids.tmp', 'pids')\n"
        "time.sleep(100)"
    )
    process = project.start(*TARGET)
    noted = project.folder / "pids"
    eventually(noted.exists)
    pids = [int(text) for text in noted.read_text(encoding="utf-8").split()]
    assert all(map(alive, pids))
    busy = fail(project)
    assert f"A run of the workflow is at work in this folder (process {process.pid} on" in busy
    process.kill()
    process.wait()
    eventually(lambda: not any(map(alive, pids)))
    # and the next run starts without more ado
    write("")
    project.snakemake(*TARGET)


def test_an_interrupt_ends_the_job(project, write):
    write("marker.touch(); time.sleep(100)")
    process = project.start(*TARGET)
    eventually((project.folder / "marker").exists)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    assert process.wait(timeout=30) != 0


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").split()[2] != "Z"
    except FileNotFoundError:
        return False


def eventually(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
