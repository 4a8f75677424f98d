"""What saved potentials are worth on frames with labels."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gnnip.datasets.imports.settings import FolderSource
from gnnip.errors import DataError
from gnnip.own.frames import source_of
from gnnip.own.run import import_frames
from gnnip.own.shipped import locate
from gnnip.strict import validate


def evaluate_files(
    model: str, frames: str, read: Mapping[str, Any], device: str = "auto"
) -> pd.DataFrame:
    """Return the table of the kind evaluation, with the columns group, cell, seed and `source` (of
    the worst frames, file and number in it), of a potential or of all its seeds.

    Args:
        model: a saved potential, the folder of its seeds or of a run.
        frames: files, as for `gnnip train`.
        read: settings of the import.
        device: auto, cpu or cuda.

    Raises:
        DataError: frames that cannot be read, that have no label, or elements that the potential
            was not trained on.
    """
    from gnnip.datasets.store import load_arrays
    from gnnip.graphs import GraphStore
    from gnnip.measurements.evaluation import evaluate, labels_of
    from gnnip.measurements.kinds import Evaluation
    from gnnip.models import load, predict
    from gnnip.models.files import find_seeds

    potentials = [load(place, device) for place in find_seeds(locate(model))]
    source = validate(FolderSource, source_of(frames, read), "frames")
    with tempfile.TemporaryDirectory() as scratch:
        arrays = load_arrays(import_frames(Path(scratch), "frames", source, lambda line: None))
    labels, options, parts = labels_of(arrays, arrays.terms), Evaluation(), []
    for seed, potential in enumerate(potentials):
        potential.check_species(arrays.numbers)
        store = GraphStore.from_frames(
            arrays, potential.cutoff, device=str(potential.device), dtype=potential.dtype
        )
        found = predict(
            potential,
            store,
            batch_size=options.batch_size,
            forces="forces" in labels,
            stress="stress" in labels,
        )
        table = evaluate(arrays, labels, found, np.arange(arrays.n_frames), options)
        parts.append(table.assign(group=potential.architecture, cell="all", seed=seed))
    table = pd.concat(parts, ignore_index=True)
    names = arrays.metadata["source"].astype(str), arrays.metadata["source_frame"]
    table["source"] = [
        "" if np.isnan(k) else f"{names[0][int(k)]}, frame {names[1][int(k)]}"
        for k in table["frame"].astype(float)
    ]
    return table


def worst_rows(table: pd.DataFrame, most: int = 5) -> list[list[str]]:
    """Return frame, error of its forces (or of its energy, without) and energy error of the worst
    frames, as text."""
    worst = table[table["record"] == "frame"].sort_values("rmse", ascending=False)
    where = worst["source"] if "source" in worst else worst["frame"].map("{:.0f}".format)
    return [
        [str(place), f"{row['rmse']:.3g} {row['unit']}", f"{row['energy_error']:.3g} meV/atom"]
        for place, (_, row) in zip(where[:most], worst[:most].iterrows(), strict=True)
    ]


def write_evaluation(table: pd.DataFrame, folder: Path) -> list[Path]:
    """Write a table and its parity plot to a folder; return the files."""
    from gnnip.artefacts import style
    from gnnip.artefacts.kinds import Parity
    from gnnip.artefacts.parity_figure import parity
    from gnnip.files import make_folder, write_text

    if not len(table):
        raise DataError("There is nothing to write; give frames with labels.")
    make_folder(folder)
    files = [folder / "evaluation.csv", folder / "parity.png"]
    write_text(files[0], table.to_csv(index=False))
    style.save(parity(table, {"card": table["group"].iloc[0]}, Parity()), files[1])
    return files
