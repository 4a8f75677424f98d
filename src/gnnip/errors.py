"""Errors that a user can cause: one sentence that names the culprit and the cure."""

from __future__ import annotations

import difflib
import errno
import os
from collections.abc import Iterable

_ROOM = "free disk space, or choose another folder,"
#: what helps where the disk, or a limit, refuses to write
CURES = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: "raise the limit of file sizes (ulimit -f)",
}
#: what helps where the place is the reason
_PLACES = {
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EROFS: "mount the file system for writing, or choose another folder",
}


class GnnipError(ValueError):
    """Base of every error with a message written for the user."""

    def __init__(self, sentence: str = "") -> None:
        """Take a sentence; where it ends with a question, it has no full stop."""
        super().__init__(sentence[:-1] if sentence.endswith("?.") else sentence)


class ConfigError(GnnipError):
    """A config file or a card says something that cannot be honoured."""


class DataError(GnnipError):
    """A data file or a structure is missing, damaged or not what it claims to be."""


class StructureError(DataError):
    """Atoms that the method cannot treat: wrong order, coinciding, empty, not finite."""


class ConvergenceError(GnnipError):
    """A numerical result that did not reach the accuracy asked for."""


class CheckpointError(DataError):
    """A model or checkpoint file that is damaged, of another kind or of a newer format."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return ", did you mean 'x'?" for the valid name closest to `name`, else all names."""
    names = [str(v) for v in valid]
    match = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    if match:
        return f", did you mean '{match[0]}'?"
    return f"; known names are {', '.join(names)}"


def unwritten(target: str | os.PathLike[str], error: OSError) -> str:
    """Return the sentence about a file that could not be written."""
    number = error.errno or 0
    said = os.strerror(number) if number else str(error).splitlines()[0]
    if number in CURES:
        cure = f"{CURES[number]} and run the same command again"
    else:
        cure = _PLACES.get(number, "choose a place that you may write to")
    return f"Could not write {os.fspath(target)}: {said}; {cure} (nothing that was there is lost)."
