"""What every command line does: one sentence for a mistake, whatever the terminal can show."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable

from gnnip.errors import ConfigError, GnnipError
from gnnip.machine import cpu_count


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
        print(f"{prefix}: {place}: {error.strerror or error}.", file=sys.stderr)
        return 2


def check_cores(name: str, wanted: int) -> None:
    """Raise ConfigError unless so many processes, by the name of an option, are one at least and
    no more than the cores of this machine."""
    if not 1 <= wanted <= cpu_count():
        raise ConfigError(
            f"{name} is {wanted}, and this machine has {cpu_count()} cores; take one at least and "
            "all at most."
        )
