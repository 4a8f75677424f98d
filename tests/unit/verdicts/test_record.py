"""A run is recorded: all of it, or some artefacts that join what is there; and read back."""

import errno
import json
import os
import shutil
import signal

import finished_run
import numpy as np
import pandas as pd
import pytest
from finished_run import FRAMES, dynamics, training
from kang2024_run import kang_run, perfect, short_sighted
from made_up_run import ROOT

from gnnip import models
from gnnip.__main__ import main
from gnnip.config.resolve import resolve
from gnnip.errors import ConfigError, DataError
from gnnip.md import read_facts, read_trajectory
from gnnip.provenance import fingerprint
from gnnip.verdicts import record as recording
from gnnip.verdicts.judge import read_verdicts
from gnnip.verdicts.record import record, rejudge, renewed
from gnnip.verdicts.recorded import RecordedRun
from gnnip.verdicts.trainings import COLUMNS, join_trainings, training_table
from gnnip.verdicts.verdict import NOT_RUN

CARD = resolve("kang2024", "paper", folder=ROOT / "papers")
CLAIMS = "kang2024.claims"
#: a group whose weights the card ships, and one whose weights stay outside git
SHIPPED, OTHER = "interpolation_small", "pair"


def files_of(folder, rule, artefacts):
    """The tables and figures that the workflow hands over after a run of some artefacts."""
    place, found = folder / "paper/kang2024", []
    place.mkdir(parents=True)
    run = kang_run(folder / "run", rule) if artefacts else None
    for name in artefacts:
        tidy, metrics = run.table(name)
        for suffix, text in (
            (".csv", tidy.to_csv(index=False)),
            (".metrics.csv", metrics.to_csv(index=False)),
            (".png", "picture"),
            (".svg", "picture"),
        ):
            found.append(place / f"{name}{suffix}")
            found[-1].write_text(text, encoding="utf-8")
    found.append(place / "trainings.csv")
    summaries = run.folder.glob("trainings/*/*/*/summary.json") if run else ()
    training_table(sorted(summaries)).to_csv(found[-1], index=False)
    for name in ("provenance.json", "verdicts.csv", "verdicts.json"):
        found.append(place / name)
        found[-1].write_text(json.dumps({"of": artefacts}), encoding="utf-8")
    return found


def test_artefacts_join_and_all_is_judged_again(tmp_path):
    target = tmp_path / "recorded/paper/kang2024"
    for number, (rule, names) in enumerate(
        ((perfect, ["fig1b"]), (short_sighted, ["fig1c"]), (perfect, ["fig1c"]))
    ):
        shutil.rmtree(tmp_path / "paper", ignore_errors=True)
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        record(files_of(tmp_path, rule, names), CARD, CLAIMS, names, results=tmp_path)
        verdicts = {v.quantity: v.verdict for v in read_verdicts(target / "verdicts.json")}
        assert verdicts["interpolates"] == "reproduced"
        # the last run of an artefact is the one that counts
        expected = (NOT_RUN, "deviates", "reproduced")[number]
        assert verdicts["extrapolates"] == expected
        assert verdicts["atomic_energy_small"] == NOT_RUN
    present = {path.name for path in target.iterdir()}
    assert {"fig1b.provenance.json", "fig1c.provenance.json", "fig1b.png", "fig1c.csv"} <= present
    assert "provenance.json" not in present
    # each file is listed by the run that it is of, and what judging wrote as it is now
    for name in ("fig1b", "fig1c"):
        files = json.loads((target / f"{name}.provenance.json").read_text())["files"]
        assert f"{name}.metrics.csv" in files
        assert all(fingerprint(target / file) == entry for file, entry in files.items())
    assert "verdicts.json" in files
    assert (
        "verdicts.json" not in json.loads((target / "fig1b.provenance.json").read_text())["files"]
    )
    rejudge(target, CARD.model_copy(update={"claims": {}}), None)
    files = json.loads((target / "fig1c.provenance.json").read_text())["files"]
    assert files["claims.csv"] == fingerprint(target / "claims.csv")


