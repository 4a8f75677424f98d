"""Tables of measurements as artefacts read them: potentials by arm, materials told apart."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import pandas as pd

from gnnip.artefacts.arms import divide
from gnnip.artefacts.inputs import Inputs


@dataclass(frozen=True)
class Measured:
    """A measurement of potentials.

    place : what tells it from the artefact's other ones, its material or its name; empty where it
        is the only one.
    table : its table.
    variants, groups : variant and training group of each potential by its arm, in the card's
        order.
    """

    place: str
    table: pd.DataFrame
    variants: dict[str, str]
    groups: dict[str, str]

    def prefix(self, arm: str) -> str:
        """Return what names of metrics about an arm begin with."""
        name = arm.replace("/", "_")
        return f"{self.place}_{name}" if self.place else name

    def of_arms(self, rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
        """Yield arm and rows of each potential that `rows` knows, in the card's order."""
        for arm in self.variants:
            part = rows[rows["potential"] == arm]
            if len(part):
                yield arm, part


def measured(inputs: Inputs, materials: Collection[str]) -> Iterator[Measured]:
    """Yield the measurements of the artefact.

    A column `potential` then names arms instead of group/cell/seed, where no group has several
    potentials; tables of several measurements begin with the column `material`.
    """
    groups = {m: inputs.card["measurements"][m]["trainings"] for m in inputs.measurements()}
    places = {m: divide(of[0], materials)[0] or m for m, of in groups.items()}
    if len(set(places.values())) < len(places):
        places = {m: m for m in places}
    for name, place in places.items():
        table = inputs.measurement(name)
        own = {divide(g, materials)[1]: g for g in groups[name]}
        if "potential" in table:
            known = [p for p in table["potential"].unique() if "/" in p]
            arms = {p: divide(p, materials)[1] for p in known}
            if len(set(arms.values())) < len(arms):
                arms = {p: "/".join([arms[p], *p.split("/")[1:]]) for p in known}
                own = {arm: own[arm.split("/")[0]] for arm in arms.values()}
            table["potential"] = [arms.get(p, p) for p in table["potential"]]
        several = len(places) > 1
        if several:
            table.insert(0, "material", place)
        variants = {arm: inputs.variant(group) for arm, group in own.items()}
        yield Measured(place if several else "", table, variants, own)
