"""Long runs: killed, edited beside, failing, one at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from made_up_repository import wait_for

from gnnip.__main__ import main
from gnnip.machine import cpu_seconds, long_run_is_on

#: does eight steps and goes on where it was; each line says which version of the file did it
STEPS = """
import time
from pathlib import Path

out = Path("results/steps.txt")
out.parent.mkdir(exist_ok=True)
done = len(out.read_text().split()) if out.exists() else 0
for step in range(done, 8):
    end = time.process_time() + 0.05
    while time.process_time() < end:
        pass
    with out.open("a") as stream:
        print(f"{step}:VERSION", file=stream)
    time.sleep(0.1)
"""
CHANGED = STEPS.replace("VERSION", "edited")


@pytest.fixture
def steps(repository):
    """The project with the script of the steps, and the file that its run writes."""
    repository.commit({"steps.py": STEPS, "Makefile": "", "requirements.txt": "numpy==1"})
    repository.write_runs(steps={"command": "python steps.py", "brings": ["results/*.txt"]})
    return repository.project.clone("steps") / "results/steps.txt"


def lines(path) -> list[str]:
    return path.read_text(encoding="utf-8").split() if path.exists() else []


def test_a_killed_run_goes_on_at_its_commit_whatever_happens_beside(repository, steps):
    first = repository.start()
    wait_for(lambda: len(lines(steps)) >= 2 and repository.status("steps").core_seconds > 0)
    first.send_signal(signal.SIGKILL)
    first.wait()
    # nothing outlives it, and nothing is lost; the lock is free again
    wait_for(lambda: not long_run_is_on(repository.root))
    before, spent = lines(steps), repository.status("steps").core_seconds
    assert 2 <= len(before) < 8
    assert repository.project.state("steps", repository.runs()["steps"]) == (
        "waiting",
        "was stopped and goes on where it was",
    )
    locks = steps.parents[1] / ".snakemake/locks"
    locks.mkdir(parents=True)
    (locks / "0.input.lock").touch()
    repository.commit({"steps.py": CHANGED})
    (repository.root / "steps.py").write_text("raise SystemExit('not the clone')", encoding="utf-8")

    said = repository.work()
    assert lines(steps) == [f"{step}:VERSION" for step in range(8)]
    assert not list(locks.iterdir())
    status = repository.status("steps")
    assert status.state == "finished"
    # of both starts, but for what the killed one had not written down: steps of 0.05 s at least
    assert status.core_seconds >= spent + 0.05 * (8 - len(before)) - 0.02
    assert "steps finished after 0.00 core-hours" in said
    assert "The list is through, 0 failed; 0.0 core-hours left" in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_request_to_stop_ends_the_run_and_keeps_the_account(repository, steps, number):
    run = repository.start()
    wait_for(lambda: len(lines(steps)) >= 2)
    run.send_signal(number)
    said, _ = run.communicate(timeout=30)
    assert run.returncode == 128 + number
    assert "Traceback" not in said
    assert not long_run_is_on(repository.root)
    count = len(lines(steps))
    assert count < 8
    assert repository.status("steps").core_seconds >= 0.05 * (count - 1)


def test_one_at_a_time(repository, steps, capsys):
    first = repository.start()
    wait_for(lambda: lines(steps))
    assert repository.project.state("steps", repository.runs()["steps"])[0] == "running"
    assert main(["long-run"]) == 2
    assert f"A long run is at work here already (process {first.pid}" in capsys.readouterr().err
    assert first.wait(timeout=60) == 0
    assert "steps is left out: it is finished." in repository.work()


def test_a_failed_entry_is_told_and_holds_up_only_what_comes_after_it(repository):
    repository.write_runs(
        first={"command": "echo ouch; test -e mended; touch out.txt"},
        second={"command": "touch out.txt", "after": ["first"]},
        third={"command": "true"},
        fourth={"command": "touch out.txt", "commit": "0123456789"},
        fifth={"command": "touch out.txt", "needs": ["sh", "no-such-program"]},
        sixth={"planned": "its code", "command": "touch out.txt"},
        last={"command": 'test "$OMP_NUM_THREADS $CORES" = "1 1" && touch out.txt'},
    )
    said = repository.work(failed=3)
    log = repository.project.log("first")
    for told in (
        f"first failed after 0.00 core-hours: Its command ended with status 1; see {log}.",
        "second is left out: it comes after first, which is failed.",
        "third failed after 0.00 core-hours: It was to make out.txt, of which nothing is in",
        f"There is no commit 0123456789 in {repository.root}; 'git log",
        "fifth is left out: no-such-program must be on the PATH; install that.",
        "sixth is left out: it is planned (waits for its code).",
        "last finished",
        "The list is through, 3 failed; 6.0 core-hours left, 1.0 of them planned only.",
    ):
        assert told in said
    assert "ouch" in log.read_text(encoding="utf-8")
    (repository.project.clone("first") / "mended").touch()
    said = repository.work(failed=2)
    assert "second finished" in said
    assert lines(log).count("first") == 2  # both starts, in one log


def test_another_commit_is_fetched_and_what_was_made_stays(repository, steps):
    repository.work()
    new = repository.commit({"steps.py": CHANGED.replace("range(done, 8)", "range(done, 9)")})
    repository.write_runs(steps={"command": "python steps.py", "brings": ["results/*.txt"]})
    repository.work()
    assert lines(steps) == [*(f"{step}:VERSION" for step in range(8)), "8:edited"]
    assert repository.status("steps").commit == new


def test_the_library_and_the_papers_are_those_of_the_clone(repository):
    print_them = "import gnnip, toy; print(gnnip.__file__, toy.__file__, file=open('out.txt', 'w'))"
    repository.commit({"src/gnnip/__init__.py": "", "papers/toy/__init__.py": ""})
    repository.write_runs(where={"command": f'python -c "{print_them}"'})
    repository.work()
    clone = repository.project.clone("where")
    assert lines(clone / "out.txt") == [
        str(clone / place) for place in ("src/gnnip/__init__.py", "papers/toy/__init__.py")
    ]


def test_own_packages_are_installed_only_where_others_are_asked_for(repository):
    makefile = "install:\n\tmkdir -p .venv/bin; ln -s /bin/true .venv/bin/own; touch installed\n"
    repository.commit({"Makefile": makefile, "requirements.txt": "numpy==1"})
    command = {"command": "ls installed > out.txt || echo shared > out.txt; own || true"}
    repository.write_runs(old=command, older=command)
    repository.work()
    clones = [repository.project.clone(name) for name in ("old", "older")]
    assert [lines(clone / "out.txt") for clone in clones] == [["shared"]] * 2
    (repository.root / "requirements.txt").write_text("numpy==2", encoding="utf-8")
    command["command"] = "own && ls installed > out.txt"
    repository.write_runs(old=command)
    repository.work()
    assert lines(clones[0] / "out.txt") == ["installed"]


def test_a_folder_that_is_no_clone_of_the_project_is_left_alone(repository):
    repository.write_runs(a={"command": "touch out.txt"})
    other = repository.project.clone("a")
    other.parent.mkdir()
    subprocess.run(["git", "clone", "--quiet", repository.root, other], check=True)
    subprocess.run(["git", "-C", other, "remote", "set-url", "origin", "/elsewhere"], check=True)
    assert f"{other} is no clone of {repository.root}; move it away" in repository.work(failed=1)


def test_the_place_of_the_runs_can_be_chosen(repository, monkeypatch, tmp_path):
    monkeypatch.setenv("GNNIP_RUNS", str(tmp_path / "scratch"))
    repository.write_runs(a={"command": "test -z ${GNNIP_RUNS-} && touch out.txt"})
    repository.work()
    assert (tmp_path / "scratch/a/out.txt").exists()


def test_low_priority_against_other_sessions_too():
    code = (
        "import os; from gnnip.runs.process import _lower_priority as lower; os.setsid(); lower()\n"
        "print(os.nice(0), os.sched_getscheduler(0), open('/proc/self/autogroup').read())"
    )
    if not Path("/proc/self/autogroup").exists():
        pytest.skip("no groups of sessions on this system")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    nice, scheduler, _, *group = done.stdout.split()
    assert nice == "19"
    assert int(scheduler) == os.SCHED_IDLE
    assert group == ["nice", "19"]


def test_cpu_seconds_are_those_of_the_whole_tree():
    burn = "import time\nwhile time.process_time() < 0.3: pass\n"
    nested = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {burn!r}])\n"
    wait = "print('done', flush=True); input()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", nested + wait], **pipes) as process:
        assert process.stdout.readline() == b"done\n"
        assert 0.25 <= cpu_seconds(process.pid) < 3.0  # the kernel counts in ticks
        process.communicate(b"\n")
