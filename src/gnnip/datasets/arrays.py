"""Frames as flat arrays: what archives hold and what training reads. Needs numpy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from gnnip.errors import DataError, nearest
from gnnip.geometry import faults
from gnnip.units import GPA


@dataclass
class FrameArrays:
    """Labelled structures of any sizes, flat: the atoms of frame i are offsets[i]:offsets[i+1].

    positions (n, 3); numbers (n,) atomic numbers; offsets (frames + 1,); energies {term:
    (frames,)}; forces {term: (n, 3)}, possibly without some terms; metadata {column: (frames,)};
    cells (frames, 3, 3) and pbc (frames, 3) or None for clusters; units {quantity: unit} with the
    quantities "positions", "energies", "forces", "stresses" and names of metadata columns;
    attributes: facts about the whole set; stresses {term: (frames, 3, 3)}, possibly without some
    terms, with the sign of ASE (sigma = (1/V) dE/d(strain)).
    """

    positions: np.ndarray
    numbers: np.ndarray
    offsets: np.ndarray
    energies: dict[str, np.ndarray]
    forces: dict[str, np.ndarray] = field(default_factory=dict)
    metadata: dict[str, np.ndarray] = field(default_factory=dict)
    cells: np.ndarray | None = None
    pbc: np.ndarray | None = None
    units: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    stresses: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def n_frames(self) -> int:
        """Return the number of frames."""
        return len(self.offsets) - 1

    @property
    def n_atoms(self) -> np.ndarray:
        """Return the number of atoms of each frame (frames,)."""
        return np.diff(self.offsets)

    @property
    def terms(self) -> tuple[str, ...]:
        """Return the names of the energy terms."""
        return tuple(self.energies)

    def atom_slice(self, frame: int) -> slice:
        """Return the slice of the atoms of one frame."""
        return slice(int(self.offsets[frame]), int(self.offsets[frame + 1]))

    def structure(
        self, frame: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]:
        """Return positions (n, 3) in double precision, numbers (n,), cell (3, 3), pbc (3,) of one
        frame; the latter two are None where nothing is periodic."""
        atoms, frame = self.atom_slice(int(frame)), int(frame)
        positions = np.asarray(self.positions[atoms], dtype=np.float64)
        if self.cells is None or self.pbc is None or not self.pbc[frame].any():
            return positions, self.numbers[atoms], None, None
        return positions, self.numbers[atoms], self.cells[frame], self.pbc[frame]

    def energy(self, term: str) -> np.ndarray:
        """Return the energies (frames,) of one term; DataError for an unknown term."""
        if term not in self.energies:
            raise DataError(
                f"The data set has no energy term '{term}'{nearest(term, self.energies)}."
            )
        return self.energies[term]

    def force(self, term: str) -> np.ndarray:
        """Return the forces (n, 3) of one term; DataError when the frames have none."""
        return self._label("forces", term, "train on energies only (force_weight 0)")

    def stress(self, term: str) -> np.ndarray:
        """Return the stresses (frames, 3, 3) of one term; DataError when the frames have none."""
        return self._label("stresses", term, "train without them (stress_weight 0)")

    def _label(self, kind: str, term: str, cure: str) -> np.ndarray:
        self.energy(term)
        labels: dict[str, np.ndarray] = getattr(self, kind)
        if term not in labels:
            raise DataError(
                f"The frames have no {kind} of the term '{term}'; {cure} or choose a data set "
                f"with {kind}."
            )
        return labels[term]

    def column(self, name: str) -> np.ndarray:
        """Return a metadata column (frames,); DataError for an unknown one."""
        if name not in self.metadata:
            raise DataError(f"The data set has no column '{name}'{nearest(name, self.metadata)}.")
        return self.metadata[name]

    def subset(self, frames: Sequence[int] | np.ndarray) -> FrameArrays:
        """Return the frames with the given indices, in that order."""
        chosen = np.asarray(frames, dtype=np.int64)
        counts = self.n_atoms[chosen]
        offsets = np.concatenate([[0], np.cumsum(counts)])
        # index of every atom: start of its frame plus its number within the frame
        atoms = np.repeat(self.offsets[chosen] - offsets[:-1], counts) + np.arange(offsets[-1])
        return replace(
            self,
            positions=self.positions[atoms],
            numbers=self.numbers[atoms],
            offsets=offsets,
            energies={k: v[chosen] for k, v in self.energies.items()},
            forces={k: v[atoms] for k, v in self.forces.items()},
            stresses={k: v[chosen] for k, v in self.stresses.items()},
            metadata={k: v[chosen] for k, v in self.metadata.items()},
            cells=None if self.cells is None else self.cells[chosen],
            pbc=None if self.pbc is None else self.pbc[chosen],
        )

    def check(self) -> None:
        """Raise DataError for arrays that do not fit together, labels that are not finite, and
        structures that `gnnip.geometry.faults` names."""
        bounds = np.asarray(self.offsets)
        if bounds.ndim != 1 or bounds.dtype.kind not in "iu" or not len(bounds) or bounds[0] != 0:
            raise DataError("The offsets of the frames are no whole numbers from 0 on.")
        if (np.diff(bounds.astype(np.int64)) < 0).any():
            raise DataError("The offsets of the frames do not rise; make the data set again.")
        n, frames = int(bounds[-1]), self.n_frames
        shapes = [("positions", self.positions, (n, 3)), ("numbers", self.numbers, (n,))]
        shapes += [(f"energies of '{k}'", v, (frames,)) for k, v in self.energies.items()]
        shapes += [(f"forces of '{k}'", v, (n, 3)) for k, v in self.forces.items()]
        shapes += [(f"stresses of '{k}'", v, (frames, 3, 3)) for k, v in self.stresses.items()]
        shapes += [(f"column '{k}'", v, (frames,)) for k, v in self.metadata.items()]
        if self.cells is not None or self.pbc is not None:
            shapes += [
                ("cells", np.asarray(self.cells), (frames, 3, 3)),
                ("flags of periodicity", np.asarray(self.pbc), (frames, 3)),
            ]
        for name, values, shape in shapes:
            if values.shape != shape:
                raise DataError(f"The {name} have shape {values.shape} where {shape} is expected.")
            if values.dtype.kind not in "biuf" and not name.startswith("column"):
                raise DataError(f"The {name} are no numbers; make the data set again.")
        if frames < 1:
            raise DataError("The data set has no frames; make it again.")
        for name, values, _ in shapes[2 : 2 + len(self.energies)]:
            self._finite(name, values, np.arange(frames))
        owner = np.repeat(np.arange(frames), self.n_atoms)
        self._finite("positions", self.positions, owner)
        for term, values in self.forces.items():
            self._finite(f"forces of '{term}'", values, owner)
        for term, values in self.stresses.items():
            self._finite(f"stresses of '{term}'", values, np.arange(frames))
        for frame, sentence in faults(
            self.positions, self.numbers, self.offsets, self.cells, self.pbc
        ).items():
            raise DataError(f"Frame {frame}: {sentence}")

    @staticmethod
    def _finite(name: str, values: np.ndarray, frame: np.ndarray) -> None:
        bad = ~np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
        if bad.any():
            raise DataError(
                f"The {name} of frame {int(frame[np.argmax(bad)])} are not finite; remove the "
                "frame or label it again."
            )


def in_project_units(frames: FrameArrays) -> FrameArrays:
    """Return `frames` converted to eV and Angstrom with the factors stored in their attributes."""
    length = float(frames.attributes.get("bohr_in_angstrom", np.nan))
    energy = float(frames.attributes.get("hartree_in_ev", np.nan))
    factors = {
        "Angstrom": (1.0, "Angstrom"),
        "eV": (1.0, "eV"),
        "eV/Angstrom": (1.0, "eV/Angstrom"),
        "Bohr": (length, "Angstrom"),
        "Hartree": (energy, "eV"),
        "Hartree/Bohr": (energy / length, "eV/Angstrom"),
        "eV/Angstrom^3": (1.0, "eV/Angstrom^3"),
        "Hartree/Bohr^3": (energy / length**3, "eV/Angstrom^3"),
        "GPa": (GPA, "eV/Angstrom^3"),
        "kbar": (0.1 * GPA, "eV/Angstrom^3"),
    }

    def convert(values: np.ndarray, quantity: str) -> np.ndarray:
        unit = frames.units.get(quantity)
        if unit not in factors:
            return values
        return np.asarray(values, dtype=np.float64) * factors[unit][0]

    return replace(
        frames,
        positions=convert(frames.positions, "positions"),
        energies={k: convert(v, "energies") for k, v in frames.energies.items()},
        forces={k: convert(v, "forces") for k, v in frames.forces.items()},
        stresses={k: convert(v, "stresses") for k, v in frames.stresses.items()},
        metadata={k: convert(v, k) for k, v in frames.metadata.items()},
        cells=None if frames.cells is None else convert(frames.cells, "positions"),
        units={k: factors[v][1] if v in factors else v for k, v in frames.units.items()},
    )
