"""The fully connected network that ends JAT and NeuralIL."""

from __future__ import annotations

import math
from itertools import pairwise

from torch import nn

#: of flax, whose layers these are
LAYER_NORM_EPSILON = 1e-6
#: over that of a normal distribution that is cut at twice its own
CUT_SPREAD = 1 / 0.87962566103423978


def swish_network(widths: tuple[int, ...], bias: bool, normalised_from: int) -> nn.Sequential:
    """Return linear layers of the widths, each followed by swish, and an affine map of the output.

    widths : of the input and of every layer; the last is the output, 1 in both models.
    bias : whether the layers have one.
    normalised_from : number of the first hidden layer with a layer normalisation before its swish.
    """
    layers: list[nn.Module] = []
    for number, (before, after) in enumerate(pairwise(widths)):
        layers.append(nn.Linear(before, after, bias))
        if normalised_from <= number < len(widths) - 2:
            layers.append(nn.LayerNorm(after, LAYER_NORM_EPSILON))
        layers.append(nn.SiLU())
    layers.append(nn.Linear(widths[-1], 1))
    for layer in layers:
        if isinstance(layer, nn.Linear):
            spread = CUT_SPREAD / math.sqrt(layer.in_features)
            nn.init.trunc_normal_(layer.weight, std=spread, a=-2 * spread, b=2 * spread)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)
