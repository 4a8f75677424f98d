"""What the rules are told: files, entries and hashes that follow from config and cards."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from gnnip.config import papers
from gnnip.config.pipeline import Pipeline
from gnnip.config.schema import Config
from gnnip.errors import ConfigError
from gnnip.strict import validate
from gnnip.training.outputs import RESULTS

ANION = {"tier": "smoke", "card": "gijon2023"}
GAT = {"group": "table1", "cell": "layer-gat_target-electronic", "seed": "0"}


def asked(**wildcards) -> SimpleNamespace:
    return SimpleNamespace(**(ANION | wildcards))


@pytest.fixture(scope="module")
def make(root):
    """Return a pipeline of a config; the project's folder is the current one, as for snakemake."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)

        def pipeline(**values) -> Pipeline:
            return Pipeline(validate(Config, {"tier": "smoke"} | values, "config.yaml"))

        yield pipeline


@pytest.fixture(scope="module")
def pipeline(make) -> Pipeline:
    return make()


def test_files_of_data_sets(pipeline, make):
    assert pipeline.dataset_made(asked(dataset="sic")) == ["results/smoke/generated/sic.h5"]
    assert pipeline.dataset_archive(asked(dataset="sic")) == []
    assert len(pipeline.trajectories(asked(dataset="sic"))) == 3
    assert pipeline.starts(asked(dataset="sic")) == []
    classical = ["results/smoke/datasets/water_anion.h5"]
    assert pipeline.starts(asked(dataset="water_anion_pimd")) == classical
    quick = asked(dataset="sic", tier="quick")
    assert pipeline.dataset_archive(quick) == ["data/sic.h5"]
    assert pipeline.dataset_made(quick) == []
    assert "point_charges" in pipeline.datasets(drawn=True).split("|")
    assert "sic" in pipeline.datasets(drawn=False).split("|")
    folder = {"path": "tests/unit/config", "format": "extxyz", "pattern": "*.py"}
    own = make(sources={"sic": folder})
    assert own.dataset_made(asked(dataset="sic")) == ["results/smoke/imported/sic.h5"]
    files = own.frames_to_import(asked(dataset="sic"))
    assert any(name.endswith("test_pipeline.py") for name in files)
    assert own.import_source(asked(dataset="sic"))["content"]
    with pytest.raises(ConfigError, match="No selected card uses the data set 'nothing'"):
        pipeline.dataset(asked(dataset="nothing"))


def test_files_of_trainings(pipeline):
    folder = "results/smoke/gijon2023/trainings/table1/layer-gat_target-electronic/seed-0"
    assert f"{folder}/summary.json" in pipeline.summaries(asked())
    entry = pipeline.training_entry(asked(**GAT))
    assert (entry["folder"], entry["data"]) == ("", "results/smoke/datasets/water_anion.h5")
    assert "device" not in entry["settings"]
    with pytest.raises(ConfigError, match="has no training table1/nothing at tier smoke"):
        pipeline.training_entry(asked(**GAT | {"cell": "nothing"}))


def test_a_training_waits_for_what_it_starts_from(pipeline):
    triplets = asked(card="rajak2021", group="sic_nn3", cell="all", seed="0")
    before = "results/smoke/rajak2021/trainings/sic_nn2/all/seed-0"
    assert pipeline.training_initial(triplets) == [
        f"{before}/model.safetensors",
        f"{before}/model.json",
    ]
    assert pipeline.training_initial(asked(**GAT)) == []


def test_settings_of_a_training(pipeline):
    settings = pipeline.of_training(lambda settings: settings)(asked(**GAT))
    assert (settings.epochs, settings.batch_size, settings.processes) == (2, 4, 1)


