"""Published files: from a mirror or the network, with checksum, resume, retries; safe unpacking.

pooch keeps the folder of downloads, compares checksums and finds the files of a DOI; the transfer
is ours, because it has to survive a broken connection and a killed process. The variables of the
environment are those of everybody (`HTTPS_PROXY`, `NO_PROXY`, `REQUESTS_CA_BUNDLE`) and two of our
own: `GNNIP_DOWNLOADS` is where files are kept (default: data/downloads), `GNNIP_MIRROR` a folder,
or the start of an address, where they are looked for first.
"""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import os
import shutil
import stat
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import IO, Any

from gnnip.errors import DataError, nearest, unwritten
from gnnip.files import atomic_path, make_folder, naming, read_json, sha256, write_json

DOWNLOADS, MIRROR = "GNNIP_DOWNLOADS", "GNNIP_MIRROR"
UNKNOWN = "unknown"  #: stands for a checksum that is not known
CONFIRMED = "confirmed.json"  #: checksums that the user confirmed, in the folder of downloads
ATTEMPTS = 6  #: transfers of one file that may fail in a row without a byte gained
_BLOCK = 1 << 16
_TIMEOUT = (15.0, 60.0)  #: seconds to connect, and between two pieces
_LONGEST_WAIT = 60.0
#: answers that may be another one a moment later
_PASSING = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True)
class RemoteFile:
    """A file to fetch: name in the folder, address, checksum, and the page that states it.

    `checksum` is sha256:..., md5:..., git:... (the name of the file's blob in git) or unknown;
    `url` is an address, doi:<doi> to ask the repository behind it, or None for a file that only a
    person can get; `size` in bytes, None when unknown; `record` is the page about it.
    """

    name: str
    url: str | None
    checksum: str
    record: str
    size: int | None = None


def downloads_folder(root: str | os.PathLike[str]) -> Path:
    """Return where downloads are kept: $GNNIP_DOWNLOADS, or data/downloads under `root`."""
    return Path(os.environ.get(DOWNLOADS) or Path(root) / "data" / "downloads")


def fetch(
    file: RemoteFile,
    folder: str | os.PathLike[str],
    *,
    confirm: str | None = None,
    wait: float = 1.0,
    progress: Callable[[str], object] = print,
) -> Path:
    """Return `file` in `folder`, from there, from the mirror or from the network.

    A transfer that breaks goes on where it stopped, in this process or the next one; after each
    failure without progress the wait doubles, from `wait` seconds. A checksum that nobody knows
    must be confirmed once: `confirm` is the beginning of the file's SHA-256, and is recorded.

    Raises DataError when the file cannot be fetched, does not match its checksum, or has none.
    """
    import pooch
    import requests

    folder = Path(folder)
    make_folder(folder)
    pooch.get_logger().setLevel("ERROR")
    checksum = file.checksum
    if checksum == UNKNOWN:
        checksum = _confirmed(folder).get(file.name, UNKNOWN)
    known = checksum if checksum.startswith(("sha256:", "md5:")) else None
    target = folder / file.name
    make_folder(target.parent)
    with _alone(target, progress):
        if target.is_file() and not _matches(target, checksum):
            progress(f"{target} does not match its checksum; it is fetched again")
            target.unlink()
        try:
            pooch.retrieve(
                file.url or "",
                known_hash=known,
                fname=target.name,
                path=target.parent,
                downloader=_Transfer(file, target, wait, progress),
            )
        except requests.RequestException as error:
            raise DataError(_unreachable(file, error)) from error
        except ValueError as error:
            if isinstance(error, DataError):
                raise
            raise DataError(_wrong(file, checksum)) from error
        if not _matches(target, checksum):
            target.unlink()
            raise DataError(_wrong(file, checksum))
        if checksum == UNKNOWN:
            _ask(file, target, folder, confirm)
    return target


