"""What every command line does: one sentence for a mistake, whatever the terminal can show."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable, Sequence

from gnnip.errors import CURES, ConfigError, GnnipError, unwritten
from gnnip.machine import cpu_count


def columns(rows: Sequence[Sequence[str]], align: str) -> str:
    """Return rows as text in columns: `l` to the left, `r` to the right, the last letter of `align`
    for all that follow."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    sides = align.ljust(len(widths), align[-1])
    return "\n".join("  ".join(map(_put, row, widths, sides)).rstrip() for row in rows)


def _put(cell: str, width: int, side: str) -> str:
    return cell.ljust(width) if side == "l" else cell.rjust(width)


def answer(run: Callable[[], int], prefix: str) -> int:
    """Return the exit status of a command.

    A user's mistake, and an output that cannot be written, is one line on stderr that begins with
    the `prefix`, and status 2. What the locale has no letter for is printed as a question mark.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        status = run()
        sys.stdout.flush()
        return status
    except GnnipError as error:
        print(f"{prefix}: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # `| head` closed the pipe
        sys.stderr.close()
        return 0
    except OSError as error:
        with contextlib.suppress(OSError):  # what is left in the buffer goes nowhere
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        place = error.filename or "the output"
        full = unwritten(place, error) if error.errno in CURES else ""
        print(f"{prefix}: {full or f'{place}: {error.strerror or error}.'}", file=sys.stderr)
        return 2


def check_cores(name: str, wanted: int) -> None:
    """Raise ConfigError unless so many processes, by the name of an option, are one at least and
    no more than the cores of this machine."""
    if not 1 <= wanted <= cpu_count():
        raise ConfigError(
            f"{name} is {wanted}, and this machine has {cpu_count()} cores; take one at least and "
            "all at most."
        )
