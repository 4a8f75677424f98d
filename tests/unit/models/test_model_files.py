"""Saving, loading, building: what is refused, and in which words."""

import json
import pickle

import numpy as np
import pytest
import safetensors.torch
import torch

from gnnip.errors import CheckpointError, ConfigError, DataError
from gnnip.graphs import GraphBatch
from gnnip.models import build, load, names, save
from gnnip.models.contract import TargetStatistics, choose_device
from gnnip.models.weights import read_weights, write_weights


@pytest.fixture
def saved(tmp_path):
    model = build("spektral", layer="gcs", channels=4, dense_units=8)
    model.species = (1, 8)
    save(model, tmp_path / "model")
    return tmp_path


def edit(folder, **changes):
    path = folder / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_every_way_to_name_a_model(saved):
    for path in (saved, saved / "model", saved / "model.json", saved / "model.safetensors"):
        assert load(path).species == (1, 8)


def test_our_weights_and_the_safetensors_library_read_each_other(tmp_path):
    tensors = {
        "a.kernel": torch.randn(3, 4),
        "b": torch.randn(2, dtype=torch.float64),
        "scalar": torch.tensor(7),
        "empty": torch.zeros(0, 3),
        "flags": torch.tensor([True, False]),
        "transposed": torch.randn(3, 5).T,
    }
    write_weights(tmp_path / "ours.safetensors", tensors)
    theirs = safetensors.torch.load_file(tmp_path / "ours.safetensors")
    safetensors.torch.save_file(
        {k: v.contiguous() for k, v in tensors.items()},
        tmp_path / "theirs.safetensors",
        metadata={"format": "pt"},
    )
    ours = read_weights(tmp_path / "theirs.safetensors")
    for name, value in tensors.items():
        for other in (theirs[name], ours[name]):
            assert other.dtype == value.dtype
            assert torch.equal(other, value)


def test_damaged_weights(saved):
    path = saved / "model.safetensors"
    content = path.read_bytes()
    for damaged in (
        b"",
        content[:5],
        content[:100],
        content[:-1],
        b"\xff" * 200,
        content[:8] + b"{" * (len(content) - 8),
    ):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="damaged or not in the safetensors"):
            read_weights(path)


def test_a_changed_number_is_noticed(saved):
    path = saved / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"not the file that model\.json was written for"):
        load(saved)


@pytest.mark.parametrize("kind", ["pickle", "torch"])
@pytest.mark.parametrize("name", ["model.safetensors", "other.pt"])
def test_a_pickle_is_refused(saved, kind, name):
    path = saved / name
    if kind == "torch":
        torch.save({"a": torch.zeros(2)}, path)
    else:
        path.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(CheckpointError, match="is a pickle"):
        load(saved if name == "model.safetensors" else path)


@pytest.mark.parametrize("length", [0x0280, 0x0380, 0x0480, 0x0580, 0x4B50])
def test_a_header_as_long_as_a_pickle_begins_is_none(tmp_path, length):
    """Its length, in the first bytes, may be that of the marks of a pickle or of a zip file."""
    path, values = tmp_path / "w.safetensors", torch.arange(3.0)
    write_weights(path, {"a": values})
    short = int.from_bytes(path.read_bytes()[:8], "little")
    write_weights(path, {"a" * (1 + length - short): values})
    assert path.read_bytes()[:2] == length.to_bytes(2, "little")
    (found,) = read_weights(path).values()
    assert torch.equal(found, values)


def test_newer_format_is_refused(saved):
    edit(saved, format_version=99)
    with pytest.raises(CheckpointError, match=r"format version 99.*reads up to 1; update gnnip"):
        load(saved)


def test_other_architecture_is_refused(saved):
    with pytest.raises(CheckpointError, match="holds the architecture 'spektral', not 'nequip'"):
        load(saved, architecture="nequip")
    edit(saved, architecture="spectral")
    with pytest.raises(CheckpointError, match=r"'spectral', which this gnnip lacks.*'spektral'"):
        load(saved)


