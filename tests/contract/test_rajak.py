"""Pair, triplet and graph networks as described and corrected, and the nuclear repulsion."""

import pytest
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


def contract_class(name, architecture, **options):
    def make_model(self):
        torch.manual_seed(1)
        model = build(architecture, species=(1, 8), **options)
        model.calibrate(STATISTICS)
        with torch.no_grad():  # the last layers start from zero
            for parameter in model.parameters():
                if not parameter.any():
                    parameter.normal_(0.0, 0.3)
        return model

    return type(name, (PotentialContract,), {"make_model": make_model})


NETWORK = {"channels": 8, "hidden": (8,), "cutoff": 5.0, "rounds": 2}
PER_KIND = {"hidden": (8, 8)}

TestPairNetwork = contract_class("TestPairNetwork", "pair_network", **PER_KIND)
TestPairNetworkAsDescribed = contract_class(
    "TestPairNetworkAsDescribed", "pair_network", envelope=False, **PER_KIND
)
TestTripletNetwork = contract_class("TestTripletNetwork", "triplet_network", **PER_KIND)
TestTripletNetworkAsDescribed = contract_class(
    "TestTripletNetworkAsDescribed",
    "triplet_network",
    envelope=False,
    networks="ends",
    hidden=(8,),
)
TestTripletNetworkByCentre = contract_class(
    "TestTripletNetworkByCentre", "triplet_network", networks="centre", **PER_KIND
)
TestGraphNetwork = contract_class("TestGraphNetwork", "graph_network", **NETWORK)
TestGraphNetworkAsDescribed = contract_class(
    "TestGraphNetworkAsDescribed", "graph_network", envelope=False, **NETWORK
)
TestZBL = contract_class("TestZBL", "zbl", cutoff=3.0)


class TestZBLWithinBonds(contract_class("Base", "zbl")):
    """The default ends at the sums of the covalent radii, of which each has its own pairs."""

    def structures(self):
        return [
            s | {"positions": 0.8 * s["positions"]} for s in super().structures()
        ]  # bonds of 0.77 Angstrom


@pytest.mark.parametrize("architecture", ["pair_network", "triplet_network", "graph_network"])
def test_smoothness_is_the_difference_of_the_two_variants(architecture):
    for envelope in (True, False):
        model = build(architecture, species=(6, 14), envelope=envelope)
        assert ("smoothness" in model.violates) != envelope
