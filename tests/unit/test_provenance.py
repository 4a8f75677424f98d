from __future__ import annotations

import hashlib
import json

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
    names = "s\tmax_rss\tcpu_time\n"
    (folder / "a.tsv").write_text(f"{names}10.5\t300\t20\n", encoding="utf-8")
    (folder / "b.tsv").write_text(f"{names}1.5\tNA\tNA\n", encoding="utf-8")
    judged = tmp_path / "benchmarks/judge_card.tsv"
    judged.write_text(f"{names}2\t50\t1.5\n", encoding="utf-8")
    summary = tmp_path / "table1/all/seed-0/summary.json"
    summary.parent.mkdir(parents=True)
    facts = {"wall_s": 9, "peak_memory_mb": 512, "device": "cpu", "first_losses": [1 / 3, 2.0]}
    summary.write_text(json.dumps(facts), encoding="utf-8")
    data = tmp_path / "a.h5"
    data.write_text("frames", encoding="utf-8")
    card, code = {"id": "x", "trainings": {"table1": {"seeds": 3}}}, {"artefacts": {"a": "0"}}
    places = [tmp_path / "benchmarks"]
    run = provenance.describe_run(card, {}, places, [summary], {"a": data}, code)
    trained = {"jobs": 2, "wall_s": 12.0, "cpu_s": 20.0, "longest_s": 10.5, "peak_memory_mb": 300.0}
    assert run["rules"]["train_model"] == trained
    assert run["wall_s"] == 14.0
    assert run["peak_memory_mb"] == 512
    assert run["seeds"] == {"table1": 3}
    assert run["trainings"]["devices"] == ["cpu"]
    assert run["data"] == {"a": hashlib.sha256(b"frames").hexdigest()}
    assert run["code"] == code
    assert run["first_losses"] == {"table1/all/seed-0": [0.333333333, 2.0]}


def test_costs_are_rows_and_their_sum_and_what_is_not_known_is_not_made_up():
    trained = {"jobs": 3, "wall_s": 7200.0, "cpu_s": 3600.0, "longest_s": 3000.0}
    rules = {
        "judge_card": {"jobs": 1, "wall_s": 36.0, "cpu_s": 18.0, "longest_s": 36.0},
        "train_model": trained,
    }
    rules = {
        name: {**entry, "peak_memory_mb": 10.0 * entry["jobs"]} for name, entry in rules.items()
    }
    first, second, everything = provenance.cost_rows(rules)
    assert [first["rule"], second["rule"], everything["rule"]] == [
        "train_model",
        "judge_card",
        "all",
    ]
    assert (first["hours"], first["core_hours"]) == (2.0, 1.0)
    assert everything == {
        "rule": "all",
        "jobs": 4,
        "hours": 2.01,
        "core_hours": 1.005,
        "longest_s": 3000.0,
        "peak_memory_mb": 30.0,
    }
    older = {"train_model": {"jobs": 3, "wall_s": 7200.0, "peak_memory_mb": 30.0}}
    found = provenance.cost_rows(older | {"judge_card": rules["judge_card"]})
    assert [row["core_hours"] for row in found] == [None, 0.005, None]
    assert provenance.cost_rows({}) == []


def test_each_file_of_a_record_is_listed_by_one_provenance(tmp_path):
    def listed(name):
        return json.loads((tmp_path / name).read_text(encoding="utf-8")).get("files", {})

    whole, part = "provenance.json", "b.provenance.json"
    for name in (whole, part):
        (tmp_path / name).write_text('{"seeds": {}}', encoding="utf-8")
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text(name, encoding="utf-8")
    provenance.note_files(tmp_path, ["a.csv", "b.csv", "c.csv"], whole)
    assert set(listed(whole)) == {"a.csv", "b.csv"}
    assert provenance.find_provenance(tmp_path, "b") == tmp_path / whole
    provenance.note_files(tmp_path, ["b.csv"], part)
    assert (set(listed(whole)), set(listed(part))) == ({"a.csv"}, {"b.csv"})
    assert provenance.find_provenance(tmp_path, "b") == tmp_path / part
    (tmp_path / "a.csv").write_text("judged again", encoding="utf-8")
    provenance.note_files(tmp_path, ["a.csv", "other.csv"])
    assert listed(whole)["a.csv"]["bytes"] == len("judged again")
    assert provenance.find_provenance(tmp_path, "a") == tmp_path / whole
    assert provenance.find_provenance(tmp_path / "nowhere", "a") is None


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
