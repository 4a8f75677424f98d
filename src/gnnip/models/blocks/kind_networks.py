"""Small networks, one for each kind of row: pairs of elements, triplets of elements, ..."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from gnnip.graphs.adjacency import sums_are_plain

BLOCK = 32  #: rows that share the weights of one matrix product
CHUNK = 4096  #: blocks whose activations are held at a time, where memory could run out


def group_by_kind(kind: Tensor, kinds: int) -> dict[str, Tensor]:
    """Arrange rows so that blocks of `BLOCK` rows are of one kind.

    `kind` (R,) int64, below `kinds`. Returns "rows" (B, BLOCK), the rows of each block (row 0 where
    the block is not full), "block_kind" (B,), and "place" (R,), where each row went.
    """
    counts = torch.bincount(kind, minlength=kinds)
    blocks = (counts + BLOCK - 1) // BLOCK
    begins = counts.cumsum(0) - counts
    block_begins = BLOCK * (blocks.cumsum(0) - blocks)
    order = torch.argsort(kind, stable=True)
    number = torch.arange(len(kind), device=kind.device)
    sorted_kind = kind.index_select(0, order)
    slot = number + (block_begins - begins).index_select(0, sorted_kind)
    place = torch.empty_like(number).index_copy(0, order, slot)
    block_kind = torch.repeat_interleave(torch.arange(kinds, device=kind.device), blocks)
    rows = number.new_zeros(len(block_kind) * BLOCK).index_copy(0, slot, order)
    return {"rows": rows.view(-1, BLOCK), "block_kind": block_kind, "place": place}


def hinges(width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return weights, biases and typical sizes (width,) of silu(weight x + bias), x = (r/rc)^2.

    The units bend at distances spread evenly up to the cutoff, each over about the distance to the
    next. The usual start would leave all of them straight lines of x, out of which no network makes
    a bond of a tenth of the cutoff within a reasonable training.
    """
    at = (torch.arange(width, dtype=torch.float64) + 1.0) / (width + 1)
    spacing = 1.0 / (width + 1)
    weights = -1.0 / (2.0 * at * spacing)
    return weights, -weights * at.square(), 1.0 + at / (4.0 * spacing)


class KindNetworks(nn.Module):
    """Fully connected networks with silu, one output, one network per kind; all start at zero."""

    def __init__(self, kinds: int, inputs: int, hidden: tuple[int, ...]) -> None:
        """Draw the weights; those of the output are zero."""
        super().__init__()
        widths = (inputs, *hidden, 1)
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for layer, (before, after) in enumerate(pairwise(widths)):
            gain = 0.0 if layer == len(hidden) else 2.0 if layer == 0 else 1.0
            self.weights.append(gain / math.sqrt(before) * torch.randn(kinds, before, after))
            self.biases.append(0.5 * gain * torch.randn(kinds, after))

    @torch.no_grad()
    def start_from_hinges(self) -> None:
        """Spread the units of the first layer, whose only input is (r/rc)^2, over the distances."""
        weights, biases, sizes = hinges(self.weights[0].shape[2])
        self.weights[0].copy_(weights.expand_as(self.weights[0]))
        self.biases[0].copy_(biases.expand_as(self.biases[0]))
        self.weights[1].div_(sizes[:, None])

    def forward(self, x: Tensor, groups: dict[str, Tensor]) -> Tensor:
        """Return the output (R,) of rows x (R, inputs), grouped by `group_by_kind`."""
        rows, block_kind = groups["rows"], groups["block_kind"]
        arranged = x.index_select(0, rows.reshape(-1)).reshape(-1, BLOCK, x.shape[1])
        if sums_are_plain() or len(block_kind) <= CHUNK:
            out = self._evaluate(arranged, block_kind)
        else:  # only inputs and outputs are kept, activations are made again for the derivatives
            parts = zip(arranged.split(CHUNK), block_kind.split(CHUNK), strict=True)
            out = torch.cat(
                [checkpoint(self._evaluate, a, k, use_reentrant=False) for a, k in parts]
            )
        return out.reshape(-1).index_select(0, groups["place"])

    def _evaluate(self, x: Tensor, kind: Tensor) -> Tensor:
        last = len(self.weights) - 1
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            shift = bias.index_select(0, kind)[:, None]
            x = torch.baddbmm(shift, x, weight.index_select(0, kind))
            x = x if layer == last else nn.functional.silu(x)
        return x
