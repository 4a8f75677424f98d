from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from gnnip import __main__, kinds
from gnnip.config import papers, schema, trainings
from gnnip.config.resolve import merge, resolve, resolve_all
from gnnip.config.schema import TIERS, Config
from gnnip.errors import ConfigError
from gnnip.sampling.plans import make_plan
from gnnip.strict import validate
from gnnip.verdicts import outcomes
from gnnip.verdicts.published import Tolerance

REPOSITORY = Path(__file__).resolve().parents[3]


def config_of(values: dict) -> Config:
    return validate(Config, values, "config.yaml")


def written(folder: Path, name: str, text: str) -> Path:
    """Write the card of a paper whose Python files are those of the real one; return `folder`."""
    place = folder / name
    shutil.copytree(REPOSITORY / "papers" / name, place, dirs_exist_ok=True)
    (place / "card.yaml").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def raw(root: Path) -> dict:
    return yaml.safe_load((root / "papers/gijon2023/card.yaml").read_text(encoding="utf-8"))


@pytest.fixture
def write(tmp_path: Path):
    """Write a changed card and return the folder that holds it."""

    def _write(card: dict) -> Path:
        return written(tmp_path, "gijon2023", yaml.safe_dump(card))

    return _write


def complaint(function, *arguments, **keywords) -> str:
    with pytest.raises(ConfigError) as caught:
        function(*arguments, **keywords)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith((".", "?"))
    return message


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"seeds": 0}, "seeds: input should be greater than or equal to 1, found 0"),
        ({"seeds": []}, "seeds: list should have at least 1 item"),
        ({"seeds": [0, 2, 0]}, "seeds: the seed 0 is listed twice; remove one"),
        ({"seeds": [0, -1]}, "seeds.1: input should be greater than or equal to 0, found -1"),
        ({"seeds": "2"}, "seeds: input should be a valid integer, found '2'"),
        ({"papers": []}, "papers"),
        ({"device": "gpu"}, "device"),
        ({"sources": {"water_anion": "archiv"}}, "sources.water_anion: input should be 'archive'"),
        ({"sources": {"a": {"path": "x"}}}, "config.yaml: sources.a.format: Field required."),
        (
            {"sources": {"a": {"path": "x", "format": "extxyz", "energi": "E"}}},
            "config.yaml: sources.a: unknown key 'energi', did you mean 'energy'?",
        ),
    ],
)
def test_bad_config_is_one_sentence(values, expected):
    assert expected in complaint(config_of, values)


def test_a_folder_of_frames_can_be_the_source(root):
    folder = {"path": "frames", "format": "vasp", "pattern": "**/OUTCAR"}
    config = config_of({"sources": {"water_anion": folder}})
    use = resolve("gijon2023", "quick", config, root / "papers").datasets["water_anion"]
    assert use.source == "folder"
    assert (use.folder.path, use.folder.pattern) == ("frames", "**/OUTCAR")
    config = config_of({"sources": {"water_anion": "folder"}})
    message = complaint(resolve, "gijon2023", "quick", config, root / "papers")
    assert "datasets.water_anion has the source folder, but no folder; write {path: " in message


def test_command_line_lists():
    assert config_of({"papers": "a,b"}).papers == ["a", "b"]
    assert config_of({"papers": "a"}).papers == ["a"]


def test_config_file_problems(tmp_path):
    assert papers.load_config(tmp_path / "none.yaml") == Config()
    (tmp_path / "broken.yaml").write_text("tier: [quick\npapers: x", encoding="utf-8")
    assert "not valid YAML" in complaint(papers.load_config, tmp_path / "broken.yaml")
    (tmp_path / "list.yaml").write_text("- quick", encoding="utf-8")
    assert "key: value" in complaint(papers.load_config, tmp_path / "list.yaml")


