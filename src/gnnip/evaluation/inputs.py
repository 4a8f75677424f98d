"""Where an artefact finds what it is made of: trainings, steps and the data set's table."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from gnnip.errors import ConfigError, DataError, nearest
from gnnip.files import read_json


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
        entry = self.group(group)
        matrix: dict[str, list[Any]] = entry.get("matrix") or {}
        seeds = entry.get("seeds", 1)
        for values in itertools.product(*matrix.values()):
            keys = dict(zip(matrix, values, strict=True))
            cell = "_".join(f"{key}-{value}" for key, value in keys.items()) or "all"
            for seed in range(seeds) if isinstance(seeds, int) else seeds:
                yield keys, int(seed), self.root / "trainings" / group / cell / f"seed-{seed}"

    def _tables(self, group: str, name: str) -> pd.DataFrame:
        parts = []
        for keys, seed, folder in self.cells(group):
            table = _read_csv(folder / name)
            parts.append(table.assign(**keys, seed=seed))
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
            summary = read_json(folder / "summary.json")
            flat = {k: v for k, v in summary.items() if not isinstance(v, dict | list)}
            rows.append({**flat, **keys, "seed": seed})
        return pd.DataFrame(rows)

    def step(self, name: str) -> pd.DataFrame:
        """Return steps/{name}.csv."""
        return _read_csv(self.root / "steps" / f"{name}.csv")

    def frames(self, dataset: str | None = None) -> pd.DataFrame:
        """Return the data set's table, one row per frame.

        Columns: frame, n_molecules, temperature_k, trajectory, state, n_atoms, and
        energy_{term}_ev for every term.
        """
        from gnnip.datasets.arrays import load_arrays

        name = dataset or self.dataset()
        return frame_table(load_arrays(self.root.parent / "datasets" / f"{name}.h5"))

    def dataset(self) -> str:
        """Return the name of the card's data set (the first one when there are several)."""
        datasets = self.card.get("datasets") or []
        if not datasets:
            raise ConfigError(f"Card {self.card.get('id')} names no data set.")
        return str(next(iter(datasets)))


def _read_csv(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path)
    except FileNotFoundError as error:
        raise DataError(
            f"{path} does not exist: run the workflow to the end before tabulating, "
            "no table is made of a partial run."
        ) from error
    except pd.errors.EmptyDataError as error:
        raise DataError(f"{path} is empty: delete it and run the workflow again.") from error


def frame_table(arrays: Any) -> pd.DataFrame:
    """Return one row per frame of a `gnnip.datasets.arrays.FrameArrays` (its metadata and energies)."""
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
