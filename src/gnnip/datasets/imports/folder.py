"""The user's own frames: a folder of files as a data set."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable
from pathlib import Path

from gnnip.datasets.imports.importer import ImportReport, import_files
from gnnip.datasets.imports.settings import FolderSource
from gnnip.errors import DataError


def folder_files(source: FolderSource) -> list[Path]:
    """Return the files of a folder, or those that a path with * or ? stands for, in the order of
    their names; hidden ones are left out.

    Raises DataError for a folder that does not exist, or has no file that the pattern fits.
    """
    path = Path(source.path)
    if path.is_file():
        return [path]
    if glob.has_magic(source.path):
        found = [Path(name) for name in sorted(glob.glob(source.path, recursive=True))]
        found = [path for path in found if path.is_file()]
        if not found:
            raise DataError(f"No file fits {source.path}; correct path.")
        return found
    if not path.is_dir():
        raise DataError(f"{path} is neither a folder nor a file; correct path.")
    try:
        matching = sorted(path.glob(source.pattern))
    # NotImplementedError: a pattern that is not relative
    except (ValueError, NotImplementedError) as error:
        raise DataError(
            f"'{source.pattern}' is no pattern of file names ({error}); write e.g. *.xyz or "
            "**/OUTCAR."
        ) from None
    found = [
        p
        for p in matching
        if p.is_file() and not any(part.startswith(".") for part in p.relative_to(path).parts)
    ]
    if not found:
        there = ", ".join(sorted(p.name for p in path.iterdir())[:8]) or "nothing"
        raise DataError(f"{path} has no file '{source.pattern}'; it holds {there}.")
    return found


def import_folder(
    source: FolderSource, out: str | os.PathLike[str], *, progress: Callable[[str], object] = print
) -> ImportReport:
    """Write the archive `out` of the frames in a folder.

    Raises DataError as :func:`folder_files` and
    :func:`gnnip.datasets.imports.importer.import_files` do.
    """
    path = Path(source.path)
    facts: dict[str, str | int | float] = {
        "title": f"Frames of {path.name}",
        "reference": source.reference,
        "level_of_theory": source.level,
        "licence": source.licence,
    }
    files = folder_files(source)
    # files that a pattern stands for are told apart from where their paths part
    root = path if path.is_dir() else None if len(files) > 1 else files[0].parent
    return import_files(files, source, out, root=root, attributes=facts, progress=progress)