def change(path: str, value):
    def apply(card: dict) -> None:
        *parents, last = path.split("/")
        for key in parents:
            card = card[int(key) if isinstance(card, list) else key]
        card[last] = value

    return apply


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (change("titel", "x"), "unknown key 'titel', did you mean 'title'?"),
        (
            change("training_defaults/settings/epoch", 3),
            "training_defaults.settings: unknown key 'epoch', did you mean 'epochs'?",
        ),
        (change("training_defaults/hyperparameters/cutoff", -6), "cutoff is -6"),
        (change("trainings/cutoff_scan/matrix/cutoff", [4, 0]), "cutoff is 0"),
        (change("trainings/table1/matrix/layer", []), "matrix.layer is empty"),
        (change("trainings/table1/matrix/layer", ["gats"]), "did you mean 'gat'?"),
        (change("trainings/table1/hyperparameters", {"chanels": 3}), "did you mean 'channels'?"),
        (change("trainings/table1/model", "spectral"), "did you mean 'spektral'?"),
        (change("trainings/grid/matrix/split", ["by_size"]), "trainings.grid"),
        (change("trainings/table1/dataset", "water"), "'water' is not defined"),
        (change("datasets/water_anion_pimd/starts", "water"), "data set 'water' is not defined"),
        (change("artefacts/fig2/trainings", ["table2"]), "did you mean 'table1'?"),
        (change("artefacts/fig3/measurements", ["timings"]), "did you mean 'timing'?"),
        (change("published/0/artefact", "table2"), "did you mean 'table1'?"),
        (change("published/0/tolerance", {"factor": 2, "absolute": 1}), "exactly one of"),
        (change("published/0/tolerance", {"factor": 0.5}), "published.0.tolerance.factor"),
        (change("claims/gat_best/artefacts", ["tabel1"]), "did you mean 'table1'?"),
        (change("tiers/quick/trainigs", {}), "did you mean 'trainings'?"),
        (change("tiers/huge", {}), "tiers.huge"),
        (change("tiers/quick/trainings/table1", {"epochs": 1}), "(tier quick): trainings.table1"),
        (change("id", "gijon"), "must be the folder's"),
    ],
)
def test_bad_card_is_one_sentence_naming_file_and_key(raw, write, edit, expected):
    edit(raw)
    message = complaint(resolve, "gijon2023", "quick", folder=write(raw))
    assert "gijon2023/card.yaml" in message
    assert expected in message


def test_hyperparameters_of_the_defaults_are_those_of_their_model(raw, write):
    raw["trainings"]["forces"]["hyperparameters"] = {"species": [1, 8], "channels": 4}
    card = resolve("gijon2023", "paper", folder=write(raw))
    (cell,) = card.cells("forces")
    plan = trainings.describe(card.trainings["forces"], cell)
    assert plan.model == "nequip"
    # no layer, no activation of the convolutional networks; a list stays a list
    assert plan.hyperparameters == {"species": [1, 8], "channels": 4}
    assert plan.split["scheme"] == "trajectory"
    assert "layer" in card.trainings["grid"].hyperparameters


def test_every_tier_of_every_card_resolves(root):
    for name in papers.folders(folder=root / "papers"):
        for tier in TIERS:
            card = resolve(name, tier, folder=root / "papers")
            assert card.tier == tier
            for group in card.trainings:
                names = [cell.name for cell in card.cells(group)]
                assert len(names) == len(set(names)) > 0


def test_published_values_are_those_of_the_paper(root, shared):
    text = (shared / "papers/gijon2023.txt").read_text(encoding="utf-8")
    card = papers.load_card(root / "papers/gijon2023")
    ours = {k: v for block in card.published for k, v in block.values.items()}
    names = {"GATConv": "gat", "GCSCConv": "gcs", "ECCConv": "ecc", "AGNNConv": "agnn"}
    names |= {"CrystalConv": "crystal", "GeneralConv": "general"}
    rows = 0
    for line in text.splitlines():
        cells = line.split("\t")
        if len(cells) == 7 and cells[0] in names:
            rows += 1
            quantities = [
                f"{names[cells[0]]}_{target}_{measure}"
                for target in ("atomic", "electronic")
                for measure in ("mae", "mse", "mape")
            ]
            assert [ours[q] for q in quantities] == [float(cell) for cell in cells[1:]]
    assert rows == 6


