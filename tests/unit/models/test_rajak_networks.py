"""Networks of pairs and triplets against loops, the nuclear repulsion against its formula."""

import itertools
import math

import numpy as np
import pytest
import torch
from ase.build import bulk

from gnnip.errors import ConfigError, DataError
from gnnip.graphs import GraphBatch
from gnnip.models import build, evaluate
from gnnip.models.blocks import kind_networks
from gnnip.models.blocks.kind_networks import BLOCK, KindNetworks, group_by_kind, hinges
from gnnip.models.blocks.triplets import triplets
from gnnip.models.contract import TargetStatistics

SPECIES = (6, 14)
KINDS = {6: 0, 14: 1}


def crystal(seed=0, a=4.38, size=1):
    atoms = bulk("SiC", "zincblende", a=a, cubic=True) * (size, 1, 1)
    atoms.rattle(0.15, seed=seed)
    return {
        "positions": atoms.positions,
        "numbers": atoms.numbers,
        "cell": atoms.cell.array,
        "pbc": (True, True, True),
    }


def randomised(name, **options):
    torch.manual_seed(0)
    model = build(name, species=SPECIES, **options).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.5)
    return model


def batch_of(model, *structures, dtype=torch.float64):
    return GraphBatch.from_structures(list(structures), model.cutoff, dtype=dtype)


def network(model, kind, inputs):
    """One network on one row, layer by layer."""
    x = torch.tensor(inputs, dtype=torch.float64)
    layers = list(zip(model.networks.weights, model.networks.biases, strict=True))
    for k, (weight, bias) in enumerate(layers):
        x = x @ weight[kind] + bias[kind]
        if k < len(layers) - 1:
            x = x * torch.sigmoid(x)
    return float(x.detach())


def envelope(u):
    return 1 - 28 * u**6 + 48 * u**7 - 21 * u**8


def loops(model, structure, networks, smooth):
    """Energy of the triplet networks by loops over periodic images, per atom."""
    cell, positions, rc = structure["cell"], structure["positions"], model.cutoff
    kinds = [KINDS[z] for z in structure["numbers"]]
    images = [np.array(n) @ cell for n in itertools.product((-1, 0, 1), repeat=3)]
    energies = []
    for i, centre in enumerate(positions):
        near = []
        for j, other in enumerate(positions):
            for image in images:
                v = other + image - centre
                if 1e-9 < np.linalg.norm(v) < rc:
                    near.append((v, kinds[j]))
        total = 0.0
        for (v, a), (w, b) in itertools.permutations(near, 2):
            r2, s2, t2 = v @ v, w @ w, (v - w) @ (v - w)
            cosine = v @ w / math.sqrt(r2 * s2)
            pair = min(a, b) + max(a, b)  # of two elements: 0, 1, 2
            kind = {"triplet": 3 * kinds[i] + pair, "ends": pair, "centre": kinds[i]}[networks]
            scaled = [2 * r2 / rc**2 - 1, 2 * s2 / rc**2 - 1, t2 / (2 * rc**2) - 1, cosine]
            weight = envelope(math.sqrt(r2) / rc) * envelope(math.sqrt(s2) / rc) if smooth else 1.0
            total += weight * network(model, kind, scaled)
        energies.append(total + float(model.species_shift[kinds[i]].detach()))
    return energies


@pytest.mark.parametrize("smooth", [True, False])
@pytest.mark.parametrize("networks", ["triplet", "ends", "centre"])
def test_triplets_against_loops(networks, smooth):
    model = randomised("triplet_network", hidden=(4, 3), networks=networks, envelope=smooth)
    assert len(model.networks.weights[0]) == {"triplet": 6, "ends": 3, "centre": 2}[networks]
    structure = crystal()
    found = evaluate(model, batch_of(model, structure))["atomic_energies"]
    expected = torch.tensor(loops(model, structure, networks, smooth), dtype=torch.float64)
    assert float(expected.abs().max()) > 0.1
    assert torch.allclose(found, expected, rtol=1e-10, atol=1e-10)


