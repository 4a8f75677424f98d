"""A card, a tier and the user's choices become the one description that the pipeline runs."""

from __future__ import annotations

import contextlib
import copy
import itertools
import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gnnip import catalogue, kinds
from gnnip.artefacts import kinds as artefacts
from gnnip.artefacts.kinds import ArtefactKind
from gnnip.config import papers
from gnnip.config.schema import (
    Artefact,
    Card,
    Config,
    DatasetUse,
    Measurement,
    Tier,
    TrainingGroup,
    TrainingSettings,
)
from gnnip.config.trainings import Cell, TrainingSpec, earlier, expand, resolve_training
from gnnip.datasets import registry
from gnnip.datasets.imports.settings import WRITTEN, FolderSource
from gnnip.datasets.references import reference_of
from gnnip.datasets.store import terms_and_columns
from gnnip.errors import ConfigError, DataError, nearest
from gnnip.measurements import kinds as measurements
from gnnip.measurements.kinds import MeasurementKind
from gnnip.strict import explain, full_stop, validate
from gnnip.training.outputs import seed_numbers
from gnnip.verdicts import kinds as claims

#: ends the name of the table of a part of a measurement
PART = ".part"
#: of a training group or a data set
MOST_JOBS = 10_000
#: tiers that start from what another one changes
_FOUNDATIONS = {"long": "quick"}


class ResolvedCard(Card):
    """A card with the tier's overrides and the user's choices worked in."""

    tier: Tier
    artefacts: dict[str, Artefact] = {}
    """None where the tier leaves all of them out."""
    judged: bool = True
    note: str = ""
    reduced: dict[str, str] = {}
    """How the tier changes what is behind an artefact, where its numbers do not compare then."""
    skipped: dict[str, str] = {}
    """Artefacts that the tier leaves out, and why."""
    references: dict[str, str] = {}
    """What labelled the data behind each artefact, those that are left out too."""
    parts: list[str] = []
    """Measurements of which the chosen artefacts read some training groups only."""
    reference_archives: list[str] = []
    """Trajectories of references that the measurements name, whether taken or made anew."""

    def used_datasets(self) -> list[str]:
        """Return the data sets behind the artefacts, in the card's order."""
        used = {name for artefact in self.artefacts for name in self.datasets_of(artefact)}
        return [name for name in self.datasets if name in used]

    def datasets_of(self, artefact: str) -> list[str]:
        """Return the data sets behind one artefact, in the card's order."""
        made_of = self.artefacts[artefact]
        used = set(made_of.datasets) | {self.trainings[g].dataset for g in made_of.trainings}
        for name in made_of.measurements:
            used.update(self.datasets_measured(name))
        return [name for name in self.datasets if name in used]

    def groups_behind(self, artefact: str) -> list[str]:
        """Return the training groups behind one artefact, those of its measurements too."""
        made_of = self.artefacts[artefact]
        measured = [g for m in made_of.measurements for g in self.measurements[m].trainings]
        return list(dict.fromkeys([*made_of.trainings, *measured]))

    def judging_groups(self, artefact: str) -> list[str]:
        """Return the training groups that decide an artefact's numbers: those that it states, else
        those of its measurements; none of an artefact that is about no potential's accuracy."""
        kind = self.artefact_kind(artefact)
        if kind is not None and not kind.learned:
            return []
        return list(self.artefacts[artefact].trainings) or self.groups_behind(artefact)

    def datasets_measured(self, measurement: str) -> list[str]:
        """Return the data sets of a measurement: those it states, else those of its trainings."""
        stated = self.measurements[measurement]
        if stated.datasets:
            return list(stated.datasets)
        own = [self.trainings[group].dataset for group in stated.trainings]
        return list(dict.fromkeys(name for name in own if name))

    def reference_of(self, dataset: str) -> str:
        """Return what labels a data set: exact, published, dft or xtb."""
        return _label(dataset, self.datasets[dataset])

    def measurement_kind(self, name: str) -> MeasurementKind:
        """Return the kind of a measurement, filled with its options."""
        stated, where = self.measurements[name], f"measurements.{name}"
        filled: MeasurementKind = kinds.read(
            stated.kind, measurements.KINDS, "kind of measurement", stated.options, where
        )
        return filled

    def artefact_kind(self, name: str) -> ArtefactKind | None:
        """Return the kind of an artefact, filled with its options; None for the paper's own."""
        stated, where = self.artefacts[name], f"artefacts.{name}"
        if stated.kind is None:
            return None
        filled: ArtefactKind = kinds.read(
            stated.kind, artefacts.KINDS, "kind of artefact", stated.options, where
        )
        return filled

    def cells(self, group: str) -> list[Cell]:
        """Return the cells of a training group, in the order of its matrix."""
        return expand(self.trainings[group])

    def training(self, group: str, cell: Cell) -> TrainingSpec:
        """Return one training, with the cells of the trainings that it starts from."""
        return resolve_training(self.trainings, group, cell)

    def earlier(self, training: TrainingSpec) -> list[tuple[str, str]]:
        """Return the group and the cell of each training that one starts from."""
        return [(e["training"], e["cell"]) for e in earlier(training.hyperparameters)]

    def modules(self, training: TrainingSpec) -> list[str]:
        """Return the modules of a training's model and of those that it starts from."""
        found = set(catalogue.model_modules(training.model, training.hyperparameters))
        for group, name in self.earlier(training):
            cell = next(cell for cell in self.cells(group) if cell.name == name)
            found.update(self.modules(self.training(group, cell)))
        return sorted(found)

    def seeds(self, group: str) -> list[int]:
        """Return the seeds of a training group."""
        return seed_numbers(self.trainings[group].seeds)

    def measurement_file(self, name: str) -> str:
        """Return the name of a measurement's table: one of a part does not replace the whole."""
        return f"{name}{PART}" if name in self.parts else name

    def summaries(self, folder: Path) -> list[Path]:
        """Return where the summaries of all trainings are, below the folder of the card's run."""
        return [
            folder / "trainings" / group / cell.name / f"seed-{seed}" / "summary.json"
            for group in self.trainings
            for cell in self.cells(group)
            for seed in self.seeds(group)
        ]

    def seeds_of_artefact(self, artefact: str) -> int:
        """Return how many seeds a complete run of `artefact` has (1 when nothing is trained)."""
        groups = self.artefacts[artefact].trainings
        return max((len(self.seeds(g)) for g in groups), default=1)


