"""Whether recorded results belong to the card, the data and the code that stand here.

A record is compared as the workflow would compare a finished run: what stands behind an artefact in
the card, checksums of data, hashes of code, and its own bytes. Code that trainings share is judged
by a replay of their first steps.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from gnnip.config.pipeline import Pipeline
from gnnip.config.resolve import REFERENCE_ARCHIVE, ResolvedCard
from gnnip.config.schema import Config
from gnnip.errors import DataError, GnnipError
from gnnip.files import read_json, sha256
from gnnip.machine import cpu_model
from gnnip.provenance import FILES, PROVENANCE, find_provenance, fingerprint, package_version
from gnnip.strict import validate
from gnnip.verdicts.recorded import WEIGHTS, RecordedRun, artefacts_of

#: all is the same; only training code is not, and trains alike; nothing tells; something differs
FRESH, EQUIVALENT, UNKNOWN, STALE = STATES = ("fresh", "equivalent", "unknown", "stale")
#: relative difference of losses in single precision that another processor or torch may explain:
#: 3e-6 was measured between the instruction sets of one
ELSEWHERE = 1e-5
#: what the user chose for a run that decides what its card is
_CHOICES = ("seeds", "sources", "references", "cards")
#: words and looks, and how much of a data set is checked
_HARMLESS = ("title", "label", "colour", "ship", "verify_frames")
_MOST_NAMED = 4

Say = Callable[[str], object]


@dataclass
class Finding:
    """What is found of an artefact, or of a file that belongs to none."""

    name: str
    stale: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    replayed: list[str] = field(default_factory=list)

    @property
    def state(self) -> str:
        """One of `STATES`."""
        if self.stale:
            return STALE
        return UNKNOWN if self.unknown else EQUIVALENT if self.replayed else FRESH

    @property
    def reasons(self) -> list[str]:
        """What it is not fresh for."""
        return [*self.stale, *self.unknown, *self.replayed]


def records(root: Path) -> list[Path]:
    """Return the folders of the records below a folder: <tier>/<card>."""
    return sorted({path.parent for path in root.glob(f"*/*/*{PROVENANCE}")})


def check_record(
    folder: Path, results: Path = Path("results"), first_seed: bool = False, say: Say = print
) -> list[Finding]:
    """Return what is found of each artefact of a record, and of each file that is not as recorded.

    Args:
        folder: the record, .../<tier>/<card>.
        results: the folder of all results, with the data sets that runs have made here.
        first_seed: replay one seed of each training instead of all.
        say: gets a line before what takes more than a moment.
    """
    owners: dict[Path, list[str]] = {}
    for artefact in artefacts_of(folder):
        owners.setdefault(find_provenance(folder, artefact) or Path(), []).append(artefact)
    found = []
    for path in {**owners, **dict.fromkeys(sorted(folder.glob(f"*{PROVENANCE}")))}:
        artefacts = owners.get(path, [])
        if path == Path():
            found += [Finding(name, unknown=["it has no provenance"]) for name in artefacts]
        else:
            found += _Record(path, results, first_seed, say).check(artefacts)
    return found


@dataclass
class _Record:
    """A provenance and the artefacts that belong to it."""

    path: Path
    results: Path
    first_seed: bool
    say: Say
    replays: dict[str, tuple[str, str]] = field(default_factory=dict)

    @cached_property
    def kept(self) -> dict[str, Any]:
        found: dict[str, Any] = read_json(self.path, dict)
        return found

    @cached_property
    def place(self) -> tuple[str, str]:
        """Tier and card."""
        tier, card = self.path.parts[-3:-1]
        return tier, card

    @cached_property
    def now(self) -> Pipeline:
        """The card as it stands here, with what the user chose for the run."""
        tier, card = self.place
        chosen = {key: self.kept["config"][key] for key in _CHOICES if key in self.kept["config"]}
        config = validate(Config, {"tier": tier, "papers": [card], **chosen}, str(self.path))
        return Pipeline(config)

    @cached_property
    def then(self) -> Pipeline:
        """The card as it was recorded."""
        card = validate(ResolvedCard, self.kept["card"], f"the card in {self.path}")
        for name, group in card.trainings.items():  # JSON has lost the order, which names the cells
            here = self.card.trainings.get(name, group).matrix
            if here.keys() == group.matrix.keys():
                group.matrix = {key: group.matrix[key] for key in here}
        config, scripts = self.now.config, self.now.scripts
        return Pipeline(config, scripts, {card.id: card})

    @cached_property
    def card(self) -> ResolvedCard:
        return self.now.cards[self.place[1]]

    @cached_property
    def run(self) -> Pipeline:
        """What would be run of the card, where the run was of some artefacts alone."""
        chosen = [a for a in self.kept["config"].get("artefacts") or [] if a in self.card.artefacts]
        config = self.now.config.model_copy(update={"artefacts": chosen or None})
        return Pipeline(config, self.now.scripts)

    @cached_property
    def codes(self) -> dict[str, dict[str, str]]:
        return self.run.codes(self.of())

    def of(self, **names: str) -> SimpleNamespace:
        """Return the wildcards of a job."""
        tier, card = self.place
        return SimpleNamespace(tier=tier, card=card, **names)

    # --- what is compared -------------------------------------------------------------------------

    def check(self, artefacts: list[str]) -> list[Finding]:
        """Return what is found of the artefacts, and of changed files that belong to none."""
        findings = [Finding(name) for name in artefacts]
        try:
            _ = self.now
        except GnnipError as error:
            for finding in findings:
                finding.unknown.append(f"the card cannot be compared: {error}")
        else:
            for finding in findings:
                self._compare(finding)
        return findings + self._compare_files(findings)

    def _compare(self, finding: Finding) -> None:
        name, kept = finding.name, self.kept
        whole = {"code", "data", FILES} <= kept.keys()
        if name not in self.card.artefacts:
            # such as one of an optional data set, which others may have
            reason = self.card.skipped.get(name, "the card has no such artefact any more")
            known = whole and name not in self.card.skipped
            (finding.stale if known else finding.unknown).append(reason)
            return
        try:
            differing = list(_differences(_behind(self.then, name), _behind(self.now, name)))
            form = "what stands behind it in the card is the same"
        except GnnipError:  # a card of before, of other keys
            differing = list(_differences_of_old(self.kept["card"], self.card, name))
            form = "what its card, of an older form, has of its trainings is the same"
        said = [f"the card: {_list(differing)}"] if differing else []
        if not whole:
            finding.unknown += ["recorded without checksums", *(said or [form])]
            return
        finding.stale += said
        self._compare_data(finding)
        self._compare_code(finding)

    def _compare_data(self, finding: Finding) -> None:
        recorded = self.kept["data"]
        for name in _data_behind(self.card, finding.name):
            here = self.data_here(name)
            if here is None:
                use = self.card.datasets.get(name)
                # what is generated is judged by the code that makes it
                if use is None or use.source != "generate":
                    finding.unknown.append(f"the data set {name} is not here")
            elif recorded.get(name) != sha256(here):
                finding.stale.append(f"the data set {name}")

    def data_here(self, name: str) -> Path | None:
        """Return the file of a data set: an archive, or what a run has made here."""
        use = self.card.datasets.get(name)
        path = Path(self.now.data_files(self.of())[name])
        if use is not None and use.source == "archive":
            path = Path(self.now.dataset_archive(self.of(dataset=name))[0])
        elif use is not None:
            path = self.results.joinpath(*path.parts[1:])
        return path if path.exists() else None

    def _compare_code(self, finding: Finding) -> None:
        groups = _groups_behind(self.card, finding.name)
        learned = self._modules_of_trainings(groups)
        changed = []
        for part, name in _code_behind(self.card, finding.name):
            modules = self._changed_modules(part, name)
            if modules is None:
                continue
            if part in ("measurements", "dynamics") and modules:
                modules -= self._of_other_models(name, groups)
                if not modules:
                    continue
            # what trainings share is judged by them, but not what makes their data
            if part == "trainings":
                changed.append(name)
            elif part == "datasets" or not modules or not modules <= learned:
                said = f": {_list(sorted(modules))}" if modules else ""
                finding.stale.append(f"the code of {_PARTS[part]} {name}{said}")
        for group in changed if not finding.stale else []:
            state, reason = self.replay(group)
            getattr(finding, {EQUIVALENT: "replayed"}.get(state, state)).append(reason)

    def _changed_modules(self, part: str, name: str) -> set[str] | None:
        """Return the modules of a hash of code that are not as recorded; None for the same hash."""
        recorded, code = self.kept["code"], self.codes[part].get(name)
        if code == recorded[part].get(name):
            return None
        here, known = self.run.modules_of(code or ""), recorded["modules"]
        return {module for module, found in here.items() if known.get(module) != found}

    def _modules_of_trainings(self, groups: list[str]) -> set[str]:
        codes = self.codes["trainings"]
        return {m for g in groups if g in codes for m in self.run.modules_of(codes[g])}

    def _of_other_models(self, measurement: str, groups: list[str]) -> set[str]:
        """Return the modules behind a measurement that only other training groups need."""
        others = [g for g in self.codes["trainings"] if g not in groups]
        codes = self.run.codes_without_models(self.of(measurement=measurement))
        own = self.run.modules_of(*codes).keys()
        return self._modules_of_trainings(others) - self._modules_of_trainings(groups) - own

    def _compare_files(self, findings: list[Finding]) -> list[Finding]:
        """Compare the bytes of the files; what belongs to an artefact is said there."""
        others: dict[str, Finding] = {}
        own = {finding.name: finding for finding in findings}
        for name, recorded in self.kept.get(FILES, {}).items():
            path = self.path.parent / name
            if path.is_file() and fingerprint(path) == recorded:
                continue
            finding = own.get(name.split(".")[0]) or others.setdefault(name, Finding(name))
            state = "not the file that was recorded" if path.is_file() else "missing"
            finding.stale.append(f"{name} is {state}")
        return list(others.values())

    # --- replays ----------------------------------------------------------------------------------

    def replay(self, group: str) -> tuple[str, str]:
        """Return whether a group trains as it did in its first steps, and how that is known."""
        if group not in self.replays:
            try:
                self.replays[group] = self._replay(group)
            except GnnipError as error:
                self.replays[group] = STALE, f"{group} trains no more: {error}"
        return self.replays[group]

    def _replay(self, group: str) -> tuple[str, str]:
        from gnnip.training.replay import TOLERANCE, difference, replay

        data = self.data_here(str(self.card.trainings[group].dataset))
        if data is None:
            return UNKNOWN, f"{group} cannot be replayed: its data set is not here"
        kept = {k: v for k, v in self.kept["first_losses"].items() if k.split("/")[0] == group}
        largest, worst, seen = 0.0, "", set[str]()
        for own, cell, seed, _ in self.run.trainings_made(*self.place[::-1]):
            if own != group or (self.first_seed and cell.name in seen):
                continue
            name = f"{group}/{cell.name}/seed-{seed}"
            if name not in kept:
                return UNKNOWN, f"{name} cannot be replayed: its first losses were not kept"
            seen.add(cell.name)
            training = self.card.training(group, cell)
            try:
                start = self._initial(self.card.earlier(training), seed)
            except DataError as error:
                return UNKNOWN, f"{name} cannot be replayed: {error}"
            self.say(f"  replaying {'/'.join(self.place)}/{name}")
            again = replay(training.entry("", str(data), seed, start, **self._device()))
            found = difference(kept[name], again)
            if found >= largest:
                largest, worst = found, name
        if largest <= TOLERANCE:
            return EQUIVALENT, f"{group} trains alike, losses differ by {largest:.1g}"
        said = f"{worst}: losses of the first steps differ by {largest:.1g}"
        if largest <= ELSEWHERE and self._elsewhere():
            return UNKNOWN, f"{said}, which {self._elsewhere()} may explain"
        return STALE, said

    def _initial(self, earlier: list[tuple[str, str]], seed: int) -> str:
        """Return the folder of the recorded weights that a training starts from, if it does."""
        tier, card = self.place
        record = RecordedRun(self.path.parent, self.results / "kept" / tier / card)
        folders = {
            record.file(f"weights/{group}/{cell}/seed-{seed}/{file}").parents[3]
            for group, cell in earlier
            for file in WEIGHTS
        }
        return str(*folders) if len(folders) == 1 else ""

    def _device(self) -> dict[str, Any]:
        cpu = self.kept["trainings"]["devices"] == ["cpu"]
        return {"device": "cpu" if cpu else "auto", "threads": 1}

    def _elsewhere(self) -> str:
        """Return what of the machine of the record is not that of this one."""
        if self.kept["trainings"]["devices"] != ["cpu"] or self.kept["cpu"] != cpu_model():
            return "another processor"
        same = self.kept["packages"].get("torch") == package_version("torch")
        return "" if same else "another version of torch"


#: what code makes, as it is said
_PARTS = {
    "artefacts": "the table",
    "measurements": "the measurement",
    "dynamics": "the dynamics",
    "references": "the reference of",
    "datasets": "the data set",
}


def _groups_behind(card: ResolvedCard, artefact: str) -> list[str]:
    """Return the training groups that an artefact reads, those that it states or else all that are
    measured for it, with those that they start from."""
    found = list(card.artefacts[artefact].trainings) or card.groups_behind(artefact)
    for group in found:  # grows
        for cell in card.cells(group):
            earlier = (g for g, _ in card.earlier(card.training(group, cell)))
            found += [g for g in dict.fromkeys(earlier) if g not in found]
    return found


def _code_behind(card: ResolvedCard, artefact: str) -> list[tuple[str, str]]:
    """Return where `Pipeline.codes` may have a hash of code behind an artefact."""
    measured = card.artefacts[artefact].measurements
    return [
        ("artefacts", artefact),
        *((part, m) for part in ("measurements", "dynamics", "references") for m in measured),
        *(("trainings", group) for group in _groups_behind(card, artefact)),
        *(("datasets", name) for name in _data_behind(card, artefact)),
    ]


def _data_behind(card: ResolvedCard, artefact: str) -> list[str]:
    """Return the data sets behind an artefact, and the trajectories of its references."""
    measured = (card.measurements[m] for m in card.artefacts[artefact].measurements)
    moved = [m.options.get(REFERENCE_ARCHIVE) for m in measured]
    trained = [card.trainings[g].dataset for g in _groups_behind(card, artefact)]
    return list(dict.fromkeys(filter(None, [*card.datasets_of(artefact), *trained, *moved])))


def _behind(pipeline: Pipeline, artefact: str) -> dict[str, Any]:
    """Return what stands behind an artefact in the card, as the jobs are told, without words."""
    ((name, card),) = pipeline.cards.items()
    if artefact not in card.artefacts:
        return {"artefacts": {}}
    wildcards = SimpleNamespace(tier=card.tier, card=name, artefact=artefact)
    datasets = {
        d: use.source if use.source == "archive" else use.model_dump(mode="json")
        for d, use in card.datasets.items()
        if d in _data_behind(card, artefact)
    }
    groups: dict[str, dict[str, Any]] = {}
    for group, cell, seed, _ in pipeline.trainings_behind(name, card.tier, artefact):
        training = card.training(group, cell).entry("", "", 0, "trainings")
        one = groups.setdefault(group, {}).setdefault(cell.name, training | {"seeds": []})
        one["seeds"].append(seed)
    facts = copy.deepcopy(pipeline.artefact_facts(wildcards))
    del facts["trainings"], facts["datasets"]
    facts |= {"trainings": groups, "datasets": datasets}
    found: dict[str, Any] = _plain(facts)
    return found


def _plain(value: Any) -> Any:
    """Return values as JSON has them, without what is words and looks."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items() if k not in _HARMLESS}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value


