"""The graph network of Rajak et al. (2021), with node and edge features: E_GNN."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from gnnip.graphs import Adjacency, GraphBatch
from gnnip.models.blocks.kind_networks import hinges
from gnnip.models.blocks.radial import polynomial_envelope
from gnnip.models.contract import TargetStatistics
from gnnip.models.hyperparameters import require_at_least, require_denominator
from gnnip.models.species import ScaledPotential, require_network, require_species


@dataclass(frozen=True)
class GraphNetworkHyperparameters:
    """Choices of the graph network; those that the paper does not state are marked.

    species : atomic numbers.
    cutoff : Angstrom.
    channels : width of node and edge features.
    rounds : times that an edge convolution and a node convolution are applied.
    hidden : widths of the hidden layers of the decoder (not stated).
    envelope : multiply the messages by a polynomial of the distance that vanishes at the cutoff.
        False is the paper as described: the energy jumps when a pair crosses the cutoff.
    envelope_power : of that polynomial.
    denominator : what sums over neighbours are divided by (not stated); None takes the root of the
        mean number of neighbours of the training data.
    """

    species: tuple[int, ...]
    cutoff: float = 7.0
    channels: int = 32
    rounds: int = 3
    hidden: tuple[int, ...] = (32,)
    envelope: bool = True
    envelope_power: int = 6
    denominator: float | None = None

    def __post_init__(self) -> None:
        """Raise ConfigError, by name, for a value out of range."""
        require_species(self.species, "graph_network")
        require_network(self, "graph_network")
        require_at_least(1, "graph_network", channels=self.channels, rounds=self.rounds)
        require_denominator("graph_network", self.denominator)


class EdgeConvolution(nn.Module):
    """e_ij <- e_ij + norm(silu(A e_ij + B v_i + C v_j + d)): one directed edge j -> i and its ends.

    B and C act on the nodes, before they are given to the edges, so that an edge costs one product
    with a matrix. The form is not stated in the paper; this is the edge block of Battaglia et al.,
    arXiv:1806.01261, eq. 1, with one layer, a residual connection and a layer normalisation of what
    is added, as in Sanchez-Gonzalez et al., arXiv:2002.09405. Without it the part that all edges
    have in common grows until nodes differ no more, and such trainings learn nothing.
    """

    def __init__(self, channels: int) -> None:
        """Draw the weights."""
        super().__init__()
        self.edge = nn.Linear(channels, channels)
        self.ends = nn.Linear(channels, 2 * channels, bias=False)
        self.norm = nn.LayerNorm(channels)

    def forward(self, edges: Tensor, nodes: Tensor, graph: Adjacency) -> Tensor:
        """Return new features of edges (E, C)."""
        centre, neighbour = self.ends(nodes).chunk(2, dim=1)
        mixed = graph.from_target(centre.contiguous()) + graph.from_source(neighbour.contiguous())
        return edges + self.norm(nn.functional.silu(self.edge(edges) + mixed))


class NodeConvolution(nn.Module):
    """v_i <- v_i + norm(N(v_i, sum_j w(r_ij) e_ij / d)), with a network N of one hidden layer.

    The node block of Battaglia et al., arXiv:1806.01261, eq. 1; not stated in the paper, nor is the
    layer normalisation, as in `EdgeConvolution`.
    """

    def __init__(self, channels: int) -> None:
        """Draw the weights."""
        super().__init__()
        self.first = nn.Linear(2 * channels, channels)
        self.second = nn.Linear(channels, channels)
        self.norm = nn.LayerNorm(channels)

    def forward(self, nodes: Tensor, received: Tensor) -> Tensor:
        """Return new features of nodes (n, C) from old ones and the sums of messages (n, C)."""
        hidden = nn.functional.silu(self.first(torch.cat([nodes, received], dim=1)))
        return nodes + self.norm(self.second(hidden))


class GraphNetwork(ScaledPotential):
    """E = sum_i decoder(v_i) after rounds of edge and node convolutions, Rajak et al. (2021).

    Nodes start as an embedding of the element, directed edges as a network of r_ij^2.
    """

    Hyperparameters = GraphNetworkHyperparameters

    denominator: Tensor

    def __init__(self, hyperparameters: GraphNetworkHyperparameters) -> None:
        """Build the layers; the decoder starts from zero."""
        super().__init__(hyperparameters)
        o = hyperparameters
        self.node_embedding = nn.Parameter(torch.randn(len(o.species), o.channels))
        bend, mix = nn.Linear(1, o.channels), nn.Linear(o.channels, o.channels)
        self.edge_embedding = nn.Sequential(bend, nn.SiLU(), mix)
        self.edge_convolutions = nn.ModuleList(EdgeConvolution(o.channels) for _ in range(o.rounds))
        self.node_convolutions = nn.ModuleList(NodeConvolution(o.channels) for _ in range(o.rounds))
        layers: list[nn.Module] = []
        for before, after in pairwise((o.channels, *o.hidden)):
            layers += [nn.Linear(before, after), nn.SiLU()]
        last = nn.Linear(o.hidden[-1], 1)
        self.decoder = nn.Sequential(*layers, last)
        given = 1.0 if o.denominator is None else o.denominator
        self.register_buffer("denominator", torch.tensor(given))
        with torch.no_grad():
            weights, biases, sizes = hinges(o.channels)
            bend.weight.copy_(weights[:, None])
            bend.bias.copy_(biases)
            mix.weight.div_(sizes)
            last.weight.zero_()
            last.bias.zero_()

    def calibrate(self, statistics: TargetStatistics) -> None:
        """Fix the energies of the elements, the scale and the denominator."""
        super().calibrate(statistics)
        if self.hyperparameters.denominator is None:
            self.denominator.fill_(math.sqrt(max(statistics.mean_neighbours, 1.0)))

    def forward(self, batch: GraphBatch) -> dict[str, Tensor]:
        """Return "energy" (g,) and "atomic_energies" (n,), eV."""
        kinds, graph = self.kinds(batch), batch.adjacency
        r = batch.edge_lengths()
        nodes = self.node_embedding.index_select(0, kinds)
        edges = self.edge_embedding((r / self.cutoff).square()[:, None])
        weight = None
        if self.hyperparameters.envelope:
            power = self.hyperparameters.envelope_power
            weight = polynomial_envelope(r, self.cutoff, power)[:, None]
        for of_edges, of_nodes in zip(self.edge_convolutions, self.node_convolutions, strict=True):
            edges = of_edges(edges, nodes, graph)
            received = graph.sum_messages(edges if weight is None else edges * weight)
            nodes = of_nodes(nodes, received / self.denominator)
        return self.energies(batch, kinds, self.decoder(nodes).squeeze(1))