def test_every_claim_has_a_test(root):
    for name, folder in papers.folders(folder=root / "papers").items():
        claims, own = papers.load_card(folder).claims, papers.module(folder, "claims")
        assert set(claims) == set(outcomes.tests_of(claims, own)), name


def test_cells_send_each_value_where_it_belongs():
    group = schema.TrainingGroup.model_validate(
        {
            "dataset": "water_anion_ladder",
            "model": "spektral",
            "matrix": {
                "layer": ["gat", "gcs"],
                "split": ["random", "size"],
                "target": ["atomic", "electronic"],
                "learning_rate": [0.0003],
            },
            "hyperparameters": {"cutoff": 6},
            "split": {"largest_train_size": 100, "smallest_test_size": 139, "max_frames": 50},
        }
    )
    cells = trainings.expand(group)
    assert len(cells) == 8
    assert cells[0].name == "layer-gat_split-random_target-atomic_learning_rate-0.0003"
    assert cells[-1].chosen(
        {"layer": ["gcs"], "target": ["electronic", "atomic"], "split": ["size"]}
    )
    assert not cells[-1].chosen({"layer": ["gat"]})
    random, size = (trainings.describe(group, cell) for cell in (cells[0], cells[-1]))
    assert random.split == {"scheme": "random", "max_frames": 50}
    assert size.split == {
        **{"scheme": "size", "largest_train_size": 100, "smallest_test_size": 139},
        "max_frames": 50,
    }
    assert size.hyperparameters == {"cutoff": 6, "layer": "gcs"}
    assert (size.term, size.model) == ("electronic", "spektral")
    assert size.settings["learning_rate"] == 0.0003
    entry = size.entry("folder", "data.h5", 3, device="cpu")
    assert entry["settings"]["seed"] == 3
    assert entry["settings"]["device"] == "cpu"


def test_a_cell_may_have_values_of_its_own(raw, write):
    card = resolve("gijon2023", "paper", folder=write(raw))
    plans = {cell.name: card.training("tuned", cell) for cell in card.cells("tuned")}
    for name, own in card.trainings["tuned"].by_cell.items():
        plan = plans[name]
        assert {k: (plan.settings | plan.hyperparameters)[k] for k in own} == own
    others = card.training("table1", card.cells("table1")[0])
    assert others.settings["learning_rate"] == card.training_defaults.settings.learning_rate
    # a tier need not have all the cells
    quick = resolve("gijon2023", "quick", folder=write(raw))
    assert len(quick.cells("tuned")) < len(quick.trainings["tuned"].by_cell)
    own = raw["trainings"]["tuned"]["by_cell"]
    own["layer-gatt_target-atomic"] = own.pop("layer-gat_target-atomic")
    message = complaint(resolve, "gijon2023", "paper", folder=write(raw))
    assert "tuned.by_cell: there is no cell 'layer-gatt_target-atomic', did you mean" in message
    del own["layer-gatt_target-atomic"]
    own["layer-gcs_target-atomic"] = {"layer": "gat"}
    message = complaint(resolve, "gijon2023", "paper", folder=write(raw))
    assert "by_cell.layer-gcs_target-atomic states layer, which the matrix states" in message


def test_a_group_may_ship_some_of_its_cells(raw, write):
    group = resolve("gijon2023", "paper", folder=write(raw)).trainings["table1"]
    assert group.ships("layer-gat_target-electronic")
    assert not group.ships("layer-gat_target-atomic")
    assert resolve("gijon2023", "paper", folder=write(raw)).trainings["forces"].ships("all")
    raw["trainings"]["table1"]["ship"] = ["layer-gat_target-electron"]
    message = complaint(resolve, "gijon2023", "paper", folder=write(raw))
    assert "table1.ship: there is no cell 'layer-gat_target-electron', did you mean" in message


def test_a_group_without_matrix_has_one_cell():
    assert [cell.name for cell in trainings.expand(schema.TrainingGroup())] == ["all"]


def test_a_group_without_model_is_named():
    group = schema.TrainingGroup(dataset="water_anion_ladder", target="atomic")
    assert "no model" in complaint(trainings.describe, group, trainings.expand(group)[0])