def test_a_run_without_trainings_replaces_everything(tmp_path, finished):
    record(finished, CARD, CLAIMS, None, results=tmp_path)
    target = tmp_path / "recorded/paper/kang2024"
    (target / "fig1e.csv").write_text("old", encoding="utf-8")
    (target / "README.md").write_text("by hand", encoding="utf-8")
    tables = [path for path in finished if path.parent.name == "kang2024"]
    record(tables, CARD, CLAIMS, None, results=tmp_path)
    assert {path.name for path in target.rglob("*")} == {path.name for path in tables} | {
        "README.md"
    }
    provenance = json.loads((target / "provenance.json").read_text())
    assert provenance["of"] == []
    assert set(provenance["files"]) == {path.name for path in tables} - {"provenance.json"}
    assert not list((tmp_path / "kept").rglob("*.*"))


# --- weights, histories and last frames ---------------------------------------------------------


@pytest.fixture
def finished(tmp_path):
    """The files of a whole run: two trainings, and dynamics by one of them."""
    files, place = files_of(tmp_path, perfect, []), tmp_path / "paper/kang2024"
    files += training(place, SHIPPED, 0.25) + training(place, OTHER, 0.5)
    return [*files, dynamics(place, "moves", f"{OTHER}/all/seed-0")]


@pytest.fixture
def run(tmp_path, finished):
    """The record of that run."""
    record(finished, CARD, CLAIMS, None, every=4, results=tmp_path)
    return RecordedRun.of("paper", "kang2024", tmp_path)


def values(run, group):
    return {float(p.detach().ravel()[0]) for p in run.load(group, "all", 0).parameters()}


