"""What every job of the pipeline does besides its work: a log, a GPU of its own where it asks for
one, and a receipt of what it made."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gnnip.errors import CURES, GnnipError, unwritten
from gnnip.files import make_folder
from gnnip.locks import end_with_snakemake
from gnnip.receipts import write_receipt


@contextlib.contextmanager
def job(snakemake: Any) -> Iterator[None]:
    """Send what the block and its child processes print to the job's log; when it succeeds, write
    the job's receipt.

    The job ends with its Snakemake, also where that is killed, so that a restart meets no second
    writer. It sees as many GPUs as its rule asks for, see `gnnip.gpus`.

    An exception ends the process with status 1: a :class:`GnnipError` leaves its sentence in the
    log and on the terminal, anything else its traceback in the log and its last line on the
    terminal.

    Args:
        snakemake: the object that Snakemake gives to a script, for its log, resources, input and
            output.
    """
    end_with_snakemake()
    target = Path(snakemake.log[0])
    make_folder(target.parent)
    _flush()
    terminal = [os.dup(1), os.dup(2)]
    with open(target, "w", encoding="utf-8", buffering=1) as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
        for out in (sys.stdout, sys.stderr):  # whatever the locale says
            out.reconfigure(encoding="utf-8", line_buffering=True)  # type: ignore[union-attr]
        try:
            with _gpus(snakemake.resources.get("gpu", 0)) as names:
                if names:
                    print("On the GPU", *names)
                yield
            write_receipt(snakemake.output, snakemake.input)
        except Exception as error:
            with contextlib.suppress(OSError):  # the log may be on a disk that is full
                if isinstance(error, GnnipError):
                    print(error, file=sys.stderr)
                else:
                    traceback.print_exc()
            if isinstance(error, GnnipError):
                message = str(error)
            elif isinstance(error, OSError) and error.errno in CURES:
                # one without a name is of the log
                message = unwritten(error.filename or target, error)
            else:
                message = f"{type(error).__name__}: {error} (traceback in {target})"
            os.write(terminal[1], f"{message}\n".encode())
            raise SystemExit(1) from None
        finally:
            _flush()
            for number, saved in enumerate(terminal, start=1):
                os.dup2(saved, number)
                os.close(saved)


def _gpus(count: int) -> contextlib.AbstractContextManager[Sequence[str]]:
    if not count:
        return contextlib.nullcontext(())
    from gnnip.gpus import hold_gpus  # not loaded by the many jobs that want none

    return hold_gpus(count)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
