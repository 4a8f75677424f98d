"""From files to one archive: converted once, checked, reported, and never whole in memory."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gnnip.datasets.arrays import FrameArrays
from gnnip.datasets.imports.batch import Batch, Skipped
from gnnip.datasets.imports.checks import (
    ZERO_SHARE,
    EnergyScales,
    SeenFrames,
    WorkCheck,
    geometry_keys,
    zero_force_atoms,
)
from gnnip.datasets.imports.labels import StressConvention, StressTest, decide_stress, net_forces
from gnnip.datasets.imports.readers import READERS
from gnnip.datasets.imports.settings import ImportSettings
from gnnip.datasets.store import frame_writer
from gnnip.errors import DataError
from gnnip.files import sha256
from gnnip.geometry import FAR, faults, into_cell

CHUNK_ATOMS = 500_000  #: atoms that are held at once
UNITS = {"positions": "Angstrom", "energies": "eV", "forces": "eV/Angstrom"}
_LISTED = 50  #: frames that a report names before it only counts
_SAMPLE = 2000  #: frames that are looked at to learn what their stress is
#: Angstrom that a structure may be wide: an archive has single precision
_WIDEST = 1e4
#: findings that a setting of the same name decides on, and what the frames are
_DECIDED = {
    "faulty": "are no structures that a potential can treat",
    "cut_off": "are cut off",
    "unconverged": "have labels that are not converged",
    "machine_learned": "have labels of a machine-learned force field (ML_LMLFF)",
    "non_finite": "have numbers that are not finite",
    "missing_stress": "have no stress",
}
_REPORTED = {
    "duplicates": "have the geometry of an earlier frame",
    "relabelled": "of these have another energy than that frame",
    **_DECIDED,
    "without_forces": "have no forces",
    "zero_forces": "have forces of exactly zero on many atoms",
    "net_forces": "have forces that do not add up to zero",
    "other_free_energy": "have a 'free_energy' that is another number",
}


@dataclass
class Finding:
    """Frames with one peculiarity: how many, and the first of them in words."""

    count: int = 0
    frames: list[int] = field(default_factory=list)
    first: str = ""

    def add(self, index: int, words: str) -> None:
        """Add a frame by its number among all frames read."""
        self.count += 1
        self.frames.append(index)
        self.first = self.first or words

    def listed(self) -> str:
        """Return count and numbers, as far as they are listed."""
        shown = ", ".join(map(str, self.frames[:_LISTED]))
        return f"{shown}, ..." if self.count > _LISTED else shown


@dataclass
class ImportReport:
    """What was read, what was left out and why; frames are numbered over all files from 0."""

    settings: dict[str, Any]
    files: list[dict[str, Any]] = field(default_factory=list)
    n_read: int = 0
    n_kept: int = 0
    n_atoms: int = 0
    duplicates: Finding = field(default_factory=Finding)
    relabelled: Finding = field(default_factory=Finding)
    faulty: Finding = field(default_factory=Finding)
    cut_off: Finding = field(default_factory=Finding)
    unconverged: Finding = field(default_factory=Finding)
    machine_learned: Finding = field(default_factory=Finding)
    non_finite: Finding = field(default_factory=Finding)
    missing_stress: Finding = field(default_factory=Finding)
    without_forces: Finding = field(default_factory=Finding)
    zero_forces: Finding = field(default_factory=Finding)
    net_forces: Finding = field(default_factory=Finding)
    other_free_energy: Finding = field(default_factory=Finding)
    left_out: list[int] = field(default_factory=list)
    reasons: dict[int, str] = field(default_factory=dict)
    hint: str = ""  #: the end of a sentence about forces of another name
    stress_hint: str = ""  #: and about a stress
    energies_only: bool = False
    assumed: list[str] = field(default_factory=list)
    work: dict[str, float] = field(default_factory=dict)

    def leave_out(self, index: int, reason: str) -> None:
        """Note that a frame, by its number among all, does not get into the set, and why."""
        if index not in self.reasons:
            self.left_out.append(index)
            self.reasons[index] = reason

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return {
            "files": self.files,
            "n_read": self.n_read,
            "n_kept": self.n_kept,
            "n_atoms": self.n_atoms,
            "energies_only": self.energies_only,
            "left_out": self.left_out,
            "reasons": {str(frame): reason for frame, reason in self.reasons.items()},
            "assumed": self.assumed,
            "energy_change_over_work": self.work,
            **{
                name: {"count": found.count, "frames": found.frames, "first": found.first}
                for name in _REPORTED
                for found in [getattr(self, name)]
            },
            "settings": self.settings,
        }

    def sentences(self) -> list[str]:
        """Return the report as sentences, the counts first."""
        lines = [
            f"{self.n_read} frames read from {len(self.files)} file"
            f"{'s' if len(self.files) != 1 else ''}, {self.n_kept} kept, "
            f"{self.n_atoms} atoms."
        ]
        units = self.settings["units"]
        lines.append(
            f"Converted to eV and Angstrom from: length {units['length']}, energy "
            f"{units['energy']}, forces {units['forces']}, stress {units['stress']}."
        )
        lines += [f"{words}." for words in self.assumed]
        for name, words in _REPORTED.items():
            found: Finding = getattr(self, name)
            if found.count:
                lines.append(f"{found.count} {words} ({found.listed()}); first: {found.first}.")
        if self.left_out:
            lines.append(f"{len(self.left_out)} frames were left out, as the settings say.")
        if self.energies_only:
            lines.append("The set was imported without forces.")
        if self.work.get("pairs"):
            lines.append(
                f"Energy changes between {self.work['pairs']:.0f} pairs of neighbouring frames are "
                f"{self.work['median']:.3f} times the work of the forces (median)."
            )
        return lines


def import_files(
    files: Sequence[str | os.PathLike[str]],
    settings: ImportSettings,
    out: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] | None = None,
    attributes: Mapping[str, str | int | float] | None = None,
    expected: int | None = None,
    progress: Callable[[str], object] | None = None,
) -> ImportReport:
    """Read `files` as `settings` say and write the archive `out`, in eV and Angstrom.

    The archive's columns are `trajectory` (what a split holds together), `source` (file, relative
    to `root`) and `source_frame`, further columns of the settings, and `total_charge` where the
    files hold it. `attributes` become attributes of the file, beside the report. Files are read in
    chunks; `expected` is how many frames they must hold.

    Raises DataError for files that cannot be read, and for frames that the settings refuse: then
    nothing is written.
    """
    report = _new_report(settings)
    with frame_writer(out) as writer:
        for chunk in _clean(files, settings, report, root, progress):
            writer.append(chunk)
        if expected is not None and report.n_read != expected:
            raise DataError(
                f"{report.n_read} frames were read where the registry says {expected}; the files "
                "are not the published ones, or the entry is wrong."
            )
        if report.energies_only:
            writer.drop_forces()
        writer.attributes = {
            "labeller": "imported",
            "import_report": json.dumps(_short(report.to_json() | {"reasons": {}})),
            **(attributes or {}),
        }
    return report


def read_files(
    files: Sequence[str | os.PathLike[str]],
    settings: ImportSettings,
    *,
    root: str | os.PathLike[str] | None = None,
) -> tuple[FrameArrays, ImportReport]:
    """Return the frames of `files` in eV and Angstrom, and the report: for sets that fit in memory.

    Raises DataError as :func:`import_files` does.
    """
    report = _new_report(settings)
    chunks = list(_clean(files, settings, report, root, None))
    if not chunks:
        raise DataError("No frames are left; look at what was left out and why.")
    frames = _join(chunks)
    if report.energies_only:
        frames.forces = {}
    return frames, report


def _new_report(settings: ImportSettings) -> ImportReport:
    described = settings.model_dump(mode="json", exclude_defaults=True)
    described |= {"units": settings.unit_names, "energy": settings.energy_key}
    return ImportReport({**described, "forces": settings.forces_key})


def _short(report: dict[str, Any]) -> dict[str, Any]:
    """Return a report that fits into an attribute: long lists are cut."""

    def cut(value: Any) -> Any:
        if isinstance(value, list):
            return value[:_LISTED]
        return {k: cut(v) for k, v in value.items()} if isinstance(value, dict) else value

    return cut(report)


def _clean(
    files: Sequence[str | os.PathLike[str]],
    settings: ImportSettings,
    report: ImportReport,
    root: str | os.PathLike[str] | None,
    progress: Callable[[str], object] | None,
) -> Iterator[FrameArrays]:
    """Yield checked chunks in the project's units; complain at the end, when all is known."""
    paths = [Path(f) for f in files]
    if not paths:
        raise DataError("There are no files to import; give at least one.")
    base = Path(root) if root is not None else Path(os.path.commonpath([p.parent for p in paths]))
    seen, work, scales, stress = SeenFrames(), WorkCheck(), EnergyScales(), StressTest()
    taken = None
    if settings.stress is not None:
        taken, words = _stress_of(paths, settings)
        report.assumed.append(f"'{settings.stress}' is {taken[0].in_words(taken[1])}, {words}")
    report.assumed.append(settings.energy_in_words)
    for path in paths:
        label = Path(os.path.relpath(path, base)).as_posix()
        begun = report.n_read
        for group in _chunks(READERS[settings.format](path, settings)):
            index = _numbered(group, report, label, settings)
            batches = [batch for batch in group if isinstance(batch, Batch)]
            if not batches:
                continue
            chunk, has_forces = _assemble(batches, settings, label, taken and taken[0])
            keep = _judge(chunk, batches, index, has_forces, settings, report, seen)
            chosen = np.flatnonzero(keep)
            chunk = chunk.subset(chosen)
            if report.energies_only:
                chunk.forces = {}
            if chunk.n_frames == 0:
                continue
            source = chunk.metadata["source"]
            scales.add(_compositions(chunk), source, chunk.energies[settings.term] / chunk.n_atoms)
            if settings.check_work:
                work.add(chunk, settings.term, source)
                if taken is not None and len(stress.expected) < _SAMPLE:
                    raw = [v for batch in batches for v in _raw_stress(batch)]
                    stress.add(chunk, [raw[i] for i in chosen], settings, source)
            report.n_kept += chunk.n_frames
            report.n_atoms += int(chunk.offsets[-1])
            yield _near_the_origin(chunk)
        if report.n_read == begun:
            raise DataError(f"{path} holds no frames; give another file or format.")
        report.files.append(
            {"file": label, "frames": report.n_read - begun, "sha256": sha256(path)}
        )
        if progress is not None:
            progress(f"{label}: {report.n_read - begun} frames")
    report.work = work.summary()
    _refuse(report, settings)
    if report.n_kept:
        low, high = scales.range()
        report.assumed[-1] += f"; per atom they lie between {low:.4g} and {high:.4g} eV"
    scales.complain(settings.energies_are)
    work.complain(report.files[0]["file"], settings.forces_are)
    if taken is not None:
        stress.complain(taken[0])