def test_measurements(pipeline):
    audit = asked(measurement="force_audit")
    models = pipeline.measured_models(audit)
    assert {name.rsplit("/", 1)[1] for name in models} == {
        "model.safetensors",
        "model.json",
        "predictions.csv",
    }
    assert pipeline.measured_datasets(audit) == ["results/smoke/datasets/water_anion_ladder.h5"]
    described = pipeline.measurement(audit)
    assert described["kind"] == "force_audit"
    assert described["options"]["term"] == "electronic"
    assert described["options"]["max_frames"] is None  # the kind's default is stated too
    assert {t["dataset"] for t in described["trainings"]} == {"water_anion_ladder"}
    assert pipeline.moved_trajectories(audit) == []
    timing = asked(measurement="timing")
    resources = pipeline.of_kind(lambda kind: (kind.clock, kind.on_gpu))
    assert (resources(audit), resources(timing)) == ((False, True), (True, False))
    # only the cells that the card names
    cells = {t["cell"] for t in pipeline.measurement(timing)["trainings"]}
    assert cells == {"layer-gat_target-atomic", "layer-gat_target-electronic"}


def test_gpus_go_to_networks_only(pipeline):
    on_gpu = pipeline.of_kind(lambda kind: kind.on_gpu)
    names = pipeline.card_at("gijon2023", "smoke").measurements
    networks = {name for name in names if on_gpu(asked(measurement=name))}
    assert networks == {"symmetry_audit", "force_audit", "elsewhere"}


def test_every_potential_of_a_dynamics_is_a_job(pipeline):
    dynamics = asked(measurement="dynamics")
    place = "results/smoke/gijon2023/dynamics/dynamics"
    assert pipeline.moved_trajectories(dynamics) == [
        f"{place}/forces/all/seed-0/trajectory.h5",
        f"{place}/forces_pair/all/seed-0/trajectory.h5",
        f"{place}/reference/trajectory.h5",
    ]
    assert "comparison" not in pipeline.reference_options(dynamics)
    archived = asked(card="rajak2021", tier="quick", measurement="dynamics_sic")
    assert pipeline.reference_archive(archived) == ["data/sic_md.h5"]
    assert len(pipeline.reference_code(archived)) == 16
    assert pipeline.reference_code(archived) != pipeline.reference_code(dynamics)


def test_an_artefact_knows_no_more_of_the_card_than_it_needs(pipeline):
    facts = pipeline.artefact_facts(asked(artefact="table1"))
    assert list(facts["trainings"]) == ["table1", "tuned"]
    assert facts["references"] == {"water_anion": "exact"}
    assert {block["artefact"] for block in facts["published"]} == {"table1"}
    cells = facts["trainings"]["table1"]["cells"]
    assert cells[0]["keys"] == {"layer": "gat", "target": "atomic"}
    assert cells[0]["split"]["scheme"] == "random"
    wanted = pipeline.artefact_inputs(asked(artefact="forces"))
    assert "results/smoke/gijon2023/measurements/force_audit.csv" in wanted
    assert "results/smoke/datasets/water_anion_ladder.h5" in wanted


@pytest.mark.parametrize(
    ("card", "artefact", "reference", "line"),
    [
        ("gijon2023", "table1", {"water_anion": "exact"}, "exact"),
        (
            "kang2024",
            "reference_data",
            {"au_mgo": "exact", "p4": "xtb"},
            "exact (au_mgo), xtb (p4)",
        ),
        ("hoedl2022", "reference_data", {"ean": "xtb", "ani": "dft"}, "xtb (ean), dft (ani)"),
        ("rajak2021", "stability", {"sic": "xtb", "gese2": "xtb"}, "xtb"),
    ],
)
def test_the_reference_is_that_of_the_data(pipeline, card, artefact, reference, line):
    place = asked(card=card, artefact=artefact, tier="quick")
    assert pipeline.artefact_facts(place)["references"] == reference
    assert pipeline.figure_info(place)["reference"] == line


