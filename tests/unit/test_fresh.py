"""A record is compared with the card, the data and the code that stand here."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from made_up_run import ROOT

from gnnip import fresh
from gnnip.__main__ import main
from gnnip.config.pipeline import Pipeline
from gnnip.config.schema import Config
from gnnip.fresh import EQUIVALENT, FRESH, STALE, UNKNOWN, check_record
from gnnip.provenance import PROVENANCE, describe_run, note_files
from gnnip.training import replay as replaying
from gnnip.training.loop import FIRST_STEPS

CARD, TIER = "rajak2021", "quick"
#: an artefact of a training, one of a measurement of several, one of data alone
LEARNED, MEASURED, DATA = "sic_errors", "fig2a", "reference_data"
GROUP, MEASUREMENT = "sic_gnn", "local_forces_sic"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> dict:
    """The provenance of a run of today, with the losses of one training."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        run = Pipeline(Config(papers=[CARD], tier=TIER))
        card, job = run.cards[CARD], SimpleNamespace(tier=TIER, card=CARD)
        training = card.training(GROUP, card.cells(GROUP)[0]).entry("", "data/sic.h5", 0, threads=1)
        losses = replaying.replay(training)
        summary = tmp_path_factory.mktemp("run") / GROUP / "all/seed-0/summary.json"
        summary.parent.mkdir(parents=True)
        summary.write_text(json.dumps({"first_losses": losses, "device": "cpu"}))
        data = {name: f"data/{name}.h5" for name in run.data_files(job)}
        config = run.config.model_dump(mode="json")
        return describe_run(run.whole_card(job), config, [], [summary], data, run.codes(job))


@pytest.fixture
def folder(tmp_path, monkeypatch, made):
    """A record of three artefacts."""
    monkeypatch.chdir(ROOT)
    folder = tmp_path / "recorded" / TIER / CARD
    folder.mkdir(parents=True)
    names = [f"{a}{end}" for a in (LEARNED, MEASURED, DATA) for end in (".csv", ".metrics.csv")]
    for name in (*names, "trainings.csv", "verdicts.csv"):
        (folder / name).write_text(f"{name}\n")
    (folder / PROVENANCE).write_text(json.dumps(made, sort_keys=True))
    note_files(folder, [*names, "trainings.csv", "verdicts.csv"], PROVENANCE)
    return folder


def change(folder, edit):
    """Edit the provenance of a record, as if it had been recorded elsewhere or before."""
    path = folder / PROVENANCE
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def found(folder, **how):
    findings = check_record(folder, folder.parents[2], say=lambda _: None, **how)
    return {one.name: (one.state, "; ".join(one.reasons)) for one in findings}


def other_code(*places, modules):
    """Return an edit after which other code stands here than when it was recorded."""

    def edit(content):
        for part, name in places:
            content["code"][part][name] = "0" * 16
        for name in modules:
            assert name in content["code"]["modules"]
            content["code"]["modules"][name] = "0" * 16

    return edit


def test_what_was_just_recorded_is_fresh(folder, made):
    assert found(folder) == dict.fromkeys((LEARNED, MEASURED, DATA), (FRESH, ""))
    assert len(made["first_losses"][f"{GROUP}/all/seed-0"]) == FIRST_STEPS


def test_training_code_that_trains_alike_is_equivalent(folder):
    change(folder, other_code(("trainings", GROUP), modules=["gnnip.training.loop"]))
    states = found(folder)
    assert states[LEARNED][0] == EQUIVALENT
    assert f"{GROUP} trains alike" in states[LEARNED][1]
    assert states[DATA] == (FRESH, "")