def test_a_value_that_is_no_folder_name():
    group = schema.TrainingGroup(matrix={"layer": ["a/b"]})
    assert "folder name" in complaint(trainings.expand, group)


def test_merge():
    base = {"a": {"b": 1, "c": [1, 2]}, "d": 4}
    kept = copy.deepcopy(base)
    assert merge(base, {"a": {"c": [3], "e": 5}, "d": None}) == {"a": {"b": 1, "c": [3], "e": 5}}
    assert base == kept


def test_a_tier_that_drops_a_group_drops_its_artefacts(raw, write):
    raw["tiers"]["quick"]["trainings"]["grid"] = None
    card = resolve("gijon2023", "quick", folder=write(raw))
    assert "grid" not in card.artefacts
    assert card.skipped["grid"] == "left out at tier quick"
    assert "grid" in resolve("gijon2023", "paper", folder=write(raw)).artefacts


def test_ensembles_are_measured_where_there_are_several_seeds(raw, write):
    folder = write(raw)
    one = resolve("gijon2023", "quick", folder=folder)
    assert "calibration" not in {**one.measurements, **one.artefacts}
    assert "one seed" in one.skipped["calibration"]
    several = resolve("gijon2023", "quick", Config(seeds=2), folder)
    assert several.measurements["calibration"].trainings == ["tuned"]
    assert "calibration" in several.artefacts
    whole = resolve("gijon2023", "paper", Config(seeds=1), folder)
    assert "calibration" in whole.skipped


def test_what_is_replayed_is_kept_with_the_artefact_that_needs_it(root):
    config = Config(papers=["rajak2021"], artefacts=["warning"], tier="long")
    card = resolve("rajak2021", "long", config, root / "papers")
    materials = ("sic", "gese2")
    of = {kind: [f"{kind}_{m}" for m in materials] for kind in ("warnings", "dynamics")}
    assert set(card.measurements) == {*of["warnings"], *of["dynamics"]}
    for warning, moved in zip(of["warnings"], of["dynamics"], strict=True):
        assert card.measurements[moved].trainings == card.measurements[warning].trainings
    assert set(card.trainings) == {
        g for m in of["warnings"] for g in card.measurements[m].trainings
    }


def test_what_the_tier_says_an_artefact_is_made_of_comes_first(raw, write):
    """A shorter list of trainings keeps the artefact although a group of the longer one is gone."""
    raw["artefacts"]["splits"]["trainings"] = ["splits", "grid"]
    quick = raw["tiers"]["quick"]
    quick["trainings"]["grid"] = None
    quick["artefacts"] = {"grid": None}
    card = resolve("gijon2023", "quick", folder=write(raw))
    left_out = {name for name, why in card.skipped.items() if why == "left out at tier quick"}
    waits = {"geometries"}
    assert left_out == {"splits", "grid"} | waits
    quick["artefacts"]["splits"] = {"trainings": ["splits"]}
    card = resolve("gijon2023", "quick", folder=write(raw))
    assert card.artefacts["splits"].trainings == ["splits"]
    left_out = {name for name, why in card.skipped.items() if why == "left out at tier quick"}
    assert left_out == {"grid"} | waits
    # a list that still names what is gone does not help
    quick["artefacts"]["splits"] = {"trainings": ["grid"]}
    assert "splits" in resolve("gijon2023", "quick", folder=write(raw)).skipped


def test_the_command_line_knows_every_tier():
    assert __main__.TIERS == TIERS


