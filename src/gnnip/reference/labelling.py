"""Energies and forces of many structures by an engine, in processes of their own.

Each frame has a time limit, after which its process is killed. What an engine fails to compute is
recorded with the reason and left out. Every label is a small file named after the structure, the
settings and the engine's version, written atomically: a run that is killed continues where it was.

A worker is `python -m gnnip.reference.labelling`; it reads one JSON object per line (first the
settings, then structures) and answers each with a line.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, TextIO
from zipfile import BadZipFile

import numpy as np

from gnnip.errors import (
    CURES,
    ConfigError,
    ConvergenceError,
    DataError,
    GnnipError,
    StructureError,
    unwritten,
)
from gnnip.files import atomic_path, make_folder
from gnnip.reference.engines import (
    THREADS,
    Engine,
    EngineError,
    Evaluation,
    close,
    evaluate,
    make_engine,
)

#: what a frame of DFT may take on a machine that others keep busy, seconds
PATIENCE_S = 6 * 3600.0


@dataclass
class Labels:
    """Labels of n frames; a frame that failed has NaN and a reason.

    energies (n,) in eV; forces: n arrays (atoms, 3) in eV/Angstrom; stresses (n, 3, 3) in
    eV/Angstrom^3, NaN where the engine or the structure has none; failures {frame: reason};
    seconds: spent by the engine on all of them; reused: frames that were labelled before.
    """

    energies: np.ndarray
    forces: list[np.ndarray]
    stresses: np.ndarray
    failures: dict[int, str] = field(default_factory=dict)
    seconds: float = 0.0
    reused: int = 0

    @property
    def good(self) -> np.ndarray:
        """Return the numbers of the frames that have labels."""
        return np.array([i for i in range(len(self.forces)) if i not in self.failures], dtype=int)


def label_frames(
    frames: Sequence[Any],
    engine: Engine,
    cache: str | os.PathLike[str],
    *,
    workers: int = 1,
    time_limit_s: float = 600.0,
    progress: Callable[[str], object] = print,
    progress_every_s: float = 10.0,
) -> Labels:
    """Label structures (`ase.Atoms`) by `workers` processes of one thread each.

    Labels are files in the folder `cache`. A field that does not converge is remembered there; a
    frame that met its time limit (`time_limit_s`) or crashed its process is tried again by the next
    run, as that may be the machine's fault. An engine that gains from consecutive frames gets them
    in their order.

    Raises EngineError for an engine that is not installed, ConfigError for a number of workers or a
    time limit that is not positive, DataError when no frame at all could be labelled.
    """
    if workers < 1 or not time_limit_s > 0:
        raise ConfigError(
            f"Labelling cannot use {workers} workers with a time limit of {time_limit_s:g} s; both "
            "must be > 0."
        )
    engine.version()
    folder = Path(cache)
    make_folder(folder)
    keys = [engine.key(atoms) for atoms in frames]
    found = {key: read_label(folder, key) for key in set(keys)}
    # equal structures are computed once
    todo = list(dict.fromkeys(i for i, key in _first_of_each(keys) if found[key] is None))
    reused = sum(found[key] is not None for key in keys)
    told = _Report(len(todo), progress, progress_every_s)
    if reused:
        progress(f"{reused} of {len(frames)} frames are labelled already")
    lost: dict[str, str] = {}
    jobs = [(keys[i], frames[i]) for i in todo]
    with _Crew(engine, folder, time_limit_s, min(workers, len(jobs))) as crew:
        for key, reason in crew.work(jobs):
            found[key] = read_label(folder, key)
            if found[key] is None:
                lost[key] = reason or "the label is gone"
            told.step(bool(reason))
    return _collect(frames, keys, found, lost, reused)


def _first_of_each(keys: Sequence[str]) -> Iterator[tuple[int, str]]:
    seen: set[str] = set()
    for i, key in enumerate(keys):
        if key not in seen:
            seen.add(key)
            yield i, key


def _collect(
    frames: Sequence[Any],
    keys: Sequence[str],
    found: dict[str, dict[str, Any] | None],
    lost: dict[str, str],
    reused: int,
) -> Labels:
    n = len(frames)
    labels = Labels(np.full(n, np.nan), [], np.full((n, 3, 3), np.nan), reused=reused)
    for i, key in enumerate(keys):
        label = found[key] or {"reason": lost[key], "seconds": 0.0}
        labels.seconds += float(label["seconds"])
        if label["reason"]:
            labels.failures[i] = str(label["reason"])
            labels.forces.append(np.full((len(frames[i]), 3), np.nan))
        else:
            labels.energies[i] = float(label["energy"])
            labels.forces.append(label["forces"])
            labels.stresses[i] = label["stress"]
    if frames and len(labels.failures) == len(frames):
        raise DataError(
            f"None of the {len(frames)} frames could be labelled (the first: "
            f"{labels.failures[0]}); change the engine's settings or the structures."
        )
    return labels


def read_label(folder: Path, key: str) -> dict[str, Any] | None:
    """Return the cached label, with `reason` empty unless it failed; None when there is none."""
    path = folder / f"{key}.npz"
    try:
        with np.load(path, allow_pickle=False) as content:
            label = {name: content[name] for name in content.files}
        return {**label, "reason": str(label["reason"]), "seconds": float(label["seconds"])}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        # a foreign or damaged file is no label: it is computed again and replaced
        return None


def write_label(
    folder: Path, key: str, found: Evaluation, seconds: float, reason: str = ""
) -> None:
    """Write one label atomically."""
    nothing = np.full((3, 3), np.nan)
    with atomic_path(folder / f"{key}.npz") as temporary:
        np.savez(
            temporary,
            energy=found.energy,
            forces=found.forces,
            stress=nothing if found.stress is None else found.stress,
            seconds=seconds,
            reason=reason,
        )


class _Report:
    """A line of progress now and then."""

    def __init__(self, total: int, progress: Callable[[str], object], every_s: float) -> None:
        self.total, self.progress, self.every_s = total, progress, every_s
        self.done = self.failed = 0
        self.began = self.last = time.monotonic()

    def step(self, failed: bool) -> None:
        self.done += 1
        self.failed += failed
        now = time.monotonic()
        if now - self.last >= self.every_s or self.done == self.total:
            self.last = now
            self.progress(
                f"labelled {self.done} of {self.total} frames, {self.failed} failed, "
                f"{(now - self.began) / self.done:.2f} s per frame"
            )


class _Worker:
    """One process and what it is doing."""

    def __init__(self, settings: dict[str, Any]) -> None:
        source = str(Path(__file__).resolve().parents[2])
        # what the engine leaves behind when it is killed goes with this folder
        self.folder = tempfile.TemporaryDirectory(prefix="gnnip-label-")
        path = os.pathsep.join([source, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        # Snakemake lets a job's threads multiply with its processes
        threads = dict.fromkeys(THREADS, "1")
        # a session of its own: killing the group also ends programs that the engine started
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gnnip.reference.labelling"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            env={**os.environ, **threads, "PYTHONPATH": path, "TMPDIR": self.folder.name},
        )
        self.key: str | None = None
        self.began = 0.0
        self._send(settings)

    def _send(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        # a worker that is dead is noticed at its other pipe
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(message).encode() + b"\n")
            self.process.stdin.flush()

    def give(self, key: str, atoms: Any) -> None:
        self.key, self.began = key, time.monotonic()
        self._send(
            {
                "key": key,
                "numbers": atoms.numbers.tolist(),
                "positions": atoms.positions.tolist(),
                "cell": atoms.cell.tolist(),
                "pbc": atoms.pbc.tolist(),
            }
        )

    def answer(self) -> dict[str, Any] | None:
        """Return its next answer; None when the process is dead."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        return json.loads(line) if line.endswith(b"\n") else None

    def kill(self) -> int:
        """End the process and its children; return its exit status."""
        _end_session(self.process.pid)
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(BrokenPipeError):
                assert pipe is not None
                pipe.close()
        status = self.process.wait()
        self.folder.cleanup()
        return status


