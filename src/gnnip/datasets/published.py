"""Data sets that others published, data/published.yaml: where they are and what their files mean.

They are fetched on demand and never shipped with the repository.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, field_validator

from gnnip.datasets import download
from gnnip.datasets.imports.importer import ImportReport, import_files
from gnnip.datasets.imports.settings import ImportSettings
from gnnip.datasets.registry import registry_path
from gnnip.errors import DataError, nearest
from gnnip.files import read_yaml
from gnnip.strict import Strict, validate

if TYPE_CHECKING:
    import pandas as pd

FILE = "published.yaml"


class PublishedFile(Strict):
    """One file of a published set."""

    name: str
    """Name in the folder of downloads and in a mirror; may begin with a folder."""
    url: str | None = None
    """Address; `doi:<doi>` asks the repository behind it; null: a person has to fetch it."""
    checksum: str
    """sha256:..., md5:..., git:... (the blob that the repository lists), or unknown: then the user
    confirms what was downloaded."""
    bytes: int | None = Field(default=None, ge=1)
    """Size, null when not known."""
    members: list[str] = Field(default_factory=list)
    """Which files of an archive are read, as patterns."""

    @field_validator("checksum")
    @classmethod
    def _form(cls, value: str) -> str:
        try:
            download.check_form(value)
        except DataError as error:
            raise ValueError(str(error)) from None
        return value


class PublishedSet(Strict):
    """A published data set: what it is, where it is, how its files are read."""

    title: str
    """What it is, in one line."""
    doi: str | None
    """Of the deposit, or of the paper where there is none; null where neither is known."""
    record: str
    """The page about the files."""
    licence: str
    """As the record states it."""
    level: str
    """Level of theory: program, functional, basis, as far as it is stated."""
    files: list[PublishedFile] = Field(min_length=1)
    """Its files."""
    frames: ImportSettings
    """How they are read."""
    n_frames: int | None = Field(default=None, ge=1)
    """Frames in the files, null when not known; another number stops the import."""
    seen: bool = True
    """False when the entry was written without a look at the file: its format is that which public
    programs read it in."""
    note: str = ""
    """What to bear in mind."""


def load_published(path: str | os.PathLike[str] | None = None) -> dict[str, PublishedSet]:
    """Return the published sets by name.

    Raises ConfigError for an entry that is not as `PublishedSet` wants it, DataError for a file
    that is missing or no YAML.
    """
    path = registry_path().with_name(FILE) if path is None else Path(path)
    entries = read_yaml(path)
    return {name: validate(PublishedSet, e, f"{path}: {name}") for name, e in entries.items()}


def find_published(name: str, path: str | os.PathLike[str] | None = None) -> PublishedSet:
    """Return the published set of that name; DataError for an unknown one."""
    sets = load_published(path)
    if name not in sets:
        raise DataError(f"No published data set is called '{name}'{nearest(name, sets)}.")
    return sets[name]


def fetch_published(
    entry: PublishedSet,
    folder: str | os.PathLike[str] | None = None,
    *,
    confirm: str | None = None,
    progress: Callable[[str], object] = print,
) -> list[Path]:
    """Return the files of a published set, downloaded and unpacked as far as they were not yet.

    `folder` is that of all downloads. Raises DataError as :func:`gnnip.datasets.download.fetch`.
    """
    folder = download.downloads_folder(registry_path().parent.parent) if folder is None else folder
    found: list[Path] = []
    for file in entry.files:
        remote = download.RemoteFile(file.name, file.url, file.checksum, entry.record, file.bytes)
        path = download.fetch(remote, folder, confirm=confirm, progress=progress)
        if file.members:
            found += download.unpack(path, file.members)
        else:
            found.append(path)
    return found


def import_published(
    name: str,
    out: str | os.PathLike[str],
    *,
    files: list[Path] | None = None,
    path: str | os.PathLike[str] | None = None,
    progress: Callable[[str], object] = print,
) -> ImportReport:
    """Write the archive `out` of a published set; `files` are fetched when they are not given.

    Raises DataError for files that cannot be fetched or read, or hold another number of frames
    than the registry says.
    """
    entry = find_published(name, path)
    found = fetch_published(entry, progress=progress) if files is None else files
    facts: dict[str, str | int | float] = {
        "title": entry.title,
        "reference": "published",
        "published": name,
        "doi": entry.doi or "",
        "licence": entry.licence,
        "level_of_theory": entry.level,
    }
    return import_files(
        found, entry.frames, out, attributes=facts, expected=entry.n_frames, progress=progress
    )


def describe_published(path: str | os.PathLike[str] | None = None) -> pd.DataFrame:
    """Return one row per published set: doi, level of theory, frames, size, licence, whether the
    checksums are known and the files here."""
    import pandas as pd

    folder = download.downloads_folder(registry_path().parent.parent)
    rows = []
    for name, entry in sorted(load_published(path).items()):
        sizes = [file.bytes for file in entry.files]
        known = [s for s in sizes if s is not None]
        rows.append(
            {
                "name": name,
                "title": entry.title,
                "doi": entry.doi or "",
                "level": entry.level,
                "frames": entry.n_frames or "?",
                "megabytes": round(sum(known) / 1e6, 1) if len(known) == len(sizes) else "?",
                "licence": entry.licence,
                "checksum": (
                    "to confirm"
                    if any(f.checksum == download.UNKNOWN for f in entry.files)
                    else "known"
                ),
                "here": all((folder / file.name).is_file() for file in entry.files),
            }
        )
    return pd.DataFrame(rows)
