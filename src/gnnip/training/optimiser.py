"""Adam, AdamW and gradient descent on a list of tensors.

The formulas are those of torch.optim, and a test holds them together. They are written out because
the first optimiser that torch makes imports its compiler, which costs every short training more
than a second, and because a state of plain numbers and tensors makes checkpoints that continue
exactly.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8


class Optimiser:
    """Updates parameters from their `.grad`; parameters without a gradient stay as they are."""

    def __init__(self, parameters: Iterable[Tensor], kind: str, weight_decay: float = 0.0) -> None:
        """`kind` is "adam" (Kingma & Ba), "adamw" (decay apart from the gradient) or "sgd"."""
        self.parameters = [p for p in parameters if p.requires_grad]
        self.kind, self.weight_decay = kind, weight_decay
        self.steps = 0
        self.mean = [torch.zeros_like(p) for p in self.parameters]
        self.square = [torch.zeros_like(p) for p in self.parameters]

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
        if not weights:
            return
        if self.weight_decay and self.kind == "adamw":
            torch._foreach_mul_(weights, 1.0 - rate * self.weight_decay)
        elif self.weight_decay:
            grads = list(torch._foreach_add(grads, weights, alpha=self.weight_decay))
        if self.kind == "sgd":
            torch._foreach_add_(weights, grads, alpha=-rate)
            return
        mean, square = [self.mean[k] for k in chosen], [self.square[k] for k in chosen]
        torch._foreach_lerp_(mean, grads, 1.0 - BETA_1)
        torch._foreach_mul_(square, BETA_2)
        torch._foreach_addcmul_(square, grads, grads, 1.0 - BETA_2)
        size = torch._foreach_sqrt(square)
        torch._foreach_div_(size, math.sqrt(1.0 - BETA_2**self.steps))
        torch._foreach_add_(size, EPSILON)
        torch._foreach_addcdiv_(weights, mean, size, -rate / (1.0 - BETA_1**self.steps))

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint needs."""
        return {"steps": self.steps, "mean": self.mean, "square": self.square}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state`."""
        self.steps = state["steps"]
        for own, saved in ((self.mean, state["mean"]), (self.square, state["square"])):
            for a, b in zip(own, saved, strict=True):
                a.copy_(b)
