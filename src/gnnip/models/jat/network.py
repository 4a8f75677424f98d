"""JAT (Hödl, 2022): attention on sparse graphs, with squared distances as the only geometry."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from gnnip.errors import DataError
from gnnip.graphs import Adjacency, GraphBatch
from gnnip.models.blocks.radial import polynomial_envelope
from gnnip.models.blocks.readout import LAYER_NORM_EPSILON, swish_network
from gnnip.models.contract import TargetStatistics
from gnnip.models.hyperparameters import require, require_at_least, require_cutoff
from gnnip.models.jat import attention
from gnnip.models.species import CalibratedPotential, require_species

READOUT = (64, 32, 16, 16)


@dataclass(frozen=True)
class JATHyperparameters:
    """Options of `JAT`; lengths in Angstrom, energies in eV.

    species : atomic numbers, in the order of the embedding.
    layers, heads, width : attention layers, heads of each and features of each head.
    variant : "as_coded" repeats the published code with its defect for more than one head, see
        `scrambled_entries`; "as_described" gives every edge its own distance; "corrected" also
        weights the edges by an envelope, so that the energy is smooth at the cutoff.
    offsets : predict in units of the training forces on top of energies of the elements, without
        which total energies of many eV take many thousand steps; None is what the variant does:
        "corrected" alone has them.
    max_neighbours : as coded, the list of edges is padded to so many per atom, the atom itself
        counted; None is the number of atoms, or more where images need it.
    envelope_power : of the polynomial envelope.
    """

    species: tuple[int, ...]
    cutoff: float = 5.0
    layers: int = 7
    heads: int = 1
    width: int = 48
    variant: Literal["as_coded", "as_described", "corrected"] = "corrected"
    offsets: bool | None = None
    max_neighbours: int | None = None
    envelope_power: int = 6

    def __post_init__(self) -> None:
        """Raise ConfigError, by name, for a value out of range."""
        require_species(self.species, "jat")
        require_cutoff("jat", self.cutoff)
        require_at_least(
            1,
            "jat",
            layers=self.layers,
            heads=self.heads,
            width=self.width,
            max_neighbours=self.max_neighbours,
        )
        require_at_least(2, "jat", envelope_power=self.envelope_power)
        require(
            self.max_neighbours is None or self.variant == "as_coded",
            "The potential 'jat': max_neighbours belongs to the variant 'as_coded'; the others "
            "have no padding.",
        )


class JATLayer(nn.Module):
    """h_i <- norm(h_i + swish(sum_j alpha_ij q_j)), alpha = softmax_j of the logits of every head.

    q = h Wq, k = h Wk, logits = [swish(q_j + k_i), v_ij] A with A (heads, width + 1, heads), which
    mixes the heads, and v_ij (heads) functions of the distance. The atom itself is one of its
    neighbours, at distance 0.
    """

    def __init__(self, inputs: int, heads: int, width: int, norm: bool) -> None:
        """Draw orthogonal weights."""
        super().__init__()
        self.heads, self.width = heads, width
        self.query = nn.Parameter(torch.empty(inputs, heads * width))
        self.key = nn.Parameter(torch.empty(inputs, heads * width))
        weights = torch.empty(heads * (width + 1), heads)
        for weight in (self.query, self.key, weights):
            nn.init.orthogonal_(weight)
        self.weights = nn.Parameter(weights.view(heads, width + 1, heads))
        self.norm = nn.LayerNorm(width, LAYER_NORM_EPSILON) if norm else None

    def forward(
        self, x: Tensor, graph: Adjacency, values: tuple[Tensor, Tensor], envelope: Tensor | None
    ) -> Tensor:
        """Return new features (n, heads * width) from old ones, in the first layer (n, width).

        values : v of the edges (E, heads) and of the atoms with themselves (n, heads).
        envelope : factors on the powers of the softmax (E,).
        """
        query, alpha, own = self.attend(x, graph, values, envelope)
        sent = query.view(-1, self.heads, self.width)
        received = [
            graph.sum_neighbours(sent[:, head].contiguous(), alpha[:, head].contiguous())
            for head in range(self.heads)
        ]
        new = nn.functional.silu(torch.stack(received, dim=1) + own[:, :, None] * sent)
        new = new + x.view(x.shape[0], -1, self.width)
        return (new if self.norm is None else self.norm(new)).flatten(1)

    def attend(
        self, x: Tensor, graph: Adjacency, values: tuple[Tensor, Tensor], envelope: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return q (n, heads * width) and alpha of the edges (E, heads) and of the atoms with
        themselves (n, heads)."""
        query, key = x @ self.query, x @ self.key
        of_features, of_values = self.weights[:, :-1].flatten(0, 1), self.weights[:, -1]
        of_edges = attention.logits(query, key, of_features, graph) + values[0] @ of_values
        of_atoms = nn.functional.silu(query + key) @ of_features + values[1] @ of_values
        return query, *attention.softmax(of_edges, of_atoms, envelope, graph)


