"""Content decides what is made again, not time stamps.

Snakemake compares time stamps, which a copy changes though nothing else did, and which stay when
a file is damaged. Every job therefore leaves a receipt of what it made (:func:`write_receipt`), and
before Snakemake looks at the files they are compared with their receipts (:func:`settle`): one with
the same bytes gets its time stamp back, one with other bytes is moved out of the way and thus made
again. Files that no job made enter the rules by their content (:func:`content_hash`).

Receipts lie among the results and travel with them. Paths are relative to the project's folder,
which is the current one.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from gnnip.errors import ConfigError, DataError
from gnnip.files import make_folder, read_json, sha256, write_json
from gnnip.locks import hold_workflow

RECEIPTS = Path("results/.receipts")
#: Snakemake's records of the params and inputs of every file
_RECORDS, _KEPT_RECORDS = Path(".snakemake/metadata"), Path("results/.snakemake-metadata")
#: what this machine has read: a file with the same size and times is not read again
_MEMORY = Path(".snakemake/gnnip-contents.json")


@dataclass(frozen=True)
class Record:
    """What a file was when it was read; the times tell whether it must be read again."""

    sha256: str
    size: int
    modified_ns: int
    changed_ns: int  # of the inode, which no program can set back

    @classmethod
    def of(cls, path: Path, known: Record | None = None) -> Record:
        """Describe a file; it is not read when `known` has its size and times."""
        facts = path.stat()
        stamps = (facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
        if known and stamps == (known.size, known.modified_ns, known.changed_ns):
            return known
        return cls(sha256(path), *stamps)


def write_receipt(outputs: Iterable[str], inputs: Iterable[str] = ()) -> None:
    """Write down what a job has made. Directories have no receipt.

    The time stamps recorded are not older than those of the inputs, whatever the clocks of a
    cluster say.
    """
    files = {str(path): Record.of(Path(path)) for path in outputs if Path(path).is_file()}
    newest = max((os.stat(path).st_mtime_ns for path in inputs if os.path.exists(path)), default=0)
    if files:
        receipt = {
            name: asdict(record) | {"modified_ns": max(record.modified_ns, newest)}
            for name, record in files.items()
        }
        write_json(RECEIPTS / f"{next(iter(files))}.json", receipt)


def settle(say: Callable[[str], object]) -> set[str]:
    """Compare the files with their receipts, before Snakemake compares time stamps.

    A file with other bytes is renamed to <name>.changed, also in a dry-run, which would otherwise
    not show that it is made again. Nothing happens while another Snakemake is at work.

    Args:
        say: called with one sentence for each file and receipt that is not as it should be.

    Returns:
        The files that were made and are gone. Snakemake makes them again when a job needs them or
        they are asked for by name, so the final rule has to ask for them.
    """
    gone: set[str] = set()
    make_folder(_KEPT_RECORDS)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(hold_workflow())
        except ConfigError:
            return gone
        _keep_records()
        memory = stack.enter_context(_memory())
        for name, record in _read_receipts(say).items():
            try:
                memory[name] = Record.of(Path(name), memory.get(name, record))
                if memory[name].sha256 != record.sha256:
                    _move_aside(Path(name), memory.pop(name), record, say)
                    gone.add(name)
                elif memory[name].modified_ns != record.modified_ns:
                    os.utime(name, ns=(record.modified_ns, record.modified_ns))
                    times = os.stat(name)  # as coarse as the file system has them
                    memory[name] = replace(
                        record, modified_ns=times.st_mtime_ns, changed_ns=times.st_ctime_ns
                    )
            except FileNotFoundError:
                gone.add(name)
            except OSError as error:
                say(f"{name} cannot be compared with its receipt ({error.strerror}).")
    return gone


def _move_aside(path: Path, found: Record, made: Record, say: Callable[[str], object]) -> None:
    aside = path.with_name(f"{path.name}.changed")
    path.replace(aside)
    say(
        f"{path} is not what its job had made ({found.size} bytes, {made.size} expected): "
        f"it is made again; what was found there is now {aside.name}."
    )


def _read_receipts(say: Callable[[str], object]) -> dict[str, Record]:
    """Return what was recorded of every file; a damaged receipt is removed.

    Of a file that two jobs have made, one after the other, the newest record counts.
    """
    latest: dict[str, Record] = {}
    for folder, _, names in os.walk(RECEIPTS):
        # a leading dot is a receipt whose writer was killed
        for place in (Path(folder, name) for name in names if not name.startswith(".")):
            try:
                entries = read_json(place, dict).items()
                records = {name: Record(**entry) for name, entry in entries}
            except (DataError, AttributeError, TypeError, ValueError):
                place.unlink(missing_ok=True)
                say(f"The receipt {place} was damaged and is removed; time stamps decide instead.")
                continue
            for name, record in records.items():
                if name not in latest or record.modified_ns > latest[name].modified_ns:
                    latest[name] = record
    return latest


def _keep_records() -> None:
    """Keep Snakemake's records among the results, where its own folder has a link to them.

    A copy of the results alone would otherwise not notice that code or settings have changed.
    """
    if not _RECORDS.is_symlink() and _RECORDS.is_dir():
        shutil.copytree(_RECORDS, _KEPT_RECORDS, dirs_exist_ok=True)
        shutil.rmtree(_RECORDS)
    # without this folder Snakemake takes the records for those of an old version
    make_folder(_RECORDS.with_name("incomplete"))
    if not _RECORDS.is_symlink():
        _RECORDS.symlink_to(Path("..", _KEPT_RECORDS))


def content_hash(*paths: str | Path) -> str:
    """Return a hash of the content of files that no job makes, 16 hexadecimal digits.

    It belongs into the params of a rule whose input such a file is as `ancient(...)`. Missing files
    are left to Snakemake, which names them.
    """
    digest = hashlib.sha256()
    with _memory() as memory:
        for name in map(str, paths):
            if os.path.isfile(name):
                memory[name] = Record.of(Path(name), memory.get(name))
                digest.update(memory[name].sha256.encode())
    return digest.hexdigest()[:16]


@contextlib.contextmanager
def _memory() -> Iterator[dict[str, Record]]:
    """Give what is known of files from reading them, and keep what is added."""
    known = _read_memory()
    before = dict(known)
    yield known
    if known != before:
        with contextlib.suppress(DataError):  # then they are read again
            write_json(_MEMORY, {name: asdict(record) for name, record in known.items()})


@functools.cache
def _read_memory() -> dict[str, Record]:
    with contextlib.suppress(DataError, AttributeError, TypeError, ValueError):
        return {name: Record(**entry) for name, entry in read_json(_MEMORY, dict).items()}
    return {}
