"""The copy of a run that is committed: all of it, or some artefacts added to what is there."""

from __future__ import annotations

import contextlib
import copy
import gzip
import io
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Protocol

from gnnip.errors import ConfigError, DataError
from gnnip.files import atomic_path, read_json, write_json, write_text
from gnnip.provenance import PROVENANCE, fingerprint, note_files, record_files
from gnnip.verdicts.judge import Judged, judge_folder
from gnnip.verdicts.recorded import (
    HISTORIES,
    LAST_FRAMES,
    MANIFEST,
    TRAINING,
    WEIGHTS,
    RecordedRun,
    join_histories,
)
from gnnip.verdicts.trainings import FILE, join_trainings, read_trainings
from gnnip.verdicts.verdict import JudgedCard

if TYPE_CHECKING:
    from ase import Atoms

#: what judging writes, from the tables alone
JUDGED = ("verdicts.csv", "verdicts.json", "claims.csv")
#: bytes of all weights in git, those of other records too
_SHIPPED = 15_000_000
#: bytes above which histories are compressed, and last frames kept outside git
_PLAIN_HISTORIES, _COMMITTED_FRAMES = 2_000_000, 400_000
#: of positions in Angstrom and of momenta in the units of ASE, far below what moves in one step
_DECIMALS = 4


class RecordedCard(JudgedCard, Protocol):
    """What a record needs of a card at its tier."""

    @property
    def tier(self) -> str:
        """The tier."""

    @property
    def trainings(self) -> Mapping[str, Any]:
        """The training groups, each of which tells whether it `ships` the weights of a cell."""


def record(
    files: Sequence[Path],
    card: RecordedCard,
    claims: str | None,
    chosen: Sequence[str] | None,
    every: int = 10,
    results: Path = Path("results"),
) -> dict[str, Any]:
    """Record the files of a run and return the manifest of what is committed.

    Without `chosen` the record becomes a copy of the run. With `chosen`, the artefacts of a run of
    these alone, their tables and figures join what is recorded, the provenance goes beside them
    under their names, and `card` (with all of its artefacts) is judged again on all that is there,
    by the tests of `claims`, the module of the paper's claims. Trainings and dynamics among the
    files join alike.

    Committed are the weights of groups that the card ships, all histories, and last frames where
    they are small; the other weights, and every `every`-th frame of the dynamics, are kept outside
    git with their checksums in kept.json (`gnnip.verdicts.recorded` reads all of it). A record that
    fails or is killed leaves the one before as it was.

    Raises DataError for a file that is missing or cannot be written, ConfigError for a table or
    figure that is too large, and for too many weights to ship.
    """
    for path in files:
        if not path.exists():
            raise DataError(f"{path} does not exist; run the workflow to the end, then record.")
    run, place = RecordedRun.of(card.tier, card.id, results), results / card.tier / card.id
    small: list[Path] = []
    parts: dict[str, list[Path]] = {"trainings": [], "dynamics": []}
    for path in files:
        parts.get(path.relative_to(place).parts[0], small).append(path)
    with renewed(run.kept, run.folder) as (kept, folder):
        if chosen is None:
            _clear(folder / "weights", folder / "last_frames", folder / HISTORIES[1])
            _clear(*kept.iterdir())
        committed = _record_tables(small, folder, card, claims, chosen)
        copy = RecordedRun(folder, kept)
        store = _Store(copy, committed, copy.manifest())
        _record_weights(parts["trainings"], store, card)
        _check_shipped(folder, run.folder, card.id)
        _record_histories(parts["trainings"], store)
        _record_dynamics(parts["dynamics"], place / "dynamics", store, every)
        if store.outside or copy.has(MANIFEST):
            write_json(folder / MANIFEST, store.outside)
        own = [name for name in committed if not name.endswith(PROVENANCE)]
        note_files(folder, [*own, *JUDGED, MANIFEST], _provenance_name(card, chosen))
    return committed


