"""What the settings of an engine cost in accuracy: frames of an archive labelled with better ones.

    python -m gnnip.datasets.settings_errors data/sic_dft.h5 cutoff=600 convergence=1e-7

Each argument is a setting to change, by itself. Labels are cached beside the archive, frame by
frame, so that an interrupted run continues; where the archive is registered, its entry keeps the
table.
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from gnnip.datasets import registry
from gnnip.datasets.arrays import FrameArrays
from gnnip.datasets.engine_sets import TERM
from gnnip.datasets.store import read_frames
from gnnip.datasets.structures import load_structures
from gnnip.errors import DataError
from gnnip.reference.engines import make_engine
from gnnip.reference.labelling import PATIENCE_S, Labels, label_frames
from gnnip.terminal import answer
from gnnip.units import GPA


def settings_errors(
    path: str | os.PathLike[str],
    changes: Sequence[str],
    n: int = 10,
    *,
    progress: Callable[[str], object] = print,
) -> pd.DataFrame:
    """Return the errors of an archive's labels against its engine with other settings.

    `changes` are settings such as cutoff=600, each taken by itself; `n` frames, spread evenly, are
    labelled again.

    Columns, one row per change: change, frames, energy_rmse_mev_per_atom (of energy differences:
    the mean deviation is taken off), force_rmse_mev_per_a, force_max_mev_per_a (largest component),
    stress_rmse_gpa, and seconds of the engine per frame.

    Raises DataError for a set that no engine labelled, ConfigError for an unknown setting,
    EngineError for an engine that is not installed.
    """
    path = Path(path)
    frames = read_frames(path)
    if "engine" not in frames.attributes:
        raise DataError(f"{path} was not labelled by an engine with settings; there is no error.")
    text = str(frames.attributes["engine"])
    chosen = np.unique(np.linspace(0, frames.n_frames - 1, n).round().astype(int))
    structures = load_structures(path)
    cache = path.with_name(path.name + ".settings")
    rows = []
    for change in changes:
        engine = make_engine(f"{text} {change}")
        labels = label_frames(
            [structures[i] for i in chosen],
            engine,
            cache,
            time_limit_s=PATIENCE_S,
            progress=progress,
        )
        rows.append({"change": change, **_errors(frames.subset(chosen[labels.good]), labels)})
    shutil.rmtree(cache, ignore_errors=True)
    return pd.DataFrame(rows)


def _errors(own: FrameArrays, labels: Labels) -> dict[str, float]:
    """Return the columns of a row: the stored labels of the frames that have better ones too."""
    good = labels.good
    energies = (own.energies[TERM] - labels.energies[good]) * 1000.0 / own.n_atoms
    forces = own.forces[TERM] - np.concatenate([labels.forces[i] for i in good])
    stresses = np.full((1, 3, 3), np.nan)
    if TERM in own.stresses:
        stresses = own.stresses[TERM] - labels.stresses[good]
    return {
        "frames": len(good),
        "energy_rmse_mev_per_atom": float(energies.std()),
        "force_rmse_mev_per_a": _rms(forces) * 1000.0,
        "force_max_mev_per_a": float(np.abs(forces).max()) * 1000.0,
        "stress_rmse_gpa": _rms(stresses) / GPA,
        "seconds": labels.seconds / len(labels.forces),
    }


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, and keep it in the registry entry of an archive."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("archive")
    parser.add_argument("changes", nargs="+", metavar="SETTING=VALUE")
    parser.add_argument("--frames", type=int, default=10)
    options = parser.parse_args(arguments)
    return answer(lambda: _main(options), "error")


def _main(options: argparse.Namespace) -> int:
    table = settings_errors(options.archive, options.changes, options.frames)
    print(table.to_string(index=False, float_format="{:.3g}".format))
    place = registry.registry_path()
    name = Path(options.archive).stem
    if Path(options.archive).resolve().parent == place.parent.resolve():
        entry = registry.find_entry(name, place)
        told = table.astype(object).map(lambda v: float(f"{v:.3g}") if isinstance(v, float) else v)
        entry["made"]["settings_errors"] = told.to_dict("records")
        registry.put_entry(name, entry, place)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
