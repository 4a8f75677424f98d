"""Carries out a `train.yaml`: the jobs of the workflow, one after the other, where it lies.

The folder then has `frames.h5`, `trainings/<group>/<cell>/seed-<n>/` with the weights,
`dynamics/`, `measurements/`, `artefacts/` and `index.html`. What is finished is not done again, and
what was killed continues.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gnnip.config.facts import Place, artefact_facts, figure_info, measurement_facts
from gnnip.config.resolve import ResolvedCard, resolve_alone
from gnnip.datasets.imports.folder import folder_files, import_folder
from gnnip.errors import ConfigError, DataError
from gnnip.files import read_json, read_yaml, sha256, write_json, write_text

#: the description of a run, in its folder
DESCRIPTION = "train.yaml"
_MOVED, _TRAJECTORY = "moved.json", "trajectory"

Say = Callable[[str], object]


@dataclass(frozen=True)
class Run:
    """A run in a folder, by its card."""

    folder: Path
    card: ResolvedCard

    @classmethod
    def read(cls, folder: Path) -> Run:
        """Read the run of a folder; DataError where there is none, ConfigError for a card that does
        not fit together."""
        path = folder / DESCRIPTION
        if not path.exists():
            raise DataError(f"{folder} has no {DESCRIPTION}; give the folder of a training.")
        try:
            raw = read_yaml(path)
        except DataError as error:
            raise ConfigError(str(error)) from None
        return cls(folder, resolve_alone(raw, folder, str(path)))

    def dataset(self, name: str) -> Path:
        """Return the archive of a data set."""
        return self.folder / f"{name}.h5"

    def trainings(self, groups: list[str], all_seeds: bool = True) -> list[Place]:
        """Return group, cell, seed and folder of the trainings of groups."""
        return [
            (group, cell, seed, str(self.folder / f"trainings/{group}/{cell.name}/seed-{seed}"))
            for group in groups
            for cell in self.card.cells(group)
            for seed in self.card.seeds(group)[: None if all_seeds else 1]
        ]


def import_frames(run_folder: Path, name: str, source: Any, say: Say = print) -> Path:
    """Read frames into the archive of a run, unless they, their settings and what was made of them
    are those that are there; return the archive."""
    archive = run_folder / f"{name}.h5"
    record = run_folder / f"{name}.import.json"
    described = source.model_dump(mode="json")
    content = {str(path): sha256(path) for path in folder_files(source)}
    known = read_json(record, dict) if record.exists() and archive.exists() else {}
    if known.get("source") == described and known.get("content") == content:
        if known.get("archive") in (None, sha256(archive)):  # runs of before did not keep it
            return archive
        say(f"{archive} is not what was made of the frames; they are read again.")
    report = import_folder(source, archive, progress=lambda line: None)
    for sentence in report.sentences():
        say(sentence)
    made = {"source": described, "content": content, "archive": sha256(archive)}
    write_json(record, made | {"report": report.to_json()})
    return archive


def carry_out(run: Run, device: str, threads: int | None, say: Say = print) -> None:
    """Do all that the card of a run asks for, but for its page."""
    card = run.card
    for name, use in card.datasets.items():
        import_frames(run.folder, name, use.folder, say)
    for group, cell, seed, folder in run.trainings(list(card.trainings)):
        _train(run, group, cell, seed, folder, device, threads)
    for name in card.measurements:
        _measure(run, name, device, threads or 1, say)
    for name in card.artefacts:
        _make(run, name)


def _train(
    run: Run, group: str, cell: Any, seed: int, folder: str, device: str, threads: int | None
) -> None:
    from gnnip.training.run import run_one

    training = run.card.training(group, cell)
    place = str(run.folder / "trainings")
    data = str(run.dataset(training.dataset))
    entry = training.entry(folder, data, seed, place, device=device, threads=threads)
    run_one(entry, f"{group}, seed {seed}: " if len(run.card.seeds(group)) > 1 else "")


def _measure(run: Run, name: str, device: str, threads: int, say: Say) -> None:
    """Measure, by dynamics too, and write the table."""
    from gnnip.measurements.run import measure

    card, stated = run.card, run.card.measurements[name]
    trainings = run.trainings(stated.trainings, stated.seeds == "all")
    datasets = [str(run.dataset(dataset)) for dataset in card.datasets_measured(name)]
    moved = {}
    if stated.kind == "dynamics":
        say(f"dynamics of {stated.options['motion']['duration'] / 1000.0:g} ps")
        moved = dict(_moved(run, name, trainings, datasets[0], device, threads, say))
    elif stated.kind == "warnings":
        moving = stated.options["dynamics"]
        names = (f"{group}/{cell.name}/seed-{seed}" for group, cell, seed, _ in trainings)
        places = {n: run.folder / "dynamics" / moving / n / "trajectory.h5" for n in names}
        moved = {n: str(path) for n, path in places.items() if path.exists()}
    facts = measurement_facts(card, name, datasets, trainings, moved)
    table = measure(facts, device, threads)
    write_text(run.folder / f"measurements/{name}.csv", table.to_csv(index=False))


def _moved(
    run: Run,
    name: str,
    trainings: list[Place],
    dataset: str,
    device: str,
    threads: int,
    say: Say,
) -> Iterator[tuple[str, str]]:
    """Move the replicas of each training; yield what moved them, and the trajectory."""
    from gnnip.measurements.dynamics import run_dynamics

    motion = run.card.measurements[name].options["motion"]
    for group, cell, seed, folder in trainings:
        potential = f"{group}/{cell.name}/seed-{seed}"
        place = run.folder / "dynamics" / name / potential
        output, weights = place / "trajectory.h5", Path(folder) / "model.safetensors"
        made_of = {"motion": motion, "weights": sha256(weights), "frames": sha256(dataset)}
        record = place / _MOVED
        known = read_json(record, dict) if output.exists() and record.exists() else {}
        made = known.pop(_TRAJECTORY, None)  # not kept by runs of before
        changed = made is not None and made != sha256(output)
        if changed:
            say(f"{output} is not what the dynamics had made; they are run again.")
        if changed or known != made_of:
            run_dynamics(
                dataset,
                output,
                name=potential,
                motion=motion,
                model=folder,
                failures=place / "failures",
                device=device,
                threads=threads,
                progress=say,
            )
            write_json(record, made_of | {_TRAJECTORY: sha256(output)})
        yield potential, str(output)


def _make(run: Run, name: str) -> None:
    """Tabulate and draw an artefact."""
    from gnnip.artefacts import style
    from gnnip.artefacts.inputs import Inputs
    from gnnip.artefacts.make import draw, tabulate

    place = run.folder / "artefacts"
    facts = artefact_facts(run.card, name)
    tidy, metrics = tabulate(Inputs(run.folder, facts, run.folder))
    write_text(place / f"{name}.csv", tidy.to_csv(index=False))
    write_text(place / f"{name}.metrics.csv", metrics.to_csv(index=False))
    info = figure_info(run.card, name, run.card.trainings) | {"tier": ""}
    style.save(draw(tidy, info), place / f"{name}.png", place / f"{name}.svg")