@pytest.mark.parametrize(
    ("error", "cpu", "expected"),
    [
        (1e-3, None, STALE),
        (1e-3, "another", STALE),
        (3e-6, None, STALE),
        (3e-6, "another", UNKNOWN),
        (3e-7, None, EQUIVALENT),
    ],
)
def test_other_losses_are_stale_where_no_processor_explains_them(
    folder, made, monkeypatch, error, cpu, expected
):
    losses = list(made["first_losses"][f"{GROUP}/all/seed-0"])
    losses[-1] *= 1 + error
    monkeypatch.setattr(replaying, "replay", lambda _: losses)
    change(folder, other_code(("trainings", GROUP), modules=["gnnip.training.loop"]))
    if cpu:
        change(folder, lambda content: content.update(cpu=cpu))
    state, reason = found(folder)[LEARNED]
    assert state == expected
    assert f"differ by {error:.1g}" in reason


def test_losses_that_were_not_kept_are_unknown(folder):
    change(folder, other_code(("trainings", GROUP), modules=["gnnip.training.loop"]))
    change(folder, lambda content: content["first_losses"].clear())
    state, reason = found(folder)[LEARNED]
    assert state == UNKNOWN
    assert "its first losses were not kept" in reason


def test_code_that_trainings_share_is_judged_by_them(folder, monkeypatch, made):
    shared = "gnnip.models.contract"
    groups = made["card"]["measurements"][MEASUREMENT]["trainings"]
    losses = made["first_losses"][f"{GROUP}/all/seed-0"]
    monkeypatch.setattr(replaying, "replay", lambda _: losses)
    places = [("measurements", MEASUREMENT), *(("trainings", group) for group in groups)]
    change(folder, other_code(*places, modules=[shared]))
    kept = {f"{group}/all/seed-0": losses for group in groups}
    change(folder, lambda content: content.update(first_losses=kept))
    # one of them starts from weights that this record does not have
    state, reason = found(folder)[MEASURED]
    assert (state, reason.count("trains alike")) == (UNKNOWN, len(groups) - 1)
    assert "has no weights/sic_nn3/all/seed-0/model.safetensors" in reason
    monkeypatch.setattr(fresh._Record, "_initial", lambda self, earlier, seed: "")
    state, reason = found(folder)[MEASURED]
    assert (state, reason.count("trains alike")) == (EQUIVALENT, len(groups))
    # the measurement's own code is not
    change(folder, other_code(modules=["gnnip.measurements.local_forces"]))
    state, reason = found(folder)[MEASURED]
    assert (state, reason) == (
        STALE,
        f"the code of the measurement {MEASUREMENT}: gnnip.measurements.local_forces, {shared}",
    )


def test_other_models_of_a_measurement_are_nothing_to_an_artefact(folder):
    record = fresh._Record(folder / PROVENANCE, folder, False, print)
    others = record._of_other_models(MEASUREMENT, [GROUP])
    assert "gnnip.models.triplet_network" in others
    assert not others & {"gnnip.models.graph_network", "gnnip.models.contract", "measure"}


@pytest.mark.parametrize(
    ("edit", "name", "reason"),
    [
        (
            lambda c: c["card"]["trainings"][GROUP]["settings"].update(epochs=7),
            LEARNED,
            f"the card: trainings.{GROUP}.all.settings.epochs",
        ),
        (
            lambda c: c["card"]["measurements"][MEASUREMENT]["options"].update(bins=7),
            MEASURED,
            f"the card: measurements.{MEASUREMENT}.options.bins",
        ),
        (
            other_code(("artefacts", DATA), modules=["gnnip.artefacts.make"]),
            DATA,
            "the code of the table reference_data: gnnip.artefacts.make",
        ),
        (lambda c: c["data"].update(gese2="0" * 64), DATA, "the data set gese2"),
        (
            lambda c: c["card"]["artefacts"].pop(DATA),
            DATA,
            "the card: ",
        ),
    ],
)
def test_what_does_not_belong_is_named(folder, edit, name, reason):
    change(folder, edit)
    states = found(folder)
    assert states[name][0] == STALE
    assert states[name][1].startswith(reason)
    # the training is behind the measurement too
    others = {LEARNED: [DATA], MEASURED: [LEARNED, DATA], DATA: [LEARNED, MEASURED]}[name]
    assert {states[other][0] for other in others} == {FRESH}


