"""Weights and settings of SevenNet models, carried over into `NequIP`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from gnnip.errors import CheckpointError
from gnnip.models.nequip.network import NequIP


def load_sevennet_state(model: NequIP, state: Mapping[str, Tensor]) -> NequIP:
    """Copy a SevenNet state dict into a model of the same settings; return the model.

    `state` holds arrays or tensors by name. Weights of SevenNet (0.11 or newer) lie flat, path by
    path in e3nn's order; `NequIP` keeps that order and normalisation: every block is a reshape.

    Raises
    ------
    CheckpointError : a name is missing, a block has another size than the settings imply, or
        weights are left over.
    """
    left = {
        name: torch.as_tensor(value)
        for name, value in state.items()
        if "_w3j_" not in name and not name.endswith("output_mask")
    }

    def take(name: str, *targets: Tensor) -> None:
        if name not in left:
            raise CheckpointError(f"The SevenNet weights lack '{name}', which these settings need.")
        values = left.pop(name).reshape(-1)
        if name.startswith("rescale_atomic_energy") and len(values) == 1:
            values = values.expand(targets[0].numel())
        wanted = sum(target.numel() for target in targets)
        if len(values) != wanted:
            raise CheckpointError(
                f"The SevenNet weights '{name}' hold {len(values)} numbers, "
                f"but these settings need {wanted}."
            )
        start = 0
        for target in targets:
            target.copy_(values[start : start + target.numel()].reshape(target.shape))
            start += target.numel()

    with torch.no_grad():
        for name, targets in _blocks(model):
            take(name, *targets)
    left.pop("edge_embedding.basis_function.coeffs", None)
    weights = [
        name for name, value in left.items() if value.is_floating_point() and value.numel() > 0
    ]
    if weights:
        raise CheckpointError(
            f"The SevenNet weights '{weights[0]}' belong to none of the layers of these settings."
        )
    return model


def _blocks(model: NequIP) -> Iterator[tuple[str, list[Tensor]]]:
    if model.hyperparameters.trainable_radial:
        yield "edge_embedding.basis_function.coeffs", [model.basis.frequencies]
    yield "onehot_to_feature_x.linear.weight", [model.embedding]
    for number, layer in enumerate(model.layers):
        kind = {"nequip": "fc_tensor_product", "linear": "linear"}.get(layer.self_connection)
        if kind is not None:
            yield f"{number}_self_connection_intro.{kind}.weight", list(layer.connection)
        yield f"{number}_self_interaction_1.linear.weight", [layer.linear_in]
        yield f"{number}_convolution.denominator", [model.denominators[number : number + 1]]
        radial = [*layer.radial.weights, layer.path_weights]
        for depth, weight in enumerate(radial):
            yield f"{number}_convolution.weight_nn.layer{depth}.weight", [weight]
        yield f"{number}_self_interaction_2.linear.weight", list(layer.linear_out)
    yield "reduce_input_to_hidden.linear.weight", [model.readout[0]]
    yield "reduce_hidden_to_energy.linear.weight", [model.readout[1]]
    yield "rescale_atomic_energy.shift", [model.shift]
    yield "rescale_atomic_energy.scale", [model.scale]
