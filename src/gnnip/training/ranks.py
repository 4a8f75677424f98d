"""One training in several processes: each takes its share of every batch, gradients are summed.

The sum over the shares is the gradient of the whole batch, so that the result is that of one
process but for rounding. Communication is torch.distributed's: NCCL between GPUs, Gloo otherwise.
The processes are started here, one per GPU of this machine, or by torchrun, on any number of
machines.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from gnnip.datasets.arrays import FrameArrays
from gnnip.errors import ConfigError, GnnipError
from gnnip.files import atomic_path, write_text
from gnnip.locks import end_with
from gnnip.machine import cpu_count
from gnnip.training.settings import Settings

#: another rank may be writing results or compiling meanwhile
_PATIENCE = timedelta(hours=12)
#: fields of the frames that a training looks at
_FRAMES = ("positions", "numbers", "offsets", "cells", "pbc", "energies", "forces", "stresses")


class Ranks:
    """The processes of a training; this one is number `rank` of `size`, and 0 writes the files."""

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        """Join the group that torch.distributed has made, unless there is one process only."""
        self.rank, self.size = rank, size
        # decisions go over the CPU, so that no GPU is waited for
        self._control = dist.new_group(backend="gloo", timeout=_PATIENCE) if size > 1 else None

    @property
    def first(self) -> bool:
        """Tell whether this process writes files and lines."""
        return self.rank == 0

    def share(self, rows: Tensor) -> Tensor:
        """Return this process's part of the structures of a batch, perhaps none."""
        return rows[self.rank :: self.size]

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum of the values over the processes."""
        if self.size == 1:
            return values
        total = values.clone()
        dist.all_reduce(total)
        return total

    def agree(self, value: int) -> int:
        """Return the value of process 0 in all processes."""
        if self.size == 1:
            return value
        held = torch.tensor([value])
        dist.broadcast(held, 0, group=self._control)
        return int(held)

    def wait(self) -> None:
        """Wait until all processes are here."""
        self.agree(0)

    def sum_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Replace the gradients by their sums; one that no process has stays None."""
        if self.size == 1 or not parameters:
            return
        parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        there = parts[0].new_tensor([float(p.grad is not None) for p in parameters])
        total = self.sum(torch.cat([*(part.flatten() for part in parts), there]))
        *sums, there = total.split([*(p.numel() for p in parameters), len(parameters)])
        for p, gradient, count in zip(parameters, sums, there.tolist(), strict=True):
            p.grad = gradient.view_as(p) if count else None


@contextmanager
def open_ranks(
    settings: Settings, training: Mapping[str, Any], part: Callable[..., object]
) -> Iterator[Ranks]:
    """Yield the processes of a training, starting them where torchrun has not.

    training : the arguments of `gnnip.training.train` but for settings and progress.
    part : what each of the others calls, with its ranks, the settings and these arguments.

    Raises ConfigError when torchrun started another number of processes than the settings say, or
    when there are fewer GPUs than processes.
    """
    if settings.processes == 1:
        yield Ranks()
    elif "TORCHELASTIC_RUN_ID" in os.environ:
        size = int(os.environ["WORLD_SIZE"])
        if size != settings.processes:
            raise ConfigError(
                f"Settings: processes is {settings.processes} and torchrun started {size}; make "
                "them equal."
            )
        if not dist.is_initialized():  # one group serves all trainings of the process
            dist.init_process_group(_backend(settings), timeout=_PATIENCE)
        yield Ranks(dist.get_rank(), size)
    else:
        refuse_too_many(settings)
        with _started(settings, training, part) as ranks:
            yield ranks


def refuse_too_many(settings: Settings) -> None:
    """Raise ConfigError for more processes than this machine has cores."""
    if settings.processes > cpu_count():
        raise ConfigError(
            f"Settings: processes is {settings.processes} and this machine has {cpu_count()} "
            "cores; lower it, or let torchrun start them on several machines."
        )


def local_device(settings: Settings, ranks: Ranks) -> str:
    """Return the device of this process: with several processes each has a GPU of its own."""
    if ranks.size == 1 or _backend(settings) == "gloo":
        return settings.device
    number = int(os.environ.get("LOCAL_RANK", ranks.rank))
    torch.cuda.set_device(number)
    return f"cuda:{number}"


def _backend(settings: Settings) -> str:
    on_gpus = settings.device == "cuda" or (settings.device == "auto" and torch.cuda.is_available())
    return "nccl" if on_gpus else "gloo"


def check_parallel(model: nn.Module, name: str, size: int) -> None:
    """Raise ConfigError for a potential `name` that several processes cannot train together."""
    if size > 1 and any(type(m).__name__.startswith("BatchNorm") for m in model.modules()):
        raise ConfigError(
            f"The potential '{name}' normalises over whole batches, which several processes do not "
            "see; set processes to 1."
        )