def _stress_of(
    paths: list[Path], settings: ImportSettings
) -> tuple[tuple[StressConvention, bool], str]:
    """Return what the stress is, whether it has six numbers, and how that is known: from the first
    frames of the files."""
    test, raw = StressTest(), []
    stated = StressConvention("stress")
    if settings.format == "vasp":
        return (stated, False), "as VASP's 'in kB' is read"
    if settings.format == "gnnip":
        return (stated, False), "as archives have it"
    for path in paths:
        for group in _chunks(READERS[settings.format](path, settings)):
            batches = [batch for batch in group if isinstance(batch, Batch)]
            if batches:
                chunk, _ = _assemble(batches, settings, str(path), stated)
                bad = faults(chunk.positions, chunk.numbers, chunk.offsets, chunk.cells, chunk.pbc)
                bad |= _without_stress(chunk, batches)
                kept = [i for i in range(chunk.n_frames) if i not in bad]
                here = [v for batch in batches for v in _raw_stress(batch)]
                here = [here[i] for i in kept]
                chunk = chunk.subset(kept)
                test.add(chunk, here, settings, chunk.metadata["source"])
                raw += here
            if len(raw) >= _SAMPLE:
                break
        if len(raw) >= _SAMPLE:
            break
    if not raw:  # which is said when all are read
        return (stated, False), "of which there is none"
    if not settings.check_work:
        test = StressTest()
    convention, words = decide_stress(settings, test, raw)
    return (convention, any(v.shape == (6,) for v in raw)), words