def test_other_damage_to_the_description(saved):
    edit(saved, hyperparameters={"layer": "gat"})
    with pytest.raises(CheckpointError, match="do not fit together"):
        load(saved)
    edit(saved, format="something else")
    with pytest.raises(CheckpointError, match="does not describe a gnnip potential"):
        load(saved)
    (saved / "model.json").write_text("{")
    with pytest.raises(CheckpointError, match="not valid JSON"):
        load(saved)
    with pytest.raises(CheckpointError, match="no saved potential"):
        load(saved / "elsewhere")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chanels": 8}, "did you mean 'channels'"),
        ({"layer": "gta"}, "did you mean 'gat'"),
        ({"channels": "many"}, "channels is 'many'"),
        ({"channels": 8.5}, "channels is 8.5"),
        ({"channels": True}, "channels is True"),
        ({"channels": 0}, "at least 1"),
        ({"cutoff": -6.0}, "the cutoff is -6.0 Bohr, it must be positive"),
        ({"n_dense": -1}, "n_dense is -1"),
        ({"elements": 8}, "a list is expected"),
    ],
)
def test_bad_hyperparameters(options, message):
    with pytest.raises(ConfigError, match=message) as caught:
        build("spektral", **options)
    assert "\n" not in str(caught.value)


def test_unknown_potential():
    assert "spektral" in names()
    with pytest.raises(ConfigError, match=r"'spectral', did you mean 'spektral'"):
        build("spectral")


def test_whole_numbers_are_fine_where_a_float_is_meant():
    model = build("spektral", cutoff=6)
    assert model.cutoff == pytest.approx(3.1750632, abs=1e-6)
    assert build("spektral", input_width=None).hyperparameters.input_width is None


def test_width_matched_control_lifts_all_layers_to_one_width():
    widths = set()
    for layer in ("crystal", "gat", "gcs", "ecc", "agnn", "general"):
        model = build("spektral", layer=layer, channels=16, input_width=16)
        widths.add(tuple(model.readout[0].kernel.shape))
    assert widths == {(16, 128)}


def test_paper_width_of_crystal_and_agnn_is_four():
    for layer in ("crystal", "agnn"):
        assert build("spektral", layer=layer).readout[0].kernel.shape == (4, 128)


def test_raw_features_are_the_paper_s():
    batch = GraphBatch.from_structures(
        [{"positions": np.array([[0, 0, 0], [2.0, 0, 0]]), "numbers": np.array([1, 8])}],
        4.0,
        dtype=torch.float64,
    )
    features = build("spektral").double().node_features(batch)
    centre = 2.0 * 15.999 / (15.999 + 1.008)
    bohr = 0.529177
    assert features[:, 0].tolist() == [1.0, 8.0]
    assert features[0, 1].item() == pytest.approx(-centre / bohr, rel=1e-5)
    assert features[1, 1].item() == pytest.approx((2.0 - centre) / bohr, rel=1e-5)


def test_output_scaling():
    statistics = TargetStatistics.measure(
        np.array([-10.0, -20.0, -29.0]),
        np.array([8, 1, 1] * 6),
        np.array([0, 3, 9, 18]),
        mean_neighbours=9.0,
    )
    assert statistics.energy_mean == pytest.approx(-59 / 3)
    fitted = statistics.species_energies[8] + 2 * statistics.species_energies[1]
    assert fitted == pytest.approx(np.dot([1, 2, 3], [-10, -20, -29]) / 14)
    structures = [{"positions": np.arange(9.0).reshape(3, 3) * 0.6, "numbers": np.array([8, 1, 1])}]
    for scaling, expected in (("none", 0.0), ("standard", -59 / 3), ("composition", fitted)):
        model = build("spektral", output_scaling=scaling).double()
        model.calibrate(statistics)
        with torch.no_grad():
            model.readout[-1].kernel.zero_()
        batch = GraphBatch.from_structures(structures, model.cutoff, dtype=torch.float64)
        assert model(batch)["energy"].item() == pytest.approx(expected, abs=1e-9)


def test_unseen_species(saved):
    model = load(saved)
    model.check_species([1, 8, 8])
    with pytest.raises(DataError, match=r"trained on the atomic numbers \[1, 8\].*\[6, 14\]"):
        model.check_species([14, 8, 6])
    invariant = build("spektral", features="invariant")
    with pytest.raises(DataError, match=r"not for \[6\]"):
        invariant.check_species([1, 6])


def test_devices():
    assert choose_device("cpu").type == "cpu"
    with pytest.raises(DataError, match="no device 'gpuu'"):
        choose_device("gpuu")
    if not torch.cuda.is_available():
        assert choose_device("auto").type == "cpu"
        with pytest.raises(DataError, match="no GPU is visible"):
            choose_device("cuda")


def test_scripts_that_know_the_place_where_load_stood():
    from gnnip import models
    from gnnip.models import contract

    assert contract.load is models.load
    with pytest.raises(AttributeError, match="has no attribute 'save'"):
        contract.save  # noqa: B018
