"""Where a result comes from: commit, packages, machine and cost; and its small files, recorded."""

from __future__ import annotations

import csv
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from gnnip.errors import ConfigError
from gnnip.files import atomic_path, make_folder, read_json, sha256, write_json
from gnnip.machine import cpu_model

#: the name of a provenance, or its end, and its list of the files of a record
PROVENANCE, FILES = "provenance.json", "files"
_LARGEST_RECORDED = 5_000_000  #: bytes
#: of the jobs of a rule: sums, and the largest
_COSTS = ("wall_s", "cpu_s", "longest_s", "peak_memory_mb")
#: packages whose versions are recorded
_RECORDED = (
    *("numpy", "scipy", "numba", "torch", "torch-geometric", "e3nn", "vesin", "ase", "h5py"),
    *("pandas", "matplotlib", "pydantic", "snakemake", "tblite", "pyscf"),
)


def answer_of(*command: str) -> str | None:
    """Return what a program prints; None where it is not installed or fails."""
    if shutil.which(command[0]) is None:
        return None
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.stdout.strip() if answer.returncode == 0 else None


def gpu_names() -> list[str]:
    """Return the names of the NVIDIA GPUs and their driver, without importing torch."""
    query = ("--query-gpu=name,driver_version", "--format=csv,noheader")
    return (answer_of("nvidia-smi", *query) or "").splitlines()


