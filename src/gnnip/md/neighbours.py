"""Neighbour lists with a skin: rebuilt for a replica only when one of its atoms has moved by half
the skin.

The list of cutoff + skin comes from `gnnip.graphs.neighbour_list` (all images, so cells smaller
than the cutoff are right); at every step the pairs inside the cutoff are picked on the device.
Pairs stay in the order centre, neighbour, image, so that sums do not depend on when a list was
built: a restart and a run with other replicas in the batch give the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from gnnip.errors import ConfigError, StructureError
from gnnip.geometry import FAR, into_cell
from gnnip.graphs import Adjacency, neighbour_list
from gnnip.md.state import State
from gnnip.models.elements import COVALENT_RADII


@dataclass(frozen=True)
class Edges:
    """Directed pairs of the replicas of one force call, atoms numbered from the first of them."""

    edge_index: torch.Tensor  #: (2, E) int64: neighbour j, centre i; sorted by i
    edge_shift: torch.Tensor | None  #: (E, 3) float64, Angstrom
    squared: torch.Tensor  #: (E,) float64 squared distances
    adjacency: Adjacency
    #: where atoms are so far from the origin that single precision blurs them: the vectors (E, 3)
    #: from centre to neighbour, and lattice vectors (n, 3) that atoms lie outside their cell by
    far: tuple[torch.Tensor, torch.Tensor] | None = None


@dataclass
class _Group:
    """Lists of the replicas of one force call, joined."""

    first_atom: int
    n_atoms: int
    source: torch.Tensor
    target: torch.Tensor
    shift: torch.Tensor | None
    by_source: torch.Tensor
    outside: torch.Tensor | None  # of atoms, lattice vectors, where some atom is beyond `FAR`
    contact: torch.Tensor | None  # squared distance below which a pair is in contact


class SkinList:
    """Neighbour lists of all replicas of a state."""

    def __init__(
        self,
        cutoff: float | None,
        skin: float,
        *,
        contact_factor: float | None = None,
        replicas_per_call: int | None = None,
    ) -> None:
        """Take `cutoff` (None: the potential needs no pairs) and `skin` in Angstrom.

        With `contact_factor`, `edges` says whether a pair is closer than that many sums of
        covalent radii; with `replicas_per_call` the replicas are grouped by that many.
        """
        if cutoff is not None and not (math.isfinite(cutoff) and cutoff > 0):
            raise ConfigError(
                f"cutoff must be a finite number greater than zero (Angstrom), found {cutoff!r}."
            )
        if not (math.isfinite(skin) and skin >= 0):
            raise ConfigError(
                f"skin must be a finite number, zero or greater (Angstrom), found {skin!r}."
            )
        if replicas_per_call is not None and replicas_per_call < 1:
            raise ConfigError(f"replicas_per_call must be at least 1, found {replicas_per_call}.")
        self.cutoff = cutoff
        self.skin = float(skin)
        self.contact_factor = contact_factor
        self.rebuilds = 0  #: replica lists built so far
        self.replicas_per_call = replicas_per_call
        self._reference: torch.Tensor | None = None  # positions at the last rebuild, NaN: none yet
        self._lists: list[tuple[torch.Tensor, torch.Tensor | None] | None] = []
        self._groups: dict[int, _Group] = {}

    def fresh(self, state: State, replicas_per_call: int | None = None) -> SkinList:
        """Return new lists for `state` with the same cutoff, skin and contacts."""
        lists = SkinList(
            self.cutoff,
            self.skin,
            contact_factor=self.contact_factor,
            replicas_per_call=replicas_per_call,
        )
        lists.update(state, lists.displacement(state).tolist())
        return lists

    def group_rows(self, n_replicas: int) -> list[range]:
        """Rows of the replicas of each force call."""
        size = self.replicas_per_call or max(n_replicas, 1)
        return [range(first, min(first + size, n_replicas)) for first in range(0, n_replicas, size)]

    def displacement(self, state: State) -> torch.Tensor:
        """Largest squared displacement (g,) since each list was built; infinite without a list."""
        if self._reference is None:
            self._reference = torch.full_like(state.positions, torch.nan)
            self._lists = [None] * state.n_replicas
        return largest_square(state.positions - self._reference, state)

    def update(self, state: State, displacement: Sequence[float]) -> dict[int, StructureError]:
        """Rebuild the lists that are out of date; return the rows for which none could be built,
        with the reason.

        `displacement` is what `displacement` returned for this state, on the host.
        """
        limit = (0.5 * self.skin) ** 2
        failed: dict[int, StructureError] = {}
        stale = [row for row, moved in enumerate(displacement) if not moved <= limit]
        radius = self._radius(state) if stale else None
        if radius is None:
            return failed
        assert self._reference is not None
        reference = self._reference.clone()
        for row in stale:
            positions, _, cell, pbc = state.structure(row)
            try:
                index, shift = neighbour_list(positions, radius + self.skin, cell, pbc)
            except StructureError as error:
                failed[row] = error
                continue
            self._lists[row] = (
                torch.as_tensor(index, device=state.device),
                None if shift is None else torch.as_tensor(shift, device=state.device),
            )
            atoms = state.layout.atom_slice(row)
            reference[atoms] = state.positions[atoms]
            self.rebuilds += 1
        self._reference = reference
        for number, rows in enumerate(self.group_rows(state.n_replicas)):
            if any(row in rows for row in stale):
                self._groups.pop(number, None)
        return failed

    def _radius(self, state: State) -> float | None:
        contact = 0.0
        if self.contact_factor is not None:
            largest = float(COVALENT_RADII[state.atomic_numbers.cpu().numpy()].max())
            contact = 2.0 * self.contact_factor * largest
        return max(self.cutoff or 0.0, contact) or None

    def edges(
        self, state: State, number: int, rows: range
    ) -> tuple[Edges | None, torch.Tensor | None]:
        """Return the pairs inside the cutoff of the replicas of one force call, and whether any
        pair is in contact.

        The first is None without a cutoff, the second (a bool tensor on the device) without a
        contact factor.
        """
        if self.cutoff is None and self.contact_factor is None:
            return None, None
        if number not in self._groups:
            self._groups[number] = self._join(state, rows)
        group = self._groups[number]
        positions = state.positions[group.first_atom : group.first_atom + group.n_atoms]
        # difference first, then the shift: the reverse pair then has exactly the negative vector
        vectors = positions.index_select(0, group.source) - positions.index_select(0, group.target)
        if group.shift is not None:
            vectors = vectors + group.shift
        squared = _square(vectors)
        touching = None if group.contact is None else (squared < group.contact).any()
        if self.cutoff is None:
            return None, touching
        inside = squared < self.cutoff**2
        keep = inside.nonzero().squeeze(1)
        source, target = group.source[keep], group.target[keep]
        new_number = inside.cumsum(0) - 1
        by_source = new_number[group.by_source[inside[group.by_source]]]
        by_target, from_source = (_offsets(nodes, group.n_atoms) for nodes in (target, source))
        adjacency = Adjacency(source, target, by_target, by_source, from_source)
        edges = Edges(
            edge_index=torch.stack([source, target]),
            edge_shift=None if group.shift is None else group.shift[keep],
            squared=squared[keep],
            adjacency=adjacency,
            far=None if group.outside is None else (vectors[keep], group.outside),
        )
        return edges, touching

    def select(self, state: State, rows: Sequence[int]) -> None:
        """Keep only the replicas of the given rows; `state` is the one before the selection."""
        if self._reference is not None:
            self._reference = state.replace(positions=self._reference).select(rows).positions
            self._lists = [self._lists[row] for row in rows]
        self._groups = {}

    def _join(self, state: State, rows: range) -> _Group:
        offsets = state.layout.offsets
        first, n_atoms = int(offsets[rows.start]), int(offsets[rows.stop] - offsets[rows.start])
        lists = [entry for entry in self._lists[rows.start : rows.stop] if entry is not None]
        periodic = any(shift is not None for _, shift in lists)
        shifts = [
            index.new_zeros((index.shape[1], 3)).double() if shift is None else shift
            for index, shift in lists
        ]
        starts = offsets[rows.start : rows.stop] - first
        joined = torch.cat(
            [index + int(start) for (index, _), start in zip(lists, starts, strict=True)], dim=1
        )
        contact = None
        if self.contact_factor is not None:
            numbers = state.atomic_numbers[first : first + n_atoms]
            radii = torch.as_tensor(COVALENT_RADII, device=state.device)[numbers]
            contact = (self.contact_factor * (radii[joined[0]] + radii[joined[1]])) ** 2
        return _Group(
            first_atom=first,
            n_atoms=n_atoms,
            source=joined[0].contiguous(),
            target=joined[1].contiguous(),
            shift=torch.cat(shifts) if periodic else None,
            by_source=torch.argsort(joined[0], stable=True),
            outside=_outside(state, rows),
            contact=contact,
        )


def _outside(state: State, rows: range) -> torch.Tensor | None:
    """Return the lattice vectors (n, 3) that the atoms of some replicas lie outside their cell by,
    None where none is beyond `FAR`."""
    first, last = state.layout.offsets[rows.start], state.layout.offsets[rows.stop]
    if not bool((state.positions[first:last].abs() > FAR).any()):
        return None
    parts = []
    for row in rows:
        positions, _, cell, pbc = state.structure(row)
        inside = positions if cell is None else into_cell(positions, cell, np.asarray(pbc))
        parts.append(positions - inside)
    return torch.as_tensor(np.concatenate(parts), device=state.device)


def largest_square(vectors: torch.Tensor, state: State) -> torch.Tensor:
    """Largest squared length of `vectors` (n, 3) in each replica (g,); infinite if any is NaN."""
    square = torch.nan_to_num(_square(vectors), nan=torch.inf)
    return square.new_zeros(state.n_replicas).scatter_reduce(0, state.replica, square, "amax")


def _square(vectors: torch.Tensor) -> torch.Tensor:
    x, y, z = vectors.unbind(1)
    return x * x + y * y + z * z


def _offsets(nodes: torch.Tensor, n_nodes: int) -> torch.Tensor:
    counts = torch.bincount(nodes, minlength=n_nodes)
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])
