"""What the labels of a set are: the one place that knows what a name, a sign, an order or a unit
of energies, forces and stresses means, tests it against the other labels, and says what it took
for granted.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gnnip.datasets.arrays import FrameArrays
from gnnip.datasets.imports.settings import ImportSettings
from gnnip.errors import DataError, nearest

#: stress tensors: what the file has, as a multiple of sigma (or of V sigma, an energy)
STRESS_KINDS = {"stress": 1.0, "pressure": -1.0, "virial": -1.0, "strain_derivative": 1.0}
_ENERGIES = ("virial", "strain_derivative")
#: places of xx yy zz yz xz xy among six numbers
STRESS_ORDERS = {"ase": (0, 1, 2, 3, 4, 5), "vasp": (0, 1, 2, 4, 5, 3)}
_STEMS = {"energy": ("energ", "toten"), "forces": ("forc", "grad"), "stress": ("stress", "virial")}
_LARGEST_STEP = 0.3  #: Angstrom that any atom may move between neighbouring frames
_LARGEST_STRAIN = 0.05
MIN_STRAINED = 3  #: pairs of neighbouring frames that tell what a stress is
#: rms of what a convention leaves of the work of strain, relative: it fits, or it does not
_FITS, _FAILS = 0.25, 0.5


def likely(quantity: str, key: str, there: Mapping[str, Any], n_atoms: int) -> str:
    """Return the end of a sentence about a name that is missing: the likely one among those with
    the shape of an energy, forces or a stress, else the nearest one."""
    foreign = [stem for other, stems in _STEMS.items() if other != quantity for stem in stems]
    shapes: dict[str, list[tuple[int, ...]]] = {
        "energy": [()],
        "forces": [(n_atoms, 3)],
        "stress": [(6,), (9,), (3, 3)],
    }
    fitting = [
        name
        for name, value in there.items()
        if np.shape(value) in shapes[quantity]
        and np.asarray(value).dtype.kind in "fiu"
        and not any(stem in name.lower() for stem in foreign)
    ]
    named = [n for n in fitting if any(stem in n.lower() for stem in _STEMS[quantity])]
    for names in (named, fitting):
        if len(names) == 1:
            return f", did you mean '{names[0]}'?"
    names = named or fitting
    names = names or [n for n in there if not any(stem in n.lower() for stem in foreign)]
    return nearest(key, names) if names else "; nothing else like it is there"


def neighbours(
    frames: FrameArrays, source: np.ndarray
) -> Iterator[tuple[int, int, np.ndarray, np.ndarray | None]]:
    """Yield consecutive frames i, j of one file and composition that lie close: their numbers, the
    displacements u (n, 3), and the strain (3, 3), None where the cell stays.

    With strain, u is what is left of the displacements when those of the cell are taken out.
    """
    for i in range(frames.n_frames - 1):
        one, two = frames.atom_slice(i), frames.atom_slice(i + 1)
        if source[i] != source[i + 1] or not np.array_equal(
            frames.numbers[one], frames.numbers[two]
        ):
            continue
        before, strain = frames.positions[one], None
        if frames.cells is not None and not np.array_equal(frames.cells[i], frames.cells[i + 1]):
            if frames.pbc is None or not frames.pbc[i : i + 2].all():
                continue
            deform = np.linalg.solve(frames.cells[i], frames.cells[i + 1])
            before, strain = before @ deform, 0.5 * (deform + deform.T) - np.eye(3)
            if np.abs(deform - np.eye(3)).max() > _LARGEST_STRAIN:
                continue
        step = frames.positions[two] - before
        if np.abs(step).max() <= _LARGEST_STEP:
            yield i, i + 1, step, strain


@dataclass(frozen=True)
class StressConvention:
    """What the numbers of a stress are: a key of `STRESS_KINDS` and one of `STRESS_ORDERS`."""

    kind: str
    order: str = "ase"

    def convert(self, raw: np.ndarray, volumes: np.ndarray, units: Mapping[str, float]) -> Any:
        """Return sigma (n, 3, 3), eV/A^3 and positive when stretched, of raw (n, 6) or (n, 3, 3);
        volumes (n,) A^3; units: factors of `stress` and `energy`."""
        if raw.ndim == 2:
            xx, yy, zz, yz, xz, xy = raw[:, STRESS_ORDERS[self.order]].T
            rows = [np.stack(row, 1) for row in ((xx, xy, xz), (xy, yy, yz), (xz, yz, zz))]
            raw = np.stack(rows, axis=1)
        sign = STRESS_KINDS[self.kind]
        if self.kind in _ENERGIES:
            return sign * units["energy"] * raw / volumes[:, None, None]
        return sign * units["stress"] * raw

    def in_words(self, six: bool) -> str:
        """Return it as a report has it."""
        order = {"ase": "xx yy zz yz xz xy", "vasp": "xx yy zz xy yz zx"}[self.order]
        words = {
            "stress": "a stress, positive when stretched (ASE)",
            "pressure": "a stress with the sign of a pressure, positive when compressed (VASP)",
            "virial": "a virial, an energy, -V times the stress",
            "strain_derivative": "dE/d(strain), an energy, V times the stress",
        }[self.kind]
        return f"{words}, in the order {order}" if six else words

    def settings(self, six: bool) -> str:
        """Return it as settings."""
        return f"stress_is: {self.kind}" + (f", stress_order: {self.order}" if six else "")


@dataclass
class StressTest:
    """The work of strain between neighbouring frames, by every convention.

    For close frames with cells h and h F, dE + 1/2 sum (F_i + F_j) . u = V sigma : strain, where u
    are the displacements without those of the cell, up to third order.
    """

    six: bool = False
    expected: list[float] = field(default_factory=list)
    found: dict[StressConvention, list[float]] = field(default_factory=dict)

    def add(
        self, frames: FrameArrays, raw: list[np.ndarray], settings: ImportSettings, source: Any
    ) -> None:
        """Add frames; raw: the numbers of the file, (6,) or (3, 3) a frame."""
        term = settings.term
        energies, forces = frames.energies[term], frames.forces.get(term)
        self.six |= any(values.shape == (6,) for values in raw)
        for i, j, step, strain in neighbours(frames, source):
            if strain is None or np.abs(strain).max() < 1e-6:
                continue
            work = float(energies[j] - energies[i])
            if forces is not None:
                one, two = frames.atom_slice(i), frames.atom_slice(j)
                work += 0.5 * float(((forces[one] + forces[two]) * step).sum())
            elif np.abs(step).max() > 1e-6:
                continue
            self.expected.append(work)
            assert frames.cells is not None
            volumes = np.abs(np.linalg.det(frames.cells[[i, j]]))
            for convention in conventions(self.six):
                # one may have six numbers where the other has nine
                sigma = [
                    convention.convert(raw[k][None], volumes[n : n + 1], settings.factors)[0]
                    for n, k in enumerate((i, j))
                ]
                mean = 0.5 * (volumes[:, None, None] * np.array(sigma)).sum(axis=0)
                self.found.setdefault(convention, []).append(float((mean * strain).sum()))

    def left(self) -> dict[StressConvention, float]:
        """Return what each convention leaves of the work, rms and relative; empty where there are
        too few frames to tell."""
        work = np.array(self.expected)
        if len(work) < MIN_STRAINED or np.sqrt(np.mean(work**2)) < 1e-3:
            return {}
        return {
            convention: float(np.sqrt(np.mean((work - values) ** 2) / np.mean(work**2)))
            for convention, values in self.found.items()
        }

    def best(self, **known: str | None) -> StressConvention | None:
        """Return the only convention with the `known` kind or order that fits, if there is one."""
        left = {
            c: x
            for c, x in self.left().items()
            if all(getattr(c, k) == v for k, v in known.items())
        }
        if not left:
            return None
        winner = min(left, key=lambda c: left[c])
        others = [x for c, x in left.items() if c != winner]
        clear = left[winner] < _FITS and (not others or min(others) > 2.0 * left[winner] + 0.02)
        return winner if clear else None

    def complain(self, taken: StressConvention) -> None:
        """Raise DataError when the frames contradict a convention and agree with another one."""
        left, better = self.left(), self.best()
        if better is not None and better != taken and left[taken] > _FAILS:
            raise DataError(
                f"Over {len(self.expected)} pairs of neighbouring frames the stress, read as "
                f"{taken.in_words(self.six)}, does not give the energy of strain, and read as "
                f"{better.in_words(self.six)} it does; set {better.settings(self.six)}, or "
                "check_work: false."
            )


def conventions(six: bool) -> list[StressConvention]:
    """Return all conventions; those of six numbers have orders."""
    orders = STRESS_ORDERS if six else ("ase",)
    return [StressConvention(*pair) for pair in itertools.product(STRESS_KINDS, orders)]


def decide_stress(
    settings: ImportSettings, test: StressTest, raw: Iterable[np.ndarray]
) -> tuple[StressConvention, str]:
    """Return what a stress is and how that is known, in words.

    What the settings say is taken; else what the name says: a virial, or a stress in other units
    than kbar, VASP's, whose sign and order differ; else what the energies of strained frames say.
    Raises DataError where none of them does.
    """
    key = settings.stress or ""
    named = "virial" if "virial" in key.lower() else None
    if named is None and "stress" in key.lower() and settings.units.stress != "kbar":
        named = "stress"
    # six numbers with equal off-diagonals are the same in any order
    six = any(v.shape == (6,) and np.ptp(v[3:]) > 1e-9 * np.abs(v).max() for v in raw)
    kind, how = settings.stress_is or named, "as the settings say"
    if settings.stress_is is None:
        how = f"which is assumed of its name '{key}'"
    measured = test.best(**{"kind": kind} if kind else {})
    if kind is None:
        # the kind may be plain where the order is not
        kinds = {c.kind for c, x in test.left().items() if x < _FITS}
        kinds = kinds if measured is None else {measured.kind}
        kind = kinds.pop() if len(kinds) == 1 else None
        how = "as the energies of strained frames show"
    order: str | None = settings.stress_order
    if order is None and six:
        # ASE's order is that of other signs than its own only where frames show it
        assumed = "ase" if kind != "pressure" and settings.units.stress != "kbar" else None
        order = measured.order if measured is not None else assumed
    if kind is None or (order is None and six):
        what = "the sign and kind" if kind is None else "the order of the six numbers"
        raise DataError(
            f"Neither the name '{key}' nor the energies of the frames tell {what} of the stress; "
            f"set stress_is to {', '.join(STRESS_KINDS)} and, of six numbers, stress_order to ase "
            "or vasp."
        )
    return StressConvention(kind, order or "ase"), how


def net_forces(frames: FrameArrays, term: str) -> np.ndarray:
    """Return |sum of forces| (frames,), eV/Angstrom, or 0 where it is as small as it should be:
    without a field from outside, forces add up to nothing."""
    forces = frames.forces[term]
    total = np.linalg.norm(np.add.reduceat(forces, frames.offsets[:-1]), axis=1)
    square = np.add.reduceat((forces**2).sum(axis=1), frames.offsets[:-1])
    # of independent vectors the sum would be the root of the sum of squares
    return np.where((total > 0.3 * np.sqrt(square)) & (total > 0.05), total, 0.0)