def test_artefacts_that_the_card_does_not_have_here(folder):
    for name in ("gone", "optional"):
        for end in (".csv", ".metrics.csv"):
            (folder / f"{name}{end}").write_text("as recorded")
    record = fresh._Record(folder / PROVENANCE, folder, False, print)
    record.card.skipped["optional"] = "the optional data set 'x' is not shipped"
    states = {one.name: (one.state, one.reasons) for one in record.check(["gone", "optional"])}
    assert states["gone"] == (STALE, ["the card has no such artefact any more"])
    assert states["optional"] == (UNKNOWN, ["the optional data set 'x' is not shipped"])


def test_words_and_looks_make_nothing_stale(folder):
    def edit(content):
        content["card"]["trainings"][GROUP] |= {"title": "else", "colour": "red", "ship": True}
        content["card"]["artefacts"][LEARNED]["title"] = "else"

    change(folder, edit)
    assert {state for state, _ in found(folder).values()} == {FRESH}


def test_changed_and_missing_bytes_are_named(folder):
    (folder / f"{DATA}.csv").write_text("by hand")
    (folder / "trainings.csv").unlink()
    states = found(folder)
    assert states[DATA] == (STALE, f"{DATA}.csv is not the file that was recorded")
    assert states["trainings.csv"] == (STALE, "trainings.csv is missing")
    assert states[LEARNED] == (FRESH, "")


def test_a_record_of_before_is_unknown_with_what_its_card_tells(folder):
    def edit(content):
        for key in ("code", "data", "first_losses", "files"):
            del content[key]
        content["card"]["trainings"][GROUP]["settings"]["epochs"] = 7

    change(folder, edit)
    states = found(folder)
    assert states[LEARNED] == (
        UNKNOWN,
        f"recorded without checksums; the card: trainings.{GROUP}.all.settings.epochs",
    )
    assert states[DATA][0] == UNKNOWN
    assert "is the same" in states[DATA][1]
    # a form that the cards of today do not have
    change(folder, lambda content: content["card"].update(steps={}))
    assert found(folder)[LEARNED] == (
        UNKNOWN,
        f"recorded without checksums; the card: trainings.{GROUP}.settings.epochs",
    )


def test_artefacts_that_joined_belong_to_their_own_provenance(folder, made):
    part = folder / f"{DATA}.{PROVENANCE}"
    part.write_text(json.dumps(made | {"data": made["data"] | {"sic": "0" * 64}}))
    note_files(folder, [f"{DATA}.csv", f"{DATA}.metrics.csv"], part.name)
    states = found(folder)
    assert states[DATA] == (STALE, "the data set sic")
    assert states[LEARNED] == (FRESH, "")


def test_data_that_are_not_here_are_unknown(folder, monkeypatch):
    monkeypatch.setattr(fresh._Record, "data_here", lambda self, name: None)
    assert found(folder)[DATA] == (
        UNKNOWN,
        "the data set sic is not here; the data set gese2 is not here",
    )


@pytest.mark.parametrize(("damage", "status"), [(False, 0), (True, 1)])
def test_the_command_fails_on_stale_alone(folder, monkeypatch, capsys, damage, status):
    monkeypatch.setattr("gnnip.__main__.RESULTS", folder.parents[2])
    change(folder, lambda content: content["first_losses"].clear())
    change(folder, other_code(("trainings", GROUP), modules=["gnnip.training.loop"]))
    if damage:
        (folder / f"{DATA}.csv").unlink()
    assert main(["fresh", CARD, "--tier", TIER]) == status
    said = capsys.readouterr().out
    assert said.startswith(
        f"{TIER}/{CARD}: {'2 unknown, 1 stale' if damage else '1 fresh, 2 unknown'}\n"
    )
    assert f"  unknown: {MEASURED}, {LEARNED}: " in said


def test_no_record_of_the_project_is_stale(root, monkeypatch, capsys):
    monkeypatch.chdir(root)
    assert main(["fresh", "--first-seed"]) == 0
    said = capsys.readouterr().out
    for folder in fresh.records(root / "results/recorded"):
        assert "/".join(folder.parts[-2:]) in said
