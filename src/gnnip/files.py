"""One reader each for text, JSON, YAML, CSV and HDF5, and atomic writes.

Whatever a user's file holds, a reader returns what it says or raises a DataError that names the
file and the cure. A file that is written is either the old one or the new one, never a half.
"""

from __future__ import annotations

import contextlib
import copy
import csv
import errno
import functools
import hashlib
import io
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gnnip.errors import DataError, GnnipError, unwritten

if TYPE_CHECKING:
    import h5py
    import pandas as pd

#: how deep lists and mappings may lie in each other, and how many values YAML may stand for when
#: every alias is written out
DEEPEST, MOST_VALUES = 100, 1_000_000
#: bytes that a folder must have room for: logs and records
_ROOM = 2**16
#: what Python and the constructors of YAML raise for values that cannot be
_BAD_VALUE = (ValueError, KeyError, TypeError, AttributeError, OverflowError)


# --- writing --------------------------------------------------------------------------------------


@contextlib.contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Raise a DataError that names `path` and the cure where the system refuses to write it."""
    try:
        yield
    except OSError as error:
        raise DataError(unwritten(path, error)) from error


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block succeeds.

    The file gets the permissions of the user's umask. What is no regular file, such as /dev/stdout,
    is written as it is. Raises DataError for a folder, or where nothing can be written.
    """
    target = _named(path)
    temporary = None
    try:
        with naming(target):
            if target.is_dir():
                raise IsADirectoryError(errno.EISDIR, "it is a folder")
            if target.exists() and not target.is_file():
                yield target
                return
            temporary = _temporary(target)
            yield temporary
            with open(temporary, "rb") as stream:
                os.fsync(stream.fileno())
            os.replace(temporary, target)
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _temporary(target: Path) -> Path:
    """Return a new empty file beside `target`, with the permissions of a file that is opened."""
    make_folder(target.parent)
    name = f".{target.stem[:40]}.{secrets.token_hex(4)}{target.suffix[:20]}"
    os.close(os.open(target.with_name(name), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    return target.with_name(name)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Make a folder where it is missing; DataError unless a small file can be written there."""
    folder = make_folder(path)
    with naming(folder):
        trial = _temporary(folder / "trial")
        try:
            trial.write_bytes(bytes(_ROOM))
        finally:
            trial.unlink()


def make_folder(path: str | os.PathLike[str]) -> Path:
    """Make a folder and those above it, where they are missing; DataError where it cannot be."""
    folder = _named(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise DataError(
            f"{folder} is a file, and a folder is needed there; rename it or choose another folder."
        ) from None
    except OSError as error:
        raise DataError(unwritten(folder, error)) from error
    return folder


def _named(path: str | os.PathLike[str]) -> Path:
    if "\0" in os.fspath(path):
        raise DataError(f"{str(path)!r} is no name of a file; leave out the null character.")
    return Path(path)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` atomically, UTF-8."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def write_hdf5(path: str | os.PathLike[str]) -> Iterator[h5py.File]:
    """Yield a new HDF5 file that appears, whole, when the block succeeds; see `atomic_path`."""
    import h5py

    with atomic_path(path) as temporary, open(temporary, "w+b", buffering=0) as raw:
        stream = _Patient(raw)
        try:
            with h5py.File(stream, "w") as file:
                yield file
        finally:  # whatever else a file that is full has led to
            if stream.error is not None:
                raise stream.error


class _Patient:
    """A file for HDF5, which ends the process where a write fails; here all that follows the first
    failure is dropped, and `error` holds that."""

    def __init__(self, raw: io.FileIO) -> None:
        self.error: OSError | None = None
        self._raw = raw
        self.read, self.readinto = raw.read, raw.readinto
        self.seek, self.tell = raw.seek, raw.tell

    def write(self, data: bytes) -> int:
        """Write all of the bytes, or take them and write nothing after a failure."""
        left = memoryview(data).cast("B")
        try:
            while left and self.error is None:
                left = left[self._raw.write(left) :]
        except OSError as error:
            self.error = error
        return len(data)

    def truncate(self, size: int) -> int:
        """Set the size, but after a failure."""
        try:
            if self.error is None:
                self._raw.truncate(size)
        except OSError as error:
            self.error = error
        return size

    def flush(self) -> None:
        """Nothing is held back."""


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write `value` atomically as indented JSON with sorted keys."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True) + "\n")


# --- reading --------------------------------------------------------------------------------------


def read_text(path: str | os.PathLike[str]) -> str:
    """Return the text of a file in UTF-8, with or without a byte order mark.

    Raises DataError for a file that is missing, a folder, unreadable or no such text.
    """
    try:
        return Path(path).read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{path} does not exist.") from None
    except IsADirectoryError:
        raise DataError(f"{path} is a folder, and a file is needed.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from None
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is no text in UTF-8 (byte {error.start} is {error.object[error.start]:#04x}); "
            "save it in that encoding or restore it."
        ) from None
    except ValueError as error:  # a name with a null character
        raise DataError(f"{str(path)!r} is no name of a file ({error}).") from None


def read_json(path: str | os.PathLike[str], kind: type = object) -> Any:
    """Read JSON; DataError for a file that `read_text` or `parse_json` does not take."""
    return parse_json(read_text(path), str(path), kind)


def parse_json(text: str | bytes, where: str, kind: type = object) -> Any:
    """Return what JSON says.

    Args:
        text: the JSON; bytes are UTF-8.
        where: names it in messages.
        kind: what must be there, such as dict or list.

    Raises:
        DataError: no JSON, another kind of value, a key that stands twice, or values that are
            nested too deeply or too many.
    """

    def mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise DataError(f"{where} has the key '{twice}' twice; keep one of them.")
        return found

    try:
        value = json.loads(text, object_pairs_hook=mapping)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{where} is not valid JSON (line {error.lineno}); delete it and run again."
        ) from None
    except RecursionError:
        raise DataError(_too_deep(where)) from None
    except GnnipError:
        raise
    except ValueError as error:  # bytes of no encoding, a number with thousands of digits
        raise DataError(f"{where} is not valid JSON ({error}).") from None
    _count(value, where)
    return check_kind(value, kind, where)


def check_kind(value: Any, kind: type, where: str) -> Any:
    """Return `value`; DataError unless it is of the kind, a dict, a list or any object."""
    if not isinstance(value, kind):
        words: dict[type, str] = {dict: "a mapping (key: value)", list: "a list", str: "a text"}
        found = words.get(type(value)) if not isinstance(value, str) else None
        found = found or f"{value!r:.40}"
        raise DataError(f"{where} must hold {words.get(kind, kind.__name__)}, found {found}.")
    return value


def read_yaml(path: str | os.PathLike[str], kind: type = dict) -> Any:
    """Read YAML; an empty mapping for an empty file.

    Raises DataError for a file that `read_text` does not take, one that is no YAML (naming the
    line), another `kind` of value, a key that stands twice, and values that are nested too deeply
    or, with all aliases written out, too many.
    """
    value = parse_yaml(read_text(path), str(path))
    return check_kind({} if value is None else value, kind, str(path))


def parse_yaml(text: str, where: str) -> Any:
    """Return what YAML says; the same text, asked for many times in a run, is parsed once."""
    return copy.deepcopy(_parsed(text, where))


@functools.cache
def _parsed(text: str, where: str) -> Any:
    import yaml

    try:
        depth = 0  # first, since the loader in C crashes where it is large
        for event in yaml.parse(text, _loader()):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > DEEPEST:
                raise DataError(_too_deep(where))
        value = yaml.load(text, _loader())
        if _count(value, where) > MOST_VALUES:
            raise DataError(f"{where} stands for more than {MOST_VALUES} values; shorten it.")
        return value
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "it cannot be parsed"
        raise DataError(f"{where}{line} is not valid YAML: {problem}.") from None
    except RecursionError:
        raise DataError(_too_deep(where)) from None
    except GnnipError:
        raise
    except _BAD_VALUE as error:  # such as the 31st of a month that has 30 days
        raise DataError(f"{where} holds a value that YAML does not know ({error}).") from None


def yaml_lines(path: str | Path, key: str) -> dict[str, int]:
    """Return the line of each key of the mapping that stands under `key` of a valid YAML file."""
    import yaml

    tree: Any = yaml.compose(Path(path).read_text(encoding="utf-8"), Loader=_loader())
    (part,) = (value for name, value in tree.value if name.value == key)
    return {name.value: name.start_mark.line + 1 for name, _ in part.value}


@functools.cache
def _loader() -> Any:
    """Return the safe loader of YAML that refuses a key that stands twice."""
    import yaml

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            seen = set()
            for key, _ in node.value:
                if key.id == "scalar" and key.value != "<<":
                    if (key.tag, key.value) in seen:
                        problem = f"the key '{key.value}' stands twice"
                        raise yaml.constructor.ConstructorError(
                            problem=problem, problem_mark=key.start_mark
                        )
                    seen.add((key.tag, key.value))
            return super().construct_mapping(node, deep)

    return Loader


def _count(value: Any, where: str) -> int:
    """Return how many values lie in each other; DataError where they are nested too deeply."""
    counts: dict[int, int] = {}  # what an alias repeats is looked at once

    def count(part: dict[Any, Any] | list[Any], depth: int) -> int:
        if depth > DEEPEST:
            raise DataError(_too_deep(where))
        if id(part) not in counts:
            inner = part.values() if isinstance(part, dict) else part
            nested = (each for each in inner if isinstance(each, dict | list))
            counts[id(part)] = len(part) + sum(count(each, depth + 1) for each in nested)
        return counts[id(part)]

    return count(value, 1) if isinstance(value, dict | list) else 1


def _too_deep(where: str) -> str:
    return f"{where} is nested more than {DEEPEST} deep; it is not what this is read for."


@contextlib.contextmanager
def read_hdf5(path: str | os.PathLike[str], cure: str) -> Iterator[h5py.File]:
    """Open an HDF5 file; whatever in it cannot be read as the block wants it is a DataError.

    Args:
        path: the file.
        cure: what to do with one that is damaged.
    """
    import h5py

    if not Path(path).exists():
        raise DataError(f"{path} does not exist; {cure}.")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except GnnipError:
        raise
    except (OSError, RuntimeError, MemoryError, *_BAD_VALUE) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"{path} is damaged, cut off or not the HDF5 file it should be ({reason}); {cure}."
        ) from error


def count_rows(path: str | os.PathLike[str]) -> int:
    """Return the rows of a CSV file below its header; -1 for one that is cut within a line."""
    text = read_text(path)
    return sum(1 for _ in csv.reader(io.StringIO(text))) - 1 if text.endswith("\n") else -1


def read_csv(path: str | os.PathLike[str], rows: int | None = None) -> pd.DataFrame:
    """Read a table of the pipeline.

    Raises DataError for one that is missing, empty, cut off, no CSV, or has other than so many
    `rows`.
    """
    import pandas as pd

    if not Path(path).exists():
        raise DataError(
            f"{path} does not exist: run the workflow to the end before tabulating, no table is "
            "made of a partial run."
        )
    again = "delete it and run the workflow again."
    found = count_rows(path)
    if found == -1 and not read_text(path):
        raise DataError(f"{path} is empty: {again}")
    if found == -1 or rows not in (None, found):
        said = "" if rows is None else f" ({rows} rows expected, {found} found)" * (found >= 0)
        raise DataError(f"{path} is cut off or not of this run{said}: {again}")
    try:
        return pd.read_csv(path)
    except (ValueError, pd.errors.ParserError) as error:
        raise DataError(f"{path} is no table ({str(error).strip()}): {again}") from None


def sha256(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file as hexadecimal digits."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
