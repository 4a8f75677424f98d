"""Train many potentials on one machine: ``python -m gnnip.training.run --spec spec.json``.

The spec is JSON: ``{"trainings": [...]}``, each entry with

    folder           where the results go
    data             archive of frames (HDF5)
    model            name of the potential
    hyperparameters  its options
    term             energy term
    split            {"scheme": "random", ...options} seeded by settings.seed (or by a "seed" of its
                     own), or {"train": [...], "validation": [...], "test": [...]} frame indices
    settings         options of `gnnip.training.Settings`

Paths are relative to the spec file. Finished trainings are skipped and killed ones continue, so the
same command can be repeated until all is done. Needs torch, NumPy, SciPy and h5py only.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from gnnip.errors import ConfigError, GnnipError, nearest
from gnnip.files import read_json

KEYS = ("folder", "data", "model", "hyperparameters", "term", "split", "settings")
_CACHE: dict[str, Any] = {}


def read_spec(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Return the trainings of a spec file with absolute paths.

    Raises ConfigError for a missing or unknown key, option or model in any of them, before anything
    is trained.
    """
    from gnnip.models import build
    from gnnip.training.settings import Settings

    spec = read_json(path)
    entries = spec.get("trainings") if isinstance(spec, Mapping) else None
    if not isinstance(entries, list) or not entries:
        raise ConfigError(f"{path} lists no 'trainings'.")
    base = Path(path).resolve().parent
    trainings = []
    for number, entry in enumerate(entries):
        where = f"{path}, training {number}"
        for key in entry:
            if key not in KEYS:
                raise ConfigError(f"{where}: there is no key '{key}'{nearest(key, KEYS)}")
        for key in ("folder", "data", "model", "term", "split"):
            if key not in entry:
                raise ConfigError(f"{where}: the key '{key}' is missing.")
        try:
            build(entry["model"], **entry.get("hyperparameters", {}))
            Settings.read(entry.get("settings", {}))
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from error
        paths = {"folder": str(base / entry["folder"]), "data": str(base / entry["data"])}
        trainings.append({"hyperparameters": {}, "settings": {}} | entry | paths)
    return trainings


def run_one(training: Mapping[str, Any], label: str = "", log: bool = True) -> dict[str, Any]:
    """Run one entry of a spec; frames and graphs are kept for the next one on the same data."""
    from gnnip.datasets.arrays import load_arrays
    from gnnip.datasets.splits import make_split
    from gnnip.training.settings import Settings
    from gnnip.training.trainer import train

    data = training["data"]
    if _CACHE.get("data") != data:
        _CACHE.clear()
        _CACHE.update(data=data, arrays=load_arrays(data), stores={})
    arrays, stores = _CACHE["arrays"], _CACHE["stores"]
    settings = Settings.read(training["settings"])
    split = dict(training["split"])
    if "scheme" in split:
        seed = split.pop("seed", settings.seed)
        split = make_split(arrays, split.pop("scheme"), seed, **split)
    if len(stores) > 4:
        stores.pop(next(iter(stores)))

    def say(line: str) -> None:
        if log:
            print(f"{label}{line}", flush=True)

    return train(
        training["model"],
        training["hyperparameters"],
        arrays,
        training["term"],
        split,
        settings,
        training["folder"],
        say,
        stores=stores,
    )


def run_all(trainings: Sequence[Mapping[str, Any]], workers: int) -> list[str]:
    """Run all trainings in `workers` processes; return one line per failure."""
    failures = []
    begun = time.monotonic()
    threads = max(1, (os.cpu_count() or 1) // max(workers, 1))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _start_worker, (threads,)) as pool:
        jobs = {
            pool.submit(run_one, t, f"[{k + 1}] ", workers == 1): (k, t)
            for k, t in enumerate(trainings)
        }
        for done, job in enumerate(as_completed(jobs), start=1):
            number, training = jobs[job]
            head = (
                f"{done}/{len(jobs)} after {time.monotonic() - begun:.0f} s, {training['folder']}"
            )
            try:
                summary = job.result()
                line = (
                    f"{head}: validation {summary['validation_mae_ev']:.4g} eV, best epoch "
                    f"{summary['best_epoch']}/{summary['epochs_run']}, {summary['wall_s']:.0f} s, "
                    f"stopped by {summary['stopped']}"
                )
            except Exception as error:
                reason = str(error) if isinstance(error, GnnipError) else repr(error)
                line = f"{head}: FAILED: {reason}"
                failures.append(f"training {number}, {training['folder']}: {reason}")
            print(line, flush=True)
    return failures


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a spec; exit status 1 when a training failed, 2 when the spec is wrong."""
    parser = argparse.ArgumentParser(prog="python -m gnnip.training.run", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--spec", required=True, help="JSON file with the list of trainings")
    parser.add_argument("--workers", type=int, default=1, help="processes (default 1)")
    parser.add_argument("--dry-run", action="store_true", help="check the spec and stop")
    options = parser.parse_args(arguments)
    try:
        trainings = read_spec(options.spec)
        if options.workers < 1:
            raise ConfigError(f"--workers is {options.workers}, at least 1 is needed.")
    except GnnipError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.dry_run:
        print(json.dumps({"trainings": len(trainings)}))
        return 0
    failures = run_all(trainings, options.workers)
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    return 1 if failures else 0


def _start_worker(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


if __name__ == "__main__":
    sys.exit(main())
