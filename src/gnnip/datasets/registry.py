"""The registry of shipped archives, data/registry.yaml: what each is, how it was made, its
checksum."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from gnnip.datasets.store import read_frames
from gnnip.errors import DataError, nearest
from gnnip.files import check_kind, parse_json, read_text, read_yaml, sha256, write_text

if TYPE_CHECKING:
    import pandas as pd

#: attributes of an archive that its entry repeats
RECORDED = (
    "gnnip",
    "python",
    "numpy",
    "scipy",
    "numba",
    "h5py",
    "ase",
    "engine",
    "engine_version",
    "seed",
    "label_accuracy_hartree",
    "label_accuracy_ev",
    "sampling_seconds",
    "labelling_seconds",
    "labelling_seconds_a_frame",
    "electron_solves",
    "trajectories",
    "torch",
    "potential",
    "motion",
)
#: what an entry must say
REQUIRED: dict[str, type] = {
    "file": str,
    "sha256": str,
    "bytes": int,
    "n_frames": int,
    "reference": str,
    "licence": str,
    "made": dict,
}
#: what a data set may be called: a file, a wildcard and a key of YAML are named by it
NAME = r"[a-z][a-z0-9_]*"
#: what an archive may hold, in words; frames where an entry says nothing
KINDS = {"frames": "a set of labelled frames", "trajectory": "a trajectory"}


def registry_path() -> Path:
    """Return data/registry.yaml of the current folder or one above it, else that beside the
    package.

    Raises DataError when there is none.
    """
    for folder in (Path.cwd(), *Path.cwd().parents, *Path(__file__).resolve().parents):
        candidate = folder / "data" / "registry.yaml"
        if candidate.is_file():
            return candidate
    raise DataError("data/registry.yaml was not found; run inside a checkout of the project.")


def load_registry(path: str | os.PathLike[str] | None = None) -> dict[str, dict[str, Any]]:
    """Return the registry {name: entry}.

    Raises DataError for invalid YAML, and for an entry without one of `REQUIRED` or with another
    kind of value there.
    """
    path = registry_path() if path is None else Path(path)
    entries = read_yaml(path)
    for name, entry in entries.items():
        where = f"{path}: the data set '{name}'"
        missing = [key for key in REQUIRED if key not in check_kind(entry or {}, dict, where)]
        if missing:
            raise DataError(f"{where} lacks {', '.join(missing)}; add it.")
        for key, wanted in REQUIRED.items():
            if not isinstance(entry[key], wanted) or isinstance(entry[key], bool):
                raise DataError(
                    f"{where}: {key} is {entry[key]!r}, and a value of type {wanted.__name__} is "
                    "expected; mend it or restore the file from git."
                )
        if Path(entry["file"]).name != entry["file"]:
            raise DataError(f"{where}: file is '{entry['file']}', and only a name may stand there.")
        kind = kind_of(entry)
        if kind not in KINDS:
            raise DataError(f"{path}: '{name}' is of the kind '{kind}'{nearest(kind, KINDS)}")
    return entries


def find_entry(name: str, path: str | os.PathLike[str] | None = None) -> dict[str, Any]:
    """Return the registry entry of a data set; DataError for an unknown name."""
    entries = load_registry(path)
    if name not in entries:
        raise DataError(f"Data set '{name}' is not in the registry{nearest(name, entries)}.")
    return entries[name]


def archive_path(name: str, path: str | os.PathLike[str] | None = None) -> Path:
    """Return the file of a data set, which may be missing; DataError for an unknown name."""
    registry = registry_path() if path is None else Path(path)
    return registry.parent / find_entry(name, registry)["file"]


def kind_of(entry: Mapping[str, Any]) -> str:
    """Return which of KINDS an entry is."""
    return str(entry.get("kind", "frames"))


def check_archive(
    name: str, path: str | os.PathLike[str] | None = None, kind: str = "frames"
) -> Path:
    """Return the path of a registered archive of one of KINDS after checking its size and SHA-256.

    Raises DataError, with the cure, for an archive that is unknown, missing, truncated or changed,
    or of another kind.
    """
    registry = registry_path() if path is None else Path(path)
    entry = find_entry(name, registry)
    found = kind_of(entry)
    if found != kind:
        advice = (
            "name it as reference_archive of a step, or read its file with gnnip.md.read_trajectory"
            if found == "trajectory"
            else "read it with gnnip.datasets.load"
        )
        raise DataError(f"'{name}' is {KINDS[found]}, not {KINDS[kind]}; {advice}.")
    archive = archive_path(name, registry)
    if not archive.is_file():
        raise DataError(
            f"The archive {archive} is missing; restore it with 'git checkout -- data', or make "
            "it with source: generate."
        )
    size = archive.stat().st_size
    if size != entry["bytes"]:
        what = "truncated" if size < entry["bytes"] else "too long"
        raise DataError(
            f"The archive {archive} is {what}, {size} bytes where the registry says "
            f"{entry['bytes']}; restore it with 'git checkout -- data'."
        )
    if sha256(archive) != entry["sha256"]:
        raise DataError(
            f"The archive {archive} does not have the registered checksum; restore it with "
            "'git checkout -- data'."
        )
    return archive


def register(
    name: str,
    archive: str | os.PathLike[str],
    *,
    title: str,
    reference: str,
    licence: str,
    made: Mapping[str, Any],
    path: str | os.PathLike[str] | None = None,
) -> dict[str, Any]:
    """Add or replace the entry of an archive of frames that lies beside the registry; return it.

    Size, checksum, frames and atoms are those of the file; `made` (rule, command, cost, ...) is
    joined by the seed and the versions that the file itself records. Trajectories are registered by
    `gnnip.measurements.dynamics.register_trajectory`.

    Raises DataError for a file that is not in the registry's folder or of another format.
    """
    said = {"title": title, "reference": reference, "licence": licence, "made": made}
    check_place(archive, path)
    frames = read_frames(archive)
    counts = {"n_frames": frames.n_frames, "n_atoms": int(frames.offsets[-1])}
    return add_entry(name, archive, said, counts, frames.attributes, path)


def check_name(
    name: str,
    archive: str | os.PathLike[str],
    replace: bool = False,
    path: str | os.PathLike[str] | None = None,
) -> None:
    """Raise DataError for what no data set may be called, and, unless the user says `replace`, for
    a name that is taken by anything but the same `archive`."""
    registry = registry_path() if path is None else Path(path)
    if not re.fullmatch(NAME, name):
        raise DataError(
            f"A data set cannot be called '{name}'; take lower-case letters, digits and '_', the "
            "first a letter."
        )
    there = registry.with_name(f"{name}.h5")
    same = there.is_file() and Path(archive).is_file() and sha256(there) == sha256(archive)
    taken = there.exists() or name in load_registry(registry)
    if taken and not (replace or same):
        raise DataError(f"There is a data set '{name}' already; say --replace or another name.")


def check_place(
    archive: str | os.PathLike[str], path: str | os.PathLike[str] | None = None
) -> None:
    """Raise DataError for a file that is not in the registry's folder."""
    registry = registry_path() if path is None else Path(path)
    if Path(archive).resolve().parent != registry.resolve().parent:
        raise DataError(f"{archive} must lie in {registry.parent} to be registered; move it there.")