class _Transfer:
    """A downloader for pooch: called with (url, output file, pooch)."""

    def __init__(
        self, file: RemoteFile, target: Path, wait: float, progress: Callable[[str], object]
    ) -> None:
        self.file, self.target, self.wait, self.progress = file, target, wait, progress
        self.part = target.with_name(target.name + ".part")
        self.note = target.with_name(target.name + ".part.json")

    def __call__(self, url: str, output_file: str, pooch: Any) -> None:
        mirror = os.environ.get(MIRROR, "")
        if mirror and not mirror.startswith(("http://", "https://")):
            copy = Path(mirror) / self.file.name
            if copy.is_file():
                self.progress(f"{self.file.name} from the mirror {mirror}")
                with naming(self.target):
                    shutil.copyfile(copy, output_file)
                return
        elif mirror:
            url = f"{mirror.rstrip('/')}/{self.file.name}"
        if not url:
            raise DataError(
                f"{self.file.name} has no address that a program can read: fetch it by hand from "
                f"{self.file.record} and put it into {self.target.parent}."
            )
        self._download(_resolve(url, self.file) if url.startswith("doi:") else url)
        os.replace(self.part, output_file)
        self.note.unlink(missing_ok=True)

    def _download(self, url: str) -> None:
        import requests

        failures = 0
        while True:
            before = self._size()
            try:
                self._transfer(url)
                return
            except _PassingError as error:
                reason, pause = str(error), error.pause
            # the line failed, not the request: the same request may work a moment later
            except (
                requests.ConnectionError,
                requests.Timeout,
                requests.exceptions.ChunkedEncodingError,
            ) as error:
                reason, pause = f"{type(error).__name__}", 0.0
            except requests.RequestException:  # an OSError too, but none of the disk's
                raise
            except OSError as error:
                raise DataError(unwritten(self.part, error)) from error
            failures = 1 if self._size() > before else failures + 1
            if failures >= ATTEMPTS:
                raise DataError(_unreachable(self.file, reason))
            pause = min(max(self.wait * 2 ** (failures - 1), pause), _LONGEST_WAIT)
            self.progress(
                f"{self.file.name}: {reason} after {self._size()} bytes; again in {pause:.0f} s"
            )
            time.sleep(pause)

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _transfer(self, url: str) -> None:
        """Get what is missing of the part; _PassingError when the rest may come later."""
        import requests

        done = self._size()
        told = _read_note(self.note) if done else {}
        # identity: a range counts bytes of the file, not of a compressed stream
        headers = {"Accept-Encoding": "identity", "User-Agent": "gnnip"}
        if done and told.get("url") == url:
            headers["Range"] = f"bytes={done}-"
            if told.get("validator"):
                headers["If-Range"] = told["validator"]
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as answer:
            if answer.status_code == 416:
                self.part.unlink(missing_ok=True)
                raise _PassingError("the server has fewer bytes than the part")
            if answer.status_code in _PASSING:
                raise _PassingError(f"HTTP {answer.status_code}", _retry_after(answer.headers))
            answer.raise_for_status()
            resumed = answer.status_code == 206 and _starts_at(answer.headers, done)
            if answer.status_code == 206 and not resumed:
                self.part.unlink(missing_ok=True)
                raise _PassingError("the server answered with another range")
            start = done if resumed else 0
            length = answer.headers.get("Content-Length")
            total = start + int(length) if length else self.file.size
            self._check_room(total, start)
            write_json(self.note, {"url": url, "validator": _validator(answer.headers)})
            if resumed:
                self.progress(f"{self.file.name} goes on after {done} bytes")
            with open(self.part, "ab" if resumed else "wb") as stream:
                for block in answer.iter_content(_BLOCK):
                    stream.write(block)
                stream.flush()
                os.fsync(stream.fileno())
        if total is not None and self._size() < total:
            raise _PassingError("the transfer broke")

    def _check_room(self, total: int | None, start: int) -> None:
        if total is None:
            return
        if self.file.size is not None and total != self.file.size:
            raise DataError(
                f"The server has {total} bytes for {self.file.name}, the registry says "
                f"{self.file.size}; look at {self.file.record}."
            )
        free = shutil.disk_usage(self.target.parent).free
        if total - start > free:
            raise DataError(
                f"{self.file.name} needs {total - start} bytes, {self.target.parent} has {free} "
                f"left; free some or set {DOWNLOADS}."
            )


class _PassingError(Exception):
    """A transfer that may work a moment later."""

    def __init__(self, message: str, pause: float = 0.0) -> None:
        super().__init__(message)
        self.pause = pause


def _read_note(path: Path) -> dict[str, Any]:
    try:
        note: dict[str, Any] = read_json(path, dict)
    except DataError:
        return {}
    return note


def _validator(headers: Any) -> str:
    # weak tags may not be used with If-Range
    tag = headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else headers.get("Last-Modified", "")