def test_neighbours_of_a_triplet_can_be_exchanged():
    model = randomised("triplet_network", envelope=False)
    angle = np.array([[0, 0, 0], [1.7, 0.2, 0], [-0.4, 2.1, 0.3]])
    energies = [
        evaluate(
            model,
            batch_of(model, {"positions": angle[order], "numbers": np.array([14, 6, 6])}),
        )["energy"]
        for order in ([0, 1, 2], [0, 2, 1])
    ]
    assert abs(energies[0] - energies[1]) < 1e-12


def test_pairs_against_loops():
    model = randomised("pair_network", hidden=(4, 3), envelope=False)
    numbers, positions = np.array([6, 14, 14]), np.array([[0, 0, 0], [1.8, 0, 0], [0, 2.5, 0]])
    structure = {"positions": positions, "numbers": numbers}
    expected = sum(model.species_shift.tolist()[KINDS[z]] for z in numbers)
    for i, j in itertools.permutations(range(3), 2):
        r2 = float(np.sum((positions[i] - positions[j]) ** 2))
        if r2 < 9.0:
            kind = KINDS[int(numbers[i])] + KINDS[int(numbers[j])]
            expected += network(model, kind, [r2 / 9.0])
    found = evaluate(model, batch_of(model, structure))["energy"]
    assert float(found) == pytest.approx(expected, rel=1e-12)


def test_triplets_are_all_pairs_of_edges_of_an_atom():
    graph = batch_of(randomised("triplet_network"), crystal(), crystal(1)).adjacency
    first, second = triplets(graph)
    target = graph.target.tolist()
    wanted = {
        (e, f) for e, f in itertools.permutations(range(graph.n_edges), 2) if target[e] == target[f]
    }
    assert set(zip(first.tolist(), second.tolist(), strict=True)) == wanted
    assert len(first) == len(wanted)