def merge(base: Any, override: Any, keep_null: bool = False) -> Any:
    """Return `base` with `override` worked in: mappings by key, the rest replaces, null removes.

    With `keep_null` a null stays where it is, for an override that is itself worked in later.
    """
    if not (isinstance(base, Mapping) and isinstance(override, Mapping)):
        return copy.deepcopy(override)
    merged = {k: copy.deepcopy(v) for k, v in base.items()}
    for key, value in override.items():
        if value is None and not keep_null:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value, keep_null)
    return merged


def resolve(
    name: str,
    tier: str,
    config: Config | None = None,
    folder: str | Path = papers.FOLDER,
    complete: bool = False,
    made: Collection[str] = (),
) -> ResolvedCard:
    """Return the card as it is run at `tier`, with the user's seeds and sources worked in.

    Groups and measurements that the tier removes take the artefacts that need them along; those are
    listed in `skipped`, and so are those of optional data sets that are not there, unless the
    `complete` card is asked for, or artefacts that need them are `made` already, as those of a
    record, which may come from elsewhere. A ConfigError names whatever does not fit together.
    """
    place = papers.find(name, config.cards if config else None, folder)
    papers.make_importable(place)
    written = papers.load_card(place)  # its complaints come first, with their own place
    path = place / papers.CARD
    raw = papers.read_yaml(path)
    override = _override(raw.get("tiers") or {}, tier)
    raw = {k: v for k, v in raw.items() if k != "tiers"}
    apart = ("note", "judged", "comparable", "left_out")
    own = {key: override.pop(key) for key in apart if key in override}
    told = own.get("left_out", {})
    override = merge(override, {"artefacts": dict.fromkeys(told)}, keep_null=True)
    merged = _with_defaults(merge(raw, override))
    defaults = merged.get("training_defaults") or {}
    extra = {
        "tier": tier,
        "note": own.get("note", ""),
        "judged": own.get("judged", True),
        "skipped": {
            a: "; ".join(filter(None, [f"left out at tier {tier}", told.get(a)]))
            for a in _lost_artefacts(raw, merged)
        },
    }
    merged["artefacts"] = {
        a: entry for a, entry in merged["artefacts"].items() if a not in extra["skipped"]
    }
    where = f"{path} (tier {tier})"
    card = validate(ResolvedCard, merged | extra, where)
    _find_folders(card, place)
    if not complete:
        _leave_out_absent(card, config.sources if config else {}, made)
    if config is not None:
        _work_in(card, config, where)
    _leave_out_single_seeds(card)
    check(card, place, where)
    _check_cells([_with_defaults(raw)["trainings"], merged["trainings"]], where)
    card.references = _references(card, written, defaults)
    card.reduced = _reduced(card, _with_defaults(raw), merged, own.get("comparable", {}))
    return card


