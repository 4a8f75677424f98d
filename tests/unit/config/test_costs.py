"""What jobs may take of a node, from what they took."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from gnnip.config import costs, preview
from gnnip.config.resolve import resolve
from gnnip.config.schema import Config

TRAINED = {"jobs": 4, "wall_s": 1200.0, "peak_memory_mb": 801.0}
JOB = SimpleNamespace(tier="paper", card="water")


@pytest.fixture
def records(tmp_path, monkeypatch):
    """Return a function that records the rules of a card."""
    monkeypatch.setattr(costs, "RECORDED", tmp_path)
    for cached in (costs.provenance, costs.spent):
        cached.cache_clear()

    def record(tier, card, rules):
        (tmp_path / tier / card).mkdir(parents=True)
        path = tmp_path / tier / card / "provenance.json"
        path.write_text(json.dumps({"rules": rules}), encoding="utf-8")

    yield record
    for cached in (costs.provenance, costs.spent):
        cached.cache_clear()


def test_what_is_not_recorded_at_that_tier_is_as_stated(records):
    records("quick", "water", {"train_model": TRAINED})
    records("paper", "gold", {"train_model": TRAINED})
    assert costs.needs("train_model", "mem_mb", 3000, JOB, on_gpu=False) == 3000
    assert costs.needs("train_model", "runtime", 480, JOB, on_gpu=True) == 480


def test_records_decide_with_a_margin(records):
    longest = TRAINED | {"longest_s": 900.0}
    records("paper", "water", {"train_model": longest, "measure": TRAINED})
    # twice the memory, and four times the seconds, of the largest job
    assert costs.needs("train_model", "mem_mb", 3000, JOB, on_gpu=False) == 1700
    assert costs.needs("train_model", "mem_mb", 3000, JOB, on_gpu=True) == 1700 + 4000
    assert costs.needs("train_model", "runtime", 480, JOB, on_gpu=False) == 60
    # where the longest was not recorded, it is taken to be four times the mean of 300 s
    assert costs.needs("measure", "runtime", 60, JOB, on_gpu=False) == 80


def test_jobs_of_no_card_follow_the_largest_of_all(records):
    job = SimpleNamespace(tier="paper", dataset="ladder")
    records("paper", "water", {"verify_labels": TRAINED})
    records("paper", "gold", {"verify_labels": TRAINED | {"peak_memory_mb": 2000.0}})
    assert costs.needs("verify_labels", "mem_mb", 2000, job, on_gpu=False) == 4000


def test_small_jobs_get_what_a_scheduler_can_tell_apart(records):
    records("paper", "water", {"measure": {"jobs": 1, "wall_s": 2.0, "peak_memory_mb": 90.0}})
    assert costs.needs("measure", "mem_mb", 3000, JOB, on_gpu=False) == 1000
    assert costs.needs("measure", "runtime", 60, JOB, on_gpu=False) == 10


def test_a_preview_says_what_is_recorded_and_what_is_not(records, root, monkeypatch):
    monkeypatch.chdir(root)
    config = Config(papers=["gijon2023"])
    jobs = preview.loads(resolve("gijon2023", "quick", config))["train_model"].jobs
    trained = TRAINED | {"jobs": jobs, "wall_s": 3600.0}
    records("quick", "gijon2023", {"train_model": trained})
    (row,) = [r for r in preview.rows("gijon2023", "quick", config) if r.rule == "train_model"]
    assert (row.core_hours, row.gpu_hours, row.basis) == (1.0, None, f"recorded, {jobs} jobs")
    rows = {row.rule: row for row in preview.rows("gijon2023", "paper", config)}
    at = [preview.loads(resolve("gijon2023", tier, config)) for tier in ("quick", "paper")]
    factor = at[1]["train_model"].work / at[0]["train_model"].work
    assert factor > 2
    assert rows["train_model"].core_hours == pytest.approx(factor)
    assert rows["train_model"].basis.startswith(f"EXTRAPOLATED from quick, {factor:.3g} times")
    assert (rows["measure"].core_hours, rows["measure"].basis) == (None, "nothing recorded")
    text = preview.table(["gijon2023"], "paper", config)
    assert f"{factor:.1f} core-hours, {factor:.1f} of them extrapolated; not known: measure" in text


def test_a_run_on_a_gpu_counts_as_one(records, root, monkeypatch):
    monkeypatch.chdir(root)
    records("quick", "gijon2023", {"train_model": TRAINED})
    path = costs.RECORDED / "quick/gijon2023/provenance.json"
    devices = {"trainings": {"devices": ["NVIDIA H200"]}}
    path.write_text(json.dumps({"rules": {"train_model": TRAINED}, **devices}), encoding="utf-8")
    rows = preview.rows("gijon2023", "quick", Config(papers=["gijon2023"]))
    (row,) = [row for row in rows if row.rule == "train_model"]
    assert row.gpu_hours == row.core_hours > 0
