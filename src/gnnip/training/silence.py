"""Units of a network that say nothing: zero on every structure that it is shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from gnnip.graphs import GraphStore
from gnnip.models import Potential

#: what ends a layer; gates and attention, which may well be zero, are none
_ACTIVATIONS = {
    *(torch.relu, torch.tanh),
    *(nn.functional.relu, nn.functional.silu, nn.functional.gelu, nn.functional.elu),
    *(nn.functional.softplus, nn.functional.tanh),
}
#: a unit is silent below this share of the largest output of its layer
_NOTHING = 1e-6


class _Listener(TorchFunctionMode):
    """Keeps the largest output of every unit of each activation, in the order of the calls."""

    def __init__(self) -> None:
        super().__init__()
        self.largest: dict[int, Tensor] = {}
        self.call = 0

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: Any = (),
        kwargs: Any = None,
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        if function in _ACTIVATIONS and isinstance(result, Tensor) and result.dim() > 1:
            size = result.detach().abs().flatten(0, -2).amax(0) if result.numel() else None
            known = self.largest.get(self.call)
            if size is not None and (known is None or known.shape == size.shape):
                self.largest[self.call] = size if known is None else torch.maximum(known, size)
            self.call += 1
        return result


def silent_share(model: Potential, store: GraphStore, rows: Tensor, batch_size: int) -> float:
    """Return the largest share of silent units in any layer of `model`, over the structures `rows`.

    A layer is what an activation function ends; 0 for a model that calls none.
    """
    listener = _Listener()
    model.eval()
    with torch.no_grad(), listener:
        for start in range(0, len(rows), batch_size):
            listener.call = 0
            model(store.batch(rows[start : start + batch_size]))
    shares = [
        float((size <= _NOTHING * size.max()).double().mean()) for size in listener.largest.values()
    ]
    return max(shares, default=0.0)
