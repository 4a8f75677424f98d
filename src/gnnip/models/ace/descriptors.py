"""ACE descriptors of the atoms of a batch, and their derivatives with respect to all positions."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from gnnip.graphs import GraphBatch
from gnnip.graphs.adjacency import sum_segments
from gnnip.models.ace.functions import products
from gnnip.models.ace.radial import Radial, radial_functions
from gnnip.models.blocks.harmonics import spherical_harmonics
from gnnip.models.hyperparameters import require, require_cutoff
from gnnip.models.species import require_species

#: harmonics of the component normalisation times this are orthonormal on the sphere
_ORTHONORMAL = 1.0 / math.sqrt(4.0 * math.pi)


def require_descriptors(
    potential: str, species: Iterable[int], cutoff: float, body_order: int, degree: int
) -> None:
    """Raise ConfigError, by name, for choices that give no descriptors."""
    require_species(species, potential)
    require_cutoff(potential, cutoff)
    require(
        2 <= body_order <= 4,
        f"The potential '{potential}': body_order is {body_order}, it must be 2, 3 or 4.",
    )
    require(
        degree >= body_order - 1,
        f"The potential '{potential}': degree {degree} admits no function of body order "
        f"{body_order}, the first has degree {body_order - 1}; raise it or lower body_order.",
    )


class Descriptors(nn.Module):
    """B_i = sum over products of A_i,znlm = sum_j R_n(r_ij) Y_lm(r_ij), j of kind z.

    The harmonics are orthonormal on the sphere, the couplings of each function have the norm 1.
    """

    function: Tensor
    offsets: Tensor

    def __init__(
        self, kinds: int, cutoff: float, body_order: int, degree: int, radial: Radial
    ) -> None:
        """Take the number of kinds of atoms, the cutoff in Angstrom, and what the basis is."""
        super().__init__()
        self.kinds, self.cutoff, self.radial = kinds, cutoff, radial
        made = products(kinds, body_order, degree)
        self.n_radial, self.components, self.functions = (
            made.radial,
            made.components,
            made.functions,
        )
        self.orders = len(made.factors)
        for order in range(self.orders):
            self._keep(f"factors_{order}", made.factors[order].T.copy())
            self._keep(f"weight_{order}", made.weight[order][:, None])
        function = torch.cat([torch.as_tensor(f) for f in made.function])
        counts = torch.bincount(function, minlength=made.functions)
        self._keep("function", function)
        self._keep("offsets", torch.cat([counts.new_zeros(1), counts.cumsum(0)]))

    def _keep(self, name: str, values: object) -> None:
        self.register_buffer(name, torch.as_tensor(values), persistent=False)

    def of_edges(self, vectors: Tensor) -> Tensor:
        """Return R_n(r) Y_lm(r) for vectors (E, 3), Angstrom: (E, components)."""
        r = vectors.square().sum(1).sqrt()
        harmonics = spherical_harmonics(vectors / r[:, None], len(self.n_radial) - 1)
        functions = _ORTHONORMAL * radial_functions(r, self.cutoff, max(self.n_radial), self.radial)
        parts = [
            (functions[:, :n, None] * harmonics[:, None, l**2 : (l + 1) ** 2]).flatten(1)
            for l, n in enumerate(self.n_radial)  # noqa: E741
        ]
        return torch.cat(parts, dim=1)

    def sums(self, batch: GraphBatch, kinds: Tensor, of_edges: Tensor) -> Tensor:
        """Return A, summed over the neighbours of each kind: (kinds * components, n)."""
        neighbours = kinds.index_select(0, batch.adjacency.source)
        one_hot = nn.functional.one_hot(neighbours, self.kinds).to(of_edges.dtype)
        spread = (one_hot[:, :, None] * of_edges[:, None, :]).flatten(1)
        return batch.adjacency.sum_messages(spread).t().contiguous()

    def forward(self, batch: GraphBatch, kinds: Tensor) -> Tensor:
        """Return the functions (n, F) of atoms of kinds (n,); what they mean depends on the kind of
        the atom itself."""
        sums = self.sums(batch, kinds, self.of_edges(batch.edge_vectors()))
        terms = []
        for order in range(self.orders):
            term = self._tensor("weight", order).to(sums.dtype)
            for factor in self._tensor("factors", order):
                term = term * sums.index_select(0, factor)
            terms.append(term)
        return sum_segments(torch.cat(terms), self.function, self.offsets).t()

    def _tensor(self, name: str, order: int) -> Tensor:
        found: Tensor = getattr(self, f"{name}_{order}")
        return found

    def by_kind(self, found: Tensor, kinds: Tensor) -> Tensor:
        """Put functions (n, F) into the columns of the atom's own kind: (n, kinds * F)."""
        one_hot = nn.functional.one_hot(kinds, self.kinds).to(found.dtype)
        return (one_hot[:, :, None] * found[:, None, :]).flatten(1)

    @torch.no_grad()
    def gradients(self, batch: GraphBatch, kinds: Tensor) -> Tensor:
        """Return d(sum over the structure of `by_kind`) / d(positions): (3 n, kinds * F), 1/A.

        By the chain rule over A, which is the same for all edges of an atom: automatic derivatives
        would pass over the graph once for every function.
        """
        n, graph = len(kinds), batch.adjacency
        of_edges, moved = self._moved_edges(batch.edge_vectors())
        slopes = self._slopes(self.sums(batch, kinds, of_edges))
        # edges of one centre and one kind of neighbours make one matrix product, padded with zeros
        group = graph.target * self.kinds + kinds.index_select(0, graph.source)
        counts = torch.bincount(group, minlength=n * self.kinds)
        order = torch.argsort(group, stable=True)
        begins = counts.cumsum(0) - counts
        slot = torch.empty_like(group)
        slot[order] = torch.arange(len(group), device=group.device) - begins[group[order]]
        longest = int(counts.max()) if len(group) else 0
        place = group * longest + slot
        padded = moved.new_zeros((n * self.kinds * longest, 3, self.components))
        padded[place] = moved
        per_edge = padded.view(n * self.kinds, 3 * longest, self.components).bmm(slopes)
        per_edge = per_edge.view(n, self.kinds * longest, 3 * self.functions)
        own = torch.arange(n, device=kinds.device) * self.kinds + kinds
        found = moved.new_zeros((n * self.kinds, 3 * self.functions))
        found[own] = -per_edge.sum(1)
        other = graph.source * self.kinds + kinds.index_select(0, graph.target)
        found.index_add_(0, other, per_edge.view(-1, 3 * self.functions)[place])
        return found.view(n, self.kinds, 3, -1).transpose(1, 2).reshape(3 * n, -1)

    @torch.enable_grad()
    def _moved_edges(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Return `of_edges`, and its derivatives along x, y and z: (E, 3, components).

        What is linear in the weights of a backward pass is differentiated by these: three passes,
        where the components would take one each.
        """
        vectors = vectors.requires_grad_()
        found = self.of_edges(vectors)
        weights = torch.zeros_like(found, requires_grad=True)
        (slope,) = torch.autograd.grad(found, vectors, weights, create_graph=True)
        moved = [
            torch.autograd.grad(along.sum(), weights, retain_graph=True)[0]
            for along in slope.unbind(1)
        ]
        return found.detach(), torch.stack(moved, 1)

    def _slopes(self, sums: Tensor) -> Tensor:
        """Return dB/dA from A (kinds * components, n): (n * kinds, components, F)."""
        rows, n = sums.shape
        found = sums.new_zeros((rows * self.functions, n))
        begin = 0
        for order in range(self.orders):
            weight, factors = self._tensor("weight", order), self._tensor("factors", order)
            function = self.function[begin : begin + len(weight)]
            begin += len(weight)
            for varied in range(order + 1):
                term = weight.to(sums.dtype).expand(-1, n)
                for other in range(order + 1):
                    if other != varied:
                        term = term * sums.index_select(0, factors[other])
                found.index_add_(0, factors[varied] * self.functions + function, term)
        return found.t().reshape(n * self.kinds, self.components, self.functions)