def test_all_that_lasts_is_asked_for(pipeline, make):
    files = pipeline.final_files()
    assert len(files) == len(set(files))
    for suffix in ("csv", "metrics.csv", "png", "svg"):
        assert f"results/smoke/gijon2023/artefacts/table1.{suffix}" in files
    assert "results/smoke/gijon2023/claims.csv" in files
    assert "results/smoke/datasets/water_anion_ladder.verification.csv" in files
    assert "results/smoke/gijon2023/measurements/timing.csv" in files
    folder = pipeline.summaries(asked())[0].removesuffix("summary.json")
    moved = asked(measurement="dynamics")
    lost = [f"{folder}{name}" for name in RESULTS] + pipeline.moved_trajectories(moved)[:1]
    assert not set(lost) & set(files)
    assert pipeline.final_files([*lost, "results/quick/other.csv"]) == [*files, *lost]
    few = make(papers=["kang2024"], artefacts=["fig1a"]).final_files()
    assert not [name for name in few if "trainings/" in name or "gijon2023" in name]


def shown(of, card, artefact):
    """The folders of the trainings that an artefact and its measurements read."""
    place = asked(tier="quick", card=card, artefact=artefact)
    files = of.artefact_inputs(place)
    for name in of.card(place).measurements:
        files = files + of.measured_models(asked(tier="quick", card=card, measurement=name))
    return {name.rpartition("/")[0] for name in files if "/trainings/" in name}


@pytest.mark.parametrize(
    ("card", "artefact", "count"),
    [
        ("kang2024", "fig1b", 3),
        ("gijon2023", "fig3", 2),  # two of the twelve cells of a group are timed
        ("gijon2023", "fig2", 2),  # one of its six layers is drawn
        ("gijon2023", "grid", 2),
        ("cho2023", "peroxide", 3),
        ("hoedl2022", "attention", 1),  # one of three seeds is looked at
        ("kang2024", "explicit_charges", 7),  # one of five cells of a group is drawn and probed
        ("kang2024", "fig1a", 0),
    ],
)
def test_an_artefact_trains_only_what_it_shows(make, card, artefact, count):
    run = make(tier="quick", papers=[card], artefacts=[artefact])
    trained = {n.rpartition("/")[0] for n in run.summaries(asked(tier="quick", card=card))}
    assert trained == shown(run, card, artefact)
    assert len(trained) == count
    lasting = run.lasting_files(asked(tier="quick", card=card))
    assert {n.rpartition("/")[0] for n in lasting if "/trainings/" in n} == trained


def test_what_is_shown_starts_from_earlier_trainings(make):
    run = make(tier="quick", papers=["rajak2021"], artefacts=["fig3a"])
    place = "results/quick/rajak2021/trainings"
    trained = run.summaries(asked(tier="quick", card="rajak2021"))
    assert f"{place}/gese2_nn3/split-random/seed-0/summary.json" in trained
    assert not [name for name in trained if "split-trajectory" in name]
    earlier = asked(
        tier="quick", card="rajak2021", group="gese2_decomposed", cell="split-random", seed="0"
    )
    for name in run.training_initial(earlier):
        assert f"{name.rpartition('/')[0]}/summary.json" in trained


def test_listed_seeds_are_trained_and_the_first_of_them_is_measured(make):
    run = make(papers=["gijon2023"], seeds=[2, 5])
    place = "results/smoke/gijon2023/trainings/forces/all"
    made = [name for name in run.summaries(asked()) if name.startswith(place)]
    assert made == [f"{place}/seed-{seed}/summary.json" for seed in (2, 5)]
    models = run.measured_models(asked(measurement="dynamics"))
    assert {name.split("/")[-2] for name in models} == {"seed-2"}
    assert run.training_entry(asked(**GAT | {"seed": "5"}))["settings"]["seed"] == 5


