"""The outcome of one qualitative claim, judged by a written test."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ClaimResult:
    """What a claim's test found.

    `holds` is True or False, or None when the run cannot decide (too few seeds, too few epochs, a
    cell that was not run). `measured` is the number or list that decided, `reason` one sentence.
    """

    holds: bool | None
    measured: str
    reason: str
