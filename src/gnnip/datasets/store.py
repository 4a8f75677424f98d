"""The one archive format: HDF5 with flat arrays, offsets, named terms and units in attributes.

    /                     attributes: format, version, and facts about the set
    /positions            (n, 3) float32, units
    /numbers, /offsets    (n,), (frames + 1,)
    /energies/<term>      (frames,) float64, units
    /forces/<term>        (n, 3), units; int32 with `scale`: value = integer x scale
    /stresses/<term>      (frames, 3, 3) float64, units, sign of ASE; periodic sets, optional
    /metadata/<column>    (frames,), units where they have one
    /cells, /pbc          (frames, 3, 3), (frames, 3), periodic sets only

Needs numpy and h5py only.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from gnnip.datasets.arrays import FrameArrays
from gnnip.errors import DataError
from gnnip.files import atomic_path

FORMAT = "gnnip frames"
VERSION = 1
FORCE_RESOLUTION = 1e-6  #: of stored forces, in their own unit
_COMPRESSION = {"compression": "gzip", "compression_opts": 9, "shuffle": True}


def write_frames(
    path: str | os.PathLike[str],
    frames: FrameArrays,
    *,
    attributes: Mapping[str, str | int | float],
    force_resolution: float = FORCE_RESOLUTION,
) -> None:
    """Write `frames` in their own units; positions become float32, forces integers of the
    resolution.

    `attributes` are added to those of the frames. The same frames give the same bytes.
    Raises DataError for arrays that do not fit together, labels that are not finite, or missing
    units.
    """
    frames.check()
    missing = {"positions", "energies", "forces"} - set(frames.units)
    if frames.stresses:
        missing |= {"stresses"} - set(frames.units)
    if missing:
        raise DataError(
            f"The frames have no unit for {', '.join(sorted(missing))}; set frames.units."
        )
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs.update({"format": FORMAT, "version": VERSION, **frames.attributes, **attributes})

        def put(name: str, values: np.ndarray, unit: str | None = None, **extra: float) -> None:
            if values.dtype.kind in "US":
                values = values.astype(h5py.string_dtype())
            dataset = file.create_dataset(name, data=values, **_COMPRESSION)
            if unit is not None:
                dataset.attrs["units"] = unit
            dataset.attrs.update(extra)

        put("positions", frames.positions.astype(np.float32), frames.units["positions"])
        put("numbers", frames.numbers.astype(np.uint8))
        put("offsets", frames.offsets.astype(np.int64))
        for term, values in frames.energies.items():
            put(f"energies/{term}", values.astype(np.float64), frames.units["energies"])
        for term, values in frames.forces.items():
            put(
                f"forces/{term}",
                np.rint(values / force_resolution).astype(np.int32),
                frames.units["forces"],
                scale=force_resolution,
            )
        for term, values in frames.stresses.items():
            put(f"stresses/{term}", values.astype(np.float64), frames.units["stresses"])
        for column, values in frames.metadata.items():
            put(f"metadata/{column}", np.asarray(values), frames.units.get(column))
        if frames.cells is not None:
            put("cells", frames.cells.astype(np.float64), frames.units["positions"])
        if frames.pbc is not None:
            put("pbc", frames.pbc.astype(bool))


def read_frames(path: str | os.PathLike[str]) -> FrameArrays:
    """Return the frames of an archive in the units of the file.

    Raises DataError for a file that is missing, damaged, of another format or a newer version, and
    for labels that are not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(
            f"{path} does not exist; run the pipeline with source: generate to make it."
        )
    try:
        with h5py.File(path, "r") as file:
            frames = _read(file, path)
    except (OSError, KeyError, RuntimeError) as error:
        raise DataError(
            f"{path} is truncated or no HDF5 archive of ours; delete it and fetch or make it again."
        ) from error
    frames.check()
    return frames


def _read(file: h5py.File, path: Path) -> FrameArrays:
    if file.attrs.get("format") != FORMAT:
        raise DataError(f"{path} is HDF5 but no gnnip archive; give a file made by write_frames.")
    if file.attrs["version"] > VERSION:
        raise DataError(
            f"{path} has format version {file.attrs['version']}, this gnnip reads up to "
            f"{VERSION}; update gnnip."
        )
    units: dict[str, str] = {"positions": file["positions"].attrs["units"]}

    def group(name: str) -> dict[str, np.ndarray]:
        found = {}
        for key, dataset in file.get(name, {}).items():
            values = dataset.asstr()[()].astype(str) if dataset.dtype.kind == "O" else dataset[()]
            if "scale" in dataset.attrs:
                values = values * float(dataset.attrs["scale"])
            if "units" in dataset.attrs:
                units[key if name == "metadata" else name] = dataset.attrs["units"]
            found[key] = values
        return found

    attributes: dict[str, Any] = {
        k: v.item() if isinstance(v, np.generic) else v
        for k, v in file.attrs.items()
        if k not in ("format", "version")
    }
    return FrameArrays(
        positions=file["positions"][()],
        numbers=file["numbers"][()],
        offsets=file["offsets"][()],
        energies=group("energies"),
        forces=group("forces"),
        stresses=group("stresses"),
        metadata=group("metadata"),
        cells=file["cells"][()] if "cells" in file else None,
        pbc=file["pbc"][()] if "pbc" in file else None,
        units=units,
        attributes=attributes,
    )
