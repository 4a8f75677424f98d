"""Where the page finds a card's results: in a record, or in a run that has just ended."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from gnnip.config import papers
from gnnip.config.resolve import ResolvedCard, resolve
from gnnip.config.schema import Config
from gnnip.files import read_json
from gnnip.provenance import find_provenance
from gnnip.verdicts import pages
from gnnip.verdicts.judge import read_verdicts
from gnnip.verdicts.recorded import HISTORIES, RecordedRun, artefacts_of, join_histories
from gnnip.verdicts.trainings import FILE, read_trainings
from gnnip.verdicts.verdict import NOT_RUN, Verdict

if TYPE_CHECKING:
    from ase import Atoms

#: tiers, the one whose results say most first
TIERS = (*pages.TIERS, "smoke")


@dataclass(frozen=True)
class Source:
    """The results of one card at one tier: `folder` has its tables, `figures` its pictures.

    `cards` is a folder of papers beside those of the project, None where there is none.
    """

    tier: str
    name: str
    folder: Path
    figures: Path
    cards: str | None = None

    @cached_property
    def card(self) -> ResolvedCard:
        """The card at this tier."""
        made = artefacts_of(self.folder)
        return resolve(self.name, self.tier, Config(cards=self.cards), made=made)

    @cached_property
    def place(self) -> Path:
        """The folder of the paper."""
        return papers.find(self.name, self.cards)

    @cached_property
    def verdicts(self) -> list[Verdict]:
        """All verdicts of the card at this tier."""
        return read_verdicts(self.folder / "verdicts.json")

    @cached_property
    def trainings(self) -> pd.DataFrame | None:
        """What is known of the run's trainings; None where nothing was kept."""
        return read_trainings(self.folder / FILE)

    def has(self, artefact: str) -> bool:
        """Tell whether an artefact was made."""
        return (self.figures / f"{artefact}.csv").exists()

    def provenance(self, artefact: str) -> dict[str, Any]:
        """Return where an artefact comes from; empty where nothing tells."""
        path = find_provenance(self.folder, artefact)
        found: dict[str, Any] = read_json(path, dict) if path else {}
        return found

    def histories(self) -> pd.DataFrame | None:
        """Return a row for each epoch of each training: group, cell, seed and its history."""
        record = RecordedRun(self.folder, self.folder)
        if any(map(record.has, HISTORIES)):
            return record.histories()
        return join_histories(sorted(self.folder.glob("trainings/*/*/*/history.csv")))

    @cached_property
    def last_frames(self) -> dict[str, list[Atoms]]:
        """How the dynamics ended, by measurement."""
        record = RecordedRun(self.folder, self.folder)
        paths = sorted(self.folder.glob("last_frames/*.xyz.gz"))
        names = (path.name.removesuffix(".xyz.gz") for path in paths)
        return {name: record.last_frames(name) for name in names}

    @cached_property
    def claims(self) -> dict[str, dict[str, Any]]:
        """What the test of each claim found, by claim; what is not known is an empty text."""
        path = self.folder / "claims.csv"
        table = pd.read_csv(path).fillna("") if path.exists() else pd.DataFrame({"claim": []})
        return {row["claim"]: {**row} for _, row in table.iterrows()}


def recorded(root: Path) -> list[Source]:
    """Return the records below a folder that hold a verdict or a figure."""
    found = (path.parent for path in sorted(root.glob("*/*/verdicts.json")))
    return [Source(folder.parts[-2], folder.parts[-1], folder, folder) for folder in found]


def finished(root: Path, tier: str, cards: str | None = None) -> list[Source]:
    """Return the known cards that were run at a tier; `cards` is a folder of a user's own."""
    known = papers.folders(cards)
    places = [path.parent for path in sorted((root / tier).glob("*/verdicts.json"))]
    return [
        Source(tier, place.name, place, place / "artefacts", cards)
        for place in places
        if place.name in known
    ]


@dataclass(frozen=True)
class Paper:
    """All that is known of one card, the tier first that says most."""

    sources: list[Source]

    @property
    def best(self) -> Source:
        """The results that say most."""
        return self.sources[0]

    def source_of(self, artefact: str) -> Source | None:
        """Return the tier that says most of an artefact; None where it was never made."""
        return next((source for source in self.sources if source.has(artefact)), None)

    def verdicts(self) -> list[tuple[Source, Verdict]]:
        """Return every number and claim once, from the first tier that has more than `not run`."""
        chosen: dict[tuple[str, str], list[tuple[Source, Verdict]]] = {}
        for source in self.sources:
            rows: dict[tuple[str, str], list[tuple[Source, Verdict]]] = {}
            for verdict in source.verdicts:
                key = (verdict.artefact, verdict.quantity)
                rows.setdefault(key, []).append((source, verdict))
            for key, own in rows.items():
                known = chosen.get(key)
                if known is None or all(v.verdict == NOT_RUN for _, v in known):
                    chosen[key] = own if known is None or _any_run(own) else known
        return [row for own in chosen.values() for row in own]


def _any_run(rows: list[tuple[Source, Verdict]]) -> bool:
    return any(verdict.verdict != NOT_RUN for _, verdict in rows)


def by_paper(sources: list[Source]) -> list[Paper]:
    """Join the tiers of each card."""
    ordered = sorted(sources, key=lambda source: TIERS.index(source.tier))
    names = sorted({source.name for source in sources})
    return [Paper([source for source in ordered if source.name == name]) for name in names]
