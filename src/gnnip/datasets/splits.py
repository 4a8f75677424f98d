"""Splits of a data set into training, validation and test frames."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gnnip.datasets.arrays import FrameArrays
from gnnip.errors import ConfigError, DataError, nearest

Split = dict[str, np.ndarray]


def random_split(
    frames: FrameArrays,
    chosen: np.ndarray,
    rng: np.random.Generator,
    *,
    test_fraction: float = 0.2,
    validation_fraction: float = 0.1,
) -> Split:
    """Split by frame, as the papers do: `validation_fraction` is taken out of the training part.

    Frames of one trajectory land on both sides: the test error is that of interpolation.
    """
    order = rng.permutation(chosen)
    n_test = round(test_fraction * len(order))
    n_validation = round(validation_fraction * (len(order) - n_test))
    return {
        "test": order[:n_test],
        "validation": order[n_test : n_test + n_validation],
        "train": order[n_test + n_validation :],
    }


def trajectory_split(frames: FrameArrays, chosen: np.ndarray, rng: np.random.Generator) -> Split:
    """Hold out whole trajectories: of every size a quarter for the test, at least one, and of every
    second size as many to validate.

    A size with a single trajectory goes to the training set; where no size has several, all sizes
    count as one. With four trajectories a size: 62.5 % of the frames train, 12.5 % validate, 25 %
    test.
    """
    test, validation = [], []
    groups = _trajectories_by_size(frames, chosen, rng)
    if all(len(names) == 1 for names in groups):
        groups = [[str(n) for n in rng.permutation([names[0] for names in groups])]]
    for names in groups:
        count = max(1, len(names) // 4)
        if len(names) > 1:
            test += names[:count]
        if len(names) > 2:
            validation.append(names[count : 2 * count])
    first = int(rng.integers(2)) if len(validation) > 1 else 0
    return _by_trajectory(
        frames, chosen, test, [n for names in validation[first::2] for n in names]
    )


def size_split(
    frames: FrameArrays,
    chosen: np.ndarray,
    rng: np.random.Generator,
    *,
    largest_train_size: int = 100,
    smallest_test_size: int = 139,
) -> Split:
    """Train on small structures, test on large ones (molecules, else atoms); validate on held-out
    trajectories.

    Of every second training size with several trajectories one trajectory validates.
    """
    size = _sizes(frames)[chosen]
    small = chosen[size <= largest_train_size]
    validation = [n[0] for n in _trajectories_by_size(frames, small, rng) if len(n) > 1]
    first = int(rng.integers(2)) if len(validation) > 1 else 0
    split = _by_trajectory(frames, small, [], validation[first::2])
    return {**split, "test": chosen[size >= smallest_test_size]}


def columns_split(
    frames: FrameArrays,
    chosen: np.ndarray,
    rng: np.random.Generator,
    *,
    train_where: Mapping[str, Sequence[Any]] | None = None,
    test_where: Mapping[str, Sequence[Any]] | None = None,
    validation_fraction: float = 0.1,
    together: str | None = None,
) -> Split:
    """Train and test on frames with the given values of metadata columns.

    `validation_fraction` is taken out of the training part; frames with the same value of the
    column `together` go to the same side. Frames that both descriptions fit are test frames.
    """
    test = _matching(frames, chosen, test_where or {})
    rest = np.setdiff1d(_matching(frames, chosen, train_where or {}), test)
    names = frames.column(together)[rest] if together else rest
    unique = rng.permutation(np.unique(names))
    held_out = unique[: max(1, round(validation_fraction * len(unique)))]
    validates = np.isin(names, held_out)
    return {"test": test, "validation": rest[validates], "train": rest[~validates]}


SCHEMES: dict[str, Callable[..., Split]] = {
    "columns": columns_split,
    "random": random_split,
    "trajectory": trajectory_split,
    "size": size_split,
}


SUBSETS = ("train", "validation", "test")


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _fraction(value: Any) -> bool:
    return isinstance(value, float) and 0.0 < value < 1.0


def _columns(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(v, list | tuple) for v in value.values())


#: what an option of a split may be, besides null, and how that is said
_OPTIONS: dict[str, tuple[Callable[[Any], bool], str]] = {
    **dict.fromkeys(
        ("max_frames", "train_frames", "largest_train_size", "smallest_test_size"),
        (_whole, "a whole number of at least 1"),
    ),
    **dict.fromkeys(("test_fraction", "validation_fraction"), (_fraction, "between 0 and 1")),
    **dict.fromkeys(("where", "train_where", "test_where"), (_columns, "{column: [values]}")),
    "sizes": (lambda v: isinstance(v, list | tuple) and all(map(_whole, v)), "a list of sizes"),
    "together": (lambda v: isinstance(v, str), "the name of a column"),
}


def check_split(split: Mapping[str, Any]) -> None:
    """Raise ConfigError for what describes no split: `scheme` with its options, or the frames of
    the subsets."""
    if "scheme" not in split:
        for name, frames in split.items():
            if name not in SUBSETS:
                raise ConfigError(f"A split has the subsets {', '.join(SUBSETS)}, not '{name}'.")
            frame_numbers(frames, name)
        return
    scheme = split["scheme"]
    if not isinstance(scheme, str) or scheme not in SCHEMES:
        raise ConfigError(f"Split scheme '{scheme}' is unknown{nearest(scheme, SCHEMES)}.")
    known = [
        *(SCHEMES[scheme].__kwdefaults__ or {}),
        "sizes",
        "where",
        "max_frames",
        "train_frames",
    ]
    for option, value in split.items():
        if option in ("scheme", "seed"):
            continue
        if option not in known:
            raise ConfigError(
                f"Split scheme '{scheme}' has no option '{option}'{nearest(option, known)}."
            )
        fits, words = _OPTIONS[option]
        if value is not None and not fits(value):
            raise ConfigError(f"Split: {option} is {value!r}, it must be {words}.")
    seed = split.get("seed", 0)
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ConfigError(f"Split: seed is {seed!r}, it must be a whole number from 0 on.")


def frame_numbers(values: Any, name: str) -> np.ndarray:
    """Return the numbers of frames of a subset; ConfigError for anything but a list of them."""
    try:
        numbers = np.asarray(values)
    except (ValueError, OverflowError):  # lists of several lengths
        numbers = np.array([None])
    if numbers.ndim != 1 or (len(numbers) and numbers.dtype.kind not in "iu"):
        raise ConfigError(
            f"The {name} frames of a split must be a list of whole numbers, found {values!r:.60}."
        )
    return numbers.astype(np.int64)


def make_split(frames: FrameArrays, scheme: str, seed: int, **options: Any) -> Split:
    """Return sorted frame indices {"train", "validation", "test"}, disjoint, the same for the same
    seed.

    Options of every scheme: `sizes` (molecules where the set counts them, else atoms; other frames
    are left out), `where` ({column: values}; other frames are left out), `max_frames` (a subset
    drawn evenly over the (size, temperature) ensembles, the same for every seed and scheme) and
    `train_frames` (so many of the training frames, each number of them holding the smaller ones;
    those of validation and test stay). The rest are those of the scheme: random (test_fraction,
    validation_fraction), trajectory, size (largest_train_size, smallest_test_size), columns
    (train_where, test_where, validation_fraction, together).

    Raises ConfigError as `check_split` does, DataError when a part would be empty.
    """
    check_split({"scheme": scheme, **options})
    sizes: Sequence[int] | None = options.pop("sizes", None)
    max_frames: int | None = options.pop("max_frames", None)
    train_frames: int | None = options.pop("train_frames", None)
    chosen = _matching(frames, np.arange(frames.n_frames), options.pop("where", None) or {})
    if sizes is not None:
        chosen = chosen[np.isin(_sizes(frames), list(sizes))]
    if max_frames is not None and max_frames < len(chosen):
        chosen = _even_subset(frames, chosen, max_frames)
    split = SCHEMES[scheme](frames, chosen, np.random.default_rng(seed), **options)
    for part in ("train", "validation", "test"):
        if not len(split[part]):
            raise DataError(
                f"The {scheme} split leaves no {part} frames out of {len(chosen)}; give more "
                "frames, trajectories or sizes, or take the random scheme."
            )
    if train_frames is not None:
        if train_frames > len(split["train"]):
            raise DataError(
                f"The {scheme} split gives {len(split['train'])} training frames and "
                f"{train_frames} are asked for; lower train_frames or hold fewer frames out."
            )
        split["train"] = np.random.default_rng([seed, 1]).permutation(split["train"])[:train_frames]
    return {part: np.sort(split[part]) for part in ("train", "validation", "test")}


def _matching(
    frames: FrameArrays, chosen: np.ndarray, where: Mapping[str, Sequence[Any]]
) -> np.ndarray:
    """Return those of the frames `chosen` whose columns have one of the given values each."""
    for column, values in where.items():
        present = frames.column(column)
        for value in values:
            if not np.isin(present, [value]).any():
                raise DataError(
                    f"No frame has {column} = {value}; the data set has "
                    f"{', '.join(map(str, np.unique(present)[:12]))}."
                )
        chosen = chosen[np.isin(present[chosen], list(values))]
    return chosen


def _sizes(frames: FrameArrays) -> np.ndarray:
    """Return the size (frames,) of every system: molecules where they are counted, else atoms."""
    return frames.metadata.get("n_molecules", frames.n_atoms)


def _trajectories_by_size(
    frames: FrameArrays, chosen: np.ndarray, rng: np.random.Generator
) -> list[list[str]]:
    """Return, by rising size, the names of its trajectories in random order."""
    size, trajectory = _sizes(frames)[chosen], frames.column("trajectory")[chosen]
    return [
        [str(t) for t in rng.permutation(np.unique(trajectory[size == n]))] for n in np.unique(size)
    ]


def _by_trajectory(
    frames: FrameArrays, chosen: np.ndarray, test: list[str], validation: list[str]
) -> Split:
    trajectory = frames.column("trajectory")[chosen]
    in_test = np.isin(trajectory, test)
    # a trajectory may hold several sizes
    in_validation = np.isin(trajectory, validation) & ~in_test
    return {
        "test": chosen[in_test],
        "validation": chosen[in_validation],
        "train": chosen[~in_test & ~in_validation],
    }


def _even_subset(frames: FrameArrays, chosen: np.ndarray, count: int) -> np.ndarray:
    # round robin over the ensembles, each in a fixed random order
    rng = np.random.default_rng(0)
    size = _sizes(frames)[chosen]
    temperature = frames.metadata.get("temperature_k", np.zeros(frames.n_frames))[chosen]
    _, ensemble = np.unique(np.stack([size, temperature], axis=1), axis=0, return_inverse=True)
    order = rng.permutation(len(chosen))
    rank = np.empty(len(chosen), dtype=np.int64)
    for e in np.unique(ensemble):
        members = order[ensemble.ravel()[order] == e]
        rank[members] = np.arange(len(members))
    return np.sort(chosen[np.lexsort((order, rank))[:count]])