def content(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_all_is_read_back(run):
    assert (values(run, SHIPPED), values(run, OTHER)) == ({0.25}, {0.5})
    assert run.file(f"weights/{SHIPPED}/all/seed-0/model.json").is_relative_to(run.folder)
    assert run.file(f"weights/{OTHER}/all/seed-0/model.json").is_relative_to(run.kept)
    assert run.faults() == []
    table = run.histories()
    assert list(table.columns) == ["group", "cell", "seed", "epoch", "train_loss"]
    assert table["group"].tolist() == [SHIPPED] * 3 + [OTHER] * 3
    np.testing.assert_allclose(table["train_loss"][3:], 0.5 + np.arange(3) / 7, rtol=1e-4)


def test_the_end_of_every_replica_is_read_back(run):
    assert (run.folder / "last_frames/moves.xyz.gz").stat().st_size < 1000
    alive, *failed = run.last_frames("moves")
    assert alive.info["potential"] == f"{OTHER}/all/seed-0"
    np.testing.assert_allclose(alive.positions, finished_run.positions(2 * FRAMES - 1), atol=1e-4)
    assert [a.info["frame"] for a in failed] == ["stored"] * 5 + ["last_good", "first_bad"]
    assert {a.info["replica"] for a in failed} == {1}
    assert failed[4].info["time_fs"] == 4.0 * (FRAMES - 1)
    assert failed[5].info["reason"] == "min-distance"
    np.testing.assert_allclose(failed[5].positions, finished_run.positions(FRAMES), atol=1e-4)
    np.testing.assert_allclose(failed[5].get_momenta(), failed[4].get_momenta(), rtol=0.01)
    assert np.isnan(failed[6].get_momenta()).all()


def test_trajectories_are_thinned_out(run):
    path = run.file(f"dynamics/moves/{OTHER}/all/seed-0/trajectory.h5")
    kept = read_trajectory(path)
    assert read_facts(path)["thinned_by"] == 4
    np.testing.assert_array_equal(kept[0].time_fs, 16.0 * np.arange(6))
    assert len(kept[0].positions) == len(kept[0].velocities) == 6
    assert len(kept[0].series["time_fs"]) == 2 * FRAMES


def test_what_is_large_is_packed_or_stays_outside(tmp_path, finished, monkeypatch):
    run = RecordedRun.of("paper", "kang2024", tmp_path)
    monkeypatch.setattr(recording, "_PLAIN_HISTORIES", 10)
    monkeypatch.setattr(recording, "_COMMITTED_FRAMES", 10)
    # the two ways of recording have different ways to clear what was there
    for chosen in (None, ["fig1a"]):
        record(finished, CARD, CLAIMS, chosen, results=tmp_path)
        assert len(run.histories()) == 6
        assert not (run.folder / "histories.csv").exists()
        assert "last_frames/moves.xyz.gz" in run.manifest()
        assert len(run.last_frames("moves")) == 8
    monkeypatch.undo()
    record(finished, CARD, CLAIMS, ["fig1a"], results=tmp_path)
    assert not (run.folder / "histories.csv.gz").exists()
    assert "last_frames/moves.xyz.gz" not in run.manifest()
    assert not (run.kept / "last_frames/moves.xyz.gz").exists()


def test_joined_numbers_keep_their_last_digit(tmp_path):
    value = 0.18843849204451485
    table = pd.DataFrame({name: [value] for name in COLUMNS}).assign(group="g", cell="c", seed=0)
    table.to_csv(tmp_path / "old.csv", index=False)
    table.assign(seed=1).to_csv(tmp_path / "new.csv", index=False)
    joined = join_trainings(tmp_path / "old.csv", tmp_path / "new.csv")
    assert joined["validation_error"].tolist() == [value, value]


def test_of_a_group_some_cells_are_committed(tmp_path, finished):
    card = CARD.model_copy(deep=True)
    card.trainings[OTHER].ship = ["all"]
    card.trainings[SHIPPED].ship = ["another"]
    record(finished, card, CLAIMS, None, results=tmp_path)
    folder = RecordedRun.of("paper", "kang2024", tmp_path).folder
    assert (folder / f"weights/{OTHER}/all/seed-0/model.json").exists()
    assert not (folder / f"weights/{SHIPPED}/all/seed-0/model.json").exists()


def test_what_belongs_to_chosen_artefacts_joins(tmp_path, run, finished):
    place = tmp_path / "paper/kang2024"
    more = [p for p in finished if p.name in ("provenance.json", "trainings.csv")]
    more += training(place, SHIPPED, 0.75, epochs=2)
    more.append(dynamics(place, "moves", "reference", shift=1.0))
    unmarked = CARD.model_copy(deep=True)
    unmarked.trainings[SHIPPED].ship = False
    record(more, unmarked, CLAIMS, ["small_network"], results=tmp_path)
    assert (values(run, SHIPPED), values(run, OTHER)) == ({0.75}, {0.5})
    assert not (run.folder / f"weights/{SHIPPED}/all/seed-0/model.json").exists()
    assert run.histories()["group"].tolist() == [SHIPPED] * 2 + [OTHER] * 3
    moved = [atoms.info["potential"] for atoms in run.last_frames("moves")]
    assert moved == [f"{OTHER}/all/seed-0"] * 8 + ["reference"] * 8
    assert f"dynamics/moves/{OTHER}/all/seed-0/trajectory.h5" in run.manifest()
    assert run.faults() == []


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda path: path.unlink(), "is missing; copy it from where the run was recorded"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "is not the file that was"),
    ],
)
def test_what_is_kept_outside_is_compared_with_its_checksum(
    tmp_path, run, monkeypatch, capsys, damage, sentence
):
    monkeypatch.chdir(tmp_path.parent)
    monkeypatch.setattr("gnnip.__main__.RESULTS", tmp_path)
    monkeypatch.setattr(RecordedRun, "of", lambda *_: run)
    assert main(["kept"]) == 0
    assert "paper/kang2024: 3 files" in capsys.readouterr().out
    damage(run.kept / f"weights/{OTHER}/all/seed-0/model.safetensors")
    assert len(run.faults()) == 1
    with pytest.raises(DataError, match=sentence):
        run.load(OTHER, "all", 0)
    assert values(run, SHIPPED) == {0.25}
    assert main(["kept"]) == 1
    assert sentence in capsys.readouterr().out


