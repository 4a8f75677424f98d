"""Random numbers that depend on (seed, purpose, step) only: no generator state to carry, none
shared by replicas.

A replica's noise is the same in any batch, after any restart and on any device, because it is
drawn by numpy's counter-based Philox generator keyed by the replica's seed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

START, LANGEVIN, RESCALING = 0, 1, 2  #: purposes: independent streams of one seed
BLOCK_STEPS = 16  #: steps whose noise is drawn at once; part of the definition of a trajectory


def generator(seed: int, purpose: int, block: int) -> np.random.Generator:
    """Return the generator of one block of one stream."""
    key = np.array([seed & 0xFFFFFFFFFFFFFFFF, purpose], dtype=np.uint64)
    # the block is the top word of the 256-bit counter: blocks cannot overlap
    return np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, block]))


class BlockNoise:
    """Noise of the current block of steps; drawn again when the block or the replicas change."""

    def __init__(
        self, purpose: int, draw: Callable[[np.random.Generator, int], np.ndarray]
    ) -> None:
        """Take the stream and a function (generator, size of a replica) -> (BLOCK_STEPS, ...)."""
        self._purpose = purpose
        self._draw = draw
        self._key: tuple[object, ...] | None = None
        self._values = torch.empty(0)

    def at(
        self, step: int, seeds: Sequence[int], sizes: Sequence[int], device: torch.device
    ) -> torch.Tensor:
        """Return the noise of one step, replicas joined along the first axis."""
        block, row = divmod(step, BLOCK_STEPS)
        key = (block, tuple(seeds), tuple(sizes), device)
        if key != self._key:
            drawn = [
                self._draw(generator(seed, self._purpose, block), size)
                for seed, size in zip(seeds, sizes, strict=True)
            ]
            self._values = torch.as_tensor(np.concatenate(drawn, axis=1), device=device)
            self._key = key
        return self._values[row]