def resolve_alone(raw: Mapping[str, Any], place: Path, where: str) -> ResolvedCard:
    """Return a card that is in no folder of papers, as it is written and without any tier.

    `place` is the folder that paths of frames may be relative to; a ConfigError names `where` what
    does not fit together is.
    """
    written = validate(Card, raw, where)
    merged = {k: v for k, v in _with_defaults(raw).items() if k != "tiers"}
    card = validate(ResolvedCard, merged | {"tier": "paper"}, where)
    _find_folders(card, place)
    _leave_out_single_seeds(card)
    check(card, place, where)
    _check_cells([merged["trainings"]], where)
    card.references = _references(card, written, merged.get("training_defaults") or {})
    return card


def _with_defaults(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return a card as it is written, with the defaults worked into its training groups."""
    defaults = raw.get("training_defaults") or {}
    groups = {
        group: merge(_defaults_for(values or {}, defaults), values or {})
        for group, values in (raw.get("trainings") or {}).items()
    }
    return {**raw, "trainings": groups}


def _reduced(
    card: ResolvedCard,
    written: Mapping[str, Any],
    merged: Mapping[str, Any],
    comparable: Mapping[str, str],
) -> dict[str, str]:
    """Return what the tier changes of the data and the trainings behind each artefact whose numbers
    are published, but for those that the card says compare."""
    found = {}
    for name in sorted({block.artefact for block in card.published} & set(card.artefacts)):
        parts = [("trainings", group) for group in card.judging_groups(name)]
        parts += [("datasets", dataset) for dataset in card.datasets_of(name)]
        parts += [("measurements", m) for m in card.artefacts[name].measurements]
        changed = {
            _CHANGED.get(key, "the data")
            for kind, part in parts
            for key in _differing(written[kind].get(part) or {}, merged[kind].get(part) or {})
            if key not in _HARMLESS
        }
        if changed and name not in comparable:
            found[name] = f"tier {card.tier} changes {_list(changed)}"
    return found


#: what a tier changes by a key of a training group or a measurement; other keys are of data sets
_CHANGED = {
    "model": "the network",
    "hyperparameters": "the network",
    "settings": "the training",
    "by_cell": "the training",
    "options": "the measurement",
}
#: what it may change without a change of any one number
_HARMLESS = ("seeds", "matrix", "verify_frames", "source", "title", "trainings")


def _list(changed: set[str]) -> str:
    order = [word for word in ("the network", "the training", "the data") if word in changed]
    *first, last = order + sorted(changed - set(order))
    return f"{', '.join(first)} and {last}" if first else last


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Return the keys at which two mappings differ."""
    return [key for key in {**one, **other} if one.get(key) != other.get(key)]


def _references(card: ResolvedCard, written: Card, defaults: Mapping[str, Any]) -> dict[str, str]:
    """Return what labels the data behind every artefact of the card as it is written."""
    datasets = {**written.datasets, **card.datasets}
    found = {}
    for name, artefact in {**written.artefacts, **card.artefacts}.items():
        readers = [written.measurements[m] for m in artefact.measurements]
        groups = [*artefact.trainings, *(g for m in readers for g in m.trainings if not m.datasets)]
        trained = [written.trainings[g].dataset or defaults.get("dataset") for g in groups]
        used = {*artefact.datasets, *(d for m in readers for d in m.datasets), *trained}
        # optional sets that are left out are others', whoever has them says more
        words = [
            "published" if use.optional and d not in card.datasets else _label(d, use)
            for d, use in datasets.items()
            if d in used
        ]
        found[name] = "+".join(dict.fromkeys(words))
    return found


def _find_folders(card: ResolvedCard, place: Path) -> None:
    """Let a card name frames that lie beside it."""
    for use in card.datasets.values():
        if use.folder is not None and (place / use.folder.path).exists():
            beside = str((place / use.folder.path).resolve())
            use.folder = use.folder.model_copy(update={"path": beside})


def _leave_out_absent(
    card: ResolvedCard, sources: Mapping[str, Any], made: Collection[str]
) -> None:
    """Leave out optional data sets that are not there, with the trainings, measurements and
    artefacts that need them; not those that the user gives a source, or artefacts are `made` of."""
    used = {
        dataset for name in made if name in card.artefacts for dataset in card.datasets_of(name)
    }
    absent = {
        name: f"not in {use.folder.path}; put its files there" if use.folder else "not shipped"
        for name, use in card.datasets.items()
        if use.optional and name not in sources and name not in used
        if not (use.source == "folder" and use.folder and Path(use.folder.path).exists())
    }
    if not absent:
        return
    lost = [g for g, group in card.trainings.items() if group.dataset in absent]
    lost += [
        m
        for m, measurement in card.measurements.items()
        if absent.keys() & set(card.datasets_measured(m)) or set(lost) & {*measurement.trainings}
    ]
    for name in list(card.artefacts):
        made_of = card.artefacts[name]
        if not {*made_of.measurements} <= {*card.measurements} | {*lost}:
            continue  # a name that is none: said when the card is checked
        needed = card.datasets_of(name)
        if missing := [dataset for dataset in needed if dataset in absent]:
            card.skipped[name] = (
                f"the optional data set '{missing[0]}' is {absent[missing[0]]}"
                f"{', or' if card.datasets[missing[0]].folder else ';'} "
                f"run it once with --config 'sources={{{missing[0]}: download}}'"
            )
        if missing or set(lost) & {*made_of.trainings, *made_of.measurements}:
            del card.artefacts[name]
    card.trainings = {g: group for g, group in card.trainings.items() if g not in lost}
    card.measurements = {m: made for m, made in card.measurements.items() if m not in lost}
    card.datasets = {name: use for name, use in card.datasets.items() if name not in absent}


def _leave_out_single_seeds(card: ResolvedCard) -> None:
    """Leave out the trainings of measurements of ensembles that have one seed only at this tier,
    and measurements and artefacts that have none left."""
    for name, stated in list(card.measurements.items()):
        kind = measurements.KINDS.get(stated.kind)
        if kind is None or kind.least_seeds < 2:
            continue
        groups = card.trainings
        stated.trainings = [
            g for g in stated.trainings if g not in groups or len(card.seeds(g)) >= kind.least_seeds
        ]
        if stated.trainings:
            continue
        del card.measurements[name]
        for artefact in [a for a, made in card.artefacts.items() if name in made.measurements]:
            del card.artefacts[artefact]
            card.skipped[artefact] = "its trainings have one seed, and an ensemble has several"


def _label(dataset: str, use: DatasetUse) -> str:
    """Return what labels a data set: exact, published, dft or xtb."""
    return reference_of(
        dataset, use.source, published=use.published, folder=use.folder, plan=use.plan
    )


def _lost_artefacts(raw: Mapping[str, Any], merged: Mapping[str, Any]) -> list[str]:
    """Return the artefacts that a tier removes, by name or with what they need."""
    lost = []
    for artefact, was in raw["artefacts"].items():
        now = merged["artefacts"].get(artefact)
        # what the tier itself says that the artefact is made of comes first
        made_of = was if now is None else now
        needs = [*(made_of.get("trainings") or []), *(made_of.get("measurements") or [])]
        known = {*merged["trainings"], *(merged.get("measurements") or {})}
        removed = {*(raw.get("trainings") or {}), *(raw.get("measurements") or {})} - known
        if now is None or removed & set(needs):
            lost.append(artefact)
    return lost


def _override(tiers: Mapping[str, Any], tier: str) -> dict[str, Any]:
    """Return what a tier changes, with what the tier changes that it starts from."""
    own = tiers.get(tier) or {}
    if tier not in _FOUNDATIONS:
        return dict(own)
    return dict(merge(tiers.get(_FOUNDATIONS[tier]) or {}, own, keep_null=True))


def _defaults_for(group: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults of a group: hyper-parameters are those of the defaults' own model."""
    other = group.get("model") not in (None, defaults.get("model"))
    return {k: v for k, v in defaults.items() if not (other and k == "hyperparameters")}


# --- the user's choices ---------------------------------------------------------------------------

#: option of dynamics that names a registered trajectory of its reference
REFERENCE_ARCHIVE = "reference_archive"


def _work_in(card: ResolvedCard, config: Config, where: str) -> None:
    """Change a card as the user's config says."""
    _select_artefacts(card, config.artefacts)
    for group in card.trainings.values():
        group.seeds = config.seeds or group.seeds
    for dataset, use in card.datasets.items():
        chosen = config.sources.get(dataset, use.source)
        if isinstance(chosen, FolderSource):
            use.folder, chosen = chosen, "folder"
        use.source = chosen
    _choose_references(card, config, where)
    _choose_reference_dynamics(card, config, where)


def _choose_references(card: ResolvedCard, config: Config, where: str) -> None:
    """Label data sets with the engines that the user names."""
    if not config.references:
        return
    from gnnip.reference.engines import make_engine
    from gnnip.sampling.plans import make_plan

    for name, use in card.datasets.items():
        text = config.references.get(name)
        if text is None:
            continue
        engine = make_engine(text)
        if config.sources.get(name, "generate") != "generate":
            raise ConfigError(
                f"{where}: '{name}' is asked for from {config.sources[name]} and by another "
                "reference; only what is generated has a choice of references."
            )
        if not use.sizes or not hasattr(make_plan(name, use.sizes[0], 0, {}), "label_engine"):
            raise ConfigError(
                f"{where}: '{name}' is labelled by a model of its own; references cannot be chosen."
            )
        use.source, use.plan = "generate", {**use.plan, "label_engine": engine.text}


def _choose_reference_dynamics(card: ResolvedCard, config: Config, where: str) -> None:
    """Let the reference run where the user says so, instead of taking its trajectories."""
    for measurement in card.measurements.values():
        name = measurement.options.get(REFERENCE_ARCHIVE)
        card.reference_archives += [name] if name else []
        source = config.sources.get(name, "archive") if name else "archive"
        if source == "generate":
            del measurement.options[REFERENCE_ARCHIVE]
        elif source != "archive":
            raise ConfigError(
                f"{where}: the reference's trajectory '{name}' has the source archive or generate, "
                "no other."
            )


def _select_artefacts(card: ResolvedCard, chosen: list[str] | None) -> None:
    """Leave out the artefacts that the user did not choose, and what only they need.

    Measurements take the groups and cells that the chosen artefacts read; an artefact that names no
    groups needs all of a measurement.
    """
    if chosen is None:
        return
    for name in list(card.artefacts):
        if name not in chosen:
            del card.artefacts[name]
            card.skipped[name] = "not among the artefacts chosen for this run"
    kept = {name for artefact in card.artefacts.values() for name in artefact.measurements}
    # autopsies and warnings are of the trajectories of another measurement
    replayed: dict[str, list[str]] = {}
    for name in kept:
        moved = card.measurement_kind(name).moved(name)
        if moved is not None and moved != name:
            replayed.setdefault(moved, []).extend(card.measurements[name].trainings)
    kept |= replayed.keys() & card.measurements.keys()
    card.measurements = {name: m for name, m in card.measurements.items() if name in kept}
    for name, measurement in card.measurements.items():
        _select_measured(card, name, measurement, replayed.get(name))
    groups = {g for a in card.artefacts.values() for g in a.trainings}
    groups |= {g for m in card.measurements.values() for g in m.trainings}
    pending = [name for name in groups if name in card.trainings]
    while pending:  # and what they start from
        for initial in earlier(card.trainings[pending.pop()].hyperparameters):
            before = str(initial.get("training"))
            if before in card.trainings and before not in groups:
                groups.add(before)
                pending.append(before)
    card.trainings = {name: group for name, group in card.trainings.items() if name in groups}
    datasets = {g.dataset for g in card.trainings.values()}
    datasets |= {name for m in card.measurements.values() for name in m.datasets}
    datasets |= {name for artefact in card.artefacts.values() for name in artefact.datasets}
    datasets |= {use.starts or "" for name, use in card.datasets.items() if name in datasets}
    card.datasets = {name: use for name, use in card.datasets.items() if name in datasets}


def _select_measured(
    card: ResolvedCard, name: str, measurement: Measurement, replayed: list[str] | None
) -> None:
    """Leave out of a measurement what none of the artefacts reads; `replayed` are the groups whose
    dynamics another measurement goes through again."""
    readers = [(a.trainings, a.cells) for a in card.artefacts.values() if name in a.measurements]
    readers += [(replayed, {})] if replayed is not None else []
    if not all(groups for groups, _ in readers):
        return
    read = {group for groups, _ in readers for group in groups}
    cells, *others = (cells for _, cells in readers)
    cells = cells if all(other == cells for other in others) else {}
    if cells or not read.issuperset(measurement.trainings):
        measurement.trainings = [g for g in measurement.trainings if g in read]
        measurement.cells = cells | measurement.cells
        card.parts.append(name)


# --- checks ---------------------------------------------------------------------------------------


def check(card: ResolvedCard, place: Path, where: str) -> None:
    """Raise ConfigError for a name that the card does not define, or an option that is none."""
    for name, use in card.datasets.items():
        if use.source == "folder" and use.folder is None:
            raise ConfigError(
                f"{where}: datasets.{name} has the source folder, but no folder; write "
                "{path: ..., format: ...}."
            )
    for kind, used, defined in _names_used(card):
        if used not in defined:
            raise ConfigError(f"{where}: {kind} '{used}' is not defined{nearest(used, defined)}.")
    _refuse_too_many(card, where)
    labels = _labels_of_archives(card)
    for group_name, group in card.trainings.items():
        try:
            for cell in expand(group):
                training = card.training(group_name, cell)
                catalogue.check_hyperparameters(training.model, training.hyperparameters)
                TrainingSettings.model_validate(training.settings)
                _check_labels(labels.get(training.dataset), training)
        except ValidationError as error:
            raise explain(error, f"{where}: trainings.{group_name}") from None
        except ConfigError as error:
            sentence = f"{where}: trainings.{group_name}: {error}"
            raise ConfigError(full_stop(sentence)) from None
    try:
        for name in card.measurements:
            _check_moved(card, name)
        for name in card.artefacts:
            card.artefact_kind(name)
        for name, claim in card.claims.items():
            for part in (claim.test, claim.control):
                if isinstance(part, Mapping):
                    claims.read(part, f"claims.{name}")
    except ConfigError as error:
        raise ConfigError(full_stop(f"{where}: {error}")) from None
    own = [name for name, artefact in card.artefacts.items() if artefact.kind is None]
    for part in ("tables", "figures"):
        if own and papers.module(place, part) is None:
            raise ConfigError(
                f"{where}: artefacts.{own[0]} states no kind, and the paper has no {part}.py."
            )


#: what a training group says of cells by their names
_OF_CELLS = ("by_cell", "ship")


def _check_cells(versions: list[Mapping[str, Any]], where: str) -> None:
    """Raise ConfigError for a cell that no version of its group has: a smaller tier need not have
    them all."""
    for name in dict.fromkeys(group for groups in versions for group in groups):
        written = [groups[name] for groups in versions if name in groups]
        stated = [
            (key, cell) for group in written for key in _OF_CELLS for cell in _cells(group, key)
        ]
        if not stated:
            continue
        groups = [TrainingGroup.model_validate(group) for group in written]
        known = {cell.name for group in groups for cell in expand(group)}
        for key, cell in stated:
            if cell not in known:
                raise ConfigError(
                    f"{where}: trainings.{name}.{key}: there is no cell '{cell}'"
                    f"{nearest(cell, known)}"
                )


def _cells(group: Mapping[str, Any], key: str) -> list[str]:
    """Return the cells that a key of a training group names."""
    named = group.get(key)
    return list(named) if isinstance(named, list | Mapping) else []


def _refuse_too_many(card: ResolvedCard, where: str) -> None:
    """Raise ConfigError for more jobs than a workflow can plan."""
    jobs = {
        f"trainings.{name}": len(card.seeds(name)) * math.prod(map(len, group.matrix.values()))
        for name, group in card.trainings.items()
    }
    for name, use in card.datasets.items():
        jobs[f"datasets.{name}"] = use.replicas * max(1, len(use.sizes))
    for place, count in jobs.items():
        if count > MOST_JOBS:
            raise ConfigError(
                f"{where}: {place} asks for {count} jobs, and at most {MOST_JOBS} can be planned; "
                "lower its seeds, replicas or choices."
            )


def _labels_of_archives(card: ResolvedCard) -> dict[str, tuple[list[str], list[str]]]:
    """Return the terms and columns of each data set of the registry that can be read."""
    found = {}
    for name in {name for name, use in card.datasets.items() if use.source == "archive"}:
        # whoever reads the frames says what is wrong with them
        with contextlib.suppress(DataError):
            found[name] = terms_and_columns(registry.archive_path(name))
    return found


def _check_labels(labels: tuple[list[str], list[str]] | None, training: TrainingSpec) -> None:
    """Raise ConfigError for a target or a column that the archive of a training does not have."""
    if labels is None:
        return
    terms, columns = labels
    if training.term not in (*terms, "total"):
        raise ConfigError(
            f"the target '{training.term}' is no energy of {training.dataset}"
            f"{nearest(training.term, [*terms, 'total'])}"
        )
    for column in columns_of(training.split):
        if column not in columns:
            raise ConfigError(
                f"split: {training.dataset} has no column '{column}'{nearest(column, columns)}"
            )


def columns_of(split: Mapping[str, Any]) -> list[str]:
    """Return the columns of a data set that a split reads."""
    together = split.get("together")
    used = [split.get(key) or {} for key in ("where", "train_where", "test_where")]
    return [*itertools.chain(*used), *([together] if together else [])]


def check_own_frames(card: ResolvedCard, dataset: str, reader: str, columns: Iterable[str]) -> None:
    """Raise ConfigError for a column that the user's own frames of a data set do not have, as their
    settings say, and that `reader`, a place in the card, needs.

    Not of a whole card: whoever asks for the data set alone may lack them.
    """
    use = card.datasets[dataset]
    if use.source != "folder" or use.folder is None:
        return
    there = [*use.folder.columns, *WRITTEN, "total_charge"]
    missing = next((column for column in columns if column not in there), None)
    if missing is not None:
        raise ConfigError(
            f"{card.id}: {reader} needs the column '{missing}' of {dataset}, and your frames have "
            f"{', '.join(there)}; name it under columns of the source, or choose other artefacts."
        )


def _check_moved(card: ResolvedCard, name: str) -> None:
    """Raise ConfigError for options of a measurement that are none, and for one of trajectories
    that no other measurement makes."""
    moved = card.measurement_kind(name).moved(name)
    if moved is None or card.measurements[name].kind == "dynamics":
        return
    made = {m: stated for m, stated in card.measurements.items() if stated.kind == "dynamics"}
    place = f"measurements.{name}.options.dynamics"
    if moved not in made:
        raise ConfigError(f"{place}: '{moved}' is no measurement of dynamics{nearest(moved, made)}")
    missing = set(card.measurements[name].trainings) - set(made[moved].trainings)
    if missing:
        raise ConfigError(f"{place}: '{moved}' does not move {', '.join(sorted(missing))}; add it")


def _names_used(card: ResolvedCard) -> Iterator[tuple[str, str, list[str]]]:
    datasets, groups = list(card.datasets), list(card.trainings)
    made = [*card.artefacts, *card.skipped]
    for use in card.datasets.values():
        if use.starts:
            yield "data set", use.starts, datasets
    for group in card.trainings.values():
        if group.dataset:
            yield "data set", group.dataset, datasets
    readers: list[Measurement | Artefact] = [*card.measurements.values(), *card.artefacts.values()]
    for reader in readers:
        yield from (("data set", name, datasets) for name in reader.datasets)
        yield from (("training group", name, groups) for name in reader.trainings)
    for artefact in card.artefacts.values():
        yield from (
            ("measurement", name, list(card.measurements)) for name in artefact.measurements
        )
    for block in card.published:
        yield "artefact", block.artefact, made
    for claim in card.claims.values():
        yield from (("artefact", name, made) for name in claim.artefacts)


def resolve_all(config: Config, folder: str | Path = papers.FOLDER) -> dict[str, ResolvedCard]:
    """Return the resolved cards that `config` names, and complain about sources nobody uses."""
    cards = {name: resolve(name, config.tier, config, folder) for name in config.papers}
    offered = sorted({a for card in cards.values() for a in (*card.artefacts, *card.skipped)})
    for artefact in config.artefacts or []:
        if artefact not in offered:
            raise ConfigError(
                f"config.yaml: artefacts: no selected card has '{artefact}'"
                f"{nearest(artefact, offered)}"
            )
    cards = {name: card for name, card in cards.items() if card.artefacts}
    known = sorted({n for c in cards.values() for n in (*c.datasets, *c.reference_archives)})
    chosen = [("sources", name) for name in config.sources]
    chosen += [("references", name) for name in config.references]
    for key, dataset in chosen:
        if dataset not in known:
            raise ConfigError(
                f"config.yaml: {key}: no card uses '{dataset}'{nearest(dataset, known)}."
            )
    return cards