def _raw_stress(batch: Batch) -> np.ndarray:
    """Return the stress (n, 6) or (n, 3, 3) of a batch as the file has it, zeros where it has
    none."""
    return np.zeros((len(batch.energies), 3, 3)) if batch.stress is None else batch.stress


def _without_stress(frames: FrameArrays, batches: list[Batch]) -> dict[int, str]:
    """Return {frame: why} of those that have no stress, be it that they cannot have one."""
    given = np.repeat([b.stress is not None for b in batches], [len(b.energies) for b in batches])
    crystal = np.zeros(frames.n_frames, dtype=bool) if frames.pbc is None else frames.pbc.all(1)
    found = {i: "it is not periodic in three directions" for i in np.flatnonzero(~crystal).tolist()}
    return found | {i: "the file gives none" for i in np.flatnonzero(~given).tolist()}


def _numbered(
    group: list[Batch | Skipped], report: ImportReport, label: str, settings: ImportSettings
) -> np.ndarray:
    """Return the numbers (frames,) of the frames of a group among all that were read; those that
    could not be read are noted."""
    index: list[int] = []
    for part in group:
        if isinstance(part, Skipped):
            words = f"frame {part.frame} of {label} ({part.reason})"
            getattr(report, part.finding).add(report.n_read, words)
            report.leave_out(report.n_read, words)
            report.n_read += 1
        else:
            index += range(report.n_read, report.n_read + len(part.energies))
            report.n_read += len(part.energies)
    return np.array(index, dtype=np.int64)


