"""A trajectory as a list of intervals: run, continued where it stopped, begun again when lost.

Each interval starts from positions, momenta and the random generator's state alone and ends with an
atomic checkpoint: a run that was killed continues to the same frames. When a system is lost in the
middle, the attempt is recorded in `events` and the trajectory starts again with the next seed.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from gnnip.errors import DataError, GnnipError
from gnnip.sampling import frames as files
from gnnip.sampling.frames import Frame, Progress


class LostError(Exception):
    """The system is no longer what it was: this attempt cannot go on."""


class OutOfTimeError(GnnipError):
    """The time limit came before the end; the checkpoint is there."""


class Interval(Protocol):
    """A stretch of a trajectory at one temperature (kelvin)."""

    @property
    def stage(self) -> str:
        """Return its name, e.g. equilibration."""

    @property
    def temperature(self) -> float:
        """Return the temperature."""


_Interval = TypeVar("_Interval", bound=Interval)


@dataclass
class State:
    """What a checkpoint holds: all that the next interval depends on, and the frames so far.

    positions and momenta in atomic units, of any shape; steps and time_fs of this attempt;
    evaluations and seconds of all attempts; events: the attempts that were lost, and why; series:
    rows of numbers that are recorded more often than frames.
    """

    positions: np.ndarray
    momenta: np.ndarray
    rng: np.random.Generator
    attempt: int = 0
    interval: int = 0
    steps: int = 0
    time_fs: float = 0.0
    seconds: float = 0.0
    evaluations: int = 0
    events: list[str] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)
    series: list[tuple[float, ...]] = field(default_factory=list)


_COUNTS = ("attempt", "interval", "steps", "evaluations")
_TIMES = ("time_fs", "seconds")


def run(
    plan: Any,
    folder: str | os.PathLike[str],
    intervals: Sequence[_Interval],
    begin: Callable[[int], State],
    advance: Callable[[_Interval, State], str],
    *,
    units: Mapping[str, str],
    cure: str,
    progress: Progress = print,
    deadline: float | None = None,
) -> Path:
    """Run or continue a trajectory and return the path of its frames.npz.

    `folder` belongs to this trajectory alone; it holds checkpoint.npz while running and frames.npz
    (see `gnnip.sampling.frames`) at the end. `begin` makes the state of an attempt, `advance` moves
    it by one interval and returns what to tell of it; it raises LostError when the
    attempt cannot go on. `units` are those of the frames, `cure` is what to try when all attempts
    are lost. `progress` gets one line per interval. `deadline` is a `time.time()` after which no
    interval is begun.

    Raises OutOfTimeError at the deadline, CheckpointError for a checkpoint that is damaged or of
    another plan, DataError when `plan.max_attempts` attempts in a row were lost.
    """
    result, checkpoint = Path(folder, "frames.npz"), Path(folder, "checkpoint.npz")
    if result.exists():
        files.load(result, plan)
        return result
    if checkpoint.exists():
        state = _restored(files.load(checkpoint, plan))
        progress(f"{plan.name} continues at interval {state.interval} of {len(intervals)}")
    else:
        state = begin(0)
    longest = 0.0
    while state.interval < len(intervals):
        if deadline is not None and time.time() + longest > deadline:
            raise OutOfTimeError(
                f"{plan.name} stopped at interval {state.interval} of {len(intervals)} by the time "
                "limit; run the same command again to continue."
            )
        interval = intervals[state.interval]
        began = time.perf_counter()
        try:
            told = advance(interval, state)
        except LostError as lost:
            state = _begin_again(plan, state, interval, lost, began, begin, cure, progress)
            continue
        spent = time.perf_counter() - began
        longest = max(longest, spent)
        state.interval += 1
        state.seconds += spent
        _write_checkpoint(checkpoint, plan, state)
        progress(
            f"{plan.name} {state.interval}/{len(intervals)} {interval.stage} "
            f"{interval.temperature:.0f} K {spent:.1f} s, {told}, {len(state.frames)} frames"
        )
    story = {key: getattr(state, key) for key in ("events", "series", "seconds", "evaluations")}
    files.write_trajectory(result, plan, state.frames, units=units, **story)
    checkpoint.unlink()
    return result


def _begin_again(
    plan: Any,
    state: State,
    interval: Interval,
    lost: Exception,
    began: float,
    begin: Callable[[int], State],
    cure: str,
    progress: Progress,
) -> State:
    event = f"attempt {state.attempt}, interval {state.interval} ({interval.stage}): {lost}"
    progress(f"{plan.name} {event}; starting again with the next seed")
    if state.attempt + 1 == plan.max_attempts:
        raise DataError(
            f"{plan.name}: {plan.max_attempts} attempts in a row were lost (last: {lost}); {cure}."
        ) from None
    spent = state.seconds + time.perf_counter() - began
    fresh = begin(state.attempt + 1)
    fresh.events, fresh.seconds = [*state.events, event], spent
    fresh.evaluations = state.evaluations
    return fresh


def _write_checkpoint(path: Path, plan: Any, state: State) -> None:
    files.save(
        path,
        plan,
        state_positions=state.positions,
        state_momenta=state.momenta,
        rng=json.dumps(state.rng.bit_generator.state),
        events=json.dumps(state.events),
        series=np.array(state.series),
        **{key: getattr(state, key) for key in (*_COUNTS, *_TIMES)},
        **files.pack(state.frames),
    )


def _restored(content: dict[str, np.ndarray]) -> State:
    rng = np.random.default_rng()
    rng.bit_generator.state = json.loads(str(content["rng"]))
    numbers: dict[str, Any] = {key: int(content[key]) for key in _COUNTS}
    numbers |= {key: float(content[key]) for key in _TIMES}
    return State(
        positions=content["state_positions"],
        momenta=content["state_momenta"],
        rng=rng,
        events=json.loads(str(content["events"])),
        frames=files.unpack(content),
        series=list(map(tuple, content["series"].tolist())),
        **numbers,
    )
