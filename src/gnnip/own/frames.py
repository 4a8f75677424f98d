"""How a user's frames are read where the user does not say: by the name and the first frame."""

from __future__ import annotations

import glob
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gnnip.datasets.imports.batch import Skipped
from gnnip.datasets.imports.folder import folder_files
from gnnip.datasets.imports.settings import FolderSource
from gnnip.datasets.store import FORMAT
from gnnip.errors import DataError
from gnnip.strict import validate

#: names by which the comment line of a frame may tell its trajectory
TRAJECTORY_KEYS = ("trajectory", "traj", "trajectory_id", "replica")


def source_of(path: str, stated: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of an import: what is `stated`, and else what the frames themselves say.

    The format follows from the names of the files; of extended XYZ, archives and whatever ASE reads
    also whether there is a stress, and what tells trajectories apart. Paths become absolute.

    DataError for files that are not there or hold no frame, ConfigError for settings that are none.
    """
    place = path if glob.has_magic(path) else str(Path(path).resolve())
    values = {"path": place, "format": "ase", **stated}
    if "format" not in stated:
        files = folder_files(validate(FolderSource, values, "frames"))
        values["format"] = _format(files[0])
        if values["format"] == "vasp" and Path(path).is_dir():
            values.setdefault("pattern", "**/OUTCAR*")
    source = validate(FolderSource, values, "frames")
    first = folder_files(source)[0]
    if source.format in ("extxyz", "ase"):
        values |= _of_structure(first, values)
    elif source.format == "gnnip":
        values |= _of_archive(first, values)
    return values


def _format(path: Path) -> str:
    name = path.name
    if "OUTCAR" in name:
        return "vasp"
    if name == "input.data":
        return "runner"
    if path.suffix in (".h5", ".hdf5"):
        return "gnnip"
    return "extxyz" if path.suffix in (".xyz", ".extxyz") else "ase"


def _of_structure(path: Path, stated: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the first structure of a file tells: the stress and the name of trajectories."""
    from gnnip.datasets.imports.structures import structures

    first = next((atoms for atoms in structures(path) if not isinstance(atoms, Skipped)), None)
    if first is None:
        raise DataError(f"{path} holds no structure; give another file.")
    there = {**first.info, **(first.calc.results if first.calc is not None else {})}
    found: dict[str, Any] = {}
    if "stress" not in stated and first.pbc.all() and np.size(there.get("stress", ())) in (6, 9):
        found["stress"] = "stress"
    if not {"trajectory", "trajectory_key"} & set(stated):
        key = next((name for name in TRAJECTORY_KEYS if name in there), None)
        found |= {"trajectory_key": key} if key else {}
    return found


def _of_archive(path: Path, stated: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an archive of gnnip tells of itself."""
    from gnnip.files import read_hdf5

    found: dict[str, Any] = {}
    with read_hdf5(path, "give another file") as file:
        if file.attrs.get("format") != FORMAT:
            raise DataError(
                f"{path} is no archive of gnnip; say what it is with --read format=ani."
            )
        if "stress" not in stated and len(file.get("stresses", {})):
            found["stress"] = "total"
        stated_too = {"trajectory", "trajectory_key"} & set(stated)
        if "trajectory" in file.get("metadata", {}) and not stated_too:
            found["trajectory_key"] = "trajectory"
    return found
