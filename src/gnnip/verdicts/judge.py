"""The verdicts of a card: on its published numbers and on its claims."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import TypeAdapter, ValidationError

from gnnip.artefacts.tables import REQUIRED
from gnnip.errors import DataError
from gnnip.files import read_csv, read_json, write_json, write_text
from gnnip.strict import explain
from gnnip.verdicts.claims import Metrics
from gnnip.verdicts.numbers import judge_number
from gnnip.verdicts.outcomes import COLUMNS as CLAIM_COLUMNS
from gnnip.verdicts.outcomes import ClaimTests, judge_claim, tests_of
from gnnip.verdicts.verdict import COLUMNS, JudgedCard, Verdict


@dataclass(frozen=True)
class Judged:
    """The verdicts of a card, and what the tests of its claims found (see `outcomes.COLUMNS`)."""

    verdicts: list[Verdict]
    claims: pd.DataFrame

    def write(self, folder: str | Path) -> None:
        """Write verdicts.csv, verdicts.json and claims.csv into a folder."""
        write_text(Path(folder) / "verdicts.csv", to_frame(self.verdicts).to_csv(index=False))
        write_json(Path(folder) / "verdicts.json", to_json(self.verdicts))
        write_text(Path(folder) / "claims.csv", self.claims.to_csv(index=False))


def read_metrics(folder: str | Path, artefacts: list[str]) -> dict[str, pd.DataFrame]:
    """Read {artefact}.metrics.csv of those artefacts that have one, by name.

    Raises DataError for a table without the agreed columns.
    """
    tables = {}
    for name in artefacts:
        path = Path(folder) / f"{name}.metrics.csv"
        if not path.exists():
            continue
        table = read_csv(path)
        missing = [column for column in REQUIRED if column not in table.columns]
        if missing:
            raise DataError(f"{path} lacks the column {missing[0]}; delete it and run again.")
        tables[name] = table
    return tables


def judge(
    card: JudgedCard,
    metrics: Metrics,
    tests: Mapping[str, ClaimTests],
    trainings: pd.DataFrame | None,
) -> Judged:
    """Return a verdict for every published number and every claim of the card.

    A quantity that nobody measured, or that fewer seeds measured than the card demands, is `not
    run`: no mean is given for a part of a run.

    Args:
        card: the card at its tier.
        metrics: the metrics tables of the artefacts that were run, by artefact.
        tests: those of the claims, by claim (see `outcomes.tests_of`).
        trainings: the table of the run's trainings (see `trainings.training_table`); None where
            none was kept, and then nothing that was trained is decided.
    """
    rows, claims = [], []
    for block in card.published:
        table = metrics.get(block.artefact)
        for quantity in block.values:
            rows += judge_number(card, block, quantity, table, trainings)
    for name in card.claims:
        verdict, row = judge_claim(card, name, metrics, tests, trainings)
        rows.append(verdict)
        claims += [row] if row else []
    return Judged(rows, pd.DataFrame(claims, columns=list(CLAIM_COLUMNS)))


def judge_folder(
    card: JudgedCard, folder: str | Path, module: str | None, trainings: pd.DataFrame | None
) -> Judged:
    """Judge a card by the metrics in `folder`; `module` is the paper's claims.py."""
    metrics = read_metrics(folder, list(card.artefacts))
    return judge(card, metrics, tests_of(card.claims, module), trainings)


def to_frame(verdicts: list[Verdict]) -> pd.DataFrame:
    """Return the verdicts as a table with the columns of verdicts.csv."""
    return pd.DataFrame([asdict(verdict) for verdict in verdicts], columns=list(COLUMNS))


def to_json(verdicts: list[Verdict]) -> list[dict[str, Any]]:
    """Return the verdicts as a list of records; what is not known is null."""
    return [asdict(verdict) for verdict in verdicts]


def read_verdicts(path: str | Path) -> list[Verdict]:
    """Read verdicts.json; DataError when it is missing or no list of verdicts."""
    if not Path(path).exists():
        raise DataError(f"{path} does not exist; run the workflow first.")
    try:
        content = json.dumps(read_json(path, list))
        return TypeAdapter(list[Verdict]).validate_json(content, strict=True)
    except ValidationError as error:
        raise DataError(
            f"{explain(error, f'{path} is no list of verdicts')} Run the workflow again."
        ) from None
