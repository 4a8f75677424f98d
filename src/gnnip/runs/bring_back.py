"""What a run has made, and how it comes back: compared, copied, registered, recorded."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from gnnip.datasets import registry
from gnnip.errors import ConfigError, DataError, nearest
from gnnip.files import atomic_path, sha256, write_json
from gnnip.runs.clone import git
from gnnip.runs.entries import FILE, Run, load_runs
from gnnip.runs.project import FINISHED, Project, Status

_REGISTRY = Path("data/registry.yaml")


def now() -> str:
    """Return the time as it is written down."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def find_made(
    folder: Path, commit: str, patterns: Iterable[str]
) -> tuple[dict[str, str], list[str]]:
    """Return the files of a clone that are not as they were at the commit, by their SHA-256, and
    those that are no longer there, within the files and folders that `patterns` name.

    DataError for a pattern that nothing fits, or an archive that the clone's registry does not
    have as it is.
    """
    before = _tree(folder, commit)
    found: set[str] = set()
    removed: set[str] = set()
    for pattern in patterns:
        places = list(folder.glob(pattern))
        files = {f for p in places for f in ([p] if p.is_file() else p.rglob("*")) if f.is_file()}
        if not files:
            raise DataError(f"It was to make {pattern}, of which nothing is in {folder}.")
        found.update(str(file.relative_to(folder)) for file in files)
        removed.update(p for p in before if _within(p, pattern) and not (folder / p).exists())
    blobs = _blobs(folder, sorted(found))
    changed = {p: sha256(folder / p) for p, blob in blobs.items() if blob != before.get(p)}
    _archives(folder, changed)
    return changed, sorted(removed)


def bring_back(
    project: Project, names: Sequence[str], replace: bool, say: Callable[[str], object]
) -> None:
    """Copy what finished runs have made into the project, and mark their entries as done.

    Args:
        names: of the entries; all that have finished when empty.
        replace: also in place of files that are not as they were at the commit of the run.
        say: called with one sentence for each entry.

    Raises:
        ConfigError: an entry is unknown or has not finished.
        DataError: a file is missing in the clone or is not what the run has made, or files of the
            project would be replaced. Nothing of that entry is copied then.
    """
    runs = load_runs(project.root)
    finished = [name for name, run in runs.items() if project.state(name, run)[0] == FINISHED]
    for name in names:
        if name not in runs:
            raise ConfigError(f"{FILE} has no entry '{name}'{nearest(name, runs)}")
        if name not in finished:
            state = project.state(name, runs[name])[0]
            raise ConfigError(f"'{name}' is {state}; only a finished run can be brought back.")
    if not finished:
        say("No finished run waits to be brought back.")
    for name in names or finished:
        status = project.status(name)
        assert status is not None
        say(_bring(project, name, runs[name], status, replace))


def _bring(project: Project, name: str, run: Run, status: Status, replace: bool) -> str:
    """Bring one entry back and return a sentence about it."""
    root, clone = project.root, project.clone(name)
    for path, digest in status.files.items():
        if not (clone / path).is_file() or sha256(clone / path) != digest:
            state = "not what the run made" if (clone / path).exists() else "missing"
            raise DataError(
                f"{clone / path} is {state}; remove {project.status_file(name)} and run "
                "'make long-run', which makes it again."
            )
    archives = _archives(clone, status.files)
    there = [p for p in [*status.files, *status.removed] if (root / p).is_file()]
    before, blobs = _tree(clone, status.commit), _blobs(root, there)
    old = {p for p in there if p in status.removed or sha256(root / p) != status.files[p]}
    lost = sorted(p for p in old if blobs[p] != before.get(p))
    if lost and not replace:
        more = f" and {len(lost) - 5} more" if len(lost) > 5 else ""
        raise DataError(
            f"'{name}' would replace {', '.join(lost[:5])}{more}, which the project did not have "
            f"like that at {status.commit[:8]}; say --replace, or move it away."
        )
    for path, digest in status.files.items():
        if path in old or path not in there:
            _copy(clone / path, root / path, digest)
    for archive, entry in archives.items():
        registry.put_entry(archive, entry, root / _REGISTRY)
    for path in old.intersection(status.removed):
        (root / path).unlink()
    write_json(project.record(name), _provenance(project, name, run, status))
    new = len(status.files) - len([p for p in there if p in status.files])
    parts = [f"{new} new", f"{len(old)} replaced or removed", f"{len(archives)} registered"]
    return f"{name} is done in {project.core_hours(name):.2f} core-hours: files {', '.join(parts)}."


def _provenance(project: Project, name: str, run: Run, status: Status) -> dict[str, Any]:
    sizes = {path: (project.root / path).stat().st_size for path in status.files}
    return {
        **status.environment,
        "run": name,
        "what": run.what,
        "commit": status.commit,
        "command": status.command,
        "core_hours": round(status.core_seconds / 3600.0, 6),
        "estimate": run.estimate,
        "started_at": status.started_at,
        "finished_at": status.finished_at,
        "brought_at": now(),
        "files": {p: {"bytes": sizes[p], "sha256": status.files[p]} for p in status.files},
        "removed": status.removed,
    }


def _copy(source: Path, target: Path, digest: str) -> None:
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)
        if sha256(temporary) != digest:
            raise DataError(f"The copy of {source} is damaged; bring it back again.")


def _archives(clone: Path, files: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the registry entries of the archives among the files of a clone, checked."""
    paths = [Path(path) for path in files if PurePosixPath(path).match("data/*.h5")]
    if not paths:
        return {}
    known = registry.load_registry(clone / _REGISTRY)
    by_file = {entry["file"]: name for name, entry in known.items()}
    for path in paths:
        if path.name not in by_file:
            raise DataError(
                f"{path} is not in the registry of {clone}; let the command end with 'python -m "
                f"gnnip register {path.stem} ...'."
            )
    found = {by_file[path.name]: known[by_file[path.name]] for path in paths}
    for name, entry in found.items():
        registry.check_archive(name, clone / _REGISTRY, registry.kind_of(entry))
    return found


def _within(path: str, pattern: str) -> bool:
    """Tell whether a path, or a folder that it is in, is named by a pattern."""
    parts = PurePosixPath(path).parts[: len(PurePosixPath(pattern).parts)]
    return PurePosixPath(*parts).match(pattern)


def _tree(folder: Path, commit: str) -> dict[str, str]:
    """Return git's hash of every file of a commit, by path."""
    lines = git(folder, "ls-tree", "-r", "-z", commit).split("\0")
    return {
        path: about.split()[2] for about, _, path in (one.partition("\t") for one in lines[:-1])
    }


def _blobs(folder: Path, paths: Sequence[str]) -> dict[str, str]:
    """Return git's hash of files as they lie in a folder, by path."""
    answer = git(folder, "hash-object", "--no-filters", "--stdin-paths", text="\n".join(paths))
    return dict(zip(paths, answer.split(), strict=True))
