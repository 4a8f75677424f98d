"""The network of Gijon, Molina-Solana & Gomez-Romero (ICCS 2023) for water cluster anions.

Node features, two graph convolutions, sum over the atoms, two dense layers of 128, one energy.
Inside are Bohr and Hartree as in the paper; outside Angstrom and eV. One network per energy term.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from gnnip.errors import DataError
from gnnip.graphs import GraphBatch
from gnnip.models.ace.least_squares import FOLDS, Rows, solve
from gnnip.models.blocks.radial import bessel, polynomial_envelope
from gnnip.models.contract import Potential, TargetStatistics
from gnnip.models.elements import ATOMIC_MASSES
from gnnip.models.fitting import FitReport, TrainingFrames
from gnnip.models.hyperparameters import require, require_at_least, require_cutoff
from gnnip.models.spektral import (
    AGNNConv,
    CrystalConv,
    Dense,
    ECCConv,
    GATConv,
    GCSConv,
    GeneralConv,
    GraphLayer,
    normalise_adjacency,
)
from gnnip.units import BOHR, HARTREE


@dataclass(frozen=True)
class ClusterHyperparameters:
    """Choices of the cluster network; those that the paper does not state are marked.

    layer : the graph convolution.
    channels : its width (not stated); CrystalConv and AGNNConv keep the width of their input.
    activation : of the convolutions (not stated); GeneralConv keeps its own PReLU.
    n_conv, n_dense, dense_units : depth, and width of the dense layers (relu).
    cutoff : Bohr.
    input_width : if given, a linear map lifts the node features to this width before the first
        convolution, so that all six layers can be compared at equal width.
    features : "raw" is the paper's (Z, x, y, z), centred at the centre of mass; "invariant" is the
        corrected variant: one-hot elements and, for each element, sums over the neighbours of
        `n_radial` radial functions.
    elements, n_radial : for the invariant features.
    gcs_normalised : GCSConv sees D^-1/2 A D^-1/2 (Spektral's preprocessing; not stated), else ones.
    attn_heads : of GATConv, concatenated (not stated).
    attn_dropout : of GATConv, on the attention in training (not stated; Spektral's default).
    input_scaling : "none" as in the paper; "rms": node features and lengths of edges are divided by
        their root mean squares over the training frames, the sums over the atoms by the mean number
        of atoms.
    output_scaling : "none" as in the paper: the network gives Hartree; "standard": it gives the
        energy minus the training mean in standard deviations; "composition": minus a linear fit on
        the composition, in standard deviations of what is left.
    """

    layer: Literal["crystal", "gat", "gcs", "ecc", "agnn", "general"] = "gat"
    channels: int = 64
    activation: Literal["relu", "linear", "tanh", "silu"] = "relu"
    n_conv: int = 2
    n_dense: int = 2
    dense_units: int = 128
    cutoff: float = 6.0
    input_width: int | None = None
    features: Literal["raw", "invariant"] = "raw"
    elements: tuple[int, ...] = (1, 8)
    n_radial: int = 8
    gcs_normalised: bool = True
    attn_heads: int = 1
    attn_dropout: float = 0.5
    input_scaling: Literal["none", "rms"] = "none"
    output_scaling: Literal["none", "standard", "composition"] = "none"

    def __post_init__(self) -> None:
        """Raise ConfigError, by name, for a value out of range."""
        require_at_least(
            1,
            "spektral",
            channels=self.channels,
            n_conv=self.n_conv,
            dense_units=self.dense_units,
            n_radial=self.n_radial,
            attn_heads=self.attn_heads,
            input_width=self.input_width,
        )
        require_at_least(0, "spektral", n_dense=self.n_dense)
        require_cutoff("spektral", self.cutoff, "Bohr")
        require(
            0.0 <= self.attn_dropout < 1.0,
            f"The potential 'spektral': attn_dropout is {self.attn_dropout}, but it must be at "
            "least 0 and below 1.",
        )
        require(
            len(self.elements) > 0,
            "The potential 'spektral': elements is empty; list at least one atomic number.",
        )


class ClusterNetwork(Potential):
    """Graph convolutions, sum pooling, dense layers: E = NN(sum_i x_i)."""

    Hyperparameters = ClusterHyperparameters

    masses: Tensor
    element_index: Tensor
    shift: Tensor
    scale: Tensor
    species_shift: Tensor
    feature_scale: Tensor
    length_scale: Tensor
    sum_scale: Tensor

    def __init__(self, hyperparameters: ClusterHyperparameters) -> None:
        """Build the layers for the given choices."""
        super().__init__(hyperparameters)
        h = hyperparameters
        index = torch.full((len(ATOMIC_MASSES),), -1)
        index[list(h.elements)] = torch.arange(len(h.elements))
        self.register_buffer("masses", torch.tensor(ATOMIC_MASSES), persistent=False)
        self.register_buffer("element_index", index, persistent=False)
        self.register_buffer("shift", torch.zeros(()))
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("species_shift", torch.zeros(len(ATOMIC_MASSES)))
        for name in ("feature_scale", "length_scale", "sum_scale"):
            # weights that were saved without these scales load still
            self.register_buffer(name, torch.ones(()), persistent=h.input_scaling != "none")

        width = 4 if h.features == "raw" else len(h.elements) * (1 + h.n_radial)
        self.lift: nn.Module = nn.Identity()
        if h.input_width is not None:
            self.lift = Dense(width, h.input_width, bias=False)
            width = h.input_width
        self.convolutions = nn.ModuleList()
        for _ in range(h.n_conv):
            layer, width = _make_layer(h, width)
            self.convolutions.append(layer)
        self.readout = self.make_readout(width)

    def make_readout(self, width: int) -> nn.Module:
        """Return what makes an output (g, 1) of the sums over the atoms (g, width)."""
        h = self.hyperparameters
        widths = [width, *[h.dense_units] * h.n_dense]
        dense = [Dense(n, m, "relu") for n, m in itertools.pairwise(widths)]
        return nn.Sequential(*dense, Dense(widths[-1], 1))

    @property
    def cutoff(self) -> float:
        """Radius of the graph, Angstrom."""
        return self.hyperparameters.cutoff * BOHR

    @property
    def violates(self) -> dict[str, str]:
        """Promises not kept, with reasons."""
        broken = {
            "size_extensivity": "the dense layers act on the sum over all atoms",
            "supercell": "the dense layers act on the sum over all atoms",
            "smoothness": "a neighbour that crosses the cutoff enters with full weight",
        }
        if self.hyperparameters.features == "raw":
            broken["rotation"] = "Cartesian coordinates are node features"
            broken["periodicity"] = "an atom and its images have other coordinates"
        return broken

    def calibrate(self, statistics: TargetStatistics) -> None:
        """Fix shift and scale of the output from the training subset (`output_scaling`)."""
        with torch.no_grad():
            if self.hyperparameters.output_scaling == "standard":
                self.shift.fill_(statistics.energy_mean / HARTREE)
                self.scale.fill_(max(statistics.energy_std / HARTREE, 1e-6))
            elif self.hyperparameters.output_scaling == "composition":
                self.scale.fill_(max(statistics.residual_std / HARTREE, 1e-6))
                for z, energy in statistics.species_energies.items():
                    self.species_shift[z] = energy / HARTREE

    @torch.no_grad()
    def fit(self, frames: TrainingFrames) -> FitReport | None:
        """Fix the scales of the inputs and of the sums over the atoms (`input_scaling`)."""
        if self.hyperparameters.input_scaling == "none":
            return None
        features, lengths, atoms = [], [], []
        for batch in frames.batches():
            features.append(self.node_features(batch).double().flatten())
            lengths.append(batch.edge_lengths().double() / BOHR)
            atoms.append(batch.n_atoms)
        for scale, values in ((self.feature_scale, features), (self.length_scale, lengths)):
            mean = float(torch.cat(values).square().mean())
            scale.fill_(mean**0.5 if mean > 0.0 else 1.0)  # there may be no edge
        # a step of the optimiser moves a sum by as much for each of its atoms
        self.sum_scale.fill_(float(torch.cat(atoms).double().mean()))
        names = ("feature_scale", "length_scale", "sum_scale")
        return FitReport(complete=False, details={n: float(getattr(self, n)) for n in names})

    def node_features(self, batch: GraphBatch) -> Tensor:
        """Return (n, 4) raw or (n, elements * (1 + n_radial)) invariant features, Bohr."""
        if self.hyperparameters.features == "raw":
            masses = self.masses.index_select(0, batch.atomic_numbers)[:, None]
            centres = batch.sum_atoms(masses * batch.positions) / batch.sum_atoms(masses)
            centred = (batch.positions - batch.spread_to_atoms(centres)) / BOHR
            return torch.cat([batch.atomic_numbers[:, None].to(centred.dtype), centred], dim=1)
        kinds = self.element_index.index_select(0, batch.atomic_numbers)
        n_elements = len(self.hyperparameters.elements)
        one_hot = nn.functional.one_hot(kinds.clamp(min=0), n_elements).to(batch.positions.dtype)
        r = batch.edge_lengths() / BOHR
        cutoff = self.hyperparameters.cutoff
        radial = bessel(r, cutoff, self.hyperparameters.n_radial)
        radial = radial * polynomial_envelope(r, cutoff)[:, None]
        kinds_j = batch.adjacency.from_source(one_hot)
        messages = (kinds_j[:, :, None] * radial[:, None, :]).flatten(1)
        return torch.cat([one_hot, batch.adjacency.sum_messages(messages)], dim=1)

    def pooled(self, batch: GraphBatch) -> Tensor:
        """Return the sums over the atoms of what the convolutions give, (g, width)."""
        x = self.lift(self.node_features(batch) / self.feature_scale)
        edge_weight = edge_attr = None
        first = self.convolutions[0]
        if isinstance(first, GraphLayer) and first.uses_edge_attr:
            edge_attr = (batch.edge_lengths() / (BOHR * self.length_scale))[:, None]
        if isinstance(first, GCSConv) and self.hyperparameters.gcs_normalised:
            edge_weight = normalise_adjacency(batch.adjacency, x.dtype)
        for convolution in self.convolutions:
            x = convolution(x, batch.adjacency, edge_weight, edge_attr)
        return batch.sum_atoms(x) / self.sum_scale

    def forward(self, batch: GraphBatch) -> dict[str, Tensor]:
        """Return "energy" (g,), eV."""
        output = self.readout(self.pooled(batch))[:, 0]
        return {"energy": (self.known(batch) + self.scale * output) * HARTREE}

    def known(self, batch: GraphBatch) -> Tensor:
        """Return what is not left to the network (g,), Hartree (`output_scaling`)."""
        if self.hyperparameters.output_scaling != "composition":
            return self.shift
        reference = self.species_shift.index_select(0, batch.atomic_numbers)
        return self.shift + batch.sum_atoms(reference)

    def check_species(self, numbers: Any) -> None:
        """Also refuse elements that the invariant features have no place for."""
        super().check_species(numbers)
        if self.hyperparameters.features == "invariant":
            unknown = sorted({int(z) for z in numbers} - set(self.hyperparameters.elements))
            if unknown:
                raise DataError(
                    f"The invariant features were set up for the elements "
                    f"{list(self.hyperparameters.elements)}, not for {unknown}; "
                    "list them in 'elements'."
                )


class RandomFeatures(ClusterNetwork):
    """Convolutions of a cluster network that stay as they start, and a linear map of their sums.

    A ridge regression of the total energies, whose penalty is chosen by cross-validation, whatever
    the loss of the settings is. It shows what random features know of the training frames;
    `n_dense` and `dense_units` do not matter.
    """

    Hyperparameters = ClusterHyperparameters

    def make_readout(self, width: int) -> nn.Module:
        """Return the linear map."""
        return Dense(width, 1)

    @torch.no_grad()
    def fit(self, frames: TrainingFrames) -> FitReport:
        """Find the linear map; DataError where more than energies would have to be fitted."""
        if frames.force_weight > 0 or frames.stress_weight > 0 or frames.per_atom:
            raise DataError(
                "The potential 'random_features' is fitted to total energies alone; set "
                "force_weight and stress_weight to 0 and per_atom to false."
            )
        scaled = super().fit(frames)
        self.eval()
        found = [self._equations(batch) for batch in frames.batches()]
        x, y = (torch.cat(part) for part in zip(*found, strict=True))
        centre_x, centre_y = x.mean(0), y.mean()
        folds = []
        for first in range(min(FOLDS, len(y))):  # frames in a row would be whole trajectories
            rows = Rows(x.shape[1])
            rows.add((x - centre_x)[first::FOLDS], (y - centre_y)[first::FOLDS])
            folds.append(rows.triangle())
        weights, ridge = solve(folds, None)
        assert isinstance(self.readout, Dense)
        assert self.readout.bias is not None
        self.readout.kernel.copy_(weights[:, None])
        self.readout.bias.fill_(float(centre_y - centre_x @ weights))
        return FitReport(True, {"ridge": ridge, **(scaled.details if scaled else {})})

    def _equations(self, batch: GraphBatch) -> tuple[Tensor, Tensor]:
        """Return the sums over the atoms (g, width) and what the map has to make of them (g,)."""
        assert batch.energy is not None
        wanted = (batch.energy.double() / HARTREE - self.known(batch)) / self.scale
        return self.pooled(batch).double().cpu(), wanted.double().cpu()


def _make_layer(h: ClusterHyperparameters, width: int) -> tuple[GraphLayer, int]:
    """Return one convolution for inputs of `width` and the width of its output."""
    act = h.activation
    makers: dict[str, Callable[[], tuple[GraphLayer, int]]] = {
        "crystal": lambda: (CrystalConv(width, act), width),
        "gat": lambda: (
            GATConv(width, h.channels, h.attn_heads, activation=act, dropout_rate=h.attn_dropout),
            h.channels * h.attn_heads,
        ),
        "gcs": lambda: (GCSConv(width, h.channels, act), h.channels),
        "ecc": lambda: (ECCConv(width, h.channels, activation=act), h.channels),
        "agnn": lambda: (AGNNConv(activation=act), width),
        "general": lambda: (GeneralConv(width, h.channels), h.channels),
    }
    return makers[h.layer]()
