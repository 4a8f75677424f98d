"""What can be wrong with imported frames: duplicates, placeholder forces, signs and units."""

from __future__ import annotations

import hashlib
import itertools
from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np

from gnnip.datasets.arrays import FrameArrays
from gnnip.datasets.imports.labels import neighbours
from gnnip.datasets.imports.settings import ENERGIES, LENGTHS
from gnnip.errors import DataError

POSITION_STEP = 1e-6  #: Angstrom; geometries equal after rounding to it are duplicates
ZERO_SHARE = 0.2  #: so many atoms of a frame with a force of exactly zero look like placeholders
PAIRS = 2000  #: pairs of neighbouring frames are looked at until there are so many
MIN_PAIRS = 8
#: eV per atom: files of one composition whose means differ by more have different zeros, and
#: ratios are those of units only where some energies are larger
_ZEROS_DIFFER, _ABSOLUTE = 3.0, 1.0
_NARROW = 0.05  #: range of total energies per atom of one composition, relative


def geometry_keys(frames: FrameArrays) -> np.ndarray:
    """Return 64 bits (frames,) of elements, positions, cell and periodicity of every frame."""
    keys = np.empty(frames.n_frames, dtype=np.uint64)
    grid = np.rint(frames.positions / POSITION_STEP).astype(np.int64)
    cells = None if frames.cells is None else np.rint(frames.cells / POSITION_STEP).astype(np.int64)
    numbers = frames.numbers.astype(np.int64)
    for i in range(frames.n_frames):
        part = frames.atom_slice(i)
        digest = hashlib.blake2b(numbers[part].tobytes(), digest_size=8)
        digest.update(grid[part].tobytes())
        if cells is not None and frames.pbc is not None and frames.pbc[i].any():
            digest.update(cells[i].tobytes() + frames.pbc[i].tobytes())
        keys[i] = int.from_bytes(digest.digest(), "little")
    return keys


