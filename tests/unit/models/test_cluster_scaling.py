"""Scales of the cluster network, and the map of its untrained features, from training frames."""

import numpy as np
import pytest
import torch

from gnnip.errors import ConfigError, DataError
from gnnip.graphs import GraphStore
from gnnip.models import build
from gnnip.models.contract import TargetStatistics
from gnnip.models.fitting import TrainingFrames
from gnnip.testing import water
from gnnip.units import BOHR, HARTREE

LAYERS = ("crystal", "gat", "gcs", "ecc", "agnn", "general")


def frames(model, energies=None, n=12):
    """Clusters of several sizes; the last two are not learned from."""
    structures = [water(2 + k % 4, k) for k in range(n)]
    if energies is None:
        energies = np.arange(n, dtype=float)
    store = GraphStore.from_structures(structures, model.cutoff, dtype=torch.float64)
    store = store.with_labels(energies, None, None)
    return TrainingFrames(store, torch.arange(n - 2), torch.arange(n - 2, n))


def rms(values):
    return float(torch.cat([v.flatten() for v in values]).square().mean().sqrt())


@pytest.mark.parametrize("layer", LAYERS)
def test_inputs_and_sums_are_scaled_by_the_training_frames(layer):
    model = build("spektral", layer=layer, channels=8, input_scaling="rms").double()
    known = frames(model)
    report = model.fit(known)
    assert not report.complete
    batches = list(known.batches())
    features = rms(model.node_features(b) for b in batches)
    assert model.feature_scale.item() == pytest.approx(features)
    lengths = rms(b.edge_lengths() / BOHR for b in batches)
    assert model.length_scale.item() == pytest.approx(lengths)
    # those of the last two, the largest, do not count
    assert model.sum_scale.item() == pytest.approx(3 * np.mean([2 + k % 4 for k in range(10)]))
    assert report.details["sum_scale"] == model.sum_scale.item()
    plain = build("spektral", layer=layer, channels=8).double().eval()
    plain.load_state_dict(model.state_dict(), strict=False)
    plain.feature_scale.copy_(model.feature_scale)
    plain.length_scale.copy_(model.length_scale)
    with torch.no_grad():
        sums = plain.pooled(batches[0]) / model.sum_scale
        assert torch.allclose(model.eval().pooled(batches[0]), sums, rtol=1e-12)
    assert "sum_scale" in model.state_dict()


def test_without_scaling_nothing_is_measured_and_old_weights_load():
    model = build("spektral", channels=8).double()
    assert model.fit(frames(model)) is None
    assert model.feature_scale.item() == model.sum_scale.item() == 1.0
    assert not [name for name in model.state_dict() if name.endswith(("_scale",))]


def test_the_attention_drops_what_it_is_told():
    rates = [
        [conv.dropout_rate for conv in build("spektral", **options).convolutions]
        for options in ({}, {"attn_dropout": 0.0})
    ]
    assert rates == [[0.5, 0.5], [0.0, 0.0]]
    with pytest.raises(ConfigError, match=r"attn_dropout is 1\.0, but it must be at least 0"):
        build("spektral", attn_dropout=1.0)


@pytest.mark.parametrize("scaling", ["none", "standard"])
def test_a_ridge_finds_a_linear_map_of_the_features(scaling):
    torch.manual_seed(0)
    options = {"layer": "gcs", "channels": 3, "activation": "tanh", "input_scaling": "rms"}
    model = build("random_features", **options, output_scaling=scaling).double()
    before = {name: value.clone() for name, value in model.convolutions.state_dict().items()}
    known = frames(model, n=24)
    # a first fit fixes the scales, and tells the features that energies are made of
    model.fit(known)
    with torch.no_grad():
        features = torch.cat([model.pooled(b) for b in known.batches(torch.arange(24))])
    truth = ((features @ torch.tensor([0.3, -0.2, 0.1], dtype=torch.float64)) + 0.7) * HARTREE
    known = frames(model, truth.numpy(), n=24)
    energies, numbers, offsets = [], [], [0]
    for batch in known.batches():
        energies.append(batch.energy.numpy())
        numbers.append(batch.atomic_numbers.numpy())
        offsets += (offsets[-1] + np.cumsum(batch.n_atoms.numpy())).tolist()
    every = (np.concatenate(energies), np.concatenate(numbers), np.array(offsets))
    model.calibrate(TargetStatistics.measure(*every, mean_neighbours=9.0))
    report = model.fit(known)
    assert report.complete
    assert report.details["ridge"] < 1e-3
    model.eval()
    with torch.no_grad():
        found = torch.cat([model(b)["energy"] for b in known.batches(torch.arange(24))])
    assert (found - truth)[-2:].abs().max() < 1e-3 * truth.std()
    for name, value in model.convolutions.state_dict().items():
        assert torch.equal(value, before[name])


def test_random_features_refuse_forces():
    model = build("random_features", channels=4).double()
    known = frames(model)
    with pytest.raises(DataError, match="fitted to total energies alone; set force_weight"):
        model.fit(TrainingFrames(known.store, known.train, known.validation, force_weight=1.0))
