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

A term of a sum may start from the folder of another training (`initial`), which is then run first.
Paths are relative to the spec file. Finished trainings are skipped and killed ones continue, so the
same command can be repeated until all is done. Needs torch, NumPy, SciPy and h5py only.
"""

from __future__ import annotations

import argparse
import copy
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gnnip.errors import ConfigError, GnnipError, nearest
from gnnip.files import check_kind, read_json
from gnnip.locks import end_with
from gnnip.terminal import answer, check_cores

if TYPE_CHECKING:
    from gnnip.datasets.arrays import FrameArrays
    from gnnip.training.problem import Stores
    from gnnip.training.settings import Settings

KEYS = {
    **dict.fromkeys(("folder", "data", "model", "term"), str),
    **dict.fromkeys(("hyperparameters", "split", "settings"), dict),
}
_CACHE: dict[str, Any] = {}


def read_spec(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Return the trainings of a spec file with absolute paths.

    Raises ConfigError for a missing or unknown key, option or model in any of them, before anything
    is trained.
    """
    from gnnip.datasets.splits import check_split
    from gnnip.models import build
    from gnnip.training.settings import Settings

    entries = read_json(path, dict).get("trainings")
    if not isinstance(entries, list) or not entries:
        raise ConfigError(f"{path} lists no 'trainings'.")
    base = Path(path).resolve().parent
    trainings: list[dict[str, Any]] = []
    earlier: dict[str, dict[str, Any]] = {}
    for number, entry in enumerate(entries):
        where = f"{path}, training {number}"
        for key in check_kind(entry, dict, where):
            if key not in KEYS:
                raise ConfigError(f"{where}: there is no key '{key}'{nearest(key, KEYS)}")
        for key, kind in KEYS.items():
            if key in entry:
                check_kind(entry[key], kind, f"{where}: {key}")
            elif key not in ("hyperparameters", "settings"):
                raise ConfigError(f"{where}: the key '{key}' is missing.")
        hyperparameters = copy.deepcopy(entry.get("hyperparameters", {}))
        for term in _terms_with_initial(hyperparameters):
            term["initial"] = os.path.normpath(base / term["initial"])
        try:
            build(entry["model"], **_with_models(hyperparameters, earlier))
            Settings.read(entry.get("settings", {}))
            check_split(entry["split"])
        except GnnipError as error:
            raise ConfigError(f"{where}: {error}") from error
        found = {
            "folder": os.path.normpath(base / entry["folder"]),
            "data": os.path.normpath(base / entry["data"]),
            "hyperparameters": hyperparameters,
        }
        if found["folder"] in earlier:
            first = [training["folder"] for training in trainings].index(found["folder"])
            raise ConfigError(
                f"{where}: its folder is that of training {first}, and one would overwrite the "
                "other; name another folder."
            )
        trainings.append({"settings": {}} | entry | found)
        earlier[found["folder"]] = trainings[-1]
    return trainings


