"""Adam, AdamW, Yogi and gradient descent on a list of tensors.

The formulas are those of torch.optim, and of Yogi those of optax; tests hold them together. They
are written out because the first optimiser that torch makes imports its compiler, which costs every
short training more than a second, and because a state of plain numbers and tensors makes
checkpoints that continue exactly.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor

EPSILON = 1e-8


class Optimiser:
    """Updates parameters from their `.grad`; parameters without a gradient stay as they are.

    A subclass defines `_move`, which changes the weights in place, and in `memory` the names of the
    tensors that it keeps for each of them, which begin with `start`.
    """

    memory: ClassVar[tuple[str, ...]] = ()
    start: ClassVar[float] = 0.0

    def __init__(
        self,
        parameters: Iterable[Tensor],
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.999),
    ) -> None:
        """Begin with an empty memory."""
        self.parameters = [p for p in parameters if p.requires_grad]
        self.weight_decay, self.betas = weight_decay, betas
        self.steps = 0
        self.kept = {
            name: [torch.full_like(p, self.start) for p in self.parameters] for name in self.memory
        }

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for p in self.parameters:
            p.grad = None

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Move the parameters one step with learning rate `rate`."""
        self.steps += 1
        chosen = [k for k, p in enumerate(self.parameters) if p.grad is not None]
        weights = [self.parameters[k] for k in chosen]
        grads = [g for k in chosen if (g := self.parameters[k].grad) is not None]
        if weights:
            if self.weight_decay:
                grads = self._decay(weights, grads, rate)
            self._move(
                weights, grads, rate, *([kept[k] for k in chosen] for kept in self.kept.values())
            )

    def _decay(self, weights: list[Tensor], grads: list[Tensor], rate: float) -> list[Tensor]:
        return list(torch._foreach_add(grads, weights, alpha=self.weight_decay))

    def _move(self, weights: list[Tensor], grads: list[Tensor], rate: float, *kept: Any) -> None:
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint needs."""
        return {"steps": self.steps, **self.kept}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state`."""
        self.steps = state["steps"]
        for name, kept in self.kept.items():
            for own, saved in zip(kept, state[name], strict=True):
                own.copy_(saved)


class GradientDescent(Optimiser):
    """w -= rate g."""

    def _move(self, weights: list[Tensor], grads: list[Tensor], rate: float, *kept: Any) -> None:
        torch._foreach_add_(weights, grads, alpha=-rate)


class Adam(Optimiser):
    """Kingma & Ba, arXiv:1412.6980."""

    memory = ("mean", "square")

    def _move(self, weights: list[Tensor], grads: list[Tensor], rate: float, *kept: Any) -> None:
        (mean, square), (beta_1, beta_2) = kept, self.betas
        torch._foreach_lerp_(mean, grads, 1.0 - beta_1)
        torch._foreach_mul_(square, beta_2)
        torch._foreach_addcmul_(square, grads, grads, 1.0 - beta_2)
        size = torch._foreach_sqrt(square)
        torch._foreach_div_(size, math.sqrt(1.0 - beta_2**self.steps))
        torch._foreach_add_(size, EPSILON)
        torch._foreach_addcdiv_(weights, mean, size, -rate / (1.0 - beta_1**self.steps))


class AdamW(Adam):
    """Adam with the weight decay apart from the gradient: Loshchilov & Hutter, arXiv:1711.05101."""

    def _decay(self, weights: list[Tensor], grads: list[Tensor], rate: float) -> list[Tensor]:
        torch._foreach_mul_(weights, 1.0 - rate * self.weight_decay)
        return grads


class Yogi(Optimiser):
    """Zaheer et al., NeurIPS 2018, with the constants of optax and its start of both memories."""

    memory = ("mean", "square")
    start, EPSILON = 1e-6, 1e-3

    def _move(self, weights: list[Tensor], grads: list[Tensor], rate: float, *kept: Any) -> None:
        (mean, square), (beta_1, beta_2) = kept, self.betas
        torch._foreach_lerp_(mean, grads, 1.0 - beta_1)
        of_grads = torch._foreach_mul(grads, grads)
        signs = torch._foreach_sign(torch._foreach_sub(square, of_grads))
        torch._foreach_addcmul_(square, signs, of_grads, beta_2 - 1.0)
        size = torch._foreach_sqrt(square)
        torch._foreach_div_(size, math.sqrt(1.0 - beta_2**self.steps))
        torch._foreach_add_(size, self.EPSILON)
        torch._foreach_addcdiv_(weights, mean, size, -rate / (1.0 - beta_1**self.steps))


#: `Settings.optimiser` -> class
OPTIMISERS: dict[str, type[Optimiser]] = {
    "adam": Adam,
    "adamw": AdamW,
    "sgd": GradientDescent,
    "yogi": Yogi,
}