def test_the_long_tier_starts_from_the_quick_one(raw, write):
    raw["tiers"]["quick"]["trainings"]["grid"] = None
    quick = resolve("gijon2023", "quick", folder=write(raw))
    same = resolve("gijon2023", "long", folder=write(raw))
    assert (same.trainings, same.note) == (quick.trainings, quick.note)
    assert same.skipped["grid"] == "left out at tier long"
    # what quick leaves out can come back, with changes to the card's own words
    paper = resolve("gijon2023", "paper", folder=write(raw))
    epochs = paper.trainings["grid"].settings.epochs
    raw["tiers"]["long"] = {
        "note": "longer",
        "training_defaults": {"seeds": 2},
        "trainings": {"grid": {"settings": {"epochs": epochs + 1}}, "splits": None},
    }
    long = resolve("gijon2023", "long", folder=write(raw))
    assert long.note == "longer"
    assert set(long.trainings) == {*quick.trainings, "grid"} - {"splits"}
    assert long.trainings["grid"].settings.epochs == epochs + 1
    assert long.trainings["table1"].seeds == 2
    assert long.trainings["table1"].settings == quick.trainings["table1"].settings
    assert resolve("gijon2023", "quick", folder=write(raw)) == quick


def test_the_ablation_of_every_tier_has_the_arms_that_the_tier_trains(root):
    for tier in TIERS:
        card = resolve("rajak2021", tier, folder=root / "papers")
        apart = ("_free", "_fewer")
        arms = {name for name in card.trainings if not name.endswith(apart)}
        assert set(card.artefacts["ablation"].trainings) == arms
        # what takes the reference half a minute a frame is left out of the quick tier
        others = {name for name, why in card.skipped.items() if "seed" not in why}
        curves = {"learning_sic", "learning_gese2"} if tier in ("smoke", "quick") else set()
        assert others == ({"autopsy"} if tier == "quick" else set()) | curves


def test_a_matrix_key_may_be_a_column_of_the_split():
    group = schema.TrainingGroup(
        dataset="a",
        model="nequip",
        target="coulomb",
        split={"scheme": "columns", "where": {"kept_fraction": [1.0], "purpose": ["train"]}},
        matrix={"kept_fraction": [1.0, 0.5]},
    )
    plans = [trainings.describe(group, cell) for cell in trainings.expand(group)]
    assert [p.split["where"]["kept_fraction"] for p in plans] == [[1.0], [0.5]]
    assert all(p.split["where"]["purpose"] == ["train"] for p in plans)
    assert all("kept_fraction" not in p.hyperparameters for p in plans)


def test_chosen_artefacts_bring_what_they_need_and_nothing_else(root):
    config = config_of({"papers": ["gijon2023"], "artefacts": "fig3"})
    card = resolve_all(config, root / "papers")["gijon2023"]
    assert list(card.artefacts) == ["fig3"]
    assert list(card.measurements) == ["timing"]
    assert list(card.trainings) == ["table1"]
    assert card.skipped["fig1"] == "not among the artefacts chosen for this run"
    wrong = config_of({"papers": ["gijon2023"], "artefacts": ["fig33"]})
    assert "no selected card has 'fig33', did you mean 'fig3'" in complaint(
        resolve_all, wrong, root / "papers"
    )


def test_terms_of_a_sum_are_checked():
    from gnnip import catalogue

    terms = [{"model": "pair", "hyperparameters": {"species": [1]}}, {"model": "coulomb"}]
    catalogue.check_hyperparameters("sum", {"terms": terms})
    assert catalogue.model_modules("sum", {"terms": terms}) == [
        "gnnip.models.coulomb",
        "gnnip.models.pair",
        "gnnip.models.sum",
    ]
    terms[0]["hyperparameters"] = {"speciez": [1]}
    message = complaint(catalogue.check_hyperparameters, "sum", {"terms": terms})
    assert "the model 'pair' has no 'speciez', did you mean 'species'" in message


@pytest.fixture
def hierarchy(raw):
    """A card whose forces are learned by a pair network, then a triplet network on top."""
    species = {"species": [1, 8]}
    group = {"title": "", "target": "total", "seeds": 2}
    first = group | {"model": "pair_network", "hyperparameters": species}
    terms = [
        {"initial": {"training": "nn2"}, "frozen": True},
        {"model": "triplet_network", "hyperparameters": species},
    ]
    second = group | {"model": "sum", "hyperparameters": {"terms": terms}}
    raw["trainings"] |= {"nn2": first, "nn3": second}
    raw["tiers"] = {}
    raw["artefacts"]["forces"]["trainings"] = ["nn3"]
    raw["artefacts"]["forces"]["measurements"] = []
    return raw