def _provenance_name(card: JudgedCard, chosen: Sequence[str] | None) -> str:
    """Return what the provenance of a run is called in a record."""
    if chosen is None:
        return PROVENANCE
    return f"{'+'.join(a for a in card.artefacts if a in chosen)}.{PROVENANCE}"


def _record_tables(
    files: Sequence[Path],
    target: Path,
    card: JudgedCard,
    claims: str | None,
    chosen: Sequence[str] | None,
) -> dict[str, Any]:
    if chosen is None:
        return record_files(files, target)
    own = [a for a in card.artefacts if a in chosen]
    names = {f"{a}{suffix}" for a in own for suffix in (".csv", ".metrics.csv", ".png", ".svg")}
    with TemporaryDirectory() as place:
        parts = [path for path in files if path.name in names]
        provenance = Path(place) / _provenance_name(card, chosen)
        shutil.copyfile(next(p for p in files if p.name == PROVENANCE), provenance)
        trainings = join_trainings(target / FILE, next(p for p in files if p.name == FILE))
        write_text(Path(place) / FILE, trainings.to_csv(index=False))
        manifest = record_files([*parts, provenance, Path(place) / FILE], target, keep_others=True)
    rejudge(target, card, claims)
    return manifest


def judge_recorded(folder: str | Path, card: JudgedCard, claims: str | None) -> Judged:
    """Return the verdicts of a recorded run from its tables alone, by a card of today.

    What the reasons say of the size of the run is what the run itself has noted, where it is whole.
    """
    provenance = Path(folder) / PROVENANCE
    if provenance.exists():
        card = copy.copy(card)
        card.note = read_json(provenance, dict).get("card", {}).get("note", card.note)
    return judge_folder(card, folder, claims, read_trainings(Path(folder) / FILE))


def rejudge(folder: str | Path, card: JudgedCard, claims: str | None) -> None:
    """Write the verdicts of a recorded run anew."""
    judge_recorded(folder, card, claims).write(folder)
    note_files(Path(folder), JUDGED)


@dataclass(frozen=True)
class _Store:
    """A record that is being written; what of it is committed, and what is kept outside git."""

    record: RecordedRun
    committed: dict[str, Any]
    outside: dict[str, Any]

    def put(self, name: str, commit: bool, write: Callable[[Path], object]) -> None:
        """Let `write` make a file in its place; an older one may be in the other."""
        record = self.record
        for old in (record.folder / name, record.kept / name):
            old.unlink(missing_ok=True)
        self.outside.pop(name, None)
        path = (record.folder if commit else record.kept) / name
        write(path)
        (self.committed if commit else self.outside)[name] = fingerprint(path)


def _record_weights(files: Sequence[Path], store: _Store, card: RecordedCard) -> None:
    for path in files:
        if path.name in WEIGHTS:
            group, cell = path.parts[-4:-2]
            name = "/".join(("weights", *path.parts[-4:]))
            commit = card.trainings[group].ships(cell)
            store.put(name, commit, partial(_write, content=path.read_bytes()))


def _check_shipped(folder: Path, place: Path, card: str) -> None:
    """Raise ConfigError where the weights in git become too large, with those of the record in
    `folder`, which will be at `place`."""
    sizes = {path.name: _size(path) for path in sorted(folder.glob("weights/*"))}
    others = (p for p in place.parents[1].glob("*/*/weights") if p.parent != place)
    sizes["other records"] = sum(map(_size, others))
    if sum(sizes.values()) > _SHIPPED:
        told = ", ".join(f"{name} {size / 1e6:.1f} MB" for name, size in sizes.items())
        raise ConfigError(
            f"The weights that the card {card} ships are too large: {told}, where git takes "
            f"{_SHIPPED / 1e6:g} MB in all; remove 'ship' from a training group."
        )


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _record_histories(files: Sequence[Path], store: _Store) -> None:
    """Join the histories to one table, and to those of other trainings that were recorded."""
    import pandas as pd

    new, place = join_histories(p for p in files if p.name == "history.csv"), list(TRAINING)
    if new is None:
        return
    if any(map(store.record.has, HISTORIES)):
        old = store.record.histories()
        known = pd.MultiIndex.from_frame(new[place])
        new = pd.concat([old[~pd.MultiIndex.from_frame(old[place]).isin(known)], new])
    new = new[[*place, *new.columns.drop(place)]].sort_values([*place, "epoch"])
    text = new.to_csv(index=False, float_format="%.5g").encode()
    large = len(text) > _PLAIN_HISTORIES
    _clear(store.record.folder / HISTORIES[not large])
    content = gzip.compress(text, mtime=0) if large else text
    store.put(HISTORIES[large], True, partial(_write, content=content))