def _near_the_origin(frames: FrameArrays) -> FrameArrays:
    """Put structures that single precision would blur into their cells, or around the origin."""
    for i in _far(frames):
        part = frames.atom_slice(i)
        points = frames.positions[part]
        if frames.cells is not None and frames.pbc is not None and frames.pbc[i].any():
            points = into_cell(points, frames.cells[i], frames.pbc[i])
        else:
            points = points - np.rint(points.mean(axis=0))
        frames.positions[part] = points
    return frames


def _far(frames: FrameArrays) -> list[int]:
    """Return the frames with atoms beyond `FAR`."""
    owner = np.repeat(np.arange(frames.n_frames), frames.n_atoms)
    found: list[int] = np.unique(owner[(np.abs(frames.positions) > FAR).any(axis=1)]).tolist()
    return found


def _chunks(batches: Iterator[Batch | Skipped]) -> Iterator[list[Batch | Skipped]]:
    """Group batches until they hold `CHUNK_ATOMS` atoms."""
    group: list[Batch | Skipped] = []
    atoms = 0
    for batch in batches:
        group.append(batch)
        if isinstance(batch, Batch):
            atoms += batch.positions.shape[0] * batch.positions.shape[1]
        if atoms >= CHUNK_ATOMS:
            yield group
            group, atoms = [], 0
    if group:
        yield group


def _assemble(
    batches: list[Batch], settings: ImportSettings, label: str, convention: StressConvention | None
) -> tuple[FrameArrays, np.ndarray]:
    """Return the frames of some batches in the project's units, and which of them have forces.

    Forces that are missing are zero, and so is a stress.
    """
    factors, term = settings.factors, settings.term
    counts = [len(b.energies) for b in batches]
    n_atoms = np.repeat([len(b.numbers) for b in batches], counts)

    def joined(values: list[np.ndarray], factor: float, shape: tuple[int, ...]) -> np.ndarray:
        return factor * np.concatenate([np.asarray(v, float).reshape(-1, *shape) for v in values])

    frames = FrameArrays(
        positions=joined([b.positions for b in batches], factors["length"], (3,)),
        numbers=np.concatenate([np.tile(b.numbers, len(b.energies)) for b in batches]),
        offsets=np.concatenate([[0], np.cumsum(n_atoms)]),
        energies={term: joined([b.energies for b in batches], factors["energy"], ())},
        units=dict(UNITS),
    )
    if settings.energy_per == "atom":
        frames.energies[term] *= frames.n_atoms
    has_forces = np.repeat([b.forces is not None for b in batches], counts)
    if settings.forces_key is not None:
        given = [np.zeros_like(b.positions) if b.forces is None else b.forces for b in batches]
        frames.forces = {term: joined(given, factors["forces"], (3,))}
    if any(b.cells is not None for b in batches):
        cells = [np.zeros((len(b.energies), 3, 3)) if b.cells is None else b.cells for b in batches]
        frames.cells = joined(cells, factors["length"], (3, 3))
        pbc = [np.zeros(3, dtype=bool) if b.pbc is None else b.pbc for b in batches]
        frames.pbc = np.repeat(np.array(pbc, dtype=bool), counts, axis=0)
    if convention is not None:
        volumes = np.ones(frames.n_frames)
        if frames.cells is not None:
            volumes = np.abs(np.linalg.det(frames.cells))
        bounds = np.cumsum([0, *counts])
        with np.errstate(divide="ignore", invalid="ignore"):
            parts = [
                convention.convert(_raw_stress(b), volumes[bounds[k] : bounds[k + 1]], factors)
                for k, b in enumerate(batches)
            ]
        frames.stresses = {term: np.concatenate(parts)}
        frames.stresses[term][list(_without_stress(frames, batches))] = 0.0
        frames.stresses[term][volumes == 0.0] = 0.0  # a faulty cell, not a faulty number
        frames.units["stresses"] = "eV/Angstrom^3"
    for column in dict.fromkeys(c for b in batches for c in b.columns):
        lacking = next((b for b in batches if column not in b.columns), None)
        if lacking is not None:
            raise DataError(
                f"{label}, frame {lacking.frames[0]} has no '{column}', other frames have; "
                "correct the file."
            )
        frames.metadata[column] = np.concatenate([b.columns[column] for b in batches])
    numbers = np.concatenate([b.frames for b in batches])
    molecules = np.repeat([b.molecule for b in batches], counts)
    frames.metadata["trajectory"] = _trajectories(frames, settings, label, numbers, molecules)
    frames.metadata["source"] = np.full(frames.n_frames, label)
    frames.metadata["source_frame"] = numbers.astype(np.int64)
    return frames, has_forces


