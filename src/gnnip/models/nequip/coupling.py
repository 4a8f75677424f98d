"""Which irreps a layer carries, which paths couple them, and with which coefficients.

An irrep is a tuple (l, p), p = +1 even or -1 odd under inversion. All irreps of a layer have the
same number of channels; features are tensors (n, components, channels), the components of the
irreps one after the other in the order (l, p). Orders and normalisations are those of e3nn as
SevenNet uses it ("component" and "element"), so weights can be carried over.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gnnip.models.blocks.harmonics import wigner_3j

Irrep = tuple[int, int]


def dimension(irreps: tuple[Irrep, ...]) -> int:
    """Return the number of components of one channel."""
    return sum(2 * degree + 1 for degree, _ in irreps)


def name(irrep: Irrep) -> str:
    """Return the usual name, such as ``1o``."""
    return f"{irrep[0]}{'e' if irrep[1] > 0 else 'o'}"


def edge_irreps(lmax: int, parity: bool) -> tuple[Irrep, ...]:
    """Return the irreps of the harmonics 0..lmax; all are even when parity is not tracked."""
    return tuple((degree, (-1) ** degree if parity else 1) for degree in range(lmax + 1))


def products(first: tuple[Irrep, ...], second: tuple[Irrep, ...]) -> tuple[Irrep, ...]:
    """Return the distinct irreps in the product of two sets, in order."""
    found = {
        (degree, p1 * p2)
        for l1, p1 in first
        for l2, p2 in second
        for degree in range(abs(l1 - l2), l1 + l2 + 1)
    }
    return tuple(sorted(found))


def layer_irreps(
    n_layers: int, lmax_edge: int, lmax_node: int, parity: bool
) -> list[tuple[Irrep, ...]]:
    """Return the irreps after the embedding and after each layer; the last keeps even scalars."""
    harmonics = edge_irreps(lmax_edge, parity)
    layers: list[tuple[Irrep, ...]] = [((0, 1),)]
    for layer in range(n_layers):
        last = layer == n_layers - 1
        layers.append(
            tuple(
                irrep
                for irrep in products(layers[-1], harmonics)
                if irrep[0] <= (0 if last else lmax_node) and not (last and irrep[1] < 0)
            )
        )
    return layers


@dataclass(frozen=True)
class Path:
    """One coupling (input irrep, harmonic of degree `edge`) -> output irrep."""

    source: int  # position of the input irrep
    edge: int
    target: int  # position of the output irrep
    position: int  # position among the paths into that output irrep


class Coupling:
    """The tensor product of one layer: its paths in the order of their weights, and its tables.

    A node's sum of messages has `rows` components of `channels`; those of one output irrep lie
    together, ordered by (component, path), so that one matrix product per irrep mixes paths and
    channels.
    """

    def __init__(
        self, inputs: tuple[Irrep, ...], harmonics: tuple[Irrep, ...], outputs: tuple[Irrep, ...]
    ):
        """List the paths from `inputs` times `harmonics` into `outputs`."""
        self.inputs, self.harmonics = inputs, harmonics
        found = [
            ((degree, p1 * p2), source, edge)
            for source, (l1, p1) in enumerate(inputs)
            for edge, (l2, p2) in enumerate(harmonics)
            for degree in range(abs(l1 - l2), l1 + l2 + 1)
            if (degree, p1 * p2) in outputs
        ]
        found.sort(key=lambda item: item[0])  # stable, as e3nn's sort of irreps
        self.outputs = tuple(sorted({irrep for irrep, _, _ in found}))
        self.multiplicity = [sum(f[0] == irrep for f in found) for irrep in self.outputs]
        self.paths: list[Path] = []
        for irrep, source, edge in found:
            target = self.outputs.index(irrep)
            position = sum(path.target == target for path in self.paths)
            self.paths.append(Path(source, edge, target, position))
        self.row_starts = [
            sum(self.multiplicity[t] * (2 * self.outputs[t][0] + 1) for t in range(target))
            for target in range(len(self.outputs))
        ]
        self.rows = sum(
            m * (2 * irrep[0] + 1) for m, irrep in zip(self.multiplicity, self.outputs, strict=True)
        )
        self.components = dimension(inputs)
        self.n_harmonics = dimension(harmonics)

    def coefficients(self, path: Path) -> np.ndarray:
        """Return (2 l1 + 1, 2 l2 + 1, 2 l3 + 1) coefficients with e3nn's factor sqrt(2 l3 + 1)."""
        l1 = self.inputs[path.source][0]
        l2 = self.harmonics[path.edge][0]
        l3 = self.outputs[path.target][0]
        return wigner_3j(l1, l2, l3) * np.sqrt(2 * l3 + 1)

    def source_start(self, path: Path) -> int:
        """Return the first component of the path's input irrep."""
        return dimension(self.inputs[: path.source])

    def edge_start(self, path: Path) -> int:
        """Return the first component of the path's harmonic."""
        return dimension(self.harmonics[: path.edge])

    def row(self, path: Path, component: int) -> int:
        """Return the row of the node's sum that holds one output component of a path."""
        start = self.row_starts[path.target]
        return start + component * self.multiplicity[path.target] + path.position
