"""Graph convolutions on ACE descriptors, Cho (2023): as coded, as described and corrected.

The first published code fills the lower triangle of a matrix that is not initialised and reads the
upper one, whose edges are whatever the memory held: here they are left out. Later it fills both.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from gnnip.graphs import GraphBatch, GraphStore
from gnnip.models.ace.descriptors import Descriptors, require_descriptors
from gnnip.models.ace.radial import Radial
from gnnip.models.blocks.activations import activation
from gnnip.models.blocks.radial import polynomial_envelope
from gnnip.models.contract import TargetStatistics
from gnnip.models.fitting import FitReport, TrainingFrames
from gnnip.models.hyperparameters import require, require_cutoff, require_widths
from gnnip.models.species import CalibratedPotential

#: a descriptor that varies less than this does not vary
_CONSTANT = 1e-6
#: atoms that descriptors are computed of at a time
_STRUCTURES = 16


@dataclass(frozen=True)
class ACENetworkHyperparameters:
    """Choices of the graph network on ACE descriptors.

    species : atomic numbers.
    cutoff, body_order, degree, radial : of the descriptors, as for the potential 'ace'.
    graph_cutoff : Angstrom; atoms closer than this are connected. The published 0.5 connects none.
    edges : weights of the edges: 1 up to the cutoff, where the energy jumps, or a polynomial of the
        distance that vanishes there.
    images : which periodic images are neighbours: all, or, as in the published code, of the images
        of the atom listed first only itself and those moved by one lattice vector.
    self_loops : weight of an atom in the sum over its own neighbours. The paper's formula has none,
        its library adds one, and the published matrix has another on its diagonal.
    normalise : by the degrees; without it the sum over the neighbours is taken as it is.
    one_hot : add the kind of the atom to its descriptors.
    widths : of the convolutions.
    activation, last_activation : of all convolutions but the last, and of the last one.
    pooling : mean over the atoms, or sum.
    head_bias : of the last layer.
    standardise : subtract the means of the descriptors over the training frames, and divide by
        their standard deviations, for each kind of atom.
    shift : start from the linear fit on the composition, or, as the published code, from zero.
    scale : of the output, eV; None takes the one of the training frames.
    """

    species: tuple[int, ...]
    cutoff: float = 5.0
    body_order: int = 3
    degree: int = 4
    radial: Radial = "polynomial"
    graph_cutoff: float = 3.0
    edges: Literal["ones", "smooth"] = "smooth"
    images: Literal["all", "first"] = "all"
    self_loops: float = 1.0
    normalise: bool = True
    one_hot: bool = False
    widths: tuple[int, ...] = (32, 32)
    activation: str = "tanh"
    last_activation: str = "linear"
    pooling: Literal["mean", "sum"] = "sum"
    head_bias: bool = True
    standardise: bool = True
    shift: Literal["composition", "none"] = "composition"
    scale: float | None = None

    def __post_init__(self) -> None:
        """Raise ConfigError, by name, for a value out of range."""
        name = "ace_network"
        require_descriptors(name, self.species, self.cutoff, self.body_order, self.degree)
        require_cutoff(name, self.graph_cutoff)
        require_widths(name, widths=self.widths)
        for kind in (self.activation, self.last_activation):
            activation(kind)
        require(
            self.graph_cutoff <= self.cutoff,
            f"The potential '{name}': graph_cutoff is {self.graph_cutoff:g}, it must not exceed "
            f"the cutoff of the descriptors, {self.cutoff:g}.",
        )
        require(
            self.self_loops >= 0,
            f"The potential '{name}': self_loops is {self.self_loops}, it must not be negative.",
        )
        require(
            self.scale is None or self.scale > 0,
            f"The potential '{name}': scale is {self.scale}, it must be positive or null.",
        )


class ACENetwork(CalibratedPotential):
    """E = head(pool of h_i), h <- activation(D^-1/2 (A + s) D^-1/2 h W + b) from the descriptors.

    The graph convolution of Kipf & Welling, arXiv:1609.02907, with the weights A_ij of the edges,
    self loops of weight s and degrees D_i = s + sum_j A_ij. An atom with D_i = 0 receives nothing.
    """

    Hyperparameters = ACENetworkHyperparameters

    mean: Tensor
    inverse_deviation: Tensor

    def __init__(self, hyperparameters: ACENetworkHyperparameters) -> None:
        """Draw the weights as Glorot & Bengio (2010), the biases are zero."""
        super().__init__(hyperparameters)
        o, kinds = hyperparameters, len(hyperparameters.species)
        self.descriptors = Descriptors(kinds, o.cutoff, o.body_order, o.degree, o.radial)
        n_descriptors = kinds * (self.descriptors.functions + o.one_hot)
        self.convolutions = nn.ModuleList(
            nn.Linear(before, after) for before, after in pairwise((n_descriptors, *o.widths))
        )
        names = [o.activation] * (len(o.widths) - 1) + [o.last_activation]
        self.activations = [activation(name) for name in names]
        self.head = nn.Linear(o.widths[-1], 1, bias=o.head_bias)
        for layer in (*self.convolutions, self.head):
            assert isinstance(layer, nn.Linear)
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        self.register_buffer("mean", torch.zeros(kinds, n_descriptors))
        self.register_buffer("inverse_deviation", torch.ones(n_descriptors))

    @property
    def violates(self) -> dict[str, str]:
        """What the published variants do not keep."""
        o, broken = self.hyperparameters, {}
        if o.edges == "ones":
            broken["smoothness"] = f"edges have a weight of 1 up to {o.graph_cutoff:g} Angstrom"
        if o.pooling == "mean":
            reason = "the energy is a function of the mean over the atoms"
            broken |= {"size_extensivity": reason, "supercell": reason}
        if o.images == "first":
            reason = "which images are neighbours depends on the order of the atoms"
            broken |= dict.fromkeys(("permutation", "periodicity", "supercell"), reason)
        return broken

    def calibrate(self, statistics: TargetStatistics) -> None:
        """Fix the energies of the elements and the scale."""
        super().calibrate(statistics)
        if self.hyperparameters.shift == "none":
            self.species_energies.zero_()
        if self.hyperparameters.scale is not None:
            self.scale.fill_(self.hyperparameters.scale)

    @torch.no_grad()
    def fit(self, frames: TrainingFrames) -> FitReport | None:
        """Take means and deviations of the descriptors over the training frames."""
        if not self.hyperparameters.standardise:
            return None
        found, kinds = [], []
        for batch in frames.batches(size=_STRUCTURES):
            kinds.append(self.kinds(batch))
            found.append(self.inputs(batch, kinds[-1]).double())
        inputs, kind = torch.cat(found), torch.cat(kinds)
        n = self.descriptors.functions + self.hyperparameters.one_hot
        for k in range(self.descriptors.kinds):
            own = slice(k * n, (k + 1) * n)
            deviation, mean = torch.std_mean(inputs[kind == k, own], dim=0, correction=0)
            varies = deviation > _CONSTANT * mean.abs().clamp(min=_CONSTANT)
            self.mean[k, own] = mean.nan_to_num()
            self.inverse_deviation[own] = torch.where(varies, 1.0 / deviation, 0.0)
        return FitReport(complete=False)

    def condense(self, store: GraphStore) -> GraphStore:
        """Return the graphs of the convolutions with the descriptors, which do not change."""
        found = []
        with torch.no_grad():
            for batch in store.batches(torch.arange(len(store)), _STRUCTURES):
                found.append(self.inputs(batch, self.kinds(batch)))
        return store.condensed(self.hyperparameters.graph_cutoff, inputs=torch.cat(found))

    def inputs(self, batch: GraphBatch, kinds: Tensor) -> Tensor:
        """Return the descriptors (n, kinds * F), as condensed or anew."""
        condensed = batch.extras.get("inputs")
        if condensed is not None:
            return condensed
        found = self.descriptors(batch, kinds)
        if self.hyperparameters.one_hot:
            found = torch.cat([found, torch.ones_like(found[:, :1])], dim=1)
        return self.descriptors.by_kind(found, kinds)

    def prepare(self, batch: GraphBatch) -> dict[str, Tensor]:
        """Return the kinds and, unless the batch is condensed, the edges of the convolutions."""
        prepared = super().prepare(batch)
        if "inputs" in batch.extras:
            return prepared | {"inputs": batch.extras["inputs"]}
        return prepared | batch.edges_within(self.hyperparameters.graph_cutoff)

    def graph(self, batch: GraphBatch) -> GraphBatch:
        """Return the batch with the edges of the convolutions alone."""
        if "inputs" in batch.extras:
            return batch
        cutoff = self.hyperparameters.graph_cutoff
        chosen = batch.extras if "edges" in batch.extras else batch.edges_within(cutoff)
        return batch.with_edges(chosen, cutoff)

    def weights(self, graph: GraphBatch) -> tuple[Tensor, Tensor]:
        """Return the elements of D^-1/2 (A + s) D^-1/2, or of A + s: of the edges (E,), and the
        diagonal (n,)."""
        o = self.hyperparameters
        r = graph.edge_lengths()
        weight = polynomial_envelope(r, o.graph_cutoff) if o.edges == "smooth" else 1 + 0 * r
        if o.images == "first":
            weight = weight * _first_images(graph)
        if not o.normalise:
            return weight, o.self_loops * torch.ones_like(graph.positions[:, 0])
        degree = graph.adjacency.sum_messages(weight) + o.self_loops
        connected = degree > 0
        root = torch.where(connected, torch.where(connected, degree, 1.0).rsqrt(), 0.0)
        ends = graph.adjacency.from_target(root) * graph.adjacency.from_source(root)
        return weight * ends, o.self_loops * root.square()

    def forward(self, batch: GraphBatch) -> dict[str, Tensor]:
        """Return "energy" (g,) and, where it is a sum over them, "atomic_energies" (n,), eV."""
        kinds, graph = self.kinds(batch), self.graph(batch)
        h = self.inputs(batch, kinds)
        if self.hyperparameters.standardise:
            h = (h - self.mean.index_select(0, kinds)) * self.inverse_deviation
        between, itself = self.weights(graph)
        for layer, bend in zip(self.convolutions, self.activations, strict=True):
            assert isinstance(layer, nn.Linear)
            h = nn.functional.linear(h, layer.weight)
            summed = graph.adjacency.sum_neighbours(h, between)
            h = bend(torch.addcmul(summed + layer.bias, itself[:, None], h))
        reference = self.species_energies.index_select(0, kinds)
        if self.hyperparameters.pooling == "sum":
            atomic = self.scale * self.head(h).squeeze(1) + reference
            return {"energy": batch.sum_atoms(atomic), "atomic_energies": atomic}
        mean = batch.sum_atoms(h) / batch.n_atoms[:, None]
        energy = self.scale * self.head(mean).squeeze(1)
        return {"energy": energy + batch.sum_atoms(reference)}


def _first_images(graph: GraphBatch) -> Tensor:
    """Return 1 for edges between atom and atom or, from the atom listed first moved by one lattice
    vector, to the other one, and 0 for other edges: (E,)."""
    source, target = graph.adjacency.source, graph.adjacency.target
    kept = source != target
    if graph.edge_shift is not None and graph.cell is not None:
        inverse = torch.linalg.inv(graph.cell).index_select(0, graph.batch.index_select(0, target))
        moved = torch.einsum("ei,eij->ej", graph.edge_shift, inverse).round()
        forward = torch.where(source < target, 1.0, -1.0)
        one = (moved.abs().sum(1) == 1) & (moved.sum(1) == forward)
        kept = kept & (one | (moved == 0).all(1))
    return kept.to(graph.positions.dtype)