def test_rows_are_grouped_by_kind():
    kind = torch.tensor([2, 0, 2, 2, 0] * 20)
    groups = group_by_kind(kind, 4)
    rows, place = groups["rows"], groups["place"]
    assert rows.shape[1] == BLOCK
    assert torch.equal(rows.reshape(-1)[place], torch.arange(100))
    assert torch.equal(groups["block_kind"][place // BLOCK], kind)
    assert group_by_kind(kind[:0], 4)["rows"].shape == (0, BLOCK)


def test_hinges_bend_at_distances_up_to_the_cutoff():
    weights, biases, _ = hinges(32)
    bends = (-biases / weights).sqrt()
    assert torch.allclose(bends.diff(), torch.full((31,), 1 / 33, dtype=torch.float64))


def test_activations_of_many_triplets_are_not_kept(monkeypatch):
    """In chunks the results are the same, also for the gradient of a loss on forces."""
    model = randomised("triplet_network", hidden=(4, 4))
    batch = batch_of(model, *(crystal(seed, size=3) for seed in range(3)))

    def gradient():
        output = evaluate(model, batch, forces=True, create_graph=True)
        loss = output["forces"].square().sum() + output["energy"].sum()
        return output, torch.autograd.grad(loss, list(model.parameters()), materialize_grads=True)

    whole, of_whole = gradient()
    assert len(model.prepare(batch)["block_kind"]) > 7
    monkeypatch.setattr(kind_networks, "CHUNK", 3)
    calls = []
    plain = kind_networks.checkpoint
    monkeypatch.setattr(
        kind_networks, "checkpoint", lambda *a, **k: calls.append(1) or plain(*a, **k)
    )
    parts, of_parts = gradient()
    assert len(calls) > 2
    assert torch.allclose(whole["forces"], parts["forces"], rtol=1e-10, atol=1e-12)
    for a, b in zip(of_whole, of_parts, strict=True):
        assert torch.allclose(a, b, rtol=1e-9, atol=1e-10)


def test_everything_starts_from_the_composition():
    statistics = TargetStatistics(-7.0, 2.0, {6: -5.0, 14: -3.0}, 0.3, 1.5, 20.0)
    for name in ("pair_network", "triplet_network", "graph_network"):
        model = build(name, species=SPECIES)
        model.calibrate(statistics)
        energy = evaluate(model, batch_of(model, crystal(), dtype=torch.float32))["energy"]
        assert float(energy) == pytest.approx(4 * -8.0, rel=1e-6)
        assert float(model.scale) == 1.5


def zbl(z, y, r):
    """By the published coefficients; 14.3996454 eV Angstrom, a_0 = 0.52917721 Angstrom."""
    x = r * (z**0.23 + y**0.23) / (0.88534 * 0.52917721)
    terms = ((0.18175, 3.1998), (0.50986, 0.94229), (0.28022, 0.4029), (0.02817, 0.20162))
    return 14.3996454 * z * y / r * sum(c * math.exp(-d * x) for c, d in terms)


class TestZBL:
    def energy(self, model, r, numbers=(14, 6)):
        pair = {"positions": np.array([[0, 0, 0], [r, 0, 0]]), "numbers": np.array(numbers)}
        return float(evaluate(model, batch_of(model, pair))["energy"])

    def test_against_the_formula(self):
        # far inside a long cutoff the envelope is one: u^6 is below 1e-9
        model = build("zbl", species=(14, 6), cutoff=60.0).double()
        for r in (0.02, 0.3, 1.0, 1.8):
            assert self.energy(model, r) == pytest.approx(zbl(14, 6, r), rel=1e-6)
        short = build("zbl", species=(14, 6), cutoff=2.0).double()
        expected = zbl(14, 6, 1.5) * envelope(0.75)
        assert self.energy(short, 1.5) == pytest.approx(expected, rel=1e-6)

    def test_ends_at_the_sum_of_the_covalent_radii(self):
        model = build("zbl", species=SPECIES).double()
        assert model.cutoff == pytest.approx(2 * 1.11)
        for numbers, end in (((6, 14), 0.76 + 1.11), ((6, 6), 2 * 0.76), ((14, 14), 2 * 1.11)):
            assert self.energy(model, end - 0.1, numbers) > 0
            assert self.energy(model, end + 1e-4, numbers) == 0

    def test_finite_where_atoms_nearly_coincide(self):
        model = build("zbl", species=(34,), cutoff=2.0)
        pair = {"positions": np.array([[0, 0, 0], [0.011, 0, 0]]), "numbers": np.array([34, 34])}
        output = evaluate(model, batch_of(model, pair, dtype=torch.float32), forces=True)
        assert float(output["energy"]) == pytest.approx(zbl(34, 34, 0.011), rel=1e-4)
        assert torch.isfinite(output["forces"]).all()
        assert output["forces"][0, 0] < -1e6

    def test_nothing_to_train_and_no_reference(self):
        model = build("zbl", species=SPECIES)
        assert model.n_parameters == 0
        assert not model.carries_reference


def test_errors():
    for name in ("pair_network", "triplet_network", "graph_network", "zbl", "pair", "coulomb"):
        with pytest.raises(ConfigError, match="distinct atomic numbers"):
            build(name, species=(6, 6))
    with pytest.raises(ConfigError, match="hidden is"):
        build("pair_network", species=SPECIES, hidden=())
    with pytest.raises(ConfigError, match="rounds is 0"):
        build("graph_network", species=SPECIES, rounds=0)
    with pytest.raises(ConfigError, match="did you mean 'triplet'"):
        build("triplet_network", species=SPECIES, networks="triplett")
    for name in ("pair_network", "graph_network", "zbl"):
        model = build(name, species=(6,))
        with pytest.raises(DataError, match=r"not for \[14\]; list them"):
            model(batch_of(model, crystal(), dtype=torch.float32))


def test_networks_start_at_zero():
    networks = KindNetworks(2, 1, (4, 4))
    groups = group_by_kind(torch.tensor([0, 1, 1]), 2)
    assert not networks(torch.rand(3, 1), groups).any()