class SeenFrames:
    """Geometries seen so far, in sorted runs: 24 bytes a frame, however many there are."""

    def __init__(self) -> None:
        """Start without any."""
        self._runs: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def add(
        self, keys: np.ndarray, indices: np.ndarray, energies: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Add frames; return index (-1 if none) and energy (frames,) of the first equal geometry.

        keys (frames,) of :func:`geometry_keys`; indices (frames,) rising; energies (frames,), eV.
        """
        first = np.full(len(keys), -1, dtype=np.int64)
        energy = np.full(len(keys), np.nan)
        if not len(keys):
            return first, energy
        for run_keys, run_indices, run_energies in self._runs:
            place = np.searchsorted(run_keys, keys)
            place[place == len(run_keys)] = 0
            hit = run_keys[place] == keys
            first[hit], energy[hit] = run_indices[place[hit]], run_energies[place[hit]]
        # within the piece itself; stable, so that the first of equals comes first
        order = np.argsort(keys, kind="stable")
        ordered = keys[order]
        new = np.r_[True, ordered[1:] != ordered[:-1]]
        leader = order[np.maximum.accumulate(np.where(new, np.arange(len(keys)), 0))]
        repeated = np.zeros(len(keys), dtype=bool)
        repeated[order[~new]] = True
        of = np.empty(len(keys), dtype=np.int64)
        of[order] = leader
        own = repeated & (first < 0)
        first[own], energy[own] = indices[of[own]], energies[of[own]]
        fresh = np.flatnonzero(first < 0)
        fresh = fresh[np.argsort(keys[fresh])]
        self._push(keys[fresh], indices[fresh], energies[fresh])
        return first, energy

    def _push(self, keys: np.ndarray, indices: np.ndarray, energies: np.ndarray) -> None:
        if not len(keys):
            return
        self._runs.append((keys, indices, energies))
        # runs of similar length are merged, so that there are only as many as the logarithm
        while len(self._runs) > 1 and len(self._runs[-2][0]) < 2 * len(self._runs[-1][0]):
            low, high = self._runs[-2:]
            joined = [np.concatenate(pair) for pair in zip(low, high, strict=True)]
            order = np.argsort(joined[0], kind="stable")
            self._runs[-2:] = [(joined[0][order], joined[1][order], joined[2][order])]


def zero_force_atoms(frames: FrameArrays, term: str) -> np.ndarray:
    """Return how many atoms of every frame (frames,) have a force of exactly zero."""
    zero = (frames.forces[term] == 0.0).all(axis=1).astype(np.int64)
    return np.add.reduceat(zero, frames.offsets[:-1])


@dataclass
class WorkCheck:
    """Energy differences of neighbouring frames against the work of the forces between them.

    For frames i, i + 1 of one file with the same atoms and cell, dE = -1/2 sum (F_i + F_i+1) . dx
    up to third order. The ratio of both sides is 1; forces of the wrong sign give -1, wrong units a
    ratio of units, energies per atom one over the number of atoms.
    """

    ratios: list[float] = field(default_factory=list)
    n_atoms: list[int] = field(default_factory=list)

    def add(self, frames: FrameArrays, term: str, source: np.ndarray) -> None:
        """Add the pairs of a piece; source (frames,) names the file of every frame."""
        if term not in frames.forces:
            return
        energies, forces = frames.energies[term], frames.forces[term]
        for i, j, step, strain in neighbours(frames, source):
            if len(self.ratios) >= PAIRS:
                return
            one, two = frames.atom_slice(i), frames.atom_slice(j)
            work = -0.5 * float(((forces[one] + forces[two]) * step).sum())
            change = float(energies[j] - energies[i])
            # below that, rounding in the file decides
            if strain is None and min(abs(work), abs(change)) > 1e-4:
                self.ratios.append(change / work)
                self.n_atoms.append(two.stop - two.start)

    def summary(self) -> dict[str, float]:
        """Return number of pairs, median and quartiles of dE / work."""
        if not self.ratios:
            return {"pairs": 0}
        low, median, high = np.percentile(self.ratios, [25, 50, 75])
        return {
            "pairs": len(self.ratios),
            "median": float(median),
            "quartile_1": float(low),
            "quartile_3": float(high),
        }

    def complain(self, where: str, forces_are: str) -> None:
        """Raise DataError when the pairs agree with each other, but on something else than 1."""
        found = self.summary()
        if found["pairs"] < MIN_PAIRS:
            return
        median, spread = found["median"], found["quartile_3"] - found["quartile_1"]
        if spread > 0.3 * abs(median) or 0.8 < median < 1.25:
            return
        told = f"{where}: over {found['pairs']:.0f} pairs of neighbouring frames the energy changes"
        if -1.25 < median < -0.8:
            turned = "forces" if forces_are == "gradient" else "gradient"
            raise DataError(
                f"{told} by {median:.2f} times the work of the forces: the array has the opposite "
                f"sign, set forces_are: {turned}."
            )
        per_atom = float(np.median(np.array(self.ratios) * self.n_atoms))
        if abs(per_atom - 1.0) < 0.05:
            raise DataError(
                f"{told} by {median:.3g} times the work of the forces, one over the number of "
                "atoms: they are energies per atom, set energy_per: atom."
            )
        units = _closest_ratio(abs(median))
        hint = f", the ratio of {units}," if units else ""
        raise DataError(
            f"{told} by {median:.3g} times the work of the forces{hint} so energies, forces and "
            "lengths are in mixed units or the sign is wrong; correct units and forces_are, or set "
            "check_work: false."
        )


def _closest_ratio(value: float) -> str:
    """Return in words the ratio of two force units that is within 5 % of `value`, or nothing."""
    forces = {f"{e}/{x}": ENERGIES[e] / LENGTHS[x] for e in ENERGIES for x in LENGTHS}
    for one, a in forces.items():
        for two, b in forces.items():
            if one != two and abs(a / b / value - 1.0) < 0.05:
                return f"{one} to {two}"
    return ""


class EnergyScales:
    """Energies per atom of every composition in every file: total energies have one scale.

    Energies relative to atoms or to a formation may have any ratio: what differs is taken for a
    ratio of units only where each file's are as close together as total energies are.
    """

    def __init__(self) -> None:
        """Start without any."""
        #: {composition: {file: [sum, frames, lowest, highest]}}
        self._kept: dict[str, dict[str, list[float]]] = defaultdict(dict)

    def add(self, compositions: np.ndarray, files: np.ndarray, per_atom: np.ndarray) -> None:
        """Add frames: composition, file and energy per atom (frames,), eV."""
        for name in np.unique(compositions):
            for file in np.unique(files[compositions == name]):
                values = per_atom[(compositions == name) & (files == file)]
                entry = self._kept[str(name)].setdefault(str(file), [0.0, 0.0, np.inf, -np.inf])
                entry[0] += float(values.sum())
                entry[1] += float(len(values))
                entry[2:] = min(entry[2], values.min()), max(entry[3], values.max())

    def range(self) -> tuple[float, float]:
        """Return the lowest and the highest energy per atom, eV."""
        entries = [entry for files in self._kept.values() for entry in files.values()]
        return min(e[2] for e in entries), max(e[3] for e in entries)

    def complain(self, energies_are: str | None) -> None:
        """Raise DataError when two files differ by a ratio of energy units, or have another zero,
        unless the energies are said to be relative."""
        if energies_are == "relative":
            return
        for composition, files in self._kept.items():
            first, reference = next(iter(files.items()))
            for file, entry in files.items():
                self._compare(composition, (first, reference), (file, entry), energies_are)

    @staticmethod
    def _compare(
        composition: str,
        one: tuple[str, list[float]],
        two: tuple[str, list[float]],
        energies_are: str | None,
    ) -> None:
        a, b = (entry[0] / entry[1] for _, entry in (one, two))
        ranges = [entry[3] - entry[2] for _, entry in (one, two)]
        narrow = ranges[0] <= _NARROW * abs(a) and ranges[1] <= _NARROW * abs(b)
        told = (
            f"The energies per atom of {composition} are {a:.4g} in {one[0]} and {b:.4g} in "
            f"{two[0]}"
        )
        absolute = narrow and max(abs(a), abs(b)) > _ABSOLUTE
        for (first, x), (second, y) in itertools.permutations(ENERGIES.items(), 2):
            if a and b and abs(b / a / (y / x) - 1.0) < 0.01 and (absolute or energies_are):
                raise DataError(
                    f"{told}, the ratio of {second} to {first}: the files are in mixed units, "
                    "import them apart, or set energies_are: relative."
                )
        if abs(a - b) > _ZEROS_DIFFER + 10.0 * max(ranges):
            raise DataError(
                f"{told}: their zeros differ, as those of total energies and of energies relative "
                "to atoms do; import them apart, or set energies_are: relative."
            )