def _trajectories(
    frames: FrameArrays,
    settings: ImportSettings,
    label: str,
    numbers: np.ndarray,
    molecules: np.ndarray,
) -> np.ndarray:
    """Return the names (frames,) of what a split by trajectory holds together."""
    if settings.trajectory_key is not None:
        names = frames.metadata["trajectory"].astype(str)
    elif settings.trajectory == "molecule":
        names = molecules.astype(str)
    elif settings.trajectory == "composition":
        names = _compositions(frames)
    elif settings.trajectory == "frame":
        return np.array([f"{label}#{n}" for n in numbers])
    else:
        names = np.full(frames.n_frames, label)
    if settings.block_frames is not None:
        blocks = numbers // settings.block_frames
        names = np.array([f"{name}#{block}" for name, block in zip(names, blocks, strict=True)])
    return names


def _compositions(frames: FrameArrays) -> np.ndarray:
    """Return the formula (frames,) of every frame, elements in alphabetical order."""
    from ase.data import chemical_symbols

    names: dict[bytes, str] = {}
    out = []
    for i in range(frames.n_frames):
        numbers = frames.numbers[frames.atom_slice(i)]
        key = numbers.tobytes()
        if key not in names:
            values, counts = np.unique(numbers, return_counts=True)
            parts = sorted((chemical_symbols[z], n) for z, n in zip(values, counts, strict=True))
            names[key] = "".join(f"{s}{n if n > 1 else ''}" for s, n in parts)
        out.append(names[key])
    return np.array(out)


def _judge(
    frames: FrameArrays,
    batches: list[Batch],
    index: np.ndarray,
    has_forces: np.ndarray,
    settings: ImportSettings,
    report: ImportReport,
    seen: SeenFrames,
) -> np.ndarray:
    """Write the peculiarities of a chunk into the report; return which frames (frames,) stay."""

    def add(name: str, i: int, reason: str) -> None:
        words = f"{_place(frames, i)} ({reason})"
        getattr(report, name).add(int(index[i]), words)
        if getattr(settings, name, "keep") != "keep":
            report.leave_out(int(index[i]), words)

    finite = _finite(frames)
    for i in np.flatnonzero(~finite).tolist():
        add("non_finite", i, _what_is_not_finite(frames, i))
    for i, reason in _faults(frames).items():
        if finite[i]:
            add("faulty", i, reason)
    if settings.stress is not None:
        for i, reason in _without_stress(frames, batches).items():
            add("missing_stress", i, reason)
        hints = (b.stress_hint for b in batches if b.stress_hint)
        report.stress_hint = report.stress_hint or next(hints, "")
    owner = np.repeat(np.arange(len(batches)), [len(b.energies) for b in batches])
    for i in range(frames.n_frames):
        for name, reason in batches[owner[i]].remarks.items():
            add(name, i, reason)
    _compare_free_energies(frames, batches, settings, add)
    finite &= np.array([int(k) not in report.reasons for k in index])
    keep = finite
    if settings.forces_key is not None:
        keep = keep & _with_forces(frames, batches, index, has_forces, settings, report)
    return _without_duplicates(frames, keep, index, settings, report, seen)