def test_committed_weights_are_compared_with_their_description(run):
    other = models.build("pair", species=[11, 17], cutoff=5.0)
    models.save(other, run.folder.parent / "model")
    weights = run.folder / f"weights/{SHIPPED}/all/seed-0/model.safetensors"
    shutil.copy(run.folder.parent / "model.safetensors", weights)
    with pytest.raises(DataError, match="is not the file that model"):
        run.load(SHIPPED, "all", 0)


def test_what_was_never_recorded_is_named(run, tmp_path):
    with pytest.raises(DataError, match=f"did you mean 'weights/{OTHER}/all/seed-0/model"):
        run.load("pairs", "all", 0)
    with pytest.raises(DataError, match=r"has no histories\.csv; record a run first"):
        RecordedRun.of("long", "kang2024", tmp_path).histories()


# --- what was recorded before stays whole -------------------------------------------------------


def full_disk(number):
    """Return a function in place of one of `os` that finds the disk full after some calls."""
    left = iter(range(number))

    def refuse(*_):
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, "No space left on device")

    return refuse


@pytest.mark.parametrize("number", [0, 3, 5, 8])
def test_a_full_disk_leaves_what_was_there(tmp_path, run, finished, monkeypatch, number):
    before = content(run.folder) | content(run.kept)
    training(tmp_path / "paper/kang2024", OTHER, 0.9)
    monkeypatch.setattr(os, "fsync", full_disk(number))
    with pytest.raises(DataError, match=r"No space left on device.*free disk space"):
        record(finished, CARD, CLAIMS, None, results=tmp_path)
    monkeypatch.undo()
    assert content(tmp_path / "recorded") | content(tmp_path / "kept") == before
    assert values(run, OTHER) == {0.5}


def test_a_missing_file_and_too_many_weights_leave_what_was_there(
    tmp_path, run, finished, monkeypatch
):
    before = content(run.folder) | content(run.kept)
    monkeypatch.setattr(recording, "_SHIPPED", 2000)
    other = tmp_path / "recorded/quick/else/weights/group/all/seed-0/model.safetensors"
    other.parent.mkdir(parents=True)
    other.write_bytes(bytes(1_200_000))
    sentence = rf"kang2024 ships are too large: {SHIPPED} 0.0 MB, other records 1.2 MB, .*'ship'"
    with pytest.raises(ConfigError, match=sentence):
        record(finished, CARD, CLAIMS, None, results=tmp_path)
    finished[-1].unlink()
    with pytest.raises(DataError, match=r"trajectory.h5 does not exist; run the workflow"):
        record(finished, CARD, CLAIMS, None, results=tmp_path)
    assert content(run.folder) | content(run.kept) == before


def die():
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("when", ["in the block", "between the two renames"])
def test_a_kill_leaves_what_was_there(tmp_path, monkeypatch, when):
    folder = tmp_path / "record"
    folder.mkdir()
    (folder / "a").write_text("old")
    child = os.fork()
    if child == 0:
        try:
            with renewed(folder) as (copy,):
                (copy / "a").unlink()
                (copy / "b").write_text("new")
                if when == "in the block":
                    die()
                rename = type(folder).rename
                monkeypatch.setattr(type(folder), "rename", lambda *a: (rename(*a), die()))
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    with renewed(folder) as (copy,):
        assert {path.name: path.read_text() for path in copy.iterdir()} == {"a": "old"}
        (copy / "c").write_text("new")
    assert {path.name for path in folder.iterdir()} == {"a", "c"}
    assert list(tmp_path.iterdir()) == [folder]


def test_a_disk_without_hard_links_is_copied(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", full_disk(0))
    folder = tmp_path / "record"
    folder.mkdir()
    (folder / "a").write_text("old")
    with renewed(folder) as (copy,):
        assert (copy / "a").read_text() == "old"


def test_what_cannot_be_a_folder_is_named(tmp_path):
    (tmp_path / "recorded").write_text("in the way")
    sentence = r"recorded/card could not be written .*repair the folder"
    with pytest.raises(DataError, match=sentence), renewed(tmp_path / "recorded/card"):
        pass