def test_a_record_has_what_its_card_trains_and_moves(pipeline, make):
    files = pipeline.lasting_files(asked())
    place = "results/smoke/gijon2023"
    weights = [name for name in files if name.endswith("/model.safetensors")]
    assert len(weights) == len(pipeline.summaries(asked()))
    assert f"{place}/trainings/forces/all/seed-0/history.csv" in files
    assert set(pipeline.moved_trajectories(asked(measurement="dynamics"))) < set(files)
    few = make(artefacts=["grid"]).lasting_files(asked())
    assert few
    assert all(f"{place}/trainings/grid/" in name for name in few)
    untrained = make(papers=["kang2024"], artefacts=["fig1a"])
    assert untrained.lasting_files(asked(card="kang2024")) == []


def test_shipping_a_group_redoes_nothing(pipeline, make):
    def told(of) -> list[object]:
        place = asked(group="forces", cell="all", seed="0", artefact="forces")
        return [of.training_entry(place), of.artefact_facts(place), of.figure_info(place)]

    other = make()
    group = other.card(asked()).trainings["forces"]
    assert group.ship
    group.ship = False
    assert told(other) == told(pipeline)


def test_tables_of_artefacts_alone_are_redrawn(pipeline, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "results/recorded/smoke/gijon2023"
    folder.mkdir(parents=True)
    for name in ("table1", "table1.metrics", "verdicts", "claims", "histories"):
        (folder / f"{name}.csv").write_text("", encoding="utf-8")
    drawn = "results/figures/smoke/gijon2023/table1"
    assert pipeline.recorded_figures() == [f"{drawn}.png", f"{drawn}.svg"]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({}, "measurements.dynamics needs the column 'n_molecules'"),
        ({"n_molecules": "n"}, "needs the column 'temperature_k' of water_anion_ladder"),
        ({"temperature_k": "T"}, "needs the column 'n_molecules' of water_anion_ladder"),
        ({"temperature_k": "T", "n_molecules": "n"}, None),
    ],
)
def test_what_own_frames_lack_is_told_by_who_needs_it(make, columns, said):
    folder = {"path": "tests/unit/config", "format": "extxyz", "columns": columns}
    own = make(sources={"water_anion_ladder": folder})
    # the data set alone needs neither
    assert own.dataset_made(asked(dataset="water_anion_ladder"))

    def plan() -> list[str]:
        trained = own.training_dataset(asked(group="forces", cell="all", seed="0"))
        return [trained, own.moving_dataset(asked(measurement="dynamics"))]

    if said is None:
        assert plan() == ["results/smoke/datasets/water_anion_ladder.h5"] * 2
        return
    with pytest.raises(ConfigError, match=f"gijon2023: .*{said}"):
        plan()


def test_every_recorded_figure_can_be_redrawn(pipeline, root, monkeypatch):
    """Those of optional data sets, too, that were there for the record and are not here."""
    monkeypatch.chdir(root)
    optional = asked(tier="quick", card="cho2023", artefact="connectivity_films")
    with pytest.raises(KeyError):
        pipeline.figure_info(optional)
    for path in pipeline.recorded_figures():
        tier, card, name = Path(path).with_suffix("").parts[-3:]
        place = asked(tier=tier, card=card, artefact=name)
        info = pipeline.recorded_figure_info(place)
        assert (info["card"], info["tier"], info["artefact"]) == (card, tier, name)
        assert info["reference"]
        assert pipeline.recorded_figure_code(place)
        if name not in pipeline.card(place).artefacts:
            continue
        assert info == pipeline.figure_info(place)


def test_code_is_hashed_by_what_runs(pipeline, tmp_path):
    pair = asked(card="rajak2021", group="sic_nn2", cell="all", seed="0")
    hashes = {pipeline.training_code(asked(**GAT)), pipeline.training_code(pair)}
    assert len(hashes) == 2
    assert pipeline.figure_code(asked(artefact="table1")) != pipeline.artefact_code(
        asked(artefact="table1")
    )
    assert pipeline.claims_module(asked()) == "gijon2023.claims"
    assert papers.module(tmp_path, "claims") is None
