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

import contextlib
import functools
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from gnnip.datasets.arrays import FrameArrays, in_project_units
from gnnip.errors import DataError
from gnnip.files import read_hdf5, write_hdf5

FORMAT = "gnnip frames"
VERSION = 1
FORCE_RESOLUTION = 1e-6  #: of stored forces, in their own unit
_FAST = {"compression": "gzip", "compression_opts": 4, "shuffle": True}
_SMALL = {"compression": "gzip", "compression_opts": 9, "shuffle": True}


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
    needed = {"positions", "energies"}
    needed |= {name for name in ("forces", "stresses") if getattr(frames, name)}
    missing = needed - set(frames.units)
    if missing:
        raise DataError(
            f"The frames have no unit for {', '.join(sorted(missing))}; set frames.units."
        )
    with write_hdf5(path) as file:
        file.attrs.update({"format": FORMAT, "version": VERSION, **frames.attributes, **attributes})
        for name, values, attached in _contents(frames, force_resolution):
            file.create_dataset(name, data=values, **_SMALL).attrs.update(attached)
        if frames.cells is not None:
            cells = file.create_dataset("cells", data=frames.cells.astype(np.float64), **_SMALL)
            cells.attrs["units"] = frames.units["positions"]
        if frames.pbc is not None:
            file.create_dataset("pbc", data=frames.pbc.astype(bool), **_SMALL)


def _contents(
    frames: FrameArrays, force_resolution: float
) -> Iterator[tuple[str, np.ndarray, dict[str, str | float]]]:
    """Yield name, values and attributes of what an archive holds of frames, but cells and pbc."""
    units = frames.units
    yield "positions", frames.positions.astype(np.float32), {"units": units["positions"]}
    yield "numbers", frames.numbers.astype(np.uint8), {}
    yield "offsets", frames.offsets.astype(np.int64), {}
    for term, values in frames.energies.items():
        yield f"energies/{term}", values.astype(np.float64), {"units": units["energies"]}
    for term, values in frames.forces.items():
        attached: dict[str, str | float] = {"units": units["forces"], "scale": force_resolution}
        yield f"forces/{term}", _as_integers(values, force_resolution), attached
    for term, values in frames.stresses.items():
        yield f"stresses/{term}", values.astype(np.float64), {"units": units["stresses"]}
    for column, values in frames.metadata.items():
        values = np.asarray(values)
        if values.dtype.kind in "US":
            values = values.astype(h5py.string_dtype())
        yield f"metadata/{column}", values, {"units": units[column]} if column in units else {}


@contextlib.contextmanager
def frame_writer(
    path: str | os.PathLike[str], *, force_resolution: float = FORCE_RESOLUTION
) -> Iterator[FrameWriter]:
    """Yield a writer for a set that need not fit into memory.

    The file appears, whole, when the block ends without an error. Raises DataError when nothing was
    written or the pieces do not fit together.
    """
    with write_hdf5(path) as file:
        writer = FrameWriter(file, force_resolution)
        yield writer
        writer.finish()


class FrameWriter:
    """An archive that is written piece by piece; :func:`frame_writer` makes one.

    `attributes` may be filled until the end. All pieces need the same units, terms and columns.
    """

    def __init__(self, file: h5py.File, force_resolution: float) -> None:
        """Write into an open file."""
        self.attributes: dict[str, str | int | float] = {}
        self.n_frames = self.n_atoms = 0
        self._file = file
        self._resolution = force_resolution
        self._periodic = False

    def append(self, frames: FrameArrays) -> None:
        """Add frames; DataError for arrays that do not fit together or to those before."""
        frames.check()
        if self.n_frames == 0:
            self._extend("offsets", np.zeros(1, dtype=np.int64), {})
        for name, values, attached in _contents(frames, self._resolution):
            added = self.n_atoms + values[1:] if name == "offsets" else values
            self._extend(name, added, attached)
        cells = np.zeros((frames.n_frames, 3, 3)) if frames.cells is None else frames.cells
        pbc = np.zeros((frames.n_frames, 3), dtype=bool) if frames.pbc is None else frames.pbc
        self._extend("cells", cells.astype(np.float64), {"units": frames.units["positions"]})
        self._extend("pbc", pbc.astype(bool), {})
        self._periodic |= bool(pbc.any())
        self.n_frames += frames.n_frames
        self.n_atoms += int(frames.offsets[-1])

    def drop_forces(self) -> None:
        """Forget the forces written so far: the set has energies only."""
        self._file.pop("forces", None)

    def _extend(self, name: str, values: np.ndarray, attached: Mapping[str, str | float]) -> None:
        if name not in self._file:
            if self.n_frames:
                raise DataError(
                    f"Frame {self.n_frames} is the first with '{name}'; all frames of a set need "
                    "the same terms and columns."
                )
            dataset = self._file.create_dataset(
                name, data=values, maxshape=(None, *values.shape[1:]), chunks=True, **_FAST
            )
            dataset.attrs.update(attached)
            return
        dataset = self._file[name]
        before = len(dataset)
        dataset.resize(before + len(values), axis=0)
        dataset[before:] = values

    def finish(self) -> None:
        """Write what is known at the end; DataError when frames or columns are missing."""
        if not self.n_frames:
            raise DataError("No frames are left to be written; look at what was left out and why.")
        groups = [self._file.get(name, {}) for name in ("metadata", "energies", "stresses")]
        for name, dataset in [item for group in groups for item in group.items()]:
            if len(dataset) != self.n_frames:
                raise DataError(
                    f"Only {len(dataset)} of {self.n_frames} frames have '{name}'; all frames of "
                    "a set need the same terms and columns."
                )
        if not self._periodic:
            del self._file["cells"], self._file["pbc"]
        self._file.attrs.update({"format": FORMAT, "version": VERSION, **self.attributes})


def _as_integers(forces: np.ndarray, resolution: float) -> np.ndarray:
    """Return forces in units of `resolution`; DataError for those that 32 bits do not hold."""
    scaled = np.rint(forces / resolution)
    largest = float(np.abs(scaled).max(initial=0.0))
    if largest > np.iinfo(np.int32).max:
        raise DataError(
            f"A force component of {largest * resolution:.3g} is beyond what an archive holds "
            f"({np.iinfo(np.int32).max * resolution:.4g}); leave the frame out or check its units."
        )
    return scaled.astype(np.int32)


def load_arrays(path: str | os.PathLike[str]) -> FrameArrays:
    """Return the frames of an archive in eV, Angstrom, eV/Angstrom and eV/Angstrom^3, float64.

    Raises DataError as `read_frames` does.
    """
    return in_project_units(read_frames(path))


@functools.cache
def terms_and_columns(path: Path) -> tuple[list[str], list[str]]:
    """Return the energy terms and the metadata columns of an archive, whose frames are not read."""
    with read_hdf5(path, "fetch or make it again") as file:
        return list(file["energies"]), list(file.get("metadata", {}))


def read_frames(path: str | os.PathLike[str]) -> FrameArrays:
    """Return the frames of an archive in the units of the file.

    Raises DataError for a file that is missing, damaged, of another format or a newer version, and
    for labels that are not finite.
    """
    path = Path(path)
    with read_hdf5(path, "fetch it or run the pipeline with source: generate to make it") as file:
        frames = _read(file, path)
    frames.check()
    return frames


def _read(file: h5py.File, path: Path) -> FrameArrays:
    if file.attrs.get("format") != FORMAT:
        raise DataError(
            f"{path} is an HDF5 file but not an archive of gnnip; give a file made by write_frames."
        )
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
