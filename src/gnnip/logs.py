"""What a job of the pipeline prints goes to its log; what goes wrong is one sentence."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

from gnnip.errors import GnnipError


@contextlib.contextmanager
def job_log(path: str | os.PathLike[str]) -> Iterator[None]:
    """Send stdout and stderr of the block, and of its child processes, to the file `path`.

    An exception ends the process with status 1: a :class:`GnnipError` leaves its sentence in the
    log and on the terminal, anything else its traceback in the log and its last line on the
    terminal.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    terminal = [os.dup(1), os.dup(2)]
    with open(target, "w", encoding="utf-8", buffering=1) as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        try:
            yield
        except Exception as error:
            if isinstance(error, GnnipError):
                message = str(error)
                print(message, file=sys.stderr)
            else:
                message = f"{type(error).__name__}: {error} (traceback in {target})"
                traceback.print_exc()
            os.write(terminal[1], f"{message}\n".encode())
            raise SystemExit(1) from None
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, saved in enumerate(terminal, start=1):
                os.dup2(saved, number)
                os.close(saved)
