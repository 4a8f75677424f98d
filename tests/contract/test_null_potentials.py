"""Null models, pair potential, explicit charges and sums of potentials under the contract."""

import numpy as np
import pytest
import torch

from gnnip.errors import DataError
from gnnip.graphs import GraphBatch
from gnnip.models import build, evaluate
from gnnip.models.contract import TargetStatistics

from .base import PotentialContract

STATISTICS = TargetStatistics(
    energy_mean=-7.0,
    energy_std=2.0,
    species_energies={1: -1.5, 8: -4.25},
    residual_std=0.3,
    force_rms=1.2,
    mean_neighbours=9.0,
)


class TestConstant(PotentialContract):
    tells_apart = False

    def make_model(self):
        model = build("constant")
        model.calibrate(STATISTICS)
        return model


class TestComposition(PotentialContract):
    def make_model(self):
        model = build("composition")
        model.calibrate(STATISTICS)
        return model


class TestPair(PotentialContract):
    def make_model(self):
        model = build("pair", species=(1, 8), cutoff=4.0)
        model.calibrate(STATISTICS)
        with torch.no_grad():
            model.coefficients.normal_()
        return model


class TestCoulomb(PotentialContract):
    def make_model(self):
        model = build("coulomb", species=(1, 8), charges=(0.4, -0.8))
        model.calibrate(STATISTICS)
        return model

    def test_periodic_cell_equals_supercell(self, model):
        structure = self.periodic_structure()
        batch = GraphBatch.from_structures([structure], model.cutoff, dtype=torch.float64)
        with pytest.raises(DataError, match="periodic"):
            evaluate(model, batch)

    def test_stress_is_the_derivative_with_strain(self, model):
        assert "supercell" in model.violates

    def test_smooth_through_the_cutoff(self, model):
        """No edge is used: a graph with edges gives the same energy."""
        structures = self.structures()
        full = GraphBatch.from_structures(structures, 5.0, dtype=torch.float64)
        assert full.edge_index.shape[1] > 0
        assert torch.equal(model(full)["energy"], self.energies(model, structures))

    def test_it_is_the_exact_sum(self, model):
        from gnnip.reference.coulomb import energy_and_forces

        structures = self.structures()
        batch = GraphBatch.from_structures(structures, model.cutoff, dtype=torch.float64)
        output = evaluate(model, batch, forces=True)
        charges = [np.where(s["numbers"] == 1, *model.charges.tolist()) for s in structures]
        exact = [
            energy_and_forces(s["positions"], q) for s, q in zip(structures, charges, strict=True)
        ]
        assert np.allclose(output["energy"], [e for e, _ in exact], rtol=1e-12)
        assert np.allclose(output["forces"], np.concatenate([f for _, f in exact]), atol=1e-11)


class TestSum(PotentialContract):
    """Terms of three cutoffs, one of them frozen, one of them itself a sum."""

    def make_model(self):
        short = {"model": "pair", "hyperparameters": {"species": [1, 8], "cutoff": 2.5}}
        long = {"model": "pair", "hyperparameters": {"species": [8, 1], "cutoff": 4.0}}
        inner = {"model": "sum", "hyperparameters": {"terms": [short | {"frozen": True}, long]}}
        between = {"model": "pair", "hyperparameters": {"species": [1, 8], "cutoff": 3.5}}
        model = build("sum", terms=[{"model": "composition"}, inner, between])
        model.calibrate(STATISTICS)
        return model

    def test_every_cutoff_is_smooth(self, model):
        """A probe atom leaves the sphere of each term without a jump."""
        water = self.structures()[1]
        outer = water["positions"][water["positions"][:, 0].argmax()]
        for cutoff in (2.5, 3.5, 4.0):
            energies = self.energies(
                model,
                [
                    {
                        "positions": np.vstack(
                            [water["positions"], np.add(outer, [cutoff + side * 1e-7, 0.0, 0.0])]
                        ),
                        "numbers": np.append(water["numbers"], 8),
                    }
                    for side in (-1, 1)
                ],
            )
            assert abs(energies[1] - energies[0]) < 1e-6


class TestSumWithNetwork(PotentialContract):
    def make_model(self):
        pair = {"model": "pair", "hyperparameters": {"species": [1, 8], "cutoff": 2.5}}
        options = {"layer": "gcs", "features": "invariant", "activation": "tanh", "channels": 8}
        network = {"model": "spektral", "hyperparameters": options}
        return build("sum", terms=[pair, network])