def _differences(one: Any, other: Any, place: str = "") -> Iterator[str]:
    """Yield the places at which two values differ."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in dict.fromkeys([*one, *other]):
            yield from _differences(one.get(key), other.get(key), f"{place}.{key}".strip("."))
    elif one != other:
        yield place


def _differences_of_old(
    recorded: Mapping[str, Any], card: ResolvedCard, artefact: str
) -> Iterator[str]:
    """Yield where the training groups of an artefact differ from those of a card whose form is not
    that of today, in the keys that both have."""
    for group in _groups_behind(card, artefact):
        if group not in recorded["trainings"]:
            yield f"trainings.{group}"
            continue
        one = _plain(recorded["trainings"][group])
        other = _plain(card.trainings[group].model_dump(mode="json"))
        yield from _differences(one, _common(other, one), f"trainings.{group}")


def _common(value: Any, pattern: Any) -> Any:
    """Return what of `value` has a place in `pattern` too, and the rest of `pattern`."""
    if not (isinstance(value, Mapping) and isinstance(pattern, Mapping)):
        return value
    return {**pattern, **{k: _common(v, pattern[k]) for k, v in value.items() if k in pattern}}


def _list(names: list[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def lines(folder: Path, findings: list[Finding]) -> Iterator[str]:
    """Yield what is said of a record: how many of each state, and what is not fresh and why."""
    count = {state: sum(f.state == state for f in findings) for state in STATES}
    said = ", ".join(f"{n} {state}" for state, n in count.items() if n)
    yield f"{'/'.join(folder.parts[-2:])}: {said or 'nothing is recorded'}"
    alike: dict[tuple[str, str], list[str]] = {}
    for finding in findings:
        if finding.state != FRESH:
            reason = "; ".join(finding.reasons)
            alike.setdefault((finding.state, reason), []).append(finding.name)
    for (state, reason), names in alike.items():
        yield f"  {state}: {', '.join(names)}: {reason}"