def _starts_at(headers: Any, start: int) -> bool:
    return headers.get("Content-Range", "").startswith(f"bytes {start}-")


def _retry_after(headers: Any) -> float:
    value = headers.get("Retry-After", "")
    return float(value) if value.isdigit() else 0.0


def _resolve(url: str, file: RemoteFile) -> str:
    """Return the address of a file of the repository behind doi:<doi>."""
    import requests
    from pooch.downloaders import doi_to_repository

    try:
        repository = doi_to_repository(url.removeprefix("doi:"))
        return str(repository.download_url(PurePosixPath(file.name).name))
    except requests.RequestException as error:
        raise DataError(_unreachable(file, error)) from error
    except ValueError as error:
        raise DataError(
            f"{file.name} was not found in the repository behind {url} ({error}); look at "
            f"{file.record}."
        ) from error


def _unreachable(file: RemoteFile, reason: object) -> str:
    words = " ".join(str(reason).split())[:150]
    return (
        f"{file.name} cannot be downloaded from {file.url} ({words}); run it again to go on, check "
        f"the proxy, or put the file into a folder and set {MIRROR} to it."
    )


def _wrong(file: RemoteFile, checksum: str) -> str:
    return (
        f"{file.name} does not have its checksum ({checksum[:20]}...) and was not kept: it is "
        f"damaged or was changed at its source; look at {file.record}."
    )