def terms_of(raw):
    return raw["trainings"]["nn3"]["hyperparameters"]["terms"]


def test_a_training_starts_from_an_earlier_one(hierarchy, write):
    chosen = config_of({"papers": ["gijon2023"], "artefacts": ["forces"]})
    card = resolve("gijon2023", "paper", chosen, write(hierarchy))
    assert set(card.trainings) == {"nn2", "nn3"}  # nn2 although no artefact reads it
    (cell,) = card.cells("nn3")
    plan = card.training("nn3", cell)
    assert card.earlier(plan) == [("nn2", "all")]
    assert "gnnip.models.pair_network" in card.modules(plan)
    assert "gnnip.models.triplet_network" in card.modules(plan)
    entry = plan.entry("here", "data.h5", 1, "there/trainings")
    assert entry["hyperparameters"]["terms"][0] == {
        "initial": "there/trainings/nn2/all/seed-1",
        "frozen": True,
    }
    assert terms_of(hierarchy)[0]["initial"] == {"training": "nn2"}
    # without the term there is nothing to wait for
    del terms_of(hierarchy)[0]
    card = resolve("gijon2023", "paper", chosen, write(hierarchy))
    assert set(card.trainings) == {"nn3"}
    assert card.earlier(card.training("nn3", cell)) == []


def test_the_cell_to_start_from(hierarchy, write):
    hierarchy["trainings"]["nn2"]["matrix"] = {"envelope": [True, False], "batch_size": [4, 8]}
    hierarchy["trainings"]["nn3"]["matrix"] = {"batch_size": [4, 8]}
    terms_of(hierarchy)[0]["initial"]["cell"] = "batch_size-8_envelope-False"
    card = resolve("gijon2023", "paper", None, write(hierarchy))
    plans = [card.training("nn3", cell) for cell in card.cells("nn3")]
    assert [card.earlier(p)[0][1] for p in plans] == ["batch_size-8_envelope-False"] * 2
    hierarchy["trainings"]["nn2"]["matrix"]["envelope"] = [False]
    del terms_of(hierarchy)[0]["initial"]["cell"]
    card = resolve("gijon2023", "paper", None, write(hierarchy))
    plans = [card.training("nn3", cell) for cell in card.cells("nn3")]
    assert [card.earlier(p)[0][1] for p in plans] == [
        "batch_size-4_envelope-False",
        "batch_size-8_envelope-False",
    ]


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("initial", {"training": "nn"}, "the training group 'nn' is not defined, did you mean"),
        ("initial", {"trainig": "nn2"}, "unknown key 'trainig', did you mean 'training'"),
        ("initial", {"training": "nn2", "cell": "al"}, "has no cell 'al', did you mean 'all'"),
        ("initial", {"training": "nn3"}, "'nn3' starts from itself"),
        ("seeds", 1, "'nn2' has no seed 1, and 'nn3', which starts from it, has; give both the"),
        ("seeds", [1, 2], "'nn2' has no seed 0, and 'nn3', which starts from it, has; give both"),
        (
            "split",
            {"scheme": "trajectory"},
            "divides the frames of water_anion in",
        ),
        ("matrix", {"envelope": [True, False]}, "2 cells of the training 'nn2' agree"),
    ],
)
def test_mistakes_in_what_a_training_starts_from(hierarchy, write, path, value, expected):
    if path == "initial":
        terms_of(hierarchy)[0]["initial"] = value
    else:
        hierarchy["trainings"]["nn2"][path] = value
    message = complaint(resolve, "gijon2023", "paper", None, write(hierarchy))
    assert expected in message
    assert "trainings.nn3" in message