class _Crew:
    """The workers of one run; leaving the block ends them all."""

    def __init__(self, engine: Engine, folder: Path, time_limit_s: float, size: int) -> None:
        self.settings = {
            "engine": engine.text,
            "folder": str(folder.resolve()),
            "time_limit_s": time_limit_s,
        }
        self.consecutive = engine.consecutive
        self.time_limit_s = time_limit_s
        self.size = size
        self.selector = selectors.DefaultSelector()
        self.workers: list[_Worker] = []

    def __enter__(self) -> _Crew:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.kill()
        self.selector.close()

    def _hire(self) -> _Worker:
        worker = _Worker(self.settings)
        self.workers.append(worker)
        self.selector.register(worker.process.stdout, selectors.EVENT_READ, worker)  # type: ignore[arg-type]
        return worker

    def _dismiss(self, worker: _Worker) -> int:
        self.selector.unregister(worker.process.stdout)  # type: ignore[arg-type]
        self.workers.remove(worker)
        return worker.kill()

    def work(self, jobs: Sequence[tuple[str, Any]]) -> Iterator[tuple[str, str]]:
        """Yield (key, reason) of every job as it ends; the reason is empty for a success."""
        queues = self._queues(jobs)
        busy: dict[_Worker, deque[tuple[str, Any]]] = {}
        for queue in queues:
            if queue:
                worker = self._hire()
                worker.give(*queue.popleft())
                busy[worker] = queue
        while busy:
            for event, _ in self.selector.select():
                worker = event.data
                queue = busy.pop(worker)
                answer = worker.answer()
                key = worker.key
                assert key is not None
                if answer is None:
                    spent = time.monotonic() - worker.began
                    reason = self._death(self._dismiss(worker), spent)
                    worker = self._hire() if queue else worker
                elif "error" in answer:
                    raise EngineError(str(answer["error"]))
                else:
                    reason = str(answer["reason"])
                if queue:
                    worker.give(*queue.popleft())
                    busy[worker] = queue
                yield key, reason

    def _queues(self, jobs: Sequence[tuple[str, Any]]) -> list[deque[tuple[str, Any]]]:
        if not self.consecutive:
            shared = deque(jobs)
            return [shared] * self.size
        bounds = [len(jobs) * i // max(1, self.size) for i in range(self.size + 1)]
        return [deque(jobs[a:b]) for a, b in pairwise(bounds)]

    def _death(self, status: int, seconds: float) -> str:
        if status == -signal.SIGALRM:
            return f"time limit of {self.time_limit_s:g} s"
        return f"the process ended with status {status} after {seconds:.0f} s"


def _end_session(leader: int) -> None:
    """Kill every process of a session: programs that an engine started make groups of their own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():
        with contextlib.suppress(ValueError, ProcessLookupError, PermissionError):
            if os.getsid(int(name)) == leader:
                os.kill(int(name), signal.SIGKILL)


def _serve() -> None:
    """Answer requests until the other side is gone; see the module."""
    # what engines print must not come between the answers
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    settings = json.loads(sys.stdin.readline())
    engine = make_engine(settings["engine"])
    folder = Path(settings["folder"])
    calculator = None
    try:
        for line in sys.stdin:
            request = json.loads(line)
            # the kernel ends the process at the time limit, inside compiled code too, and also
            # when nobody is left to do it
            signal.setitimer(signal.ITIMER_REAL, settings["time_limit_s"])
            began = time.perf_counter()
            try:
                try:
                    calculator = calculator or engine.calculator()
                    found, reason = evaluate(calculator, _atoms(request), stress=True), ""
                except (ConvergenceError, StructureError) as error:
                    found, reason = Evaluation(np.nan, np.zeros((0, 3)), None), str(error)
                signal.setitimer(signal.ITIMER_REAL, 0.0)
                spent = time.perf_counter() - began
                write_label(folder, request["key"], found, spent, reason)
            except GnnipError as error:
                _answer(answers, {"error": str(error)})
                return
            except OSError as error:  # what an engine writes beside its results
                if error.errno not in CURES:
                    raise
                place = error.filename or tempfile.gettempdir()
                _answer(answers, {"error": unwritten(place, error)})
                return
            _answer(answers, {"reason": reason})
            # a calculator that failed may not come round again
            if reason or not engine.consecutive:
                close(calculator)
                calculator = None
    finally:
        close(calculator)


def _answer(stream: TextIO, answer: dict[str, Any]) -> None:
    # nobody may be left to read it; the label is written all the same
    with contextlib.suppress(BrokenPipeError):
        stream.write(json.dumps(answer) + "\n")


def _atoms(request: dict[str, Any]) -> Any:
    from ase import Atoms

    return Atoms(**{name: request[name] for name in ("numbers", "positions", "cell", "pbc")})


if __name__ == "__main__":
    _serve()