@contextlib.contextmanager
def _alone(target: Path, progress: Callable[[str], object]) -> Iterator[None]:
    """Let one process at a time get a file; the lock ends with its process."""
    import fcntl

    with open(target.with_name(f".{target.name}.lock"), "w", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            progress(f"{target.name} is being fetched by another process; waiting for it")
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


# --- checksums ------------------------------------------------------------------------------------


def check_form(checksum: str) -> None:
    """Raise DataError for a checksum that is none of sha256, md5, git with digits, or unknown."""
    kind, _, digits = checksum.partition(":")
    lengths = {"sha256": 64, "md5": 32, "git": 40}
    if checksum == UNKNOWN:
        return
    if kind not in lengths:
        raise DataError(
            f"The checksum '{checksum}' has an unknown kind{nearest(kind, [*lengths, UNKNOWN])}."
        )
    if len(digits) != lengths[kind] or set(digits) - set("0123456789abcdef"):
        raise DataError(
            f"The checksum '{checksum}' needs {lengths[kind]} hexadecimal digits in lower case "
            f"after '{kind}:'."
        )


def git_blob(path: str | os.PathLike[str]) -> str:
    """Return the name of a file's content in git: SHA-1 of a header with its size, and the content.

    It is what a repository's listing shows, so that large files can be checked against it.
    """
    path = Path(path)
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with open(path, "rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _matches(path: Path, checksum: str) -> bool:
    from pooch.hashes import hash_matches

    if checksum.startswith("git:"):
        return git_blob(path) == checksum.removeprefix("git:")
    return checksum == UNKNOWN or hash_matches(path, checksum)


def _confirmed(folder: Path) -> dict[str, str]:
    path = folder / CONFIRMED
    return {str(k): str(v) for k, v in read_json(path, dict).items()} if path.is_file() else {}


def _ask(file: RemoteFile, target: Path, folder: Path, confirm: str | None) -> None:
    """Record the checksum that the user confirms; DataError, with the checksum, without that."""
    found = sha256(target)
    if confirm is None:
        raise DataError(
            f"The registry knows no checksum of {file.name}: {target} has {target.stat().st_size} "
            f"bytes and SHA-256 {found}; compare with {file.record} and confirm with "
            f"'python -m gnnip download <set> --confirm {found[:16]}'."
        )
    if len(confirm) < 8 or not found.startswith(confirm.lower().removeprefix("sha256:")):
        raise DataError(
            f"{target} has the SHA-256 {found}, which does not begin with '{confirm}' (at least 8 "
            "digits); compare again."
        )
    write_json(folder / CONFIRMED, _confirmed(folder) | {file.name: f"sha256:{found}"})


# --- archives -------------------------------------------------------------------------------------


def unpack(path: str | os.PathLike[str], members: Sequence[str]) -> list[Path]:
    """Return members of a zip or tar archive, unpacked beside it; patterns as in a shell.

    The folder carries the first digits of the archive's SHA-256, so that a changed archive never
    meets old members; members that are there already are not unpacked again.

    Raises DataError, before anything is written, for an archive of which any member would be
    written outside its folder, or is a link that leads out of it; for a pattern that fits no file;
    for a damaged archive.
    """
    path = Path(path)
    folder = path.with_name(f"{path.name}-{sha256(path)[:12]}")
    try:
        with _opened(path) as archive:
            chosen = _choose(archive, members, path)
            free = shutil.disk_usage(path.parent).free
            needed = sum(size for _, size in chosen)
            if needed > free:
                raise DataError(
                    f"Unpacking {path} needs {needed} bytes, {path.parent} has {free} left; free "
                    f"some or set {DOWNLOADS}."
                )
            return [_extract(archive, name, size, folder) for name, size in chosen]
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        EOFError,
        OSError,
        zlib.error,
        LZMAError,
    ) as error:
        raise DataError(
            f"{path} is damaged or not a zip or tar archive ({error}); delete it and fetch it "
            "again."
        ) from error


@dataclass
class _Archive:
    """What zip and tar have in common: name -> (kind, size, target of a link), and a reader."""

    entries: dict[str, tuple[str, int, str]]
    open: Callable[[str], IO[bytes]]


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[_Archive]:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as file:
            yield _Archive({i.filename: _zip_entry(file, i) for i in file.infolist()}, file.open)
        return
    with tarfile.open(path) as tar:

        def reader(name: str) -> IO[bytes]:
            stream = tar.extractfile(name)
            assert stream is not None  # only regular files are asked for
            return stream

        yield _Archive({i.name: _tar_entry(i) for i in tar.getmembers()}, reader)


def _zip_entry(file: zipfile.ZipFile, info: zipfile.ZipInfo) -> tuple[str, int, str]:
    if info.is_dir():
        return "folder", 0, ""
    # the upper half holds the mode where a Unix program made the archive
    if stat.S_ISLNK(info.external_attr >> 16):
        return "link", 0, file.read(info).decode(errors="replace")
    return "file", info.file_size, ""


def _tar_entry(info: tarfile.TarInfo) -> tuple[str, int, str]:
    if info.isdir():
        return "folder", 0, ""
    if info.issym():
        return "link", 0, info.linkname
    if info.islnk():
        # relative to the root of the archive, unlike a symbolic link
        return "link", 0, os.path.relpath(info.linkname, PurePosixPath(info.name).parent)
    return ("file", info.size, "") if info.isreg() else ("device", 0, "")


def _choose(archive: _Archive, members: Sequence[str], path: Path) -> list[tuple[str, int]]:
    """Return name and size of the files that the patterns fit, after a look at all members."""
    for name, (kind, _, target) in archive.entries.items():
        places = [name] if kind != "link" else [name, str(PurePosixPath(name).parent / target)]
        for place in places:
            if _leaves(place) or (kind == "link" and PurePosixPath(target).is_absolute()):
                raise DataError(
                    f"The member '{name}' of {path} would be written outside its folder; the "
                    "archive is not to be trusted, nothing was unpacked."
                )
    files = {name: size for name, (kind, size, _) in archive.entries.items() if kind == "file"}
    chosen: dict[str, int] = {}
    for pattern in members or ["*"]:
        fitting = {n: s for n, s in files.items() if fnmatch.fnmatchcase(n, pattern)}
        if not fitting:
            raise DataError(
                f"{path} has no file '{pattern}'{nearest(pattern, sorted(files)[:50])}."
            )
        chosen |= fitting
    return sorted(chosen.items())


def _leaves(name: str) -> bool:
    """Tell whether a name in an archive leads out of the folder that it is unpacked to."""
    plain = name.replace("\\", "/")
    if plain.startswith("/") or (len(plain) > 1 and plain[1] == ":"):
        return True
    return os.path.normpath(plain).split("/")[0] == ".."


def _extract(archive: _Archive, name: str, size: int, folder: Path) -> Path:
    target = folder / name
    if target.is_file() and target.stat().st_size == size:
        return target
    with atomic_path(target) as temporary, archive.open(name) as source:
        with open(temporary, "wb") as stream:
            shutil.copyfileobj(source, stream, _BLOCK)
        if temporary.stat().st_size != size:
            raise DataError(
                f"The member '{name}' is shorter than the archive says; fetch it again."
            )
    return target
