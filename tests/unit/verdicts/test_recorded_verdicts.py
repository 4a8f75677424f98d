"""The committed verdicts are what the committed tables and the cards of today give."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from gnnip.config import papers
from gnnip.config.resolve import resolve
from gnnip.verdicts.judge import to_frame
from gnnip.verdicts.record import judge_recorded
from gnnip.verdicts.recorded import artefacts_of

ROOT = Path(__file__).parents[3]
RECORDED = sorted((ROOT / "results/recorded").glob("*/*/verdicts.csv"))


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: "/".join(path.parts[-3:-1]))
def test_verdicts_and_outcomes_of_claims_are_current(path):
    tier, name = path.parts[-3:-1]
    place = papers.find(name, folder=ROOT / "papers")
    card = resolve(name, tier, folder=ROOT / "papers", made=artefacts_of(path.parent))
    claims = papers.module(place, "claims")
    found = judge_recorded(path.parent, card, claims)
    cure = "run 'python -m gnnip judge'"
    assert to_frame(found.verdicts).to_csv(index=False) == path.read_text(encoding="utf-8"), cure
    text = found.claims.to_csv(index=False)
    assert text == path.with_name("claims.csv").read_text(encoding="utf-8"), cure


def test_every_claim_that_was_run_has_an_outcome_of_the_trivial_predictor():
    for path in RECORDED:
        table = pd.read_csv(path.with_name("claims.csv"))
        known = {"passes", "fails", "cannot be tested", "does not apply", "unknown"}
        assert set(table["trivial"]) <= known
        verdicts = pd.read_csv(path).set_index("quantity")["verdict"]
        for row in table.itertuples():
            if row.trivial in ("passes", "unknown"):
                assert verdicts[row.claim] == "cannot decide"


def test_every_row_that_is_not_decided_has_a_cause():
    for path in RECORDED:
        verdicts = pd.read_csv(path)
        open_ = verdicts["verdict"].isin(["cannot decide", "not comparable"])
        assert verdicts.loc[open_, "cause"].notna().all(), path
        decided = verdicts["verdict"].isin(["reproduced", "better", "deviates"])
        assert verdicts.loc[decided, "cause"].isna().all(), path