@contextmanager
def _started(
    settings: Settings, training: Mapping[str, Any], part: Callable[..., object]
) -> Iterator[Ranks]:
    size = settings.processes
    if _backend(settings) == "nccl" and torch.cuda.device_count() < size:
        raise ConfigError(
            f"Settings: processes is {size} and {torch.cuda.device_count()} GPUs are visible; take "
            "as many processes as GPUs, or device cpu."
        )
    with tempfile.TemporaryDirectory(prefix="gnnip-ranks-") as folder:
        _write_training(Path(folder), settings, training, part)
        children = [_start(Path(folder), rank, settings) for rank in range(1, size)]
        try:
            _wait_for(Path(folder), children)
            _join(Path(folder), 0, settings)
            yield Ranks(0, size)
        except GnnipError:
            raise
        except RuntimeError as error:  # of the communication, when the other end is gone
            _end(children)
            _raise_failure(Path(folder), children, error)
            raise
        finally:
            if dist.is_initialized():
                dist.destroy_process_group()
            _end(children)


def _start(folder: Path, rank: int, settings: Settings) -> subprocess.Popen[bytes]:
    package = Path(__file__).resolve().parents[2]
    paths = [str(package), *filter(None, [os.environ.get("PYTHONPATH")])]
    threads = settings.threads or max(1, (os.cpu_count() or 1) // settings.processes)
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(paths),
        "OMP_NUM_THREADS": str(threads),
    }
    code = "from gnnip.training.ranks import main; main()"
    command = [sys.executable, "-c", code, str(folder), str(rank), str(os.getpid())]
    with open(folder / f"{rank}.log", "wb") as log:
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log)


def _join(folder: Path, rank: int, settings: Settings) -> None:
    dist.init_process_group(
        _backend(settings),
        init_method=f"file://{folder / 'meeting'}",
        rank=rank,
        world_size=settings.processes,
        timeout=_PATIENCE,
    )


def _wait_for(folder: Path, children: Sequence[subprocess.Popen[bytes]]) -> None:
    """Wait until all children are about to join: a meeting waits for ever for one that died."""
    while not all((folder / f"{rank + 1}.ready").exists() for rank in range(len(children))):
        for child in children:
            child.poll()
        _raise_failure(folder, children)
        time.sleep(0.05)


def _raise_failure(
    folder: Path, children: Sequence[subprocess.Popen[bytes]], cause: Exception | None = None
) -> None:
    for rank, child in enumerate(children, start=1):
        if child.returncode:
            said = (folder / f"{rank}.log").read_text(errors="replace").strip()
            last = said.splitlines()[-1] if said else f"status {child.returncode}"
            raise GnnipError(f"Process {rank} of the training failed: {last}") from cause


def _end(children: Sequence[subprocess.Popen[bytes]], patience_s: float = 20.0) -> None:
    """Wait a little for the children, then end them."""
    deadline = time.monotonic() + patience_s
    for child in children:
        try:
            child.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _write_training(
    folder: Path, settings: Settings, training: Mapping[str, Any], part: Callable[..., object]
) -> None:
    """Write what another process needs as JSON and plain arrays."""
    held = {name: getattr(training["arrays"], name) for name in _FRAMES}
    held["split"] = training["split"]
    plain: dict[str, Any] = {}
    for name, value in held.items():
        if isinstance(value, Mapping):
            plain |= {f"{name}/{key}": np.asarray(values) for key, values in value.items()}
        elif value is not None:
            plain[name] = value
    with atomic_path(folder / "arrays.npz") as temporary:
        np.savez(temporary, **plain)
    rest = {k: training[k] for k in ("model_name", "hyperparameters", "term", "folder")}
    rest = {k: dict(v) if isinstance(v, Mapping) else v for k, v in rest.items()}
    rest |= {"settings": asdict(settings), "part": [part.__module__, part.__qualname__]}
    write_text(folder / "training.json", json.dumps(rest, default=str))


def _read_training(folder: Path) -> tuple[Callable[..., object], Settings, dict[str, Any]]:
    rest = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    module, name = rest.pop("part")
    settings = Settings.read(rest.pop("settings"))
    held: dict[str, Any] = {"energies": {}, "forces": {}, "stresses": {}, "split": {}}
    with np.load(folder / "arrays.npz", allow_pickle=False) as file:
        for path, values in file.items():
            field, _, key = path.partition("/")
            if key:
                held[field][key] = values
            else:
                held[field] = values
    rest |= {"split": held.pop("split"), "arrays": FrameArrays(**held)}
    return getattr(import_module(module), name), settings, rest


def main() -> None:
    """Take part in a training as the process with the number on the command line."""
    folder, rank = Path(sys.argv[1]), int(sys.argv[2])
    end_with(int(sys.argv[3]))
    part, settings, training = _read_training(folder)
    (folder / f"{rank}.ready").touch()
    _join(folder, rank, settings)
    try:
        part(Ranks(rank, settings.processes), settings, **training)
    except GnnipError as error:
        sys.exit(f"error: {error}")
    finally:
        dist.destroy_process_group()
