"""Random numbers of a training: seeded by (seed, epoch), and continued where a checkpoint left."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor


def seed_everything(seed: int, epoch: int, *more: int) -> torch.Generator:
    """Seed torch for an epoch (-1: the initial weights) and return a generator for the order."""
    digest = hashlib.sha256("/".join(map(str, (seed, epoch, *more))).encode()).digest()
    torch.manual_seed(int.from_bytes(digest[:7], "big"))
    return torch.Generator().manual_seed(int.from_bytes(digest[7:14], "big"))


def random_state(device: torch.device) -> dict[str, Tensor]:
    """Return where the random numbers of the CPU and of a GPU stand."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_random_state(state: Mapping[str, Tensor], device: torch.device) -> None:
    """Continue the random numbers from there."""
    torch.set_rng_state(state["cpu"].cpu())
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"].cpu(), device)