def test_the_users_reference_labels_what_is_generated(root):
    wanted = {"sic": "cp2k basis=SZV-MOLOPT-SR-GTH cutoff=250 ranks=2"}
    config = config_of({"papers": ["rajak2021"], "references": wanted})
    card = resolve("rajak2021", "paper", config)
    assert card.references["sic_errors"] == card.reference_of("sic") == "dft"
    use = card.datasets["sic"]
    assert use.source == "generate"
    plan = make_plan("sic", use.sizes[0], 0, use.plan)
    assert plan.label_engine.startswith("cp2k ")
    assert "cutoff=250" in plan.label_engine
    assert plan.engine == make_plan("sic", use.sizes[0], 0, {}).engine
    assert card.datasets["gese2"].source == "archive"
    for changes, message in (
        ({"sources": {"sic": "archive"}}, "asked for from archive and by another reference"),
        ({"references": {"sic": "cp2q"}}, "no engine 'cp2q'"),
    ):
        config = config_of({"references": wanted} | changes)
        with pytest.raises(ConfigError, match=message):
            resolve("rajak2021", "paper", config)
    config = config_of({"references": {"water_anion": "xtb"}})
    with pytest.raises(ConfigError, match="labelled by a model of its own"):
        resolve("gijon2023", "paper", config)
    with pytest.raises(ConfigError, match="references: no card uses 'sick', did you mean 'sic'"):
        resolve_all(config_of({"references": {"sick": "xtb"}}))


def test_the_users_seeds_and_sources_win(root):
    config = config_of({"seeds": 2, "sources": {"water_anion": "generate"}})
    card = resolve("gijon2023", "quick", config, root / "papers")
    assert {group.seeds for group in card.trainings.values()} == {2}
    assert card.datasets["water_anion"].source == "generate"
    assert card.seeds_of_artefact("table1") == 2
    assert card.seeds_of_artefact("fig3") == 1


@pytest.mark.parametrize("seeds", [[0, 2], "0,2", ["0", "2"]])
def test_seeds_are_a_count_or_a_list(root, seeds):
    card = resolve("gijon2023", "quick", config_of({"seeds": seeds}), root / "papers")
    assert {tuple(card.seeds(group)) for group in card.trainings} == {(0, 2)}
    assert card.seeds_of_artefact("table1") == 2
    # what a job is told of a card is read back
    again = type(card).model_validate(json.loads(card.model_dump_json()))
    assert again.seeds("table1") == [0, 2]


def test_a_shipped_reference_is_run_where_the_user_says_so(raw, write):
    raw["measurements"]["dynamics"]["options"]["reference_archive"] = "anion_path"
    folder = write(raw)
    for source, kept in (("archive", True), ("generate", False)):
        values = {"papers": ["gijon2023"], "sources": {"anion_path": source}}
        card = resolve_all(config_of(values), folder)["gijon2023"]
        assert ("reference_archive" in card.measurements["dynamics"].options) is kept
    values["sources"] = {"anion_paths": "generate"}
    message = complaint(resolve_all, config_of(values), folder)
    assert "no card uses 'anion_paths', did you mean 'anion_path'" in message
    values["sources"] = {"anion_path": "download"}
    message = complaint(resolve_all, config_of(values), folder)
    assert "trajectory 'anion_path' has the source archive or generate, no other" in message


def test_an_archive_needs_the_name_of_its_reference(raw, write):
    raw["measurements"]["dynamics"]["options"] |= {"reference_archive": "a", "reference": None}
    message = complaint(resolve, "gijon2023", "quick", None, write(raw))
    assert "measurements.dynamics: it has a reference_archive but no reference" in message


@pytest.mark.parametrize(
    ("tolerance", "published", "expected", "text"),
    [
        ({"factor": 2}, 4.0, (2.0, 8.0), "factor 2"),
        ({"relative": 0.25}, 4.0, (3.0, 5.0), "±25 %"),
        ({"relative": 0.25}, -4.0, (-5.0, -3.0), "±25 %"),
        ({"absolute": 0.5}, 5.0, (4.5, 5.5), "±0.5"),
    ],
)
def test_tolerance(tolerance, published, expected, text):
    tolerance = Tolerance(**tolerance)
    assert tolerance.bounds(published) == pytest.approx(expected)
    assert str(tolerance) == text