def add_entry(
    name: str,
    archive: str | os.PathLike[str],
    said: Mapping[str, Any],
    counts: Mapping[str, Any],
    facts: Mapping[str, Any],
    path: str | os.PathLike[str] | None = None,
) -> dict[str, Any]:
    """Add or replace the entry of a file of any of KINDS, and return it.

    `said` are title, reference, licence and made; `counts` what the file holds; `facts` what it
    says of itself, of which RECORDED is kept.
    """
    registry = registry_path() if path is None else Path(path)
    archive = Path(archive)
    recorded = {key: facts[key] for key in RECORDED if key in facts}
    if "trajectories" in recorded:
        recorded["trajectories"] = parse_json(recorded["trajectories"], str(archive))
    entry = {
        "title": said["title"],
        "file": archive.name,
        "sha256": sha256(archive),
        "bytes": archive.stat().st_size,
        **counts,
        "reference": said["reference"],
        "licence": said["licence"],
        "made": {**said["made"], **recorded},
    }
    put_entry(name, entry, registry)
    return entry


def put_entry(name: str, entry: Mapping[str, Any], registry: Path) -> None:
    """Write an entry, new or in place of the one of that name, into a registry."""
    entries = {**load_registry(registry), name: dict(entry)}
    lines = read_text(registry).splitlines(keepends=True)
    comment = "".join(itertools.takewhile(lambda line: line.startswith("#"), lines))
    write_text(registry, comment + yaml.safe_dump(entries, sort_keys=False, width=100))


def engine(entry: Mapping[str, Any]) -> str:
    """Return name and version of what labelled a data set; its settings are in `made`."""
    made = entry["made"]
    for key in ("engine_version", "engine"):
        if key in made:
            return str(made[key])
    return f"gnnip {made['gnnip']}" if "gnnip" in made else ""


def describe(path: str | os.PathLike[str] | None = None) -> pd.DataFrame:
    """Return one row per registered archive: title, kind, reference, engine and version, frames,
    atoms, size, licence, file present."""
    import pandas as pd

    registry = registry_path() if path is None else Path(path)
    rows = [
        {
            "name": name,
            "title": entry.get("title", ""),
            "kind": kind_of(entry),
            "reference": entry["reference"],
            "engine": engine(entry),
            "frames": entry["n_frames"],
            "atoms": entry.get("n_atoms", 0),
            "megabytes": round(entry["bytes"] / 1e6, 1),
            "licence": entry["licence"],
            "present": (registry.parent / entry["file"]).is_file(),
        }
        for name, entry in sorted(load_registry(registry).items())
    ]
    columns = ["name", "title", "kind", "reference", "engine", "frames", "atoms", "megabytes"]
    return pd.DataFrame(rows, columns=[*columns, "licence", "present"])
