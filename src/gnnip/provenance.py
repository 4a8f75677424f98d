"""Where a result comes from: hashes of the code behind it, and the machine that made it."""

from __future__ import annotations

import ast
import csv
import functools
import hashlib
import json
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from gnnip.errors import ConfigError
from gnnip.files import atomic_path, sha256

_PACKAGE = "gnnip"
_SOURCE = Path(__file__).parent
#: neither can change a number, and nearly everything imports them
_IGNORED = (_PACKAGE, f"{_PACKAGE}.errors")
_LARGEST_RECORDED = 5_000_000  #: bytes
#: packages whose versions are recorded
_RECORDED = (
    "numpy",
    "scipy",
    "numba",
    "torch",
    "torch-geometric",
    "e3nn",
    "vesin",
    "ase",
    "h5py",
    "pandas",
    "matplotlib",
    "pydantic",
    "snakemake",
    "tblite",
    "pyscf",
)


def code_hash(modules: Iterable[str]) -> str:
    """Return a hash of the library modules named and of all that they import from the library.

    The imports are read from the source, nothing is executed. Comments and docstrings do not count,
    so that wording never costs a training. In a package's `__init__` only imports at module level
    are followed: those inside functions are lazy, and following them would tie every model to every
    other. ConfigError for a module that does not exist.

    Args:
        modules: full names, e.g. `gnnip.training`; a package stands for its `__init__`.

    Returns:
        16 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for name in code_closure(modules):
        path = _file(name)
        assert path is not None
        digest.update(f"{name}\0{_normalised(path)}\0".encode())
    return digest.hexdigest()[:16]


def code_closure(modules: Iterable[str]) -> list[str]:
    """Return the sorted names of the modules that :func:`code_hash` covers."""
    pending, seen = list(modules), set()
    for name in pending:
        if _file(name) is None:
            raise ConfigError(f"There is no library module '{name}'.")
    while pending:
        name = pending.pop()
        path = _file(name)
        if name in seen or name in _IGNORED or path is None:
            continue
        seen.add(name)
        pending += [parent for parent in [name.rpartition(".")[0]] if parent]
        pending += _imports(path, name)
    return sorted(seen)


@functools.cache
def _file(module: str) -> Path | None:
    """Return the source file of a library module, None when it is not one."""
    head, *rest = module.split(".")
    if head != _PACKAGE:
        return None
    base = _SOURCE.joinpath(*rest)
    for path in (
        (base.with_suffix(".py"), base / "__init__.py") if rest else (base / "__init__.py",)
    ):
        if path.exists():
            return path
    return None


@functools.cache
def _normalised(path: Path) -> str:
    """Return the source without comments and docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [item for item in node.body if not _is_text(item)] or [ast.Pass()]
    return ast.unparse(tree)


def _is_text(node: ast.stmt) -> bool:
    """Tell a docstring (or any other string standing alone)."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


@functools.cache
def _imports(path: Path, module: str) -> tuple[str, ...]:
    """Return the library modules that `module`, whose source is `path`, imports."""
    is_package = path.name == "__init__.py"
    package = module if is_package else module.rpartition(".")[0]
    found: list[str] = []
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in _import_nodes(tree.body, inside_functions=not is_package):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if _file(alias.name)]
            continue
        base = node.module or ""
        if node.level:
            anchor = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*anchor, base] if base else anchor)
        if _file(base) is not None:
            names = [f"{base}.{alias.name}" for alias in node.names]
            found += [base, *(name for name in names if _file(name))]
    return tuple(found)


def _import_nodes(
    body: Iterable[ast.AST], inside_functions: bool
) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield the import statements of a list of statements and of the blocks inside them."""
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif not _is_skipped(node, inside_functions):
            for block in ("body", "orelse", "handlers", "finalbody"):
                inner = getattr(node, block, None)
                if isinstance(inner, list):
                    yield from _import_nodes(inner, inside_functions)