def package_version(package: str) -> str | None:
    """Return the version of an installed package; None without it."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def environment() -> dict[str, Any]:
    """Return the commit, the package versions and the hardware of this machine."""
    git = ("git", "-C", str(Path(__file__).parent))
    changed = answer_of(*git, "status", "--porcelain", "--untracked-files=no")
    return {
        "git_commit": answer_of(*git, "rev-parse", "HEAD"),
        "git_changed_files": None if changed is None else len(changed.splitlines()),
        "python": platform.python_version(),
        "packages": {name: version for name in _RECORDED if (version := package_version(name))},
        "platform": platform.platform(),
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "gpus": gpu_names(),
    }


def read_benchmarks(folders: Iterable[str | Path]) -> dict[str, dict[str, float]]:
    """Sum the benchmark files under `folders`, by rule: jobs, wall_s and cpu_s, and of the
    largest job longest_s and peak_memory_mb (resident)."""
    rules: dict[str, dict[str, float]] = {}
    for folder in map(Path, folders):
        for path in sorted(folder.glob("**/*.tsv")):
            rule = path.relative_to(folder).parts[0].removesuffix(".tsv")
            entry = rules.setdefault(rule, {"jobs": 0, **dict.fromkeys(_COSTS, 0.0)})
            with open(path, newline="", encoding="utf-8") as stream:
                for row in csv.DictReader(stream, delimiter="\t"):
                    entry["jobs"] += 1
                    seconds = _number(row.get("s"))
                    entry["wall_s"] += seconds
                    entry["cpu_s"] += _number(row.get("cpu_time"))
                    entry["longest_s"] = max(entry["longest_s"], seconds)
                    peak = max(entry["peak_memory_mb"], _number(row.get("max_rss")))
                    entry["peak_memory_mb"] = peak
    return {
        rule: {key: round(value, 2) for key, value in entry.items()}
        for rule, entry in rules.items()
    }


def cost_rows(rules: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
    """Return what the jobs of each rule took, the longest first, and of all together.

    Args:
        rules: what `read_benchmarks` returns, or the rules of a provenance.

    Returns:
        rule, jobs, hours (sum of wall times), core_hours (computed by their processes), longest_s
        and peak_memory_mb (of the largest job); None where an older record does not tell.
    """
    rows: list[dict[str, Any]] = [
        {
            "rule": rule,
            "jobs": int(entry["jobs"]),
            "hours": entry["wall_s"] / 3600.0,
            "core_hours": entry["cpu_s"] / 3600.0 if "cpu_s" in entry else None,
            "longest_s": entry.get("longest_s"),
            "peak_memory_mb": entry["peak_memory_mb"],
        }
        for rule, entry in rules.items()
    ]
    rows.sort(key=lambda row: -row["hours"])
    total: dict[str, Any] = {"rule": "all"}
    for key in ("jobs", "hours", "core_hours", "longest_s", "peak_memory_mb"):
        values = [row[key] for row in rows]
        join = max if key in ("longest_s", "peak_memory_mb") else sum
        total[key] = join(values) if values and None not in values else None
    return [*rows, total] if rows else []


def _number(text: str | None) -> float:
    try:
        return float(text or 0.0)
    except ValueError:  # snakemake writes NA for jobs too short to be sampled
        return 0.0


def summarise_trainings(summaries: Iterable[str | Path]) -> dict[str, Any]:
    """Sum the summary.json files of trainings: count, devices, wall_s, peak_memory_mb, resumed."""
    found = [read_json(path, dict) for path in summaries]

    def numbers(key: str) -> list[float]:
        return [summary.get(key) or 0 for summary in found]

    return {
        "count": len(found),
        "devices": sorted({str(one.get("device_name") or one.get("device")) for one in found}),
        "wall_s": round(float(sum(numbers("wall_s"))), 2),
        "peak_memory_mb": round(float(max(numbers("peak_memory_mb"), default=0)), 1),
        "resumed": sum(numbers("resumed")),
    }


def first_losses(summaries: Iterable[str | Path]) -> dict[str, list[float]]:
    """Return the losses of the first steps of trainings by group/cell/seed-n, from files called
    .../{group}/{cell}/seed-{seed}/summary.json."""
    return {
        "/".join(Path(path).parts[-4:-1]): [float(f"{loss:.9g}") for loss in losses]
        for path in summaries
        if (losses := read_json(path, dict).get("first_losses"))
    }


def describe_run(
    card: dict[str, Any],
    config: dict[str, Any],
    benchmarks: Iterable[str | Path],
    summaries: Sequence[str | Path],
    data: Mapping[str, str | Path],
    code: Mapping[str, Mapping[str, str]],
) -> dict[str, Any]:
    """Return the provenance of one card's run, ready for provenance.json.

    Args:
        card: the card as resolved for the tier.
        config: the user's choices.
        benchmarks: folders of the run's benchmark files.
        summaries: summary.json of every training.
        data: the files of the data sets, by name.
        code: hashes of the code behind the results, as `Pipeline.codes` returns them.

    Returns:
        Commit, versions, hardware, card, config, seeds, checksums of the data sets, hashes of the
        code, first losses of the trainings, wall time (sum over jobs, s) and peak memory (largest
        job, MB).
    """
    rules = read_benchmarks(benchmarks)
    trainings = summarise_trainings(summaries)
    return {
        **environment(),
        "card": card,
        "config": config,
        "seeds": {name: group["seeds"] for name, group in card.get("trainings", {}).items()},
        "data": {name: sha256(path) for name, path in data.items()},
        "code": code,
        "first_losses": first_losses(summaries),
        "recorded_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "rules": rules,
        "trainings": trainings,
        "wall_s": round(sum(rule["wall_s"] for rule in rules.values()), 2),
        "peak_memory_mb": max(
            [trainings["peak_memory_mb"], *(rule["peak_memory_mb"] for rule in rules.values())]
        ),
    }


def fingerprint(path: Path) -> dict[str, Any]:
    """Return the size of a file in bytes and its SHA-256."""
    return {"bytes": path.stat().st_size, "sha256": sha256(path)}


def record_files(
    files: Iterable[Path], folder: str | Path, keep_others: bool = False
) -> dict[str, Any]:
    """Copy a run's small files into `folder` and return their names, sizes and SHA-256.

    Figures and tables that an earlier run left there and this one does not have are removed, so
    that a folder never mixes two runs, unless `keep_others`. ConfigError for a file above 5 MB,
    which is no small file.
    """
    target = make_folder(folder)
    manifest: dict[str, Any] = {}
    for source in files:
        size = source.stat().st_size
        if size > _LARGEST_RECORDED:
            raise ConfigError(f"{source} has {size} bytes; only files up to 5 MB are recorded.")
        with atomic_path(target / source.name) as temporary:
            shutil.copyfile(source, temporary)
        manifest[source.name] = fingerprint(source)
    for old in [] if keep_others else list(target.iterdir()):
        if old.name not in manifest and old.suffix in (".csv", ".png", ".svg", ".json"):
            old.unlink()
    return manifest


def note_files(folder: Path, names: Iterable[str], owner: str | None = None) -> None:
    """Write bytes and SHA-256 of files of a record into the provenance that each belongs to.

    Without `owner` that is the one that lists them already; with it, they are listed by the
    provenance of that name and no other.
    """
    noted = {name: fingerprint(folder / name) for name in names if (folder / name).is_file()}
    for path in sorted(folder.glob(f"*{PROVENANCE}")):
        run = read_json(path, dict)
        known = run.get(FILES, {})
        if owner is None:
            files = {name: noted.get(name, entry) for name, entry in known.items()}
        elif path.name == owner:
            files = known | noted
        else:
            files = {name: entry for name, entry in known.items() if name not in noted}
        if files != known:
            write_json(path, run | {FILES: files})


def find_provenance(folder: Path, artefact: str) -> Path | None:
    """Return the provenance that an artefact of a record or a run belongs to; None without one.

    That is the one that lists its table, else one of some artefacts that has it in its name, else
    that of the whole run.
    """
    parts = [*sorted(folder.glob(f"*.{PROVENANCE}")), *folder.glob(PROVENANCE)]
    listed = [p for p in parts if f"{artefact}.csv" in read_json(p, dict).get(FILES, {})]
    named = [p for p in parts if artefact in p.name.removesuffix(f".{PROVENANCE}").split("+")]
    whole = [path for path in parts if path.name == PROVENANCE]
    return next(iter([*listed, *named, *whole]), None)
