"""A potential of the user's own, named `package.module:Class` wherever a potential is named."""

import importlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gnnip import catalogue
from gnnip.errors import CheckpointError, ConfigError
from gnnip.graphs import GraphBatch
from gnnip.models import build, load, save
from gnnip.testing import PotentialContract

SOURCE = Path(__file__).with_name("own_potential.py")
SPRING = "stranger.models:Spring"


class TestSpring(PotentialContract):
    """The contract takes it as it takes those of the library."""

    architecture = "own_potential:Spring"


@pytest.fixture
def stranger(tmp_path, monkeypatch):
    folder = tmp_path / "stranger"
    folder.mkdir()
    shutil.copy(SOURCE, folder / "models.py")
    (folder / "broken.py").write_text("import no_such_library\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    yield folder
    for name in [name for name in sys.modules if name.split(".")[0] == "stranger"]:
        del sys.modules[name]


def energy(model):
    water = {"positions": [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]], "numbers": [8, 1, 1]}
    return model(GraphBatch.from_structures([water], model.cutoff))["energy"]


def test_it_is_built_saved_and_loaded(stranger, tmp_path):
    model = build(SPRING, cutoff=2)
    assert model.architecture == SPRING
    model.__class__.architecture = "pair"  # what a class says of itself does not count
    save(model, tmp_path / "model")
    again = load(tmp_path, architecture=SPRING)
    assert again.hyperparameters == model.hyperparameters
    assert torch.equal(energy(again), energy(model))
    (stranger / "models.py").unlink()
    del sys.modules["stranger.models"]
    importlib.invalidate_caches()
    with pytest.raises(
        CheckpointError, match=r"model\.json cannot be loaded.*PYTHONPATH"
    ) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("stranger")
def test_it_is_a_term_of_a_sum(tmp_path):
    model = build("sum", terms=[{"model": SPRING}, {"model": "composition"}])
    save(model, tmp_path / "model")
    again = load(tmp_path)
    assert [term.architecture for term in again.terms] == [SPRING, "composition"]
    assert torch.equal(energy(again), energy(model))


@pytest.mark.usefixtures("stranger")
def test_the_catalogue_reads_its_source():
    terms = {"terms": [{"model": SPRING, "hyperparameters": {"form": "square"}}]}
    assert catalogue.model_module(SPRING) == "stranger.models"
    assert catalogue.model_modules("sum", terms) == ["gnnip.models.sum", "stranger.models"]
    assert catalogue.hyperparameters(SPRING) == {"cutoff": (), "form": ("square", "fourth")}
    assert catalogue.hyperparameters("stranger.models:Stiff") == {"width": ()}
    catalogue.check_hyperparameters("sum", terms)
    terms["terms"][0]["hyperparameters"] = {"form": "sqare"}
    with pytest.raises(ConfigError, match="form is 'sqare', did you mean 'square'"):
        catalogue.check_hyperparameters("sum", terms)
    assert "stranger.models" not in sys.modules


@pytest.mark.parametrize("ask", [build, catalogue.hyperparameters])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sprng", "there is no .* 'sprng'"),
        ("elsewhere.models:Spring", r"'elsewhere(\.models)?'.*PYTHONPATH"),
        ("stranger.elsewhere:Spring", r"stranger\.elsewhere.*PYTHONPATH"),
        ("stranger.models.inner:Spring", r"stranger\.models.*PYTHONPATH"),
        (":Spring", "PYTHONPATH"),
        ("stranger.models:Sprng", "no class 'Sprng'"),
        ("stranger.models:Plain", "not .*derived from"),
    ],
)
@pytest.mark.usefixtures("stranger")
def test_what_is_missing_is_named_in_one_sentence(ask, name, message):
    with pytest.raises(ConfigError, match=f"(?i){message}") as caught:
        ask(name)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("stranger")
def test_a_module_that_fails_to_import():
    with pytest.raises(ConfigError, match=r"stranger\.broken:A.*no_such_library"):
        build("stranger.broken:A")


def test_the_catalogue_imports_no_torch():
    code = "import sys; from gnnip import catalogue; catalogue.hyperparameters('nequip')"
    code += "; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