def _place(frames: FrameArrays, i: int) -> str:
    return f"frame {frames.metadata['source_frame'][i]} of {frames.metadata['source'][i]}"


def _with_forces(
    frames: FrameArrays,
    batches: list[Batch],
    index: np.ndarray,
    has_forces: np.ndarray,
    settings: ImportSettings,
    report: ImportReport,
) -> np.ndarray:
    """Note forces that are missing, placeholders or none; return which frames (frames,) stay."""
    term = settings.term
    zero = np.where(has_forces, zero_force_atoms(frames, term), 0)
    placeholders = (zero >= 2) & (zero >= ZERO_SHARE * frames.n_atoms)
    for i in np.flatnonzero(placeholders).tolist():
        words = f"{_place(frames, i)}, {zero[i]} of {frames.n_atoms[i]} atoms"
        report.zero_forces.add(int(index[i]), words)
    missing = ~has_forces | (placeholders & (settings.zero_forces == "missing"))
    for i in np.flatnonzero(missing).tolist():
        report.without_forces.add(int(index[i]), _place(frames, i))
        if settings.missing_forces == "leave_out":
            report.leave_out(int(index[i]), f"{_place(frames, i)} (it has no forces)")
    hints = (b.hint for b in batches if b.forces is None and b.hint)
    report.hint = report.hint or next(hints, "")
    for i in np.flatnonzero(net_forces(frames, term) * ~missing).tolist():
        report.net_forces.add(int(index[i]), _place(frames, i))
    report.energies_only |= settings.missing_forces == "energies_only" and bool(missing.any())
    return ~missing if settings.missing_forces == "leave_out" else np.ones_like(missing)


def _without_duplicates(
    frames: FrameArrays,
    keep: np.ndarray,
    index: np.ndarray,
    settings: ImportSettings,
    report: ImportReport,
    seen: SeenFrames,
) -> np.ndarray:
    """Note frames of geometries that were seen; return which of those to `keep` (frames,) stay."""
    chosen = np.flatnonzero(keep)
    energies = frames.energies[settings.term]
    first, energy = seen.add(geometry_keys(frames.subset(chosen)), index[chosen], energies[chosen])
    for j in np.flatnonzero(first >= 0).tolist():
        i = int(chosen[j])
        words = f"{_place(frames, i)} equals frame {first[j]} of all"
        report.duplicates.add(int(index[i]), words)
        if abs(energies[i] - energy[j]) > 1e-4:
            report.relabelled.add(
                int(index[i]),
                f"{_place(frames, i)}, by {energies[i] - energy[j]:.4g} eV from {first[j]}",
            )
        if settings.duplicates == "leave_out":
            keep[i] = False
            report.leave_out(int(index[i]), words)
    return keep


def _faults(frames: FrameArrays) -> dict[int, str]:
    """Return {frame: why it is no structure that a potential can treat, or an archive can keep}."""
    found = faults(
        frames.positions,
        frames.numbers,
        frames.offsets,
        frames.cells,
        frames.pbc,
        coinciding=True,
    )
    for i in _far(frames):
        if i not in found:
            alone = _near_the_origin(frames.subset([i]))
            if np.ptp(alone.positions, axis=0).max() > _WIDEST:
                found[i] = (
                    f"It is more than {_WIDEST:g} Angstrom wide, and archives keep positions in "
                    "single precision."
                )
    return {i: sentence.removesuffix(".") for i, sentence in found.items()}


def _compare_free_energies(
    frames: FrameArrays,
    batches: list[Batch],
    settings: ImportSettings,
    add: Callable[[str, int, str], None],
) -> None:
    """Note frames whose forces belong to a free energy that is another number than the energy."""
    for i, batch in enumerate(batches):
        if batch.free_energies is not None and batch.forces is not None:
            (difference,) = batch.free_energies - batch.energies
            if abs(difference) * settings.factors["energy"] > 1e-4 * len(batch.numbers):
                add("other_free_energy", i, f"by {difference:.4g}")


