"""Networks of the torch-geometric package as potentials, on our neighbour lists.

The package finds neighbours with a compiled companion, in open structures only. Here its networks
are given the edges of our graphs instead, so they treat periodic structures too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch_geometric.nn.models import SchNet, ViSNet
from torch_geometric.nn.models.visnet import NeighborEmbedding

from gnnip.errors import ConfigError, nearest
from gnnip.graphs import GraphBatch
from gnnip.models.hyperparameters import require, require_cutoff
from gnnip.models.species import ScaledPotential, require_species

#: what `options` may hold, the rest of a network's arguments is set here or belongs to other tasks
OPTIONS = {
    "SchNet": ("hidden_channels", "num_filters", "num_interactions", "num_gaussians"),
    "ViSNet": (
        "lmax",
        "vecnorm_type",
        "trainable_vecnorm",
        "num_heads",
        "num_layers",
        "hidden_channels",
        "num_rbf",
        "trainable_rbf",
        "vertex",
    ),
}
LARGEST_NUMBER = 99  #: of an element with an embedding in these networks


@dataclass(frozen=True)
class TorchGeometricHyperparameters:
    """Choices of a network of torch-geometric.

    species : atomic numbers.
    network : its class. DimeNet and DimeNet++ are listed to be refused by name.
    cutoff : Angstrom.
    options : arguments of the class, see `OPTIONS`; what is left out keeps the package's default.
    """

    species: tuple[int, ...]
    network: Literal["SchNet", "ViSNet", "DimeNet", "DimeNetPlusPlus"] = "SchNet"
    cutoff: float = 5.0
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise ConfigError for a network that cannot run here and for options it does not have."""
        what = "The potential 'torch_geometric'"
        require_species(self.species, "torch_geometric")
        require(
            max(self.species) <= LARGEST_NUMBER,
            f"{what}: species is {list(self.species)}, but its networks know elements "
            f"up to {LARGEST_NUMBER} only.",
        )
        require(
            self.network in OPTIONS,
            f"{what}: {self.network} needs the compiled packages torch-cluster and torch-sparse, "
            f"which gnnip does not use; choose one of {', '.join(OPTIONS)}.",
        )
        require_cutoff("torch_geometric", self.cutoff)
        for name in self.options:
            known = OPTIONS[self.network]
            require(
                name in known,
                f"{what}: {self.network} has no option '{name}'{nearest(name, known)}",
            )


class TorchGeometricPotential(ScaledPotential):
    """E = sum_i e(Z_i) + scale * network_i, with SchNet or ViSNet of torch-geometric.

    SchNet: Schuett et al., arXiv:1706.08566. ViSNet: Wang et al., arXiv:2210.16518. Both weight
    messages with half a cosine of the distance, which ends at the cutoff with its first derivative.
    """

    Hyperparameters = TorchGeometricHyperparameters

    def __init__(self, hyperparameters: TorchGeometricHyperparameters) -> None:
        """Build the network; ConfigError where it does not accept its options."""
        super().__init__(hyperparameters)
        make = {"SchNet": _schnet, "ViSNet": _visnet}[hyperparameters.network]
        try:
            self.network, self.edges = make(hyperparameters.cutoff, hyperparameters.options)
        except (TypeError, ValueError, AssertionError, RuntimeError, ZeroDivisionError) as error:
            raise ConfigError(
                f"The potential 'torch_geometric': {hyperparameters.network} does not accept the "
                f"options {hyperparameters.options} ({error or type(error).__name__})."
            ) from error

    @property
    def violates(self) -> dict[str, str]:
        """Promises not kept, with reasons."""
        if self.hyperparameters.network == "SchNet":
            return {}
        return {
            "smoothness": "the messages to the vectors have a bias that is not weighted by the "
            "distance"
        }

    @property
    def eager_reason(self) -> str | None:
        """The number of edges that ViSNet normalises would become a constant of the trace."""
        if self.hyperparameters.network == "ViSNet":
            return "ViSNet picks edges by their ends, which fixes their number"
        return None

    def forward(self, batch: GraphBatch) -> dict[str, Tensor]:
        """Return "energy" (g,) and "atomic_energies" (n,), eV."""
        kinds = self.kinds(batch)
        self.edges.hold(batch)
        output = self.network(batch.atomic_numbers, batch.positions, batch.batch)
        self.edges.release()
        return self.energies(batch, kinds, output.squeeze(1))