def _record_dynamics(files: Sequence[Path], place: Path, store: _Store, every: int) -> None:
    """Record the trajectories, thinned out, and the last frames of each measurement."""
    moved: dict[str, dict[str, Path]] = {}
    for path in files:
        measurement, *names = path.relative_to(place).parts[:-1]
        moved.setdefault(measurement, {})["/".join(names)] = path
    for measurement, trajectories in moved.items():
        from gnnip.md import pack_trajectory

        name = LAST_FRAMES.format(measurement)
        old = store.record.last_frames(measurement) if store.record.has(name) else []
        frames = [atoms for atoms in old if atoms.info["potential"] not in trajectories]
        for potential, path in trajectories.items():
            target = f"dynamics/{measurement}/{potential}/{path.name}"
            store.put(target, False, partial(pack_trajectory, path, every=every))
            frames += _last_frames(potential, path)
        content = _packed(frames)
        small = len(content) <= _COMMITTED_FRAMES
        store.put(name, small, partial(_write, content=content))


def _last_frames(potential: str, path: Path) -> Iterator[Atoms]:
    from gnnip.md import last_frames, read_trajectory

    for trajectory in read_trajectory(path):
        for atoms in last_frames(trajectory):
            atoms.info["potential"] = potential
            atoms.positions = atoms.positions.round(_DECIMALS)
            atoms.set_momenta(atoms.get_momenta().round(_DECIMALS))
            yield atoms


def _packed(frames: Sequence[Atoms]) -> bytes:
    from ase.io import write

    text = io.StringIO()
    write(text, frames, format="extxyz")
    return gzip.compress(text.getvalue().encode(), mtime=0)


def _write(path: Path, content: bytes) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def _clear(*paths: Path) -> None:
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def renewed(*folders: Path) -> Iterator[list[Path]]:
    """Yield a copy of each folder; they take the folders' places when the block succeeds.

    When it fails or is killed, the folders are as they were. The copies consist of hard links, so
    that their files must be replaced or removed, not written into. DataError for what the disk
    refuses.
    """
    places = [folder.with_name(f".{folder.name}") for folder in folders]
    try:
        _settle(folders)
        for folder, place in zip(folders, places, strict=True):
            (place / "new").mkdir(parents=True)
            if folder.exists():
                shutil.copytree(folder, place / "new", copy_function=_link, dirs_exist_ok=True)
        yield [place / "new" for place in places]
        for folder, place in zip(folders, places, strict=True):
            if folder.exists():
                folder.rename(place / "old")
            (place / "new").rename(folder)
    except OSError as error:
        raise DataError(
            f"{folders[-1]} could not be written ({error}); free disk space or repair the folder, "
            "what was recorded before is as it was."
        ) from error
    finally:
        _settle(folders)


def _settle(folders: Sequence[Path]) -> None:
    """Remove what a killed process left beside the folders; a folder that it had moved returns."""
    for folder in folders:
        place = folder.with_name(f".{folder.name}")
        if (place / "old").exists() and not folder.exists():
            (place / "old").rename(folder)
        shutil.rmtree(place, ignore_errors=True)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # the disk has no hard links
        shutil.copy2(source, target)
