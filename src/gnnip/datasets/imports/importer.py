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
from gnnip.datasets.imports.batch import Batch
from gnnip.datasets.imports.checks import (
    ZERO_SHARE,
    EnergyScales,
    SeenFrames,
    WorkCheck,
    geometry_keys,
    zero_force_atoms,
)
from gnnip.datasets.imports.readers import READERS
from gnnip.datasets.imports.settings import ImportSettings
from gnnip.datasets.store import frame_writer
from gnnip.errors import DataError
from gnnip.files import sha256

CHUNK_ATOMS = 500_000  #: atoms that are held at once
UNITS = {"positions": "Angstrom", "energies": "eV", "forces": "eV/Angstrom"}
_LISTED = 50  #: frames that a report names before it only counts


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
    non_finite: Finding = field(default_factory=Finding)
    without_forces: Finding = field(default_factory=Finding)
    zero_forces: Finding = field(default_factory=Finding)
    left_out: list[int] = field(default_factory=list)
    energies_only: bool = False
    work: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        findings = ("duplicates", "relabelled", "non_finite", "without_forces", "zero_forces")
        return {
            "files": self.files,
            "n_read": self.n_read,
            "n_kept": self.n_kept,
            "n_atoms": self.n_atoms,
            "energies_only": self.energies_only,
            "left_out": self.left_out,
            "energy_change_over_work": self.work,
            **{
                name: {"count": found.count, "frames": found.frames, "first": found.first}
                for name in findings
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
        described = {
            "duplicates": "have the geometry of an earlier frame",
            "relabelled": "of these have another energy than that frame",
            "non_finite": "have a number that is not finite",
            "without_forces": "have no forces",
            "zero_forces": "have forces of exactly zero on many atoms",
        }
        for name, words in described.items():
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
            "import_report": json.dumps(_short(report.to_json())),
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
    seen, work, scales = SeenFrames(), WorkCheck(), EnergyScales()
    base = Path(root) if root is not None else Path(os.path.commonpath([p.parent for p in paths]))
    for path in paths:
        label = Path(os.path.relpath(path, base)).as_posix()
        begun = report.n_read
        for batches in _chunks(READERS[settings.format](path, settings)):
            chunk, has_forces = _assemble(batches, settings, label)
            keep = _judge(chunk, has_forces, settings, report, seen)
            report.n_read += chunk.n_frames
            chunk = chunk.subset(np.flatnonzero(keep))
            if report.energies_only:
                chunk.forces = {}
            if chunk.n_frames == 0:
                continue
            per_atom = chunk.energies[settings.term] / chunk.n_atoms
            scales.add(_compositions(chunk), chunk.metadata["source"], per_atom)
            if settings.check_work:
                work.add(chunk, settings.term, chunk.metadata["source"])
            report.n_kept += chunk.n_frames
            report.n_atoms += int(chunk.offsets[-1])
            yield chunk
        if report.n_read == begun:
            raise DataError(f"{path} holds no frames; give another file or format.")
        report.files.append(
            {"file": label, "frames": report.n_read - begun, "sha256": sha256(path)}
        )
        if progress is not None:
            progress(f"{label}: {report.n_read - begun} frames")
    report.work = work.summary()
    _refuse(report, settings)
    scales.complain()
    work.complain(report.files[0]["file"], settings.forces_are)


def _chunks(batches: Iterator[Batch]) -> Iterator[list[Batch]]:
    """Group batches until they hold `CHUNK_ATOMS` atoms."""
    group: list[Batch] = []
    atoms = 0
    for batch in batches:
        group.append(batch)
        atoms += batch.positions.shape[0] * batch.positions.shape[1]
        if atoms >= CHUNK_ATOMS:
            yield group
            group, atoms = [], 0
    if group:
        yield group


def _assemble(
    batches: list[Batch], settings: ImportSettings, label: str
) -> tuple[FrameArrays, np.ndarray]:
    """Return the frames of some batches in the project's units, and which of them have forces.

    Forces that are missing are zero.
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
    has_forces = np.repeat([b.forces is not None for b in batches], counts)
    if settings.forces_key is not None:
        given = [np.zeros_like(b.positions) if b.forces is None else b.forces for b in batches]
        frames.forces = {term: joined(given, factors["forces"], (3,))}
    if any(b.cells is not None for b in batches):
        cells = [np.zeros((len(b.energies), 3, 3)) if b.cells is None else b.cells for b in batches]
        frames.cells = joined(cells, factors["length"], (3, 3))
        pbc = [np.zeros(3, dtype=bool) if b.pbc is None else b.pbc for b in batches]
        frames.pbc = np.repeat(np.array(pbc, dtype=bool), counts, axis=0)
    if settings.stress is not None:
        stress = joined([b.stress for b in batches if b.stress is not None], 1.0, (3, 3))
        frames.stresses = {term: factors["stress"] * stress}
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
    has_forces: np.ndarray,
    settings: ImportSettings,
    report: ImportReport,
    seen: SeenFrames,
) -> np.ndarray:
    """Write the peculiarities of a chunk into the report; return which frames (frames,) stay."""
    index = report.n_read + np.arange(frames.n_frames)
    term = settings.term

    def place(i: int) -> str:
        return f"frame {frames.metadata['source_frame'][i]} of {frames.metadata['source'][i]}"

    finite = _finite(frames)
    for i in np.flatnonzero(~finite).tolist():
        report.non_finite.add(int(index[i]), f"{place(i)} ({_what_is_not_finite(frames, i)})")
    keep = finite.copy()
    if settings.forces_key is not None:
        zero = np.where(has_forces, zero_force_atoms(frames, term), 0)
        placeholders = (zero >= 2) & (zero >= ZERO_SHARE * frames.n_atoms)
        for i in np.flatnonzero(placeholders).tolist():
            words = f"{place(i)}, {zero[i]} of {frames.n_atoms[i]} atoms"
            report.zero_forces.add(int(index[i]), words)
        missing = ~has_forces | (placeholders & (settings.zero_forces == "missing"))
        for i in np.flatnonzero(missing).tolist():
            report.without_forces.add(int(index[i]), place(i))
        if settings.missing_forces == "leave_out":
            keep &= ~missing
        elif settings.missing_forces == "energies_only":
            report.energies_only |= bool(missing.any())
    chosen = np.flatnonzero(keep)
    energies = frames.energies[term]
    first, energy = seen.add(geometry_keys(frames.subset(chosen)), index[chosen], energies[chosen])
    for j in np.flatnonzero(first >= 0).tolist():
        i = int(chosen[j])
        words = f"{place(i)} equals frame {first[j]} of all"
        report.duplicates.add(int(index[i]), words)
        if abs(energies[i] - energy[j]) > 1e-4:
            report.relabelled.add(
                int(index[i]), f"{place(i)}, by {energies[i] - energy[j]:.4g} eV from {first[j]}"
            )
        keep[i] &= settings.duplicates != "leave_out"
    report.left_out += [int(i) for i in index[~keep]]
    return keep


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
    if report.non_finite.count and settings.non_finite == "refuse":
        raise DataError(
            f"{report.non_finite.count} of {total} frames have numbers that are not finite, first "
            f"{report.non_finite.first}; correct them or set non_finite: leave_out."
        )
    if report.zero_forces.count and settings.zero_forces is None:
        raise DataError(
            f"{report.zero_forces.count} of {total} frames have forces of exactly zero on many "
            f"atoms, first {report.zero_forces.first}: set zero_forces to 'missing' if they are "
            "placeholders, to 'real' if symmetry makes them vanish, or forces to false."
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
