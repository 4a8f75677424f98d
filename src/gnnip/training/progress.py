"""Progress of long work: a bar on a terminal, a line per interval in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

INTERVAL_S = 15.0


class Progress:
    """Reports steps 1..total; `sink` takes whole lines, None chooses a bar or standard output."""

    def __init__(self, total: int, start: int, sink: Callable[[str], object] | None) -> None:
        """Begin at step `start`."""
        self._total, self._start = total, start
        self._bar = None
        self._sink = sink or _print
        self._begun = self._last = time.monotonic()
        if sink is None and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=total, initial=start, unit="epoch", leave=False)

    def step(self, number: int, text: str) -> None:
        """Report step `number`; a log gets a line when the interval has passed or all is done."""
        if self._bar is not None:
            self._bar.set_postfix_str(text, refresh=False)
            self._bar.update(1)
        elif time.monotonic() - self._last >= INTERVAL_S or number == self._total:
            self._last = time.monotonic()
            left = (self._total - number) * (self._last - self._begun) / (number - self._start)
            said = f", {duration(left)} left" if number < self._total else ""
            self._sink(f"epoch {number}/{self._total}: {text}{said}")

    def say(self, text: str) -> None:
        """Report a line at once."""
        if self._bar is not None:
            self._bar.write(text, file=sys.stderr)
        else:
            self._sink(text)

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()


def duration(seconds: float) -> str:
    """Return a time in words, e.g. 40 s, 5 min or 3.2 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _print(line: str) -> None:
    print(line, flush=True)
