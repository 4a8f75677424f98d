"""Every potential of the library under the contract, in the variants that the cards use."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from gnnip.errors import DataError
from gnnip.graphs import GraphBatch
from gnnip.models import build, evaluate, names
from gnnip.models.jat import attention
from gnnip.testing import PotentialContract, variants
from gnnip.testing.contract import water

SPECIES = (1, 8)


def pair(cutoff, species=SPECIES):
    return {"model": "pair", "hyperparameters": {"species": list(species), "cutoff": cutoff}}


class TestConstant(PotentialContract):
    architecture = "constant"
    tells_apart = False


class TestComposition(PotentialContract):
    architecture = "composition"


class TestPair(PotentialContract):
    architecture = "pair"
    hyperparameters = {"species": SPECIES, "cutoff": 4.0}


class TestPairNetwork(PotentialContract):
    architecture = "pair_network"
    hyperparameters = {"species": SPECIES, "hidden": (8, 8)}
    options = variants(corrected={}, as_described={"envelope": False})


class TestTripletNetwork(PotentialContract):
    architecture = "triplet_network"
    hyperparameters = {"species": SPECIES, "hidden": (8, 8)}
    options = variants(
        corrected={},
        as_described={"envelope": False, "networks": "ends", "hidden": (8,)},
        by_centre={"networks": "centre"},
    )


class TestGraphNetwork(PotentialContract):
    architecture = "graph_network"
    hyperparameters = {
        "species": SPECIES,
        "channels": 8,
        "hidden": (8,),
        "cutoff": 5.0,
        "rounds": 2,
    }
    options = variants(corrected={}, as_described={"envelope": False})


class TestACE(PotentialContract):
    architecture = "ace"
    hyperparameters = {"species": SPECIES, "degree": 6}
    options = variants(
        polynomial={},
        bessel={"radial": "bessel"},
        four_bodies={"body_order": 4, "cutoff": 4.0},
    )


class TestACENetwork(PotentialContract):
    """The published forms and the corrected one, on the graph of the convolutions."""

    architecture = "ace_network"
    hyperparameters = {"species": SPECIES, "widths": (8, 8)}
    coded = {"degree": 3, "widths": (26, 26), "edges": "ones", "pooling": "mean"} | {
        "standardise": False,
        "shift": "none",
        "scale": 0.1,
    }
    later = {"graph_cutoff": 5.0, "head_bias": False}
    later |= {"activation": "sigmoid", "last_activation": "sigmoid", "one_hot": True}
    options = variants(
        corrected={},
        as_coded=coded | {"graph_cutoff": 0.5, "self_loops": 2.0},
        as_described=coded | {"self_loops": 0.0},
        not_normalised=coded | {"normalise": False},
        later=coded | later | {"self_loops": 2.0},
    )

    def radius(self, model):
        return model.hyperparameters.graph_cutoff


class TestACENetworkWithFirstImages(TestACENetwork):
    """Some periodic images only, as the published code has them."""

    options = variants(first_images={"images": "first"})

    def kinds(self):
        return [self.periodic_structures()]


class TestNequIP(PotentialContract):
    architecture = "nequip"
    hyperparameters = {
        "species": SPECIES,
        "cutoff": 4.0,
        "channels": 4,
        "layers": 2,
        "radial_hidden": (8,),
        "denominator": 8.0,
    }
    options = variants(
        parity={"lmax": 2, "layers": 3},
        even_only={"lmax": 2, "parity": False, "self_connection": "linear"},
        xplor={"lmax": 1, "cutoff_function": "xplor", "cutoff_onset": 3.0},
    )


class TestJAT(PotentialContract):
    architecture = "jat"
    hyperparameters = {"species": SPECIES, "cutoff": 4.0, "layers": 3, "width": 12}
    # without an envelope, finite differences of the fourth power of r^2 need a short cutoff
    options = variants(
        **{
            f"{variant}_{heads}": {"variant": variant, "heads": heads, "cutoff": 4.0 - heads // 2}
            for variant in ("as_coded", "as_described", "corrected")
            for heads in (1, 2, 4)
        }
    )

    @pytest.mark.parametrize("variant", ["as_coded", "corrected"])
    def test_compiled_step_equals_eager(self, monkeypatch, variant):
        """Without the kernels, as on a GPU."""
        monkeypatch.setattr(attention, "available", lambda _: False)
        options = {"variant": variant, "heads": 2}
        monkeypatch.setattr(type(self), "hyperparameters", self.hyperparameters | options)
        super().test_compiled_step_equals_eager(monkeypatch)


class TestNeuralIL(PotentialContract):
    architecture = "neuralil"
    hyperparameters = {"species": SPECIES, "hidden": (8, 8, 8)}
    options = variants(corrected={}, as_coded={"calibrated": False})


class TestClusterNetwork(PotentialContract):
    """Six layers, raw and invariant features."""

    architecture = "spektral"
    hyperparameters = {
        "layer": "gcs",
        "features": "invariant",
        "channels": 8,
        "dense_units": 16,
        "activation": "tanh",
        "n_radial": 4,
    }
    options = variants(
        # from a width of 16 on, the sum over neighbours has derivatives of its own
        crystal_wide={"layer": "crystal", "input_width": 16},
        **{
            f"{layer}_{features}": {"layer": layer, "features": features}
            for layer, features in itertools.product(
                ("crystal", "gat", "gcs", "ecc", "agnn", "general"), ("raw", "invariant")
            )
        },
        scaled={"layer": "ecc", "input_scaling": "rms", "output_scaling": "composition"},
    )


class TestRandomFeatures(PotentialContract):
    architecture = "random_features"
    hyperparameters = TestClusterNetwork.hyperparameters
    options = variants(
        gat_raw={"layer": "gat", "features": "raw"},
        ecc_invariant={"layer": "ecc", "features": "invariant"},
    )


class TestTorchGeometric(PotentialContract):
    architecture = "torch_geometric"
    hyperparameters = {
        "species": SPECIES,
        "cutoff": 4.0,
        "options": {"hidden_channels": 8, "num_filters": 8, "num_interactions": 2},
    }
    visnet = {"hidden_channels": 8, "num_heads": 2, "num_layers": 2, "num_rbf": 8}
    options = variants(
        schnet={},
        visnet={"network": "ViSNet", "options": visnet},
        visnet_vertex={"network": "ViSNet", "options": visnet | {"vertex": True, "lmax": 2}},
    )


class TestZBL(PotentialContract):
    """The default ends at the sums of the covalent radii, of which each has its own pairs."""

    architecture = "zbl"
    hyperparameters = {"species": SPECIES}
    length_scale = 0.8  # bonds of 0.77 Angstrom
    options = variants(within_bonds={}, long={"cutoff": 3.0})


class TestCoulomb(PotentialContract):
    architecture = "coulomb"
    hyperparameters = {"species": SPECIES, "charges": (0.4, -0.8)}
    open_only = "it sums over all pairs"
    not_compiled = "no two batches"  # of graphs without edges have sizes that tell them apart

    def test_periodic_structures_are_refused(self, double_model):
        assert "supercell" in double_model.violates
        with pytest.raises(DataError, match="periodic"):
            evaluate(double_model, self.batch(double_model, self.periodic_structures()))

    def test_smooth_through_the_cutoff(self, double_model):
        """No edge is used: a graph with edges gives the same energy."""
        structures = self.open_structures()
        full = GraphBatch.from_structures(structures, 5.0, dtype=torch.float64)
        assert full.edge_index.shape[1] > 0
        expected = self.values(double_model, structures)["energy"]
        assert torch.equal(double_model(full)["energy"], expected)

    def test_it_is_the_exact_sum(self, double_model):
        from gnnip.reference.coulomb import energy_and_forces

        structures = self.open_structures()
        found = self.values(double_model, structures)
        charges = [np.where(s["numbers"] == 1, *double_model.charges.tolist()) for s in structures]
        exact = [
            energy_and_forces(s["positions"], q) for s, q in zip(structures, charges, strict=True)
        ]
        assert np.allclose(found["energy"], [e for e, _ in exact], rtol=1e-12)
        assert np.allclose(found["forces"], np.concatenate([f for _, f in exact]), atol=1e-11)


class TestPeriodicCoulomb(PotentialContract):
    """The sum over images, of given and of learned charges."""

    architecture = "coulomb"
    hyperparameters = {"species": SPECIES, "charges": (0.4, -0.8), "cutoff": 4.0}
    options = variants(learned={}, given={"trainable": False})
    visible = 1e-8  # neutral molecules far apart feel their dipoles
    crystals_only = True

    @pytest.mark.parametrize("cutoff", [3.0, 7.0])
    def test_madelung_of_rock_salt(self, cutoff):
        corners = np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0]], dtype=float)
        crystal = {
            "positions": 2.0 * np.concatenate([corners, corners + np.array([1, 0, 0])]),
            "numbers": np.repeat(self.species, 4),
            "cell": 4.0 * np.eye(3),
            "pbc": (True, True, True),
        }
        options = {"species": SPECIES, "charges": (1.0, -1.0), "cutoff": cutoff}
        energy = self.values(self.make_model({**options, "trainable": False}), [crystal])["energy"]
        assert float(energy) == pytest.approx(-4 * 1.747564595 * 14.399645 / 2.0, rel=3e-6)

    def test_learned_charges_are_shifted_to_sum_to_zero(self, double_model):
        if not double_model.hyperparameters.trainable:
            pytest.skip("given charges stay as they are")
        before = self.values(double_model, self.periodic_structures())
        with torch.no_grad():
            double_model.charges.add_(0.7)
        after = self.values(double_model, self.periodic_structures())
        assert torch.allclose(before["energy"], after["energy"], atol=1e-9)

    @pytest.mark.parametrize(
        ("charges", "cell", "said"),
        [
            ((0.4, -0.7), np.diag([6.2, 6.3, 6.4]), "charges of a periodic structure sum to 0.8 e"),
            ((0.4, -0.8), np.diag([6.2, 6.3, 0.0]), "three independent lattice vectors"),
        ],
    )
    def test_what_has_no_sum_is_refused(self, charges, cell, said):
        options = {**self.hyperparameters, "charges": charges, "trainable": False}
        model = build(self.architecture, **options)
        batch = self.batch(model, [water(8, 3) | {"cell": np.eye(3) * 6.2, "pbc": (True,) * 3}])
        batch = replace(batch, cell=torch.as_tensor(cell, dtype=batch.cell.dtype)[None])
        with pytest.raises(DataError, match=said):
            evaluate(model, batch)


class TestSum(PotentialContract):
    """Terms of three cutoffs, one of them frozen, one of them itself a sum; and with a network."""

    architecture = "sum"
    inner = {"terms": [pair(2.5) | {"frozen": True}, pair(4.0, (8, 1))]}
    hyperparameters = {
        "terms": [
            {"model": "composition"},
            {"model": "sum", "hyperparameters": inner},
            pair(3.5),
        ]
    }
    network = {"layer": "gcs", "features": "invariant", "activation": "tanh", "channels": 8}
    options = variants(
        of_pairs={},
        with_network={"terms": [pair(2.5), {"model": "spektral", "hyperparameters": network}]},
    )

    def test_every_cutoff_is_smooth(self):
        """A probe atom leaves the sphere of each term without a jump."""
        water = self.open_structures()[1]
        model = self.make_model(self.hyperparameters).double()
        outer = water["positions"][water["positions"][:, 0].argmax()]
        for cutoff in (2.5, 3.5, 4.0):
            probes = [
                {
                    "positions": np.vstack(
                        [water["positions"], np.add(outer, [cutoff + side * 1e-7, 0.0, 0.0])]
                    ),
                    "numbers": np.append(water["numbers"], 8),
                }
                for side in (-1, 1)
            ]
            one, two = self.values(model, probes)["energy"]
            assert abs(one - two) < 1e-6


def test_every_registered_potential_is_under_contract():
    tested = {cls.architecture for cls in PotentialContract.__subclasses__()}
    assert tested >= set(names())


@pytest.mark.parametrize("name", ["pair_network", "triplet_network", "graph_network"])
def test_smoothness_is_the_difference_of_two_variants(name):
    for envelope in (True, False):
        model = build(name, species=(6, 14), envelope=envelope)
        assert ("smoothness" in model.violates) != envelope


@pytest.mark.parametrize("features", ["raw", "invariant"])
def test_rotation_is_the_difference_of_two_variants(features):
    model = build("spektral", features=features)
    assert ("rotation" in model.violates) == (features == "raw")
