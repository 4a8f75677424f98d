from __future__ import annotations

import pytest

from gnnip import provenance
from gnnip.errors import ConfigError


def test_environment_names_commit_versions_and_hardware():
    found = provenance.environment()
    assert found["packages"]["numpy"]
    assert found["packages"]["torch"]
    assert found["cpu"]
    assert found["cores"] >= 1
    assert found["git_commit"] is None or len(found["git_commit"]) == 40


def test_run_sums_benchmarks_and_trainings(tmp_path):
    folder = tmp_path / "benchmarks/train_model/table1"
    folder.mkdir(parents=True)
    (folder / "a.tsv").write_text("s\tmax_rss\n10.5\t300\n", encoding="utf-8")
    (folder / "b.tsv").write_text("s\tmax_rss\n1.5\tNA\n", encoding="utf-8")
    (tmp_path / "benchmarks/judge_card.tsv").write_text("s\tmax_rss\n2\t50\n", encoding="utf-8")
    summary = tmp_path / "summary.json"
    summary.write_text('{"wall_s": 9, "peak_memory_mb": 512, "device": "cpu"}', encoding="utf-8")
    card = {"id": "x", "trainings": {"table1": {"seeds": 3}}}
    run = provenance.describe_run(card, {}, [tmp_path / "benchmarks"], [summary])
    assert run["rules"]["train_model"] == {"jobs": 2, "wall_s": 12.0, "peak_memory_mb": 300.0}
    assert run["wall_s"] == 14.0
    assert run["peak_memory_mb"] == 512
    assert run["seeds"] == {"table1": 3}
    assert run["trainings"]["devices"] == ["cpu"]


def test_record_copies_small_files_and_drops_those_of_an_earlier_run(tmp_path):
    target = tmp_path / "recorded"
    target.mkdir()
    (target / "old.csv").write_text("1", encoding="utf-8")
    (target / "README.md").write_text("kept", encoding="utf-8")
    new = tmp_path / "table1.csv"
    new.write_text("a,b\n", encoding="utf-8")
    manifest = provenance.record_files([new], target)
    assert sorted(path.name for path in target.iterdir()) == ["README.md", "table1.csv"]
    assert manifest["table1.csv"]["bytes"] == 4
    large = tmp_path / "weights.csv"
    large.write_bytes(bytes(provenance._LARGEST_RECORDED + 1))
    with pytest.raises(ConfigError, match="only files up to 5 MB"):
        provenance.record_files([large], target)
