"""Values that a card cannot have are one sentence before anything is planned."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from gnnip.config.resolve import PART, resolve
from gnnip.config.schema import Config
from gnnip.errors import ConfigError

CARD: dict[str, Any] = {
    "id": "mine",
    "title": "Springs",
    "authors": ["A. Author"],
    "citation": "none",
    "doi": "none",
    "datasets": {"water_anion_ladder": {"source": "archive"}},
    "trainings": {
        "springs": {
            "dataset": "water_anion_ladder",
            "model": "pair",
            "target": "electronic",
            "hyperparameters": {"species": [1, 8], "n_radial": 4, "cutoff": 4.0},
            "settings": {"epochs": 2, "learning_rate": 0.01, "batch_size": 8},
            "split": {"scheme": "random", "where": {"state": ["surface"]}},
        }
    },
    "artefacts": {
        "errors": {"kind": "errors", "label": "a", "title": "b", "trainings": ["springs"]}
    },
}


def resolved(folder: Path, card: dict[str, Any]) -> Any:
    place = folder / "mine" / "card.yaml"
    place.parent.mkdir(exist_ok=True)
    place.write_text(yaml.safe_dump(card), encoding="utf-8")
    return resolve("mine", "quick", Config(), folder)


def test_the_card_itself_is_fine(tmp_path):
    assert list(resolved(tmp_path, CARD).trainings) == ["springs"]


SPRINGS = "trainings.springs"


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("settings.learning_rate", float("inf"), "finite number, found inf"),
        ("settings.learning_rate", float("nan"), "finite number, found nan"),
        ("settings.learning_rate", "0.1", "valid number, found '0.1'"),
        ("settings.batch_size", True, "valid integer, found True"),
        ("settings.batch_size", 8.0, "valid integer, found 8.0"),
        ("settings.batch_size", 0, "greater than or equal to 1"),
        ("hyperparameters.cutoff", float("inf"), "cutoff is inf; it must be a positive length"),
        ("hyperparameters.cutoff", True, "cutoff is True"),
        ("hyperparameters.cutoff", "long", "cutoff is 'long'"),
        ("hyperparameters.n_radial", -4, "n_radial is -4"),
        ("hyperparameters.n_radial", 4.5, "n_radial is 4.5, but a value of type int"),
        ("hyperparameters.n_radial", False, "n_radial is False"),
        ("hyperparameters.n_radial", 10_000_000_000, "this machine has memory for"),
        ("hyperparameters.species", 8, "species is 8, but a list is expected"),
        ("hyperparameters.species", [1, "O"], "species is 'O', but a value of type int"),
        ("matrix", {"n_radial": [4, 4.0]}, "matrix.n_radial lists the value 4.0 twice"),
        ("matrix", {"n_radial": [1, True]}, "matrix.n_radial lists the value True twice"),
        ("matrix", {"cutoff": [3.0, float("inf")]}, "cutoff is inf"),
        ("matrix", {"scale": [0.5, float("nan")]}, "matrix.scale.1 is nan; only finite"),
        ("matrix", {"n_radial": list(range(101)), "cutoff": list(range(1, 101))}, "10100 jobs"),
        ("matrix", {"target": ["electronic", "elektronic"]}, "did you mean 'electronic'"),
        ("target", "elektronic", "no energy of water_anion_ladder, did you mean 'electronic'"),
        ("split.where", {"stat": ["surface"]}, "has no column 'stat', did you mean 'state'"),
        ("split.test_fraction", 1.5, "less than 1"),
        ("seeds", 100_000, "less than or equal to 100"),
        ("seeds", True, "valid integer, found True"),
    ],
)
def test_of_a_training(tmp_path, place, value, said):
    card = copy.deepcopy(CARD)
    group = card["trainings"]["springs"]
    *path, key = place.split(".")
    for step in path:
        group = group[step]
    group[key] = value
    with pytest.raises(ConfigError) as caught:
        resolved(tmp_path, card)
    assert said in str(caught.value)
    assert SPRINGS in str(caught.value) or "springs" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("part", ["trainings", "datasets", "artefacts"])
@pytest.mark.parametrize("name", ["../x", "a b", "A", "a-b", "1", "", "a/../b"])
def test_names_that_are_no_folders(tmp_path, part, name):
    card = copy.deepcopy(CARD)
    card[part][name] = copy.deepcopy(next(iter(card[part].values())))
    with pytest.raises(ConfigError, match="should match pattern"):
        resolved(tmp_path, card)


@pytest.mark.parametrize(
    ("use", "said"),
    [
        ({"sizes": [1, 2], "replicas": 10**9}, "2000000000 jobs"),
        ({"sizes": [True]}, "valid integer"),
        ({"replicas": 1.0}, "valid integer"),
        ({"plan": {"width": float("inf")}}, "plan.width is inf; only finite"),
        ({"verify_frames": "3"}, "valid integer"),
    ],
)
def test_of_a_data_set(tmp_path, use, said):
    card = copy.deepcopy(CARD)
    card["datasets"]["water_anion_ladder"] |= use
    with pytest.raises(ConfigError, match=said):
        resolved(tmp_path, card)


def test_a_key_that_stands_twice(tmp_path):
    resolved(tmp_path, CARD)
    path = tmp_path / "mine" / "card.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text + "title: another\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"line \d+ is not valid YAML: the key 'title' stands tw"):
        resolve("mine", "quick", Config(), tmp_path)


def test_a_part_of_a_measurement_has_a_table_of_its_own(root):
    whole = resolve("kang2024", "smoke", Config(), root / "papers")
    part = resolve("kang2024", "smoke", Config(artefacts=["fig1b"]), root / "papers")
    assert whole.measurement_file("charge_probe") == "charge_probe"
    assert part.measurement_file("charge_probe") == f"charge_probe{PART}"
    assert set(part.measurements["charge_probe"].trainings) < set(
        whole.measurements["charge_probe"].trainings
    )
