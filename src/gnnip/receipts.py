"""Content decides what is made again, not time stamps.

Snakemake compares time stamps, which a copy changes though nothing else did, and which stay when
a file is damaged. Every job therefore leaves a receipt of what it made (:func:`write_receipt`), and
before Snakemake looks at the files they are compared with their receipts (:func:`settle`): one with
the same bytes gets its time stamp back, one with other bytes is moved out of the way and thus made
again, and one that was made of other inputs than those that are there becomes older than they are.
Files that no job made enter the rules by their content (:func:`content_hash`).

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
from typing import Any, NamedTuple

from gnnip.errors import ConfigError, DataError
from gnnip.files import (
    check_kind,
    check_writable,
    make_folder,
    naming,
    read_json,
    sha256,
    write_json,
)
from gnnip.locks import WORKFLOW, hold_workflow

RECEIPTS = Path("results/.receipts")
#: Snakemake's records of the params and inputs of every file
_RECORDS, _KEPT_RECORDS = Path(".snakemake/metadata"), Path("results/.snakemake-metadata")
#: what this machine has read: a file with the same size and times is not read again
_MEMORY = Path(".snakemake/gnnip-contents.json")
#: in a receipt, beside the names of its files: checksums of the inputs that they were made of
_MADE_OF = "made_of"
#: the time stamp, in ns, of what was made of other inputs; Snakemake takes 0 for none
_LONG_AGO = 1_000_000_000


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


class _Made(NamedTuple):
    """What a receipt says of one file."""

    record: Record
    made_of: dict[str, str]  # the checksum of each input; empty in receipts of before


def write_receipt(outputs: Iterable[str], inputs: Iterable[str] = ()) -> None:
    """Write down what a job has made, and of what. Directories have no receipt.

    The time stamps recorded are not older than those of the inputs, whatever the clocks of a
    cluster say.
    """
    files = {str(path): Record.of(Path(path)) for path in outputs if Path(path).is_file()}
    made_of = {str(path): Record.of(Path(path)) for path in inputs if Path(path).is_file()}
    newest = max((record.modified_ns for record in made_of.values()), default=0)
    if files:
        receipt: dict[str, Any] = {
            name: asdict(record) | {"modified_ns": max(record.modified_ns, newest)}
            for name, record in files.items()
        }
        receipt[_MADE_OF] = {name: record.sha256 for name, record in made_of.items()}
        write_json(RECEIPTS / f"{next(iter(files))}.json", receipt)


def install(dag: Any) -> None:
    """Make Snakemake take inputs from the future, of a clock that was wrong, as they are.

    It refuses outputs that are older than their inputs; here they become as old as those.

    Args:
        dag: Snakemake's class whose method `check_output_mtime` is replaced.
    """

    async def check_output_mtime(self: Any, job: Any, outputs: Iterable[Any]) -> None:
        async def stamps(files: Iterable[Any]) -> dict[Any, float]:
            there = [path for path in files if await path.exists_local()]
            return {path: (await path.mtime_uncached(skip_storage=True)).local() for path in there}

        newest = max((await stamps(job.input)).values(), default=0.0)
        for path, stamp in (await stamps(outputs)).items():
            if stamp < newest:
                path.touch((newest, newest))

    dag.check_output_mtime = check_output_mtime


def settle(say: Callable[[str], object]) -> set[str]:
    """Compare the files with their receipts, before Snakemake compares time stamps.

    A file with other bytes is renamed to <name>.changed, also in a dry-run, which would otherwise
    not show that it is made again. Nothing happens while another Snakemake is at work.

    Args:
        say: called with one sentence for each file and receipt that is not as it should be.

    Returns:
        The files that were made and are gone. Snakemake makes them again when a job needs them or
        they are asked for by name, so the final rule has to ask for them.

    Raises:
        DataError: the folder of the results, or that of Snakemake, cannot be written.
    """
    gone: set[str] = set()
    for folder in (RECEIPTS.parent, WORKFLOW.parent):
        check_writable(folder)
    make_folder(_KEPT_RECORDS)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(hold_workflow())
        except ConfigError:
            return gone
        with naming(_RECORDS):
            _keep_records()
        memory = stack.enter_context(_memory())
        made = _read_receipts(say)
        for name, (record, _) in made.items():
            with _comparing(name, gone, say):
                memory[name] = Record.of(Path(name), memory.get(name, record))
                if memory[name].sha256 != record.sha256:
                    _move_aside(Path(name), memory.pop(name), record, say)
                    gone.add(name)
        there = {name: memory[name].sha256 for name in made.keys() & memory.keys() - gone}
        for name in there:
            record, made_of = made[name]
            changed = any(there.get(path, found) != found for path, found in made_of.items())
            wanted = _LONG_AGO if changed else record.modified_ns
            if memory[name].modified_ns != wanted:
                with _comparing(name, gone, say):
                    os.utime(name, ns=(wanted, wanted))
                    times = os.stat(name)  # as coarse as the file system has them
                    memory[name] = replace(
                        record, modified_ns=times.st_mtime_ns, changed_ns=times.st_ctime_ns
                    )
    return gone


@contextlib.contextmanager
def _comparing(name: str, gone: set[str], say: Callable[[str], object]) -> Iterator[None]:
    """Add a file that is not there to those `gone`, and say so of one that the system refuses."""
    try:
        yield
    except FileNotFoundError:
        gone.add(name)
    except OSError as error:
        say(f"{name} cannot be compared with its receipt ({error.strerror}).")


def _move_aside(path: Path, found: Record, made: Record, say: Callable[[str], object]) -> None:
    aside = path.with_name(f"{path.name}.changed")
    path.replace(aside)
    say(
        f"{path} is not what its job had made ({found.size} bytes, {made.size} expected): it is "
        f"made again as soon as it is needed; what was found there is now {aside.name}."
    )


def _read_receipts(say: Callable[[str], object]) -> dict[str, _Made]:
    """Return what was recorded of every file; a damaged receipt is removed.

    Of a file that two jobs have made, one after the other, the newest record counts.
    """
    latest: dict[str, _Made] = {}
    for folder, _, names in os.walk(RECEIPTS):
        # a leading dot is a receipt whose writer was killed
        for place in (Path(folder, name) for name in names if not name.startswith(".")):
            try:
                entries = read_json(place, dict)
                made_of = check_kind(entries.pop(_MADE_OF, {}), dict, str(place))
                records = {name: Record(**entry) for name, entry in entries.items()}
            except (DataError, AttributeError, TypeError, ValueError):
                place.unlink(missing_ok=True)
                say(f"The receipt {place} was damaged and is removed; time stamps decide instead.")
                continue
            for name, record in records.items():
                if name not in latest or record.modified_ns > latest[name].record.modified_ns:
                    latest[name] = _Made(record, made_of)
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
