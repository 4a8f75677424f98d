"""The files that a training leaves behind, and whether they are all there and whole.

The standard library only, and pandas for the tables; no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gnnip.errors import DataError
from gnnip.files import count_rows, read_csv, read_json, sha256

if TYPE_CHECKING:
    import pandas as pd

RESULTS = ("model.safetensors", "model.json", "history.csv", "predictions.csv", "summary.json")


def seed_numbers(seeds: int | Sequence[int]) -> list[int]:
    """Return the seeds of a training group: those that are listed, or as many as are counted."""
    return list(range(seeds)) if isinstance(seeds, int) else list(seeds)


def read_summary(folder: Path) -> dict[str, Any]:
    """Return summary.json of the training in `folder`."""
    summary: dict[str, Any] = read_json(folder / "summary.json", dict)
    return summary


def read_predictions(folder: Path) -> pd.DataFrame:
    """Return predictions.csv of the training in `folder`; DataError unless it has a row for each
    validation and test frame."""
    return read_csv(folder / "predictions.csv", _predictions(_known(folder)))


def read_history(folder: Path) -> pd.DataFrame:
    """Return history.csv of the training in `folder`; DataError unless it has a row for each
    epoch."""
    return read_csv(folder / "history.csv", _known(folder).get("epochs_run"))


def are_whole(folder: Path) -> bool:
    """Tell whether a folder holds all results of a training: the weights that the description was
    written for, and a row for each epoch and each predicted frame."""
    try:
        summary, described = read_summary(folder), read_json(folder / "model.json", dict)
        return (
            sha256(folder / "model.safetensors") == described.get("weights_sha256")
            and count_rows(folder / "history.csv") == summary.get("epochs_run")
            and count_rows(folder / "predictions.csv") == _predictions(summary)
        )
    except (DataError, OSError):
        return False


def _known(folder: Path) -> dict[str, Any]:
    """Return the summary where there is one: it is the last file that a training writes."""
    return read_summary(folder) if (folder / "summary.json").exists() else {}


def _predictions(summary: dict[str, Any]) -> int | None:
    names = ("n_validation", "n_test")
    return sum(summary[name] for name in names) if set(names) <= summary.keys() else None