def _terms_with_initial(hyperparameters: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the terms of a sum, and of the sums among them, that start from a saved potential."""
    terms = hyperparameters.get("terms")
    for term in terms if isinstance(terms, list) else []:
        if isinstance(term, dict):
            if isinstance(term.get("initial"), str):
                yield term
            yield from _terms_with_initial(term.get("hyperparameters") or {})


def _with_models(
    hyperparameters: dict[str, Any], earlier: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Replace what is not trained yet by an untrained model, so that the rest can be checked."""
    checked = copy.deepcopy(hyperparameters)
    for term in list(_terms_with_initial(checked)):
        training = earlier.get(term["initial"])
        if training is not None:
            del term["initial"]
            term["model"] = training["model"]
            term["hyperparameters"] = _with_models(training["hyperparameters"], earlier)
    return checked


def _needs(trainings: Sequence[Mapping[str, Any]]) -> list[set[int]]:
    """Return for each training the numbers of those that it starts from."""
    numbers = {training["folder"]: k for k, training in enumerate(trainings)}
    return [
        {
            numbers[term["initial"]]
            for term in _terms_with_initial(training["hyperparameters"])
            if term["initial"] in numbers
        }
        for training in trainings
    ]


def run_one(training: Mapping[str, Any], label: str = "", log: bool = True) -> dict[str, Any]:
    """Run one entry of a spec; frames and graphs are kept for the next one on the same data."""
    from gnnip.training.trainer import train

    def say(line: str) -> None:
        if log:
            print(f"{label}{line}", flush=True)

    arrays, split, settings, stores = read_frames(training)
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


def read_frames(
    training: Mapping[str, Any],
) -> tuple[FrameArrays, Mapping[str, Any], Settings, Stores]:
    """Return the frames of an entry of a spec, its split and its settings, and the graphs that were
    built of these frames."""
    from gnnip.datasets.splits import make_split
    from gnnip.datasets.store import load_arrays
    from gnnip.training.settings import Settings

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
    return arrays, split, settings, stores


def run_all(trainings: Sequence[Mapping[str, Any]], workers: int) -> list[str]:
    """Run all trainings in `workers` processes; return one line per failure."""
    failures = []
    begun = time.monotonic()
    threads = max(1, (os.cpu_count() or 1) // max(workers, 1))
    context = multiprocessing.get_context("spawn")
    needs = _needs(trainings)
    waiting, running, ended = dict(enumerate(trainings)), dict[Future[Any], int](), set[int]()
    with ProcessPoolExecutor(workers, context, _start_worker, (threads, os.getpid())) as pool:
        while waiting or running:
            # those of a training that failed fail at once, for want of its weights
            for k in [k for k in waiting if needs[k] <= ended]:
                job = pool.submit(run_one, waiting.pop(k), f"[{k + 1}] ", workers == 1)
                running[job] = k
            for job in wait(running, return_when=FIRST_COMPLETED).done:
                number = running.pop(job)
                ended.add(number)
                folder = trainings[number]["folder"]
                head = f"{len(ended)}/{len(trainings)} after {time.monotonic() - begun:.0f} s"
                line, failure = _outcome(job, f"{head}, {folder}")
                if failure:
                    failures.append(f"training {number}, {folder}: {failure}")
                print(line, flush=True)
    return failures


def _outcome(job: Future[Any], head: str) -> tuple[str, str]:
    """Return the line that reports a training, and why it failed, empty where it did not."""
    try:
        summary = job.result()
    except Exception as error:
        reason = str(error) if isinstance(error, GnnipError) else repr(error)
        return f"{head}: FAILED: {reason}", reason
    return (
        f"{head}: validation {summary['validation_mae_ev']:.4g} eV, best epoch "
        f"{summary['best_epoch']}/{summary['epochs_run']}, {summary['wall_s']:.0f} s, "
        f"stopped by {summary['stopped']}"
    ), ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a spec; exit status 1 when a training failed, 2 when the spec is wrong."""
    parser = argparse.ArgumentParser(prog="python -m gnnip.training.run", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--spec", required=True, help="JSON file with the list of trainings")
    parser.add_argument("--workers", type=int, default=1, help="processes (default 1)")
    parser.add_argument("--dry-run", action="store_true", help="check the spec and stop")
    options = parser.parse_args(arguments)
    return answer(lambda: _main(options), "error")


def _main(options: argparse.Namespace) -> int:
    trainings = read_spec(options.spec)
    check_cores("--workers", options.workers)
    if options.dry_run:
        print(json.dumps({"trainings": len(trainings)}))
        return 0
    failures = run_all(trainings, options.workers)
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    return 1 if failures else 0


def _start_worker(threads: int, parent: int) -> None:
    import torch

    end_with(parent)

    torch.set_num_threads(threads)


if __name__ == "__main__":
    sys.exit(main())
