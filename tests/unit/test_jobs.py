"""What protects a job of the pipeline: its checkpoints, its log and its GPU."""

from __future__ import annotations

import subprocess
import sys

from gnnip import forkserver
from gnnip.checkpoints import keep_only_if_same


def test_a_checkpoint_is_kept_for_the_same_plan_only(tmp_path):
    folder = tmp_path / "seed-0"
    assert not keep_only_if_same(folder, {"plan": {"epochs": 3}, "code": "a"})
    checkpoint = folder / "checkpoint.pt"
    checkpoint.write_bytes(b"state")
    assert keep_only_if_same(folder, {"plan": {"epochs": 3}, "code": "a"})
    assert checkpoint.exists()
    assert not keep_only_if_same(folder, {"plan": {"epochs": 3}, "code": "b"})
    assert not checkpoint.exists()


def run_job(tmp_path, body: str, **more) -> tuple[subprocess.CompletedProcess, str]:
    log = tmp_path / "logs/job.log"
    facts = {"log": [str(log)], "resources": {}, "input": [], "output": []} | more
    code = (
        "from types import SimpleNamespace\nfrom gnnip.jobs import job\n"
        f"with job(SimpleNamespace(**{facts})):\n    {body}\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return done, log.read_text(encoding="utf-8")


def test_output_of_a_job_and_of_its_children_goes_to_the_log(tmp_path):
    done, log = run_job(tmp_path, "print('one'); import os; os.system('echo two; echo three >&2')")
    assert done.returncode == 0
    assert done.stdout == done.stderr == ""
    assert log.split() == ["one", "two", "three"]


def test_a_users_error_is_one_sentence(tmp_path):
    body = "from gnnip.errors import DataError; raise DataError('The file x is gone.')"
    done, log = run_job(tmp_path, body)
    assert done.returncode == 1
    assert done.stderr == "The file x is gone.\n"
    assert log == "The file x is gone.\n"


def test_a_bug_leaves_its_traceback_in_the_log(tmp_path):
    done, log = run_job(tmp_path, "1 / 0")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "ZeroDivisionError" in done.stderr
    assert "Traceback" in log


def test_a_log_that_cannot_grow_is_named(tmp_path):
    body = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)); print('x' * 1000)"
    )
    done, log = run_job(tmp_path, body)
    assert done.returncode == 1
    assert done.stderr == (
        f"Could not write {tmp_path / 'logs/job.log'}: File too large; raise the limit of file "
        "sizes (ulimit -f) and run the same command again (nothing that was there is lost).\n"
    )
    assert len(log) == 100


def test_a_python_whose_path_holds_a_space_is_quoted():
    class Script:
        def _execute_cmd(self, command, **values):
            return command.format(**values)

    forkserver.quote_python(Script)
    call = "{py_exec} {fname}"
    assert Script()._execute_cmd(call, py_exec="/a b/python", fname="x") == "'/a b/python' x"
    assert Script()._execute_cmd(call, py_exec="python", fname="x") == "python x"
    assert Script()._execute_cmd("bash {fname}", fname="x") == "bash x"


def test_a_log_takes_what_the_locale_does_not_know(tmp_path, monkeypatch):
    plain = {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    for name, value in plain.items():
        monkeypatch.setenv(name, value)
    done, log = run_job(tmp_path, "print('3 \\u00c5')")
    assert (done.returncode, log) == (0, "3 \u00c5\n")


def test_a_job_has_the_gpus_that_it_asks_for_and_its_log_names_them(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6")
    body = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'])"
    _, log = run_job(tmp_path, body, resources={"gpu": 2})
    assert log == "On the GPU 4 5\n4,5\n"
    for none in ({}, {"gpu": 0}):
        assert run_job(tmp_path, body, resources=none)[1] == "4,5,6\n"
