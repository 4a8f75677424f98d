"""What jobs took where they were recorded, and what jobs to come may take.

The records are the files results/recorded/<tier>/<card>/provenance.json, which sum the benchmarks
of a run by rule.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gnnip.files import read_json

RECORDED = Path("results/recorded")
#: another machine may be as much slower, and jobs differ
_TIME_MARGIN, _MEMORY_MARGIN = 4.0, 2.0
#: where only a mean is recorded, the longest job is taken to be so many times that
_LONGEST_OF_MEAN = 4.0
#: of torch's libraries for a GPU, in the memory of the machine
_GPU_MEMORY_MB = 4000
#: what a scheduler can tell apart
_LEAST_MINUTES, _LEAST_MB = 10, 1000


@dataclass(frozen=True)
class Spent:
    """What the jobs of a rule took, all together and the largest one."""

    jobs: int
    wall_s: float
    longest_s: float
    peak_memory_mb: float


@functools.cache
def provenance(tier: str, card: str) -> dict[str, Any]:
    """Return where the recorded results of a card come from; empty where there are none."""
    path = RECORDED / tier / card / "provenance.json"
    return read_json(path, dict) if path.exists() else {}


@functools.cache
def spent(tier: str, card: str | None, rule: str) -> Spent | None:
    """Return what a rule took for a card, or for any where it is of none; None if unrecorded."""
    cards = [card] if card else sorted(path.name for path in (RECORDED / tier).glob("*"))
    found = [f for name in cards if (f := provenance(tier, name).get("rules", {}).get(rule))]
    if not found:
        return None
    return Spent(
        sum(entry["jobs"] for entry in found),
        sum(entry["wall_s"] for entry in found),
        max(
            entry.get("longest_s", _LONGEST_OF_MEAN * entry["wall_s"] / entry["jobs"])
            for entry in found
        ),
        max(entry["peak_memory_mb"] for entry in found),
    )


def needs(rule: str, what: str, stated: int, wildcards: Any, on_gpu: int) -> int:
    """Return what a job may take of a node: `mem_mb` (MB) or `runtime` (minutes).

    It follows with a margin from what the rule took for the same card at the same tier, or is what
    is stated where that is not recorded.
    """
    found = spent(wildcards.tier, getattr(wildcards, "card", None), rule)
    if found is None:
        return stated
    if what == "runtime":
        return max(_LEAST_MINUTES, math.ceil(_TIME_MARGIN * found.longest_s / 60))
    room = _GPU_MEMORY_MB if on_gpu else 0
    return max(_LEAST_MB, 100 * math.ceil(_MEMORY_MARGIN * found.peak_memory_mb / 100)) + room
