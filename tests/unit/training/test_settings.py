"""The settings of a training: what is refused, what a card may say, and when a default changes."""

import subprocess
import sys
from dataclasses import fields
from typing import get_args, get_type_hints

import pytest

from gnnip.errors import ConfigError
from gnnip.strict import model_of, validate
from gnnip.training.block import TrainingSettings
from gnnip.training.losses import LOSSES
from gnnip.training.optimiser import OPTIMISERS
from gnnip.training.schedule import SCHEDULES
from gnnip.training.settings import NOT_IN_CARDS, SETTINGS_VERSION, Settings, stated

#: by version; to change a default, raise SETTINGS_VERSION and write the new ones down here
DEFAULTS = {
    1: {
        "loss": "mae",
        "huber_delta": 0.01,
        "log_cosh_slope": 1.0,
        "energy_weight": 1.0,
        "force_weight": 0.0,
        "stress_weight": 0.0,
        "per_atom": False,
        "optimiser": "adam",
        "beta_1": 0.9,
        "beta_2": 0.999,
        "learning_rate": 0.001,
        "weight_decay": 0.0,
        "batch_size": 32,
        "epochs": 150,
        "scheduler": None,
        "warmup_epochs": 0,
        "plateau_factor": 0.5,
        "plateau_patience": 10,
        "min_learning_rate": 0.0,
        "decay": 0.99,
        "step_epochs": 500,
        "cycle_epochs": None,
        "cycle_start": 0.1,
        "ema": None,
        "clip": None,
        "seed": 0,
        "device": "auto",
        "dtype": "float32",
        "time_limit_s": None,
        "checkpoint_interval_s": 10.0,
        "threads": None,
        "processes": 1,
        "check_flat": False,
        "compile": False,
    }
}


def test_a_default_changes_only_with_the_version():
    assert {f.name: f.default for f in fields(Settings)} == DEFAULTS[SETTINGS_VERSION]


def test_what_is_stated():
    """It is what differs from the defaults, and it can be read back."""
    version = {"settings_version": SETTINGS_VERSION}
    assert stated({}) == stated(DEFAULTS[SETTINGS_VERSION]) == version
    chosen = Settings(loss="mse", learning_rate=1e-3, seed=3, device="cpu", clip=1)
    assert stated(chosen) == version | {"loss": "mse", "seed": 3, "device": "cpu", "clip": 1}
    assert stated(stated(chosen)) == stated(chosen)
    assert Settings.read(stated(chosen)) == chosen
    assert chosen.binding() == version | {"loss": "mse", "seed": 3, "clip": 1}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lerning_rate": 0.1}, "did you mean 'learning_rate'"),
        ({"loss": "maee"}, "did you mean 'mae'"),
        ({"epochs": 0}, "epochs must be at least 1, not 0"),
        ({"epochs": 1.5}, "epochs is 1.5, but a value of type int is expected"),
        ({"learning_rate": -1.0}, "learning_rate must be positive"),
        ({"learning_rate": float("nan")}, "learning_rate is nan, but a finite number is expected"),
        ({"clip": 0.0}, "clip must be positive or null"),
        ({"energy_weight": 0.0}, "nothing to learn"),
        ({"ema": 1.5}, "between 0 and 1"),
        ({"decay": 1.5}, "decay must be positive and at most 1"),
        ({"stress_weight": -1.0}, "stress_weight must not be negative"),
        ({"beta_2": 1.0}, "beta_2 must be at least 0 and below 1"),
        ({"processes": 0}, "processes must be at least 1"),
        ({"threads": 10**9}, "threads must be positive and at most 1024 or null"),
        ({"seed": 2**80}, "a finite number is expected, 9e\\+18 at most"),
        ({"processes": 2, "device": "cuda:1"}, "each process takes a GPU of its own"),
        ({"scheduler": "cosin"}, "did you mean 'cosine'"),
        ({"settings_version": 0}, "settings_version is 0 .* write the settings again"),
    ],
)
def test_bad_settings(options, message):
    with pytest.raises(ConfigError, match=message):
        Settings.read(options)
    if options.keys() <= DEFAULTS[1].keys():
        with pytest.raises(ConfigError, match=message):
            Settings(**options)


def test_every_choice_is_there():
    hints = get_type_hints(Settings)
    assert list(get_args(hints["loss"])) == list(LOSSES)
    assert set(get_args(hints["optimiser"])) == set(OPTIMISERS)
    choices, nothing = get_args(hints["scheduler"])
    assert {*get_args(choices), None} == set(SCHEDULES)
    assert nothing is type(None)


def test_the_block_of_a_card_has_the_settings_of_a_paper():
    known = DEFAULTS[SETTINGS_VERSION]
    expected = {name: value for name, value in known.items() if name not in NOT_IN_CARDS}
    assert TrainingSettings().model_dump() == expected
    assert set(NOT_IN_CARDS) < set(known)
    schema = TrainingSettings.model_json_schema()
    assert schema["title"] == "TrainingSettings"
    assert schema["additionalProperties"] is False
    assert all(about["description"] for about in schema["properties"].values())
    about = dict(schema["properties"]["plateau_factor"])
    assert about.pop("description").startswith("Scheduler plateau")
    limits = {"exclusiveMinimum": 0, "exclusiveMaximum": 1}
    assert about == {"default": 0.5, "title": "Plateau Factor", "type": "number"} | limits
    assert schema["properties"]["loss"]["enum"] == list(LOSSES)
    assert schema["properties"]["clip"]["anyOf"][0] == {"exclusiveMinimum": 0, "type": "number"}
    whole = model_of(Settings)
    assert whole.__name__ == "Settings"
    assert list(whole.model_fields) == list(known)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epoch": 3}, "card: unknown key 'epoch', did you mean 'epochs'?"),
        ({"seed": 3}, "card: unknown key 'seed'; known names are loss, "),
        ({"epochs": 0}, "card: epochs: input should be greater than or equal to 1, found 0."),
        (
            {"loss": "maee"},
            "card: loss: input should be 'mae', 'mse', 'huber' or 'log_cosh', found 'maee'.",
        ),
    ],
)
def test_mistakes_in_the_block_are_one_sentence(options, message):
    with pytest.raises(ConfigError) as error:
        validate(TrainingSettings, options, "card")
    assert str(error.value).startswith(message)


def test_settings_are_read_without_torch_or_pydantic():
    code = "import sys, gnnip.training.settings; print({'torch', 'pydantic'} & {*sys.modules})"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"
