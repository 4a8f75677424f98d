"""NequIP (Batzner et al., 2022): E(3)- or SE(3)-equivariant message passing, SevenNet's variant."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from gnnip.graphs import Adjacency, GraphBatch
from gnnip.models.blocks.activations import SILU_GAIN, TANH_GAIN
from gnnip.models.blocks.harmonics import spherical_harmonics
from gnnip.models.blocks.radial import BesselBasis, RadialNetwork, polynomial_cutoff, xplor_cutoff
from gnnip.models.contract import TargetStatistics
from gnnip.models.hyperparameters import (
    require,
    require_at_least,
    require_cutoff,
    require_denominator,
    require_widths,
)
from gnnip.models.nequip import convolution
from gnnip.models.nequip.convolution import Pairs, Tables
from gnnip.models.nequip.coupling import Coupling, Irrep, dimension, edge_irreps, layer_irreps
from gnnip.models.species import SpeciesPotential, require_species


@dataclass(frozen=True)
class NequIPHyperparameters:
    """Options of `NequIP`; lengths in Angstrom, energies in eV.

    species : atomic numbers, in the order of the one-hot encoding.
    layers, lmax, channels : number of convolutions, largest degree, channels of every irrep.
    lmax_edge, lmax_node : other largest degrees of harmonics and features than lmax.
    parity : features of both parities; False drops the inversion (all even).
    self_connection : "nequip" (one linear map per species) or "linear" (one for all) or "none".
    denominator : divides the sum of messages; None takes the mean number of neighbours of the
        training data.
    sqrt_denominator : divide by the root of it (SevenNet before 2024, and nequip).
    n_radial, trainable_radial, radial_hidden : Bessel functions and hidden widths of the radial
        networks.
    cutoff_function : "polynomial" with `cutoff_power`, or "xplor" from `cutoff_onset`.
    scale, shift : E_atom = scale * network + shift; None takes the RMS force component and the
        energies per species of the training data. `reference_energies` (one for each species) takes
        the place of shift.
    """

    species: tuple[int, ...]
    cutoff: float = 5.0
    layers: int = 4
    lmax: int = 2
    channels: int = 32
    lmax_edge: int | None = None
    lmax_node: int | None = None
    parity: bool = True
    self_connection: Literal["nequip", "linear", "none"] = "nequip"
    denominator: float | None = None
    sqrt_denominator: bool = False
    train_denominator: bool = False
    n_radial: int = 8
    trainable_radial: bool = True
    radial_hidden: tuple[int, ...] = (64, 64)
    cutoff_function: Literal["polynomial", "xplor"] = "polynomial"
    cutoff_power: int = 6
    cutoff_onset: float | None = None
    scale: float | None = None
    shift: float | None = None
    reference_energies: tuple[float, ...] | None = None
    train_shift_scale: bool = False

    def __post_init__(self) -> None:
        """Raise ConfigError, by name, for a value out of range."""
        require_species(self.species, "nequip")
        require_at_least(
            1,
            "nequip",
            layers=self.layers,
            channels=self.channels,
            n_radial=self.n_radial,
            cutoff_power=self.cutoff_power,
        )
        require_widths("nequip", radial_hidden=self.radial_hidden)
        require_cutoff("nequip", self.cutoff)
        require_denominator("nequip", self.denominator)
        for key in ("lmax", "lmax_edge", "lmax_node"):
            value = getattr(self, key)
            require(
                value is None or 0 <= value <= 6,
                f"The potential 'nequip': {key} is {value}, but it must be a degree from 0 to 6.",
            )
        require(
            self.cutoff_function == "polynomial"
            or (self.cutoff_onset is not None and 0 <= self.cutoff_onset < self.cutoff),
            f"The potential 'nequip': cutoff_onset is {self.cutoff_onset}, but the xplor "
            f"function needs one below the cutoff {self.cutoff}.",
        )
        require(
            self.reference_energies is None or len(self.reference_energies) == len(self.species),
            "The potential 'nequip': reference_energies must list one energy for each of the "
            "species.",
        )
        require(
            self.reference_energies is None or self.shift is None,
            "The potential 'nequip': give either shift or reference_energies, not both.",
        )


class Layer(nn.Module):
    """One interaction: self-connection, linear map, convolution, linear map, gate."""

    def __init__(
        self, options: NequIPHyperparameters, inputs: tuple[Irrep, ...], outputs: tuple[Irrep, ...]
    ):
        """Draw the weights from N(0, 1)."""
        super().__init__()
        lmax_edge = options.lmax if options.lmax_edge is None else options.lmax_edge
        channels = options.channels
        self.channels, self.inputs, self.outputs = channels, inputs, outputs
        self.self_connection = options.self_connection
        coupling = Coupling(inputs, edge_irreps(lmax_edge, options.parity), outputs)
        self.tables = Tables(coupling)
        self.coupling = coupling
        gated = [irrep for irrep in outputs if irrep[0] > 0]
        # widths before the gate: even scalars carry the gates too
        self.widths = [channels * (1 + len(gated) * (irrep == (0, 1))) for irrep in outputs]
        species = len(options.species)

        self.linear_in = nn.Parameter(torch.randn(len(inputs), channels, channels))
        self.radial = RadialNetwork((options.n_radial, *options.radial_hidden))
        self.path_weights = nn.Parameter(
            torch.randn(options.radial_hidden[-1], len(coupling.paths) * channels)
        )
        self.linear_out = nn.ParameterList(
            nn.Parameter(torch.randn(multiplicity * channels, width))
            for multiplicity, width in zip(coupling.multiplicity, self.widths, strict=True)
        )
        self.connected = [position for position, irrep in enumerate(inputs) if irrep in outputs]
        kinds = {"nequip": species, "linear": 1, "none": 0}[options.self_connection]
        self.connection = nn.ParameterList(
            nn.Parameter(torch.randn(channels, kinds, self.widths[outputs.index(inputs[position])]))
            for position in (self.connected if kinds else [])
        )
        component = torch.repeat_interleave(
            torch.arange(len(inputs)), torch.tensor([2 * degree + 1 for degree, _ in inputs])
        )
        self.register_buffer("input_of_component", component, persistent=False)
        gate = torch.repeat_interleave(
            torch.arange(len(gated)),
            torch.tensor([2 * degree + 1 for degree, _ in gated], dtype=torch.long),
        )
        self.register_buffer("gate_of_component", gate, persistent=False)

    def forward(
        self,
        x: Tensor,
        one_hot: Tensor,
        pairs: Pairs,
        harmonics: Tensor,
        basis: Tensor,
        denominator: Tensor,
    ) -> Tensor:
        """Return features (n, components out, channels) from (n, components in, channels)."""
        channels, n = self.channels, x.shape[0]
        mixing = self.linear_in[self.input_of_component] / math.sqrt(channels)
        mixed = torch.bmm(x.transpose(0, 1), mixing).transpose(0, 1)
        fused = convolution.available(self.tables, mixed)
        hidden = self.radial(basis, traceable=not fused)
        gain = SILU_GAIN / math.sqrt(self.path_weights.shape[0])
        form = convolution.fused if fused else convolution.dense
        weights = self.path_weights * (gain / denominator)
        messages = form(self.tables, pairs, mixed, harmonics, hidden, weights)

        parts: list[Tensor] = []
        for target, (degree, _) in enumerate(self.outputs):
            start = self.coupling.row_starts[target]
            multiplicity = self.coupling.multiplicity[target]
            rows = messages[:, start : start + multiplicity * (2 * degree + 1)]
            weight = self.linear_out[target] / math.sqrt(multiplicity * channels)
            parts.append(rows.reshape(n, 2 * degree + 1, multiplicity * channels) @ weight)
        for position, weight in zip(self.connected, self.connection, strict=False):
            irrep = self.inputs[position]
            start = dimension(self.inputs[:position])
            block = x[:, start : start + 2 * irrep[0] + 1]
            kinds = weight.shape[1]
            if self.self_connection == "nequip":
                block = (block[:, :, :, None] * one_hot[:, None, None, :]).flatten(2)
            scale = 1.0 / math.sqrt(kinds * channels)
            target = self.outputs.index(irrep)
            parts[target] = parts[target] + block @ (weight.flatten(0, 1) * scale)
        return self._gate(parts)

    def _gate(self, parts: list[Tensor]) -> Tensor:
        channels = self.channels
        kept, gated, gates = [], [], None
        for irrep, part in zip(self.outputs, parts, strict=True):
            if irrep == (0, 1):
                activated = torch.nn.functional.silu(part) * SILU_GAIN
                kept.append(activated[:, :, :channels])
                gates = activated[:, 0, channels:]
            elif irrep[0] == 0:
                kept.append(torch.tanh(part) * TANH_GAIN)
            else:
                gated.append(part)
        if gated:
            assert gates is not None
            factors = gates.reshape(gates.shape[0], -1, channels)
            kept.append(torch.cat(gated, dim=1) * factors.index_select(1, self.gate_of_component))
        return torch.cat(kept, dim=1)


class NequIP(SpeciesPotential):
    """Neural equivariant interatomic potential.

    Input of every layer are features (n, components, channels); the readout is two linear maps of
    the last even scalars (channels -> channels // 2 -> 1), then scale and shift. The energy is
    smooth through the cutoff.
    """

    Hyperparameters = NequIPHyperparameters

    def __init__(self, hyperparameters: NequIPHyperparameters) -> None:
        """Build the layers with weights drawn from N(0, 1), as e3nn does."""
        super().__init__(hyperparameters)
        o = hyperparameters
        self.species = tuple(o.species)
        lmax_edge = o.lmax if o.lmax_edge is None else o.lmax_edge
        lmax_node = o.lmax if o.lmax_node is None else o.lmax_node
        self.lmax_edge = lmax_edge
        self.basis = BesselBasis(o.cutoff, o.n_radial, o.trainable_radial)
        irreps = layer_irreps(o.layers, lmax_edge, lmax_node, o.parity)
        self.irreps = irreps
        self.embedding = nn.Parameter(torch.randn(len(o.species), o.channels))
        self.layers = nn.ModuleList(Layer(o, before, after) for before, after in pairwise(irreps))
        middle = o.channels // 2
        self.readout = nn.ParameterList(
            [nn.Parameter(torch.randn(o.channels, middle)), nn.Parameter(torch.randn(middle, 1))]
        )
        shift = o.reference_energies or (o.shift or 0.0,) * len(o.species)
        scale = (1.0 if o.scale is None else o.scale,) * len(o.species)
        denominator = 1.0 if o.denominator is None else o.denominator
        denominators = (math.sqrt(denominator) if o.sqrt_denominator else denominator,) * o.layers
        self._constant("shift", shift, o.train_shift_scale)
        self._constant("scale", scale, o.train_shift_scale)
        self._constant("denominators", denominators, o.train_denominator)

    def envelope(self, distance: Tensor) -> Tensor:
        """Return the cutoff function of distances (E,)."""
        o = self.hyperparameters
        if o.cutoff_function == "polynomial":
            return polynomial_cutoff(distance, o.cutoff, o.cutoff_power)
        return xplor_cutoff(distance, o.cutoff, o.cutoff_onset)

    def _constant(self, name: str, values: tuple[float, ...], trainable: bool) -> None:
        if trainable:
            self.register_parameter(name, nn.Parameter(torch.tensor(values)))
        else:
            self.register_buffer(name, torch.tensor(values))

    @torch.no_grad()
    def calibrate(self, statistics: TargetStatistics) -> None:
        """Set what the hyper-parameters left open: shift, scale and denominator."""
        o = self.hyperparameters
        if o.shift is None and o.reference_energies is None:
            self.shift.copy_(self.in_order(statistics.species_energies))
        if o.scale is None:
            self.scale.fill_(statistics.force_rms or statistics.residual_std or 1.0)
        if o.denominator is None:
            mean = statistics.mean_neighbours or 1.0
            self.denominators.fill_(math.sqrt(mean) if o.sqrt_denominator else mean)

    def prepare(self, batch: GraphBatch) -> dict[str, Tensor]:
        """Return also "pairs" (P,), the edges that stand for a pair of atoms."""
        found = super().prepare(batch)
        if batch.adjacency.symmetric:
            found["pairs"] = one_edge_of_each_pair(batch.adjacency)
        return found

    @property
    def eager_reason(self) -> str | None:
        """Its own kernels, where there are any, are faster than what a compiler makes."""
        layers = [layer for layer in self.layers if isinstance(layer, Layer)]
        if all(convolution.available(layer.tables, self.embedding) for layer in layers):
            return "the kernels of NequIP are faster on a CPU"
        return None

    def forward(self, batch: GraphBatch) -> dict[str, Tensor]:
        """Return "energy" (g,) and "atomic_energies" (n,), eV; DataError for an unknown species."""
        species = self.kinds(batch)
        features = self.features(batch, species)[-1]
        scalars = features[:, 0]
        for weight in self.readout:
            scalars = scalars @ (weight / math.sqrt(weight.shape[0]))
        atomic = scalars[:, 0] * self.scale[species] + self.shift[species]
        return {"energy": batch.sum_atoms(atomic), "atomic_energies": atomic}

    def features(self, batch: GraphBatch, species: Tensor) -> list[Tensor]:
        """Return features (n, components, channels) after the embedding and after each layer."""
        pairs, vectors = pairs_of(batch)
        distance = vectors.square().sum(1).sqrt()
        harmonics = spherical_harmonics(vectors / distance[:, None], self.lmax_edge)
        basis = self.basis(distance) * self.envelope(distance)[:, None]
        kinds = len(self.hyperparameters.species)
        one_hot = torch.nn.functional.one_hot(species, kinds).to(basis.dtype)
        embedding = one_hot @ (self.embedding / math.sqrt(kinds))
        found = [embedding[:, None, :]]
        for layer, denominator in zip(self.layers, self.denominators, strict=True):
            found.append(layer(found[-1], one_hot, pairs, harmonics, basis, denominator))
        return found


def one_edge_of_each_pair(graph: Adjacency) -> Tensor:
    """Return the numbers (P,) of the edges that come before their reverse."""
    number = torch.arange(graph.n_edges, device=graph.source.device)
    return (number < graph.by_source).nonzero()[:, 0]


def pairs_of(batch: GraphBatch) -> tuple[Pairs, Tensor]:
    """Return the pairs of a batch and their vectors (P, 3).

    Of an edge and its reverse one is kept, where the graph knows which edges these are.
    """
    graph = batch.adjacency
    shift = batch.edge_shift
    centre, neighbour = graph.target, graph.source
    if graph.symmetric:
        chosen = batch.extras.get("pairs")
        if chosen is None:
            chosen = one_edge_of_each_pair(graph)
        centre, neighbour = centre[chosen], neighbour[chosen]
        shift = None if shift is None else shift[chosen]
    vectors = batch.positions.index_select(0, neighbour) - batch.positions.index_select(0, centre)
    if shift is not None:
        vectors = vectors + shift
    return Pairs(centre, neighbour, bool(graph.symmetric), batch.positions.shape[0]), vectors