def _is_skipped(node: ast.AST, inside_functions: bool) -> bool:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return not inside_functions
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def gpu_names() -> list[str]:
    """Return the names of the NVIDIA GPUs and their driver, without importing torch."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    query = [tool, "--query-gpu=name,driver_version", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True, check=False)
    return [line.strip() for line in answer.stdout.splitlines() if line.strip()]


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    if shutil.which("git") is None:
        return None
    answer = subprocess.run(
        ["git", "-C", str(_SOURCE), *arguments], capture_output=True, text=True, check=False
    )
    return answer.stdout.strip() if answer.returncode == 0 else None


def environment() -> dict[str, Any]:
    """Return the commit, the package versions and the hardware of this machine."""
    changed = _git("status", "--porcelain", "--untracked-files=no")
    return {
        "git_commit": _git("rev-parse", "HEAD"),
        "git_changed_files": None if changed is None else len(changed.splitlines()),
        "python": platform.python_version(),
        "packages": {name: version for name in _RECORDED if (version := _version(name))},
        "platform": platform.platform(),
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "gpus": gpu_names(),
    }


def read_benchmarks(folders: Iterable[str | Path]) -> dict[str, dict[str, float]]:
    """Sum the benchmark files under `folders`, by rule: jobs, wall_s, peak_memory_mb (resident)."""
    rules: dict[str, dict[str, float]] = {}
    for folder in map(Path, folders):
        for path in sorted(folder.glob("**/*.tsv")):
            rule = path.relative_to(folder).parts[0].removesuffix(".tsv")
            entry = rules.setdefault(rule, {"jobs": 0, "wall_s": 0.0, "peak_memory_mb": 0.0})
            with open(path, newline="", encoding="utf-8") as stream:
                for row in csv.DictReader(stream, delimiter="\t"):
                    entry["jobs"] += 1
                    entry["wall_s"] += _number(row.get("s"))
                    peak = max(entry["peak_memory_mb"], _number(row.get("max_rss")))
                    entry["peak_memory_mb"] = peak
    return {
        rule: {key: round(value, 2) for key, value in entry.items()}
        for rule, entry in rules.items()
    }


def _number(text: str | None) -> float:
    try:
        return float(text or 0.0)
    except ValueError:  # snakemake writes NA for jobs too short to be sampled
        return 0.0


def summarise_trainings(summaries: Iterable[str | Path]) -> dict[str, Any]:
    """Sum the summary.json files of trainings: count, devices, wall_s, peak_memory_mb, resumed."""
    wall, peak, resumed, count = 0.0, 0.0, 0, 0
    devices: set[str] = set()
    for path in summaries:
        summary = json.loads(Path(path).read_text(encoding="utf-8"))
        count += 1
        wall += float(summary.get("wall_s") or 0.0)
        peak = max(peak, float(summary.get("peak_memory_mb") or 0.0))
        resumed += int(summary.get("resumed") or 0)
        devices.add(str(summary.get("device_name") or summary.get("device")))
    return {
        "count": count,
        "devices": sorted(devices),
        "wall_s": round(wall, 2),
        "peak_memory_mb": round(peak, 1),
        "resumed": resumed,
    }


def describe_run(
    card: dict[str, Any],
    config: dict[str, Any],
    benchmarks: Iterable[str | Path],
    summaries: Iterable[str | Path],
) -> dict[str, Any]:
    """Return the provenance of one card's run, ready for provenance.json.

    Args:
        card: the card as resolved for the tier.
        config: the user's choices.
        benchmarks: folders of the run's benchmark files.
        summaries: summary.json of every training.

    Returns:
        Commit, versions, hardware, card, config, seeds, wall time (sum over jobs, s) and peak
        memory (largest job, MB).
    """
    rules = read_benchmarks(benchmarks)
    trainings = summarise_trainings(summaries)
    return {
        **environment(),
        "card": card,
        "config": config,
        "seeds": {name: group["seeds"] for name, group in card.get("trainings", {}).items()},
        "recorded_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "rules": rules,
        "trainings": trainings,
        "wall_s": round(sum(rule["wall_s"] for rule in rules.values()), 2),
        "peak_memory_mb": max(
            [trainings["peak_memory_mb"], *(rule["peak_memory_mb"] for rule in rules.values())]
        ),
    }


def record_files(
    files: Iterable[Path], folder: str | Path, keep_others: bool = False
) -> dict[str, Any]:
    """Copy a run's small files into `folder` and return their names, sizes and SHA-256.

    Figures and tables that an earlier run left there and this one does not have are removed, so
    that a folder never mixes two runs, unless `keep_others`. ConfigError for a file above 5 MB,
    which is no small file.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    manifest: dict[str, Any] = {}
    for source in files:
        size = source.stat().st_size
        if size > _LARGEST_RECORDED:
            raise ConfigError(f"{source} has {size} bytes; only files up to 5 MB are recorded.")
        with atomic_path(target / source.name) as temporary:
            shutil.copyfile(source, temporary)
        manifest[source.name] = {"bytes": size, "sha256": sha256(source)}
    for old in [] if keep_others else list(target.iterdir()):
        if old.name not in manifest and old.suffix in (".csv", ".png", ".svg", ".json"):
            old.unlink()
    return manifest