def _finite(frames: FrameArrays) -> np.ndarray:
    """Return which frames (frames,) have finite numbers only."""
    atoms = np.isfinite(frames.positions).all(axis=1)
    for values in frames.forces.values():
        atoms &= np.isfinite(values).all(axis=1)
    good = np.logical_and.reduceat(atoms, frames.offsets[:-1])
    for values in frames.energies.values():
        good &= np.isfinite(values)
    for tensors in (frames.cells, *frames.stresses.values()):
        if tensors is not None:
            good &= np.isfinite(tensors).all(axis=(1, 2))
    return good


def _what_is_not_finite(frames: FrameArrays, frame: int) -> str:
    part = frames.atom_slice(frame)
    if not np.isfinite(frames.positions[part]).all():
        return "positions"
    if not all(np.isfinite(v[frame]) for v in frames.energies.values()):
        return "energy"
    if not all(np.isfinite(v[part]).all() for v in frames.forces.values()):
        return "forces"
    return "cell or stress"


def _refuse(report: ImportReport, settings: ImportSettings) -> None:
    """Raise DataError for frames that the settings do not allow."""
    total = report.n_read
    if report.missing_stress.count == total and report.stress_hint:
        raise DataError(
            f"{total} of {total} frames have no stress '{settings.stress}'{report.stress_hint}."
        )
    for name, words in _DECIDED.items():
        found: Finding = getattr(report, name)
        if found.count and getattr(settings, name) == "refuse":
            cures = (
                "leave_out"
                if name not in ("unconverged", "machine_learned")
                else ("leave_out or keep")
            )
            raise DataError(
                f"{found.count} of {total} frames {words}, first {found.first}; correct them or "
                f"set {name}: {cures}{', or name no stress' * (name == 'missing_stress')}."
            )
    if report.other_free_energy.count:
        raise DataError(
            f"{report.other_free_energy.count} of {total} frames have an 'energy' and another "
            f"'free_energy', first {report.other_free_energy.first}, and forces belong to one of "
            "them, in VASP the free energy; set energy to the name that is meant."
        )
    if report.zero_forces.count and settings.zero_forces is None:
        raise DataError(
            f"{report.zero_forces.count} of {total} frames have forces of exactly zero on many "
            f"atoms, first {report.zero_forces.first}: set zero_forces to 'missing' if they are "
            "placeholders, to 'real' if symmetry makes them vanish, or forces to false."
        )
    if report.without_forces.count == total and report.hint:
        raise DataError(
            f"{total} of {total} frames have no forces '{settings.forces_key}'{report.hint}."
        )
    if report.without_forces.count and settings.missing_forces == "refuse":
        raise DataError(
            f"{report.without_forces.count} of {total} frames have no forces, first "
            f"{report.without_forces.first}, and forces are asked for; set missing_forces to "
            "leave_out or energies_only, or forces to false."
        )
    if report.duplicates.count and settings.duplicates == "refuse":
        raise DataError(
            f"{report.duplicates.count} of {total} frames are duplicates, first "
            f"{report.duplicates.first}; set duplicates to leave_out or keep."
        )


def _join(chunks: list[FrameArrays]) -> FrameArrays:
    """Return the frames of all chunks as one set."""
    first = chunks[0]
    for chunk in chunks[1:]:
        for name in {*chunk.metadata} ^ {*first.metadata}:
            raise DataError(f"Only some frames have '{name}'; all frames of a set need it.")
    periodic = any(c.pbc is not None for c in chunks)
    cells = [np.zeros((c.n_frames, 3, 3)) if c.cells is None else c.cells for c in chunks]
    pbc = [np.zeros((c.n_frames, 3), dtype=bool) if c.pbc is None else c.pbc for c in chunks]
    n_atoms = np.concatenate([c.n_atoms for c in chunks])

    def joined(name: str) -> dict[str, np.ndarray]:
        parts: list[dict[str, np.ndarray]] = [getattr(c, name) for c in chunks]
        common = [key for key in parts[0] if all(key in part for part in parts)]
        return {key: np.concatenate([part[key] for part in parts]) for key in common}

    return FrameArrays(
        positions=np.concatenate([c.positions for c in chunks]),
        numbers=np.concatenate([c.numbers for c in chunks]),
        offsets=np.concatenate([[0], np.cumsum(n_atoms)]),
        **{name: joined(name) for name in ("energies", "forces", "stresses", "metadata")},
        cells=np.concatenate(cells) if periodic else None,
        pbc=np.concatenate(pbc) if periodic else None,
        units=dict(first.units),
    )