def test_first_line_names_the_schema(root):
    cards = dict.fromkeys((root / "papers").glob("*/card.yaml"), "card")
    files = {root / "config.yaml": "config", **cards}
    for path, kind in files.items():
        first = path.read_text(encoding="utf-8").splitlines()[0]
        assert first.startswith("# yaml-language-server: $schema=")
        schema = path.parent / first.partition("=")[2]
        assert schema.resolve() == (root / f"workflow/schemas/{kind}.schema.json").resolve()


def test_files_obey_their_schemas(root):
    jsonschema = pytest.importorskip("jsonschema")
    schemas = {name: json.loads(text) for name, text in schema.schemas().items()}
    config = yaml.safe_load((root / "config.yaml").read_text(encoding="utf-8"))
    jsonschema.validate(config, schemas["config.schema.json"])
    for path in (root / "papers").glob("*/card.yaml"):
        card = yaml.safe_load(path.read_text(encoding="utf-8"))
        jsonschema.validate(card, schemas["card.schema.json"])
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(card | {"titel": 1}, schemas["card.schema.json"])


def test_sampling_plans_are_those_of_the_sampler(root):
    from gnnip.sampling.water_anion import paper_plan

    for tier in TIERS:
        card = resolve("gijon2023", tier, folder=root / "papers")
        use = card.datasets["water_anion"]
        assert make_plan("water_anion", use.sizes[0], 0, use.plan).size == use.sizes[0]
    plan = make_plan("water_anion", 20, 0, use.plan)
    assert plan == paper_plan(20, 0), "paper tier is the default"


def test_hyperparameters_are_those_of_the_models():
    from dataclasses import fields

    from gnnip import catalogue, models
    from gnnip.models.registry import architecture

    assert list(catalogue.names()) == models.names()
    for name in models.names():
        known = [field.name for field in fields(architecture(name).Hyperparameters)]
        assert list(catalogue.hyperparameters(name)) == known


def test_every_artefact_is_tabulated_and_drawn_and_every_file_belongs_to_a_card(root):
    folders = papers.folders(folder=root / "papers")
    for name, folder in folders.items():
        papers.make_importable(folder)
        card = resolve(name, "paper", folder=root / "papers")
        for artefact, stated in card.artefacts.items():
            kind = card.artefact_kind(artefact)
            function = stated.function or artefact
            targets = (
                [f"{name}.tables:{function}", f"{name}.figures:{function}"]
                if kind is None
                else [kind.function, kind.figure]
            )
            assert all(callable(kinds.work(target)) for target in targets), artefact
    recorded = {path.parent.name for path in (root / "results/recorded").glob("*/*/*.csv")}
    assert recorded <= set(folders)


def test_data_sets_behind_the_artefacts(root):
    config = Config(artefacts=["fig1b"])
    card = resolve("kang2024", "quick", config, root / "papers")
    assert card.used_datasets() == ["point_charges"]
    whole = resolve("kang2024", "smoke", folder=root / "papers")
    assert whole.used_datasets() == list(whole.datasets)


def test_a_tier_may_leave_out_every_artefact(tmp_path, root):
    text = (root / "papers/hoedl2022/card.yaml").read_text(encoding="utf-8").split("tiers:")[0]
    names = yaml.safe_load(text)["artefacts"]
    nothing = {"note": "nothing yet", "artefacts": dict.fromkeys(names)}
    text += yaml.safe_dump({"tiers": {"quick": nothing}})
    card = resolve("hoedl2022", "quick", folder=written(tmp_path, "hoedl2022", text))
    assert card.artefacts == {}
    assert card.used_datasets() == []
    assert card.skipped == dict.fromkeys(names, "left out at tier quick")


def test_a_card_is_resolved_in_one_order_whatever_the_hashes(root):
    """Its order is part of what jobs are told, and what changes there is run again."""
    code = (
        "from gnnip.config.resolve import resolve\n"
        "for tier in ('smoke', 'quick'):\n"
        "    for card in ('gijon2023', 'kang2024'):\n"
        "        print(resolve(card, tier).model_dump())"
    )
    found = [
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=root,
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in "12"
    ]
    assert found[0] == found[1]
