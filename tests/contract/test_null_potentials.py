"""The null models, the pair potential and sums of potentials under the contract."""

import numpy as np
import torch

from gnnip.models import build
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
