"""Where an artefact finds what it is made of: trainings, measurements and tables of data sets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gnnip.errors import ConfigError, nearest
from gnnip.files import read_csv
from gnnip.measurements.selection import frame_table
from gnnip.measurements.sources import load_frames
from gnnip.training.outputs import read_history, read_summary, seed_numbers

if TYPE_CHECKING:
    from gnnip.datasets.arrays import FrameArrays


@dataclass(frozen=True)
class Inputs:
    """What one artefact of a card reads, in one tier.

    `root` is results/{tier}/{card}; `card` is what the artefact may know of the card, as
    `gnnip.config.facts` describes it; `archives` is the folder of the data sets, by default the one
    beside `root`. Nothing here trains or predicts: files are read as they
    lie, and a missing one is a DataError, so that no aggregate is made of a partial run.
    """

    root: Path
    card: dict[str, Any]
    archives: Path | None = None

    @property
    def artefact(self) -> str:
        """Return the artefact's name."""
        return str(self.card["artefact"])

    @property
    def datasets(self) -> list[str]:
        """Return the data sets that the artefact itself states."""
        return list(self.card["datasets"])

    def reference(self, dataset: str | None = None) -> str:
        """Return what labelled a data set; by default what labelled all that are behind the
        artefact, joined by a plus sign where they differ."""
        references = self.card["references"]
        if dataset is not None:
            return str(references[dataset])
        return "+".join(dict.fromkeys(references.values()))

    def published(self) -> list[tuple[str, float]]:
        """Return quantity and value of the published numbers; a quantity may have several."""
        return [of for block in self.card["published"] for of in block["values"].items()]

    def group(self, name: str) -> dict[str, Any]:
        """Return the card's entry of a training group; ConfigError for an unknown name."""
        groups = self.card["trainings"]
        if name not in groups:
            raise ConfigError(
                f"Card {self.card['card']} has no training group '{name}'{nearest(name, groups)}."
            )
        entry: dict[str, Any] = groups[name]
        return entry

    def groups(self) -> list[str]:
        """Return the training groups that the artefact states, in the card's order."""
        return list(self.card["trainings"])

    def variant(self, group: str) -> str:
        """Return the variant of a training group that the artefact or a measurement of it reads."""
        return str(self.card["variants"][group])

    def cells(self, group: str) -> Iterator[tuple[dict[str, Any], int, Path]]:
        """Yield (matrix values, seed, folder) of every training of a group, in the card's order."""
        entry = self.group(group)
        for cell in entry["cells"]:
            folder = self.root / "trainings" / group / cell["name"]
            for seed in seed_numbers(entry["seeds"]):
                yield dict(cell["keys"]), seed, folder / f"seed-{seed}"

    def training(self, group: str, keys: Mapping[str, Any]) -> str:
        """Return group/cell of the cell with these values of the group's matrix."""
        cells = self.group(group)["cells"]
        return f"{group}/{next(cell['name'] for cell in cells if cell['keys'] == keys)}"

    def histories(self, group: str) -> pd.DataFrame:
        """Return history.csv of all cells and seeds; matrix keys and seed are columns; eV."""
        parts = [
            read_history(folder).assign(**keys, seed=seed)
            for keys, seed, folder in self.cells(group)
        ]
        return pd.concat(parts, ignore_index=True)

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
        return read_summary(folder)

    def training_frames(self, group: str, keys: dict[str, Any], seed: int) -> np.ndarray:
        """Return the frames that a training learned from, by making its split again.

        Baselines are fitted on these. Splits depend on scheme, options and seed only.
        """
        from gnnip.datasets.splits import make_split

        entry = self.group(group)
        cell = next(cell for cell in entry["cells"] if cell["keys"] == keys)
        options = dict(cell["split"])
        arrays = self.arrays(entry["dataset"])
        own = options.pop("seed", seed)
        return np.asarray(make_split(arrays, options.pop("scheme"), own, **options)["train"])

    def measurement(self, name: str) -> pd.DataFrame:
        """Return the table of a measurement, or of the part of it that this run needs, without the
        cells that the artefact does not read."""
        file = self.card.get("parts", {}).get(name, name)
        table = read_csv(self.root / "measurements" / f"{file}.csv")
        for group, entry in self.card["trainings"].items():
            if others := entry.get("other_cells"):
                table = table[(table["group"] != group) | ~table["cell"].isin(others)]
        return table

    def measurements(self) -> list[str]:
        """Return the measurements that the artefact states."""
        return list(self.card["measurements"])

    def options(self, measurement: str) -> dict[str, Any]:
        """Return the options of a measurement, as the card has them at this tier."""
        return dict(self.card["measurements"][measurement]["options"])

    def arrays(self, dataset: str | None = None) -> FrameArrays:
        """Return the frames of a data set (eV, Angstrom), of the first one by default."""
        name = dataset or next(iter(self.card["references"]))
        return load_frames((self.archives or self.root.parent / "datasets") / f"{name}.h5")

    def frames(self, dataset: str | None = None) -> pd.DataFrame:
        """Return the table of a data set, one row per frame.

        Columns: frame, n_atoms, the metadata (n_molecules, temperature_k, trajectory, state, ...)
        and energy_{term}_ev for every term.
        """
        return frame_table(self.arrays(dataset))
