"""What follows from config and cards: the files of the workflow and what its jobs are told.

`Pipeline` answers the rules. A method that takes `wildcards` answers for one job; every name that
it returns is a path below the project's folder.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from gnnip import reference
from gnnip.code import module_hashes
from gnnip.config import papers
from gnnip.config.costs import RECORDED
from gnnip.config.data_jobs import DataJobs, archive
from gnnip.config.facts import artefact_facts, figure_info, measurement_facts
from gnnip.config.resolve import (
    PART,
    REFERENCE_ARCHIVE,
    ResolvedCard,
    check_own_frames,
    columns_of,
    resolve,
)
from gnnip.config.schema import TIERS, Card
from gnnip.config.trainings import Cell, TrainingSpec
from gnnip.errors import ConfigError
from gnnip.receipts import content_hash
from gnnip.training.outputs import RESULTS
from gnnip.training.settings import Settings

#: name of the reference among the potentials of dynamics
REFERENCE = "reference"
FIGURES = ("png", "svg")
COSTS = "costs.csv"


class Pipeline(DataJobs):
    """Everything that the rules ask for."""

    def folder(self, card: str) -> Path:
        """Return the folder of a paper."""
        return papers.find(card, self.config.cards)

    def constraints(self) -> dict[str, str]:
        """Return what each wildcard may be."""
        return {
            "tier": "|".join(TIERS),
            "card": "|".join(map(re.escape, papers.folders(self.config.cards))),
            "dataset": "[a-z][a-z0-9_]*",
            "group": "[a-z][a-z0-9_]*",
            "artefact": "[a-z][a-z0-9_]*",
            "measurement": rf"[a-z][a-z0-9_]*(?:{re.escape(PART)})?",
            "cell": Cell.pattern,
            "seed": "[0-9]+",
            "size": "[0-9]+",
            "replica": "[0-9]+",
            "potential": f"[a-z][a-z0-9_]*/{Cell.pattern}/seed-[0-9]+",
        }

    # --- trainings --------------------------------------------------------------------------------

    @functools.cache  # noqa: B019 (one pipeline lives as long as the process)
    def _cells(self, card: str, tier: str, group: str) -> dict[str, Cell]:
        return {cell.name: cell for cell in self.card_at(card, tier).cells(group)}

    def training_of(self, card: str, tier: str, group: str, name: str) -> TrainingSpec:
        """Return one training; ConfigError for one that the card does not have at that tier."""
        resolved = self.card_at(card, tier)
        cell = self._cells(card, tier, group).get(name) if group in resolved.trainings else None
        if cell is None:
            raise ConfigError(f"Card {card} has no training {group}/{name} at tier {tier}.")
        return resolved.training(group, cell)

    def _training(self, w: Any) -> TrainingSpec:
        return self.training_of(w.card, w.tier, w.group, w.cell)

    def training_dataset(self, wildcards: Any) -> str:
        """Return the data set of a training; ConfigError where the user's own frames lack what it
        needs."""
        training, place = self._training(wildcards), f"trainings.{wildcards.group}"
        columns = columns_of(training.split)
        check_own_frames(self.card(wildcards), training.dataset, place, columns)
        return f"results/{wildcards.tier}/datasets/{training.dataset}.h5"

    def training_entry(self, wildcards: Any) -> dict[str, Any]:
        """Return the training as the trainer reads it, without folder and device, which it is free
        of, and without settings that are left at their defaults."""
        data, trainings = self.training_dataset(wildcards), _trainings_of(wildcards)
        return self._training(wildcards).entry("", data, int(wildcards.seed), trainings)

    def of_training(self, value: Callable[[Settings], Any]) -> Any:
        """Return the function that gives a value of the settings of a training."""
        return lambda wildcards: value(Settings.read(self._training(wildcards).settings))

    def training_initial(self, wildcards: Any) -> list[str]:
        """Return the weights that a training starts from: earlier trainings of the same seed."""
        place, seed = _trainings_of(wildcards), wildcards.seed
        return [
            f"{place}/{group}/{cell}/seed-{seed}/{name}"
            for group, cell in self.card(wildcards).earlier(self._training(wildcards))
            for name in ("model.safetensors", "model.json")
        ]

    def training_code(self, wildcards: Any) -> str:
        """Hash the trainer and the one model that is trained: other models do not matter."""
        modules = self.card(wildcards).modules(self._training(wildcards))
        return self.code_of("train_model", *modules)

    def training_folders(
        self,
        card: str,
        tier: str,
        groups: Sequence[str],
        cells: Mapping[str, Sequence[Any]] | None = None,
        first_seed: bool = False,
    ) -> list[tuple[str, Cell, int, str]]:
        """Return group, cell, seed and folder of the trainings of groups, optionally of some cells
        and of the first seed only."""
        resolved = self.card_at(card, tier)
        found = []
        for group in groups:
            for cell in self._cells(card, tier, group).values():
                if not cell.chosen(cells or {}):
                    continue
                for seed in resolved.seeds(group)[: 1 if first_seed else None]:
                    folder = f"results/{tier}/{card}/trainings/{group}/{cell.name}/seed-{seed}"
                    found.append((group, cell, seed, folder))
        return found

    def trainings_made(self, card: str, tier: str) -> list[tuple[str, Cell, int, str]]:
        """Return group, cell, seed and folder of the trainings of a run: all of the card, or those
        that the chosen artefacts show."""
        resolved = self.card_at(card, tier)
        if self.config.artefacts is None:
            return self.training_folders(card, tier, list(resolved.trainings))
        return self.trainings_behind(card, tier, *resolved.artefacts)

    @functools.cache  # noqa: B019 (one pipeline lives as long as the process)
    def trainings_behind(
        self, card: str, tier: str, *artefacts: str
    ) -> list[tuple[str, Cell, int, str]]:
        """Return group, cell, seed and folder of the trainings that artefacts show, in the card's
        order, with those that they start from.

        Of a measurement an artefact shows the groups that it states, all where it states none.
        """
        resolved, pending = self.card_at(card, tier), list[tuple[str, str, int]]()
        for made_of in (resolved.artefacts[name] for name in artefacts):
            shown = self.training_folders(card, tier, made_of.trainings, made_of.cells)
            for name in made_of.measurements:
                measured = self._measured(SimpleNamespace(card=card, tier=tier, measurement=name))
                own = made_of.trainings or resolved.measurements[name].trainings
                shown += [training for training in measured if training[0] in own]
            pending += [(group, cell.name, seed) for group, cell, seed, _ in shown]
        found = set()
        while pending:
            group, name, seed = one = pending.pop()
            if one not in found:
                found.add(one)
                before = resolved.earlier(self.training_of(card, tier, group, name))
                pending += [(*place, seed) for place in before]
        everything = self.training_folders(card, tier, list(resolved.trainings))
        return [made for made in everything if (made[0], made[1].name, made[2]) in found]

    def summaries(self, wildcards: Any) -> list[str]:
        """Return the summary of every training of a run."""
        made = self.trainings_made(wildcards.card, wildcards.tier)
        return [f"{folder}/summary.json" for _, _, _, folder in made]

    # --- measurements -----------------------------------------------------------------------------

    def _measured(self, w: Any) -> list[tuple[str, Cell, int, str]]:
        stated = self.card(w).measurements[_measurement(w)]
        first = stated.seeds == "first"
        return self.training_folders(w.card, w.tier, stated.trainings, stated.cells, first)

    def _kind(self, wildcards: Any) -> Any:
        return self.card(wildcards).measurement_kind(_measurement(wildcards))

    def measured_datasets(self, wildcards: Any) -> list[str]:
        """Return the data sets of a measurement."""
        names = self.card(wildcards).datasets_measured(_measurement(wildcards))
        return [f"results/{wildcards.tier}/datasets/{name}.h5" for name in names]

    def measured_models(self, wildcards: Any) -> list[str]:
        """Return the files of the trained models of a measurement that are read."""
        names = ("model.safetensors", "model.json", "predictions.csv")
        return [f"{folder}/{n}" for _, _, _, folder in self._measured(wildcards) for n in names]

    def measurement(self, wildcards: Any) -> dict[str, Any]:
        """Return a measurement as `gnnip.measurements` reads it: kind, options and sources."""
        name = _measurement(wildcards)
        return measurement_facts(
            self.card(wildcards),
            name,
            self.measured_datasets(wildcards),
            self._measured(wildcards),
            self._moved(wildcards),
        )

    def measurement_code(self, wildcards: Any) -> str:
        """Hash what measures, the models that are measured and the references that are run."""
        return self.code_of("measure", *self._measuring(wildcards), *self._models(wildcards))

    def _measuring(self, wildcards: Any) -> list[str]:
        kind = self._kind(wildcards)
        return [*kind.modules(), *map(reference.calculator_module, kind.references())]

    def _models(self, wildcards: Any) -> list[str]:
        card = self.card(wildcards)
        cells = {(group, cell.name): cell for group, cell, _, _ in self._measured(wildcards)}
        found = {
            module
            for (group, _), cell in cells.items()
            for module in card.modules(card.training(group, cell))
        }
        return sorted(found)

    def of_kind(self, value: Callable[[Any], Any]) -> Any:
        """Return the function that gives a value of the kind of a measurement."""
        return lambda wildcards: value(self._kind(wildcards))

    # --- dynamics: every potential is a job, named by the folder of its training ------------------

    def moved_trajectories(self, wildcards: Any) -> list[str]:
        """Return the trajectories that a measurement makes, or reads of another one."""
        return list(self._moved(wildcards).values())

    def _moved(self, wildcards: Any) -> dict[str, str]:
        """Return the trajectories that a measurement makes or reads by what moves the atoms."""
        own, kind = _measurement(wildcards), self._kind(wildcards)
        moved = kind.moved(own)
        if moved is None:
            return {}
        names = [f"{g}/{cell.name}/seed-{seed}" for g, cell, seed, _ in self._measured(wildcards)]
        if moved != own:  # of the trajectories of another one those that its trainings have moved
            other = SimpleNamespace(tier=wildcards.tier, card=wildcards.card, measurement=moved)
            return {name: path for name, path in self._moved(other).items() if name in names}
        names += [REFERENCE] if kind.reference else []
        place = f"results/{wildcards.tier}/{wildcards.card}/dynamics/{own}"
        return {name: f"{place}/{name}/trajectory.h5" for name in names}

    def moving_dataset(self, wildcards: Any) -> str:
        """Return the data set whose frames replicas start from; ConfigError where the user's own
        frames lack what they are selected by."""
        card, name = self.card(wildcards), _measurement(wildcards)
        selected, place = self._kind(wildcards).motion.get("select") or {}, f"measurements.{name}"
        check_own_frames(card, card.datasets_measured(name)[0], place, selected)
        return self.measured_datasets(wildcards)[0]

    def moving_code(self, wildcards: Any) -> str:
        """Hash the engine and the one model that moves the atoms."""
        group, name, _ = wildcards.potential.split("/")
        training = self.training_of(wildcards.card, wildcards.tier, group, name)
        return self.code_of("run_dynamics", *self.card(wildcards).modules(training))

    def reference_options(self, wildcards: Any) -> dict[str, Any]:
        """Return those options that decide how the reference moves."""
        options = self.card(wildcards).measurements[_measurement(wildcards)].options
        keys = ("reference", "reference_archive", "motion", "reference_motion")
        return {key: options[key] for key in keys if key in options}

    def reference_archive(self, wildcards: Any) -> list[str]:
        """Return the file of the reference's trajectories where a registered one is named."""
        name = self._kind(wildcards).reference_archive
        return [archive(name)] if name else []

    def reference_code(self, wildcards: Any) -> str:
        """Hash the engine and the reference; an archive is what it is, whatever the code."""
        kind = self._kind(wildcards)
        if kind.reference_archive:
            return content_hash(*self.reference_archive(wildcards))
        return self.code_of("run_reference", reference.calculator_module(kind.reference))

    # --- artefacts --------------------------------------------------------------------------------

    def artefact_files(self, *suffixes: str) -> Any:
        """Return the input function that gives these files of every artefact of a card."""

        def files(w: Any) -> list[str]:
            folder = f"results/{w.tier}/{w.card}/artefacts"
            return [f"{folder}/{a}.{s}" for a in self.card(w).artefacts for s in suffixes]

        return files

    def artefact_inputs(self, wildcards: Any) -> list[str]:
        """Return what an artefact is made of: trainings, measurements and data sets."""
        card, tier = self.card(wildcards), wildcards.tier
        made_of = card.artefacts[wildcards.artefact]
        folders = self.training_folders(wildcards.card, tier, made_of.trainings, made_of.cells)
        names = ("predictions.csv", "history.csv", "summary.json")
        own = {card.trainings[g].dataset for g in made_of.trainings} | set(made_of.datasets)
        place = f"results/{tier}/{wildcards.card}/measurements"
        return [
            *(f"{folder}/{name}" for _, _, _, folder in folders for name in names),
            *(f"{place}/{card.measurement_file(name)}.csv" for name in made_of.measurements),
            *(f"results/{tier}/datasets/{name}.h5" for name in sorted(map(str, own))),
        ]

    def artefact_facts(self, wildcards: Any) -> dict[str, Any]:
        """Return what an artefact may know of the card, so that other edits do not redo it."""
        return artefact_facts(self.card(wildcards), wildcards.artefact)

    def artefact_code(self, wildcards: Any) -> str:
        """Hash what makes the tables of an artefact."""
        kind = self.card(wildcards).artefact_kind(wildcards.artefact)
        modules = (f"{wildcards.card}.tables",) if kind is None else kind.modules()
        return self.code_of("tabulate_artefact", *modules)

    def figure_code(self, wildcards: Any) -> str:
        """Hash what draws the figure of an artefact."""
        return self._drawing_code(self.card(wildcards), wildcards.artefact)

    def recorded_figure_code(self, wildcards: Any) -> str:
        """Hash what redraws the figure of a recorded artefact."""
        return self._drawing_code(self._complete_card(wildcards), wildcards.artefact)

    def _drawing_code(self, card: ResolvedCard, name: str) -> str:
        kind = card.artefact_kind(name)
        modules = (f"{card.id}.figures",) if kind is None else kind.figure_modules()
        return self.code_of("plot_artefact", *modules)

    def figure_info(self, wildcards: Any) -> dict[str, Any]:
        """Return what is written on a figure, and what draws it."""
        return self._figure_info(self.card(wildcards), wildcards.artefact)

    def recorded_figure_info(self, wildcards: Any) -> dict[str, Any]:
        """Return the same of a recorded figure."""
        return self._figure_info(self._complete_card(wildcards), wildcards.artefact)

    @functools.cache  # noqa: B019 (one pipeline lives as long as the process)
    def _complete(self, card: str, tier: str) -> ResolvedCard:
        everything = self.config.model_copy(update={"artefacts": None})
        return resolve(card, tier, everything, complete=True)

    def _complete_card(self, wildcards: Any) -> ResolvedCard:
        """Return the card of a record, which may have had optional data sets that are not here."""
        return self._complete(wildcards.card, wildcards.tier)

    def _figure_info(self, card: ResolvedCard, name: str) -> dict[str, Any]:
        # in one order at every tier
        return figure_info(card, name, self._written(card.id).trainings)

    @functools.cache  # noqa: B019 (one pipeline lives as long as the process)
    def _written(self, card: str) -> Card:
        return papers.load_card(self.folder(card))

    # --- what a record is compared with -----------------------------------------------------------

    def codes(self, wildcards: Any) -> dict[str, dict[str, str]]:
        """Return the hashes of the code behind a card's results, by what it makes and its name; and
        of each of the modules, so that it can be said which one has changed."""
        card, tier = self.card(wildcards), wildcards.tier

        def of(**names: str) -> SimpleNamespace:
            return SimpleNamespace(tier=tier, card=card.id, **names)

        measured = {name: of(measurement=name) for name in card.measurements}
        # those that move atoms themselves, not those that go through another's trajectories
        moved = {m: w for m, w in measured.items() if self._kind(w).moved(m) == m}
        found = {
            "artefacts": {a: self.artefact_code(of(artefact=a)) for a in card.artefacts},
            "measurements": {m: self.measurement_code(w) for m, w in measured.items()},
            "dynamics": {
                m: self.code_of("run_dynamics", *self._models(w)) for m, w in moved.items()
            },
            "references": {
                m: self.reference_code(w)
                for m, w in moved.items()
                if card.measurements[m].kind == "dynamics"
                and self._kind(w).reference
                and not self._kind(w).reference_archive
            },
            "trainings": {g: self._group_code(card, g) for g in card.trainings},
            "datasets": {
                d: self._making_code(of(dataset=d))
                for d in card.used_datasets()
                if card.datasets[d].source == "generate"
            },
        }
        hashes = {value for values in found.values() for value in values.values()}
        return {**found, "modules": self.modules_of(*hashes)}

    def modules_of(self, *hashes: str) -> dict[str, str]:
        """Return the hash of each module behind hashes of code that this pipeline gave; nothing for
        those of data."""
        parts = [part for value in hashes for part in value.split("+")]
        return module_hashes(sorted({m for part in parts for m in self.sources.get(part, [])}))

    def codes_without_models(self, wildcards: Any) -> list[str]:
        """Return the hashes of the code of a measurement, less that of the models behind it."""
        return [
            self.code_of("measure", *self._measuring(wildcards)),
            *([self.code_of("run_dynamics")] if self._moved(wildcards) else []),
        ]

    def _group_code(self, card: ResolvedCard, group: str) -> str:
        trainings = [card.training(group, cell) for cell in card.cells(group)]
        return self.code_of("train_model", *sorted({m for t in trainings for m in card.modules(t)}))

    def _making_code(self, wildcards: Any) -> str:
        """Hash what samples and labels a data set."""
        drawn = not self.dataset(wildcards).sizes
        rules = ["draw_structures"] if drawn else ["generate_trajectory", "assemble_dataset"]
        return "+".join(self.data_code(rule)(wildcards) for rule in rules)

    def data_files(self, wildcards: Any) -> dict[str, str]:
        """Return the files of a card's data sets, and those of its references' trajectories."""
        card = self.card(wildcards)
        place = f"results/{wildcards.tier}/datasets"
        moved = [m.options.get(REFERENCE_ARCHIVE) for m in card.measurements.values()]
        return {name: f"{place}/{name}.h5" for name in card.used_datasets()} | {
            name: archive(name) for name in moved if name
        }

    def used_datasets(self, wildcards: Any) -> list[str]:
        """Return the files of a card's data sets."""
        place = f"results/{wildcards.tier}/datasets"
        return [f"{place}/{name}.h5" for name in self.card(wildcards).used_datasets()]

    # --- verdicts and what is asked for -----------------------------------------------------------

    def judging_code(self, wildcards: Any) -> str:
        """Hash what judges a card."""
        return self.code_of("judge_card", *filter(None, [self.claims_module(wildcards)]))

    def claims_module(self, wildcards: Any) -> str | None:
        """Return the module with the paper's own tests of claims, None if it has none."""
        return papers.module(self.folder(wildcards.card), "claims")

    def card_verdicts(self, wildcards: Any) -> list[str]:
        """Return the verdicts of the selected cards."""
        return [f"results/{wildcards.tier}/{name}/verdicts.json" for name in self.config.papers]

    def page_inputs(self, wildcards: Any) -> list[str]:
        """Return what the page of results shows of the selected cards."""
        files = []
        for name, card in self.cards.items():
            root = f"results/{wildcards.tier}/{name}"
            files += [f"{root}/{file}" for file in ("verdicts.json", "provenance.json")]
            files += [f"{root}/artefacts/{artefact}.png" for artefact in card.artefacts]
        return files

    def cost_inputs(self, wildcards: Any) -> list[str]:
        """Return all that a run makes but the table of its costs, which sums all other jobs."""
        own = f"results/{wildcards.tier}/{COSTS}"
        return [file for file in self.final_files() if file != own]

    def final_files(self, gone: Collection[str] = ()) -> list[str]:
        """Return everything that `snakemake` makes when nothing else is asked for.

        Trainings and trajectories are made on the way; files of them that were there and are `gone`
        are asked for by name, so that what was lost is made again although nothing needs it.
        """
        tier = self.config.tier
        # imported labels have nothing to be recomputed with
        verified = {
            name
            for card in self.cards.values()
            for name in card.used_datasets()
            if card.datasets[name].source in ("archive", "generate")
        }
        files = [f"results/{tier}/datasets/{name}.verification.csv" for name in sorted(verified)]
        files += [f"results/{tier}/{file}" for file in ("verdicts.csv", COSTS, "index.html")]
        on_the_way = []
        for name, card in self.cards.items():
            root, made = f"results/{tier}/{name}", self.trainings_made(name, tier)
            on_the_way += [f"{folder}/{file}" for _, _, _, folder in made for file in RESULTS]
            for measurement in card.measurements:
                files.append(f"{root}/measurements/{card.measurement_file(measurement)}.csv")
                moved = SimpleNamespace(tier=tier, card=name, measurement=measurement)
                on_the_way += self.moved_trajectories(moved)
            files += [
                f"{root}/artefacts/{artefact}.{suffix}"
                for artefact in card.artefacts
                for suffix in ("csv", "metrics.csv", *FIGURES)
            ]
            last = (
                "verdicts.csv",
                "verdicts.json",
                "claims.csv",
                "trainings.csv",
                "provenance.json",
            )
            files += [f"{root}/{file}" for file in last]
        return files + [file for file in dict.fromkeys(on_the_way) if file in gone]

    def lasting_files(self, wildcards: Any) -> list[str]:
        """Return what a record of a card has besides tables and figures: the weights and histories
        of its trainings, and the trajectories of its dynamics."""
        w, card = wildcards, self.card(wildcards)
        made = self.trainings_made(w.card, w.tier)
        files = [f"{folder}/{file}" for _, _, _, folder in made for file in RESULTS[:3]]
        for name in card.measurements:
            dynamics = SimpleNamespace(tier=w.tier, card=w.card, measurement=name)
            files += self.moved_trajectories(dynamics)
        return list(dict.fromkeys(files))

    def recorded_content(self, wildcards: Any) -> str:
        """Hash the recorded table that a figure is redrawn from."""
        w = wildcards
        return content_hash(RECORDED / w.tier / w.card / f"{w.artefact}.csv")

    def recorded_figures(self, *_: Any) -> list[str]:
        """Return every figure that the recorded tables allow to redraw."""
        files = []
        for table in sorted(RECORDED.glob("*/*/*.csv")):
            others = ("verdicts", "claims", "trainings", "labels", "histories")
            named = table.stem in others
            if named or table.name.endswith(".metrics.csv"):
                continue
            stem = table.relative_to(RECORDED).with_suffix("")
            files += [f"results/figures/{stem}.{suffix}" for suffix in FIGURES]
        return files


def _measurement(wildcards: Any) -> str:
    """Return the measurement that a table, perhaps of a part of it, belongs to."""
    return str(wildcards.measurement).removesuffix(PART)


def _trainings_of(wildcards: Any) -> str:
    return f"results/{wildcards.tier}/{wildcards.card}/trainings"