class JAT(CalibratedPotential):
    """E = sum_i w swish(network(h_i)) + b, h_i from layers of attention, Hödl (2022).

    Atoms start as an embedding of their element. Periodic images are neighbours of their own; the
    published code knows the nearest image only, which is the same in cells that are wider than
    twice the cutoff.
    """

    Hyperparameters = JATHyperparameters

    def __init__(self, hyperparameters: JATHyperparameters) -> None:
        """Draw the weights as the published code does."""
        super().__init__(hyperparameters)
        o = hyperparameters
        start = torch.randn(len(o.species), o.width) / math.sqrt(o.width)
        self.embedding = nn.Parameter(start)
        self.layers = nn.ModuleList(
            JATLayer(o.heads * o.width if n else o.width, o.heads, o.width, n < o.layers - 1)
            for n in range(o.layers)
        )
        self.readout = swish_network((o.heads * o.width, *READOUT, 1), False, 0)

    @property
    def scrambled(self) -> bool:
        """Whether edges get the distances of other edges."""
        return self.hyperparameters.variant == "as_coded" and self.hyperparameters.heads > 1

    @property
    def violates(self) -> dict[str, str]:
        """Smoothness without an envelope; whatever changes the list of edges as coded."""
        if self.hyperparameters.variant == "corrected":
            return {}
        found = {
            "smoothness": f"there is no envelope: the energy jumps at {self.cutoff:g} Angstrom"
        }
        if self.scrambled:
            reason = "edges take distances of others by their place in the padded list of edges"
            found |= dict.fromkeys(("permutation", "size_extensivity", "supercell"), reason)
        return found

    @property
    def eager_reason(self) -> str | None:
        """Its own kernels, where there are any, are faster than what a compiler makes."""
        if attention.available(self.embedding):
            return "the kernels of JAT are faster on a CPU"
        return None

    def calibrate(self, statistics: TargetStatistics) -> None:
        """Fix the energies of the elements and the scale, with `offsets`."""
        o = self.hyperparameters
        if o.variant == "corrected" if o.offsets is None else o.offsets:
            super().calibrate(statistics)

    def prepare(self, batch: GraphBatch) -> dict[str, Tensor]:
        """Return also, as coded, the "entries" of `scrambled_entries`.

        DataError for an element that is not listed, and for more edges than the padding holds.
        """
        found = super().prepare(batch)
        if self.hyperparameters.variant == "as_coded":
            room = self.room(batch)
            if self.scrambled:
                found["entries"] = scrambled_entries(batch, room, self.hyperparameters.heads)
        return found

    def room(self, batch: GraphBatch) -> Tensor:
        """Return the length of the padded list of edges of each structure, (g,) int64."""
        most, atoms = self.hyperparameters.max_neighbours, batch.n_atoms
        edges = batch.sum_atoms(batch.adjacency.degree + 1)
        if most is None:
            return torch.maximum(atoms * atoms, edges)
        room = atoms * most
        if bool((edges > room).any()):
            worst = int((edges - room).argmax())
            raise DataError(
                f"A structure of {int(atoms[worst])} atoms has {int(edges[worst])} pairs closer "
                f"than {self.cutoff:g} Angstrom, each atom with itself counted, and the padding of "
                f"'jat' holds {most} per atom; set max_neighbours to at least "
                f"{-(-int(edges[worst]) // int(atoms[worst]))}."
            )
        return room

    def forward(self, batch: GraphBatch) -> dict[str, Tensor]:
        """Return "energy" (g,) and "atomic_energies" (n,), eV."""
        kinds, values, envelope = self._inputs(batch)
        x = self.embedding.index_select(0, kinds)
        for layer in self.layers:
            x = layer(x, batch.adjacency, values, envelope)
        energies = self.species_energies.index_select(0, kinds)
        atomic = self.scale * self.readout(x).squeeze(1) + energies
        return {"energy": batch.sum_atoms(atomic), "atomic_energies": atomic}

    def attention(self, batch: GraphBatch) -> list[Tensor]:
        """Return alpha of the edges (E, heads), layer by layer."""
        kinds, values, envelope = self._inputs(batch)
        x, found = self.embedding.index_select(0, kinds), []
        for layer in self.layers:
            assert isinstance(layer, JATLayer)
            found.append(layer.attend(x, batch.adjacency, values, envelope)[1])
            x = layer(x, batch.adjacency, values, envelope)
        return found

    def _inputs(self, batch: GraphBatch) -> tuple[Tensor, tuple[Tensor, Tensor], Tensor | None]:
        """Return the kinds of the atoms, and values and envelope of the layers."""
        o = self.hyperparameters
        prepared = batch.extras if "kinds" in batch.extras else JAT.prepare(self, batch)
        kinds, r = prepared["kinds"], batch.edge_lengths()
        envelope = None
        if o.variant == "corrected":
            envelope = polynomial_envelope(r, o.cutoff, o.envelope_power)
        return kinds, self.values(r.square(), kinds.shape[0], prepared.get("entries")), envelope

    def values(self, s: Tensor, n: int, entries: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return v of the edges (E, heads) and of n atoms with themselves, from s = r^2 (E,).

        Head h has s^(h+1). Corrected, powers are of s / cutoff^2, times cutoff^2: where s^4 reaches
        thousands the softmax would choose a single neighbour, just inside the cutoff or not.
        """
        unit = self.cutoff**2 if self.hyperparameters.variant == "corrected" else 1.0
        powers = [unit * (s / unit) ** (head + 1) for head in range(self.hyperparameters.heads)]
        if entries is None:
            return torch.stack(powers, dim=1), s.new_zeros(n, len(powers))
        zeros = s.new_zeros(n)  # of the atoms with themselves, and the last one of the padding
        flat = torch.cat([part for power in powers for part in (power, zeros)] + [s.new_zeros(1)])
        found = flat[entries]
        return found[: s.shape[0]], found[s.shape[0] :]


def scrambled_entries(batch: GraphBatch, room: Tensor, heads: int) -> Tensor:
    """Return where the published code reads the powers of the distance, (E + n, heads) int64.

    Rows are the edges and then the atoms with themselves; values are places in the powers one after
    the other, each (E + n), and a zero. The code lists the edges of a structure by sender, then
    receiver, pads them to `room` (g,), stacks the powers as (heads, room) and reads them as
    (room, heads) without a transpose.
    """
    graph = batch.adjacency
    n, edges = graph.n_nodes, graph.n_edges
    own = torch.arange(n, device=graph.source.device)
    source, target = torch.cat([graph.source, own]), torch.cat([graph.target, own])
    with torch.no_grad():
        lengths = torch.cat([batch.edge_lengths().detach(), own.new_zeros(n)])
        order = torch.argsort(lengths, stable=True)  # the images of one pair
    order = order[torch.argsort((source * n + target)[order], stable=True)]
    structure = batch.batch.index_select(0, source[order])
    counts = torch.bincount(structure, minlength=batch.n_graphs)
    begin = (counts.cumsum(0) - counts)[structure]
    place = (torch.arange(n + edges, device=own.device) - begin)[:, None] * heads
    place = place + torch.arange(heads, device=own.device)
    long = room[structure][:, None]
    power, place = place // long, place % long
    real = place < counts[structure][:, None]
    edge = order[torch.where(real, begin[:, None] + place, 0)]
    entries = torch.where(real, power * (n + edges) + edge, heads * (n + edges))
    return torch.empty_like(entries).index_copy(0, order, entries)