class HeldEdges(nn.Module):
    """Stands where a network of torch-geometric looks for neighbours, and returns ours.

    vectors, self_loops : whether the network also wants the vectors r_j - r_i of the edges, and an
        edge of length zero at every atom. The vectors are unit ones: the network turns them into
        such, save those between an atom and its own images, which it takes for self loops.
    """

    def __init__(self, vectors: bool) -> None:
        """Hold nothing yet."""
        super().__init__()
        self.vectors = vectors
        self._batch: GraphBatch | None = None

    def hold(self, batch: GraphBatch) -> None:
        """Take the graph of the next call."""
        self._batch = batch

    def release(self) -> None:
        """Forget it."""
        self._batch = None

    def forward(self, positions: Tensor, batch: Tensor) -> tuple[Tensor, ...]:
        """Return edges (2, E), source and target, their lengths (E,) and perhaps vectors (E, 3)."""
        held = self._batch
        assert held is not None
        if not self.vectors:
            return held.edge_index, held.edge_lengths()
        lengths = held.edge_lengths()
        atoms = torch.arange(len(positions), device=positions.device)
        zeros = torch.zeros_like(positions)
        units = held.edge_vectors() / lengths[:, None]
        return (
            torch.cat([held.edge_index, torch.stack([atoms, atoms])], dim=1),
            torch.cat([lengths, zeros[:, 0]]),
            torch.cat([units, zeros]),
        )


class PerAtom(nn.Module):
    """The readout that leaves every atom its own value."""

    def forward(self, x: Tensor, index: Tensor, dim: int = 0) -> Tensor:
        """Return x."""
        return x


class ImagesToo(NeighborEmbedding):
    """Knows self loops by their length: the images of an atom are its neighbours."""

    def forward(
        self, z: Tensor, x: Tensor, edge_index: Tensor, edge_weight: Tensor, edge_attr: Tensor
    ) -> Tensor:
        """Return features (n, C) from those of the atoms (n, C) and of their neighbours."""
        weight = torch.where(edge_weight > 0, self.cutoff(edge_weight), 0.0)
        messages = self.distance_proj(edge_attr) * weight[:, None]
        neighbours = self.propagate(edge_index, x=self.embedding(z), W=messages)
        return self.combine(torch.cat([x, neighbours], dim=1))


class AtomicViSNet(ViSNet):
    """ViSNet short of the sum over the atoms and of the energies of the elements."""

    def forward(self, z: Tensor, pos: Tensor, batch: Tensor) -> Tensor:
        """Return the output of each atom, (n, 1)."""
        return self.output_model.pre_reduce(*self.representation_model(z, pos, batch))


def _schnet(cutoff: float, options: dict[str, Any]) -> tuple[nn.Module, HeldEdges]:
    edges = HeldEdges(vectors=False)
    network = SchNet(cutoff=cutoff, interaction_graph=edges, **options)
    network.readout = PerAtom()
    for block in network.interactions:
        del block.mlp  # which block.conv holds too: with two names it could not be traced
    return network, edges


def _visnet(cutoff: float, options: dict[str, Any]) -> tuple[nn.Module, HeldEdges]:
    network = AtomicViSNet(cutoff=cutoff, **options)
    network.prior_model = None
    block = network.representation_model
    block.distance = edges = HeldEdges(vectors=True)
    block.neighbor_embedding = ImagesToo(
        block.hidden_channels, block.num_rbf, cutoff, block.embedding.num_embeddings
    )
    return network, edges
