"""The GPUs of this machine, shared out among jobs that run at the same time.

Snakemake counts GPUs (`resources: gpu`) and tells no job which one is its own, so that all of them
would use the first. Here a job takes a slot of the GPU that the fewest others use. A slot is a lock
of the kernel, free again as soon as its process has ended, however that ended.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from gnnip.errors import ConfigError
from gnnip.locks import hold
from gnnip.provenance import answer_of

#: what CUDA reads when it is started: names or numbers of GPUs, separated by commas
VISIBLE = "CUDA_VISIBLE_DEVICES"
_PATIENCE_S = 60.0  # others choose in a moment


def visible_gpus() -> list[str]:
    """Return the GPUs that this process may use: those of CUDA_VISIBLE_DEVICES where that is set,
    as a scheduler does, else the identifiers of all NVIDIA GPUs. CUDA is not started."""
    stated = os.environ.get(VISIBLE)
    if stated is None:
        query = ("--query-gpu=uuid", "--format=csv,noheader")
        return (answer_of("nvidia-smi", *query) or "").splitlines()
    names = (name.strip() for name in stated.split(","))
    # CUDA hides what follows a name of no GPU, such as -1
    return list(itertools.takewhile(lambda name: name and not name.startswith("-"), names))


@contextlib.contextmanager
def hold_gpus(count: int) -> Iterator[list[str]]:
    """Let the block, in which CUDA must be started, see `count` GPUs: those used by the fewest.

    A GPU is never waited for: that is Snakemake's part, and where it lets more jobs run than there
    are GPUs, they share. All processes of a user on a machine see each other's slots.

    Yields the names of the GPUs, fewer than `count` where there are fewer, and none where this
    machine has none; then nothing is changed, and the job finds out what to do without.

    Raises ConfigError when another job does not come to an end of choosing.
    """
    names = visible_gpus() if count else []
    with contextlib.ExitStack() as stack:
        chosen = _take(names, count, stack) if names else []
        if len(chosen) < len(names):
            before = os.environ.get(VISIBLE)
            os.environ[VISIBLE] = ",".join(chosen)
            stack.callback(_restore, before)
        yield chosen


def _take(names: list[str], count: int, stack: contextlib.ExitStack) -> list[str]:
    """Hold a slot of each of the GPUs with the fewest slots held, and return their names."""
    folder = Path(tempfile.gettempdir()) / f"gnnip-gpus-{os.getuid()}"
    with hold(folder / "choosing", _busy, _PATIENCE_S):
        users = {name: sum(map(_is_held, _slots(folder, name))) for name in names}
        least = sorted(names, key=users.__getitem__)[:count]  # of equals the first
        for name in least:
            own = (folder / f"{_file_name(name)}.{number}" for number in itertools.count())
            free = next(path for path in own if not _is_held(path))
            stack.enter_context(hold(free, str))
    return [name for name in names if name in least]


def _slots(folder: Path, name: str) -> list[Path]:
    """Return the slots that a GPU ever had."""
    return [path for path in folder.iterdir() if path.stem == _file_name(name)]


def _file_name(name: str) -> str:
    return name.replace("/", "-")  # parts of a GPU have names like paths


def _busy(holder: str) -> str:
    return f"Another job ({holder}) does not come to an end of choosing its GPU; end it."


def _is_held(path: Path) -> bool:
    try:
        with hold(path, str, 0.0):
            return False
    except ConfigError:
        return True


def _restore(before: str | None) -> None:
    os.environ.pop(VISIBLE)
    if before is not None:
        os.environ[VISIBLE] = before
