"""The cluster network under the contract: six layers, raw and invariant features."""

import pytest

from gnnip.models import build

from .base import PotentialContract

LAYERS = ["crystal", "gat", "gcs", "ecc", "agnn", "general"]


def contract_class(layer, features, **changes):
    options = {"channels": 8, "dense_units": 16, "activation": "tanh", "n_radial": 4} | changes

    def make_model(self):
        return build("spektral", layer=layer, features=features, **options)

    name = f"Test{layer.title()}{features.title()}"
    return type(name, (PotentialContract,), {"make_model": make_model})


for _layer in LAYERS:
    for _features in ("raw", "invariant"):
        _class = contract_class(_layer, _features)
        globals()[_class.__name__] = _class


# from a width of 16 on, the sum over neighbours has derivatives of its own
TestCrystalWide = contract_class("crystal", "invariant", input_width=16)


@pytest.mark.parametrize("features", ["raw", "invariant"])
def test_rotation_is_the_difference_of_the_two_variants(features):
    model = build("spektral", features=features)
    assert ("rotation" in model.violates) == (features == "raw")
