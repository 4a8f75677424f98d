"""Where an artefact finds what it is made of: trainings, steps and the data set's table."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gnnip.errors import ConfigError, DataError, nearest
from gnnip.files import read_json

if TYPE_CHECKING:
    from gnnip.datasets.arrays import FrameArrays


@dataclass(frozen=True)
class Inputs:
    """Results of one card in one tier.

    `root` is results/{tier}/{card}, `card` the card as resolved for the tier (a plain dictionary),
    `tier` its name. Nothing here trains or predicts: files are read as they lie, and a missing one
    is a DataError, so that no aggregate is made of a partial run.
    """

    root: Path
    card: dict[str, Any]
    tier: str

    def group(self, name: str) -> dict[str, Any]:
        """Return the card's entry of a training group; ConfigError for an unknown name."""
        groups = self.card.get("trainings") or {}
        if name not in groups:
            raise ConfigError(
                f"Card {self.card.get('id')} has no training group '{name}'{nearest(name, groups)}."
            )
        entry: dict[str, Any] = groups[name]
        return entry

    def cells(self, group: str) -> Iterator[tuple[dict[str, Any], int, Path]]:
        """Yield (matrix values, seed, folder) of every training of a group, in the card's order."""
        from gnnip.cards import TrainingGroup, expand

        entry = self.group(group)
        cells = expand(TrainingGroup.model_validate({"matrix": entry.get("matrix") or {}}))
        for cell in cells:
            folder = self.root / "trainings" / group / cell.name
            for seed in range(int(entry.get("seeds") or 1)):
                yield dict(cell.values), seed, folder / f"seed-{seed}"

    def _tables(self, group: str, name: str) -> pd.DataFrame:
        parts = [
            read_csv(folder / name).assign(**keys, seed=seed)
            for keys, seed, folder in self.cells(group)
        ]
        return pd.concat(parts, ignore_index=True)

    def predictions(self, group: str) -> pd.DataFrame:
        """Return predictions.csv of all cells and seeds; matrix keys and seed are columns; eV."""
        return self._tables(group, "predictions.csv")

    def histories(self, group: str) -> pd.DataFrame:
        """Return history.csv of all cells and seeds; matrix keys and seed are columns; eV."""
        return self._tables(group, "history.csv")

    def summaries(self, group: str) -> pd.DataFrame:
        """Return one row per training from summary.json; matrix keys and seed are columns."""
        rows = []
        for keys, seed, folder in self.cells(group):
            summary = self.summary(folder)
            flat = {k: v for k, v in summary.items() if not isinstance(v, dict | list)}
            rows.append({**flat, **keys, "seed": seed})
        return pd.DataFrame(rows)

    def summary(self, folder: Path) -> dict[str, Any]:
        """Return summary.json of the training in `folder`."""
        summary: dict[str, Any] = read_json(folder / "summary.json")
        return summary

    def training_frames(self, group: str, keys: dict[str, Any], seed: int) -> np.ndarray:
        """Return the frames that a training learned from, by making its split again.

        Baselines are fitted on these. Splits depend on scheme, options and seed only.
        """
        from gnnip.cards import Cell, TrainingGroup, plan_training
        from gnnip.datasets.splits import make_split

        entry = TrainingGroup.model_validate(self.group(group))
        options = dict(plan_training(entry, Cell("", tuple(keys.items()))).split)
        arrays = _load(self.dataset_path(entry.dataset))
        frames = make_split(arrays, options.pop("scheme"), seed, **options)["train"]
        return np.asarray(frames)

    def step(self, name: str) -> pd.DataFrame:
        """Return steps/{name}.csv."""
        return read_csv(self.root / "steps" / f"{name}.csv")

    def dataset_path(self, dataset: str | None = None) -> Path:
        """Return the archive of a data set of this tier; the card's first one by default."""
        datasets = self.card.get("datasets") or []
        if dataset is None and not datasets:
            raise ConfigError(f"Card {self.card.get('id')} names no data set.")
        return self.root.parent / "datasets" / f"{dataset or next(iter(datasets))}.h5"

    def arrays(self, dataset: str | None = None) -> FrameArrays:
        """Return the frames of a data set (eV, Å); read once."""
        return _load(self.dataset_path(dataset))

    def frames(self, dataset: str | None = None) -> pd.DataFrame:
        """Return the data set's table, one row per frame.

        Columns: frame, n_atoms, the metadata (n_molecules, temperature_k, trajectory, state, ...)
        and energy_{term}_ev for every term.
        """
        return frame_table(self.arrays(dataset))


@functools.lru_cache(maxsize=2)
def _load(path: Path) -> FrameArrays:
    from gnnip.datasets.store import load_arrays

    return load_arrays(path)


def read_csv(path: Path) -> pd.DataFrame:
    """Read a table of the pipeline; a missing or empty one is a DataError that names it."""
    try:
        return pd.read_csv(path)
    except FileNotFoundError as error:
        raise DataError(
            f"{path} does not exist: run the workflow to the end before tabulating, "
            "no table is made of a partial run."
        ) from error
    except pd.errors.EmptyDataError as error:
        raise DataError(f"{path} is empty: delete it and run the workflow again.") from error


def training_of(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return group, cell and seed from .../{group}/{cell}/seed-{seed}/{file}.

    Raises DataError when the folders do not say so.
    """
    seed_folder, cell, group = Path(path).resolve().parents[:3]
    seed = re.fullmatch(r"seed-(\d+)", seed_folder.name)
    if seed is None:
        raise DataError(
            f"{path} does not lie in .../<group>/<cell>/seed-<n>/, so that it is unknown what was "
            "trained."
        )
    return {"group": group.name, "cell": cell.name, "seed": int(seed.group(1))}


def frame_table(arrays: FrameArrays) -> pd.DataFrame:
    """Return metadata and energies, one row per frame, of a `gnnip.datasets.arrays.FrameArrays`."""
    offsets = arrays.offsets
    table = pd.DataFrame(
        {
            "frame": range(len(offsets) - 1),
            "n_atoms": offsets[1:] - offsets[:-1],
            **{name: values for name, values in arrays.metadata.items() if name != "frame"},
        }
    )
    for term, energies in arrays.energies.items():
        table[f"energy_{term}_ev"] = energies
    return table
