"""Many structures as one graph, and a whole data set of graphs on a device.

A `GraphStore` holds every structure of a data set as flat tensors with offsets; `batch` cuts any
choice of them out by index arithmetic, without a Python loop over structures and without waiting
for a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from gnnip.errors import DataError, StructureError
from gnnip.geometry import FAR, faults, into_cell
from gnnip.graphs.adjacency import Adjacency, spread_segments, sum_segments
from gnnip.graphs.neighbours import neighbour_list

if TYPE_CHECKING:
    from gnnip.datasets.arrays import FrameArrays


@dataclass
class GraphBatch:
    """Structures stacked into one graph of n atoms and E directed edges.

    Attributes
    ----------
    positions : (n, 3), Angstrom.
    atomic_numbers : (n,) int64.
    edge_index : (2, E) int64; row 0 the neighbour j, row 1 the centre i; sorted by i.
    batch : (n,) int64, the structure of each atom, ascending.
    n_graphs : number of structures.
    offsets : (g+1,) int64; atoms of structure k are offsets[k]:offsets[k+1].
    adjacency : the edges in the form that the layers sum over.
    edge_shift : (E, 3) Angstrom for periodic images, or None; the vector of an edge is
        ``positions[j] + edge_shift - positions[i]``.
    cell : (g, 3, 3), rows are lattice vectors, Angstrom, or None.
    lengths : (E,) distances belonging to `positions`, Angstrom, or None to compute them.
    energy : (g,) eV float64, or None.  forces : (n, 3) eV/Angstrom, or None.
    stress : (g, 3, 3) eV/Angstrom^3 with the sign of ASE, or None.
    frame : (g,) int64, the number of each structure in its data set.
    crystals : whether all structures are periodic in three directions, so that they have a stress;
        None where that is not known.
    cutoff : Angstrom; the edges are all pairs closer than this. None where that is not known, or
        where `extras` stand for edges that were left out.
    extras : tensors that a potential derived from the edges (`Potential.prepare`,
        `Potential.condense`), by its names.
    """

    positions: Tensor
    atomic_numbers: Tensor
    edge_index: Tensor
    batch: Tensor
    n_graphs: int
    offsets: Tensor
    adjacency: Adjacency
    edge_shift: Tensor | None = None
    cell: Tensor | None = None
    lengths: Tensor | None = None
    energy: Tensor | None = None
    forces: Tensor | None = None
    stress: Tensor | None = None
    frame: Tensor | None = None
    crystals: bool | None = None
    cutoff: float | None = None
    extras: dict[str, Tensor] = field(default_factory=dict)

    @property
    def n_atoms(self) -> Tensor:
        """(g,) atoms of each structure, int64."""
        return self.offsets[1:] - self.offsets[:-1]

    def edge_vectors(self) -> Tensor:
        """Return r_j + shift - r_i of every edge, (E, 3), Angstrom, differentiable."""
        vectors = self.adjacency.from_source(self.positions) - self.adjacency.from_target(
            self.positions
        )
        return vectors if self.edge_shift is None else vectors + self.edge_shift

    def edge_lengths(self) -> Tensor:
        """Return the distance of every edge, (E,), Angstrom; stored ones where they are valid."""
        if self.lengths is not None and not self.positions.requires_grad:
            return self.lengths
        return self.edge_vectors().square().sum(-1).sqrt()

    def sum_atoms(self, x: Tensor) -> Tensor:
        """Sum (n,) or (n, F) over the atoms of each structure: (g,) or (g, F)."""
        return sum_segments(x, self.batch, self.offsets)

    def spread_to_atoms(self, x: Tensor) -> Tensor:
        """Give every atom the row of its structure: (g,) or (g, F) to (n,) or (n, F)."""
        return spread_segments(x, self.batch, self.offsets)

    def edges_within(self, cutoff: float) -> dict[str, Tensor]:
        """Return the edges shorter than `cutoff` (Angstrom) as the tensors of their adjacency:
        "edges" (E',) their numbers, "offsets", "source_offsets" (n+1,) and "by_source" (E',).

        Raises DataError if the batch may lack some of them.
        """
        if self.cutoff is not None and cutoff > self.cutoff * (1 + 1e-9):
            raise DataError(
                f"The graph holds pairs closer than {self.cutoff:g} Angstrom, but {cutoff:g} is "
                "asked for; build it with the larger cutoff."
            )
        old = self.adjacency
        with torch.no_grad():
            kept = self.edge_lengths() < cutoff
            zero = torch.zeros(1, dtype=torch.int64, device=kept.device)
            before = torch.cat([zero, kept.cumsum(0)])
            turned = kept.index_select(0, old.by_source)
            before_turned = torch.cat([zero, turned.cumsum(0)])
            return {
                "edges": kept.nonzero()[:, 0],
                "offsets": before.index_select(0, old.offsets),
                "by_source": before.index_select(0, old.by_source[turned]),
                "source_offsets": before_turned.index_select(0, old.source_offsets),
            }

    def with_edges(self, chosen: dict[str, Tensor], cutoff: float) -> GraphBatch:
        """Return the batch with the edges of `edges_within` alone, positions differentiable."""
        edges, old = chosen["edges"], self.adjacency
        source, target = old.source.index_select(0, edges), old.target.index_select(0, edges)
        adjacency = Adjacency(
            source,
            target,
            chosen["offsets"],
            chosen["by_source"],
            chosen["source_offsets"],
            symmetric=old.symmetric,
        )
        shift, lengths = self.edge_shift, self.lengths
        return replace(
            self,
            edge_index=torch.stack([source, target]),
            adjacency=adjacency,
            edge_shift=None if shift is None else shift.index_select(0, edges),
            lengths=None if lengths is None else lengths.index_select(0, edges),
            cutoff=cutoff,
            extras={},
        )

    @classmethod
    def from_structures(
        cls,
        structures: Sequence[dict[str, Any]],
        cutoff: float,
        *,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> GraphBatch:
        """Build a batch from dictionaries as `GraphStore.from_structures` does."""
        store = GraphStore.from_structures(structures, cutoff, device=device, dtype=dtype)
        return store.batch(torch.arange(len(structures)))

    def to(self, dtype: torch.dtype) -> GraphBatch:
        """Return the batch with geometry in another precision (labels keep theirs)."""
        changed = {
            f.name: getattr(self, f.name).to(dtype)
            for f in fields(self)
            if f.name in {"positions", "edge_shift", "cell", "lengths"}
            and getattr(self, f.name) is not None
        }
        return replace(self, **changed)


class GraphStore:
    """All structures of a data set as graphs on one device.

    Build with `from_frames`, `from_flat` or `from_structures`; cut with `batch`.
    """

    def __init__(
        self,
        tensors: dict[str, Tensor],
        atom_counts: NDArray[np.int64],
        edge_counts: NDArray[np.int64],
        cutoff: float,
        crystals: NDArray[np.bool_],
    ) -> None:
        """Take flat tensors, the atoms and edges of each structure, and which are periodic in all
        directions; see `from_flat`."""
        self._tensors = tensors
        self._crystals = torch.as_tensor(crystals)
        self._atom_counts = torch.as_tensor(atom_counts)
        self._edge_counts = torch.as_tensor(edge_counts)
        self.cutoff = cutoff
        self._per_atom: dict[str, Tensor] = {}
        device = self.device
        self._starts = torch.stack(
            [
                torch.as_tensor(np.concatenate([[0], np.cumsum(counts)[:-1]]), device=device)
                for counts in (atom_counts, edge_counts)
            ]
        )
        self._counts = torch.as_tensor(np.stack([atom_counts, edge_counts]), device=device)

    def __len__(self) -> int:
        """Return the number of structures."""
        return len(self._atom_counts)

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self._tensors["positions"].device

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the geometry."""
        return self._tensors["positions"].dtype

    @property
    def mean_neighbours(self) -> float:
        """Edges per atom over the whole store."""
        return float(self._edge_counts.sum() / self._atom_counts.sum())

    @classmethod
    def from_frames(cls, frames: FrameArrays, cutoff: float, /, **options: Any) -> GraphStore:
        """Build from the structures of a data set; labels and the rest as for `from_flat`."""
        return cls.from_flat(
            frames.positions,
            frames.numbers,
            frames.offsets,
            cutoff,
            cells=frames.cells,
            pbc=frames.pbc,
            **options,
        )

    @classmethod
    def from_structures(
        cls,
        structures: Sequence[dict[str, Any]],
        cutoff: float,
        *,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> GraphStore:
        """Build from dictionaries: `positions` (n, 3) A, `numbers` (n,), perhaps `cell`, `pbc`."""
        if not structures:
            raise DataError("No structures were given; at least one is needed.")
        counts = [len(s["numbers"]) for s in structures]
        for k, s in enumerate(structures):
            shape = np.shape(s["positions"])
            if shape != (counts[k], 3):
                raise StructureError(
                    f"{_which(k, len(structures))}: {counts[k]} atomic numbers need positions of "
                    f"shape ({counts[k]}, 3), not {shape}."
                )
        cells = pbc = None
        if any(np.any(s.get("pbc", False)) for s in structures):
            pbc = np.stack([np.broadcast_to(s.get("pbc", False), (3,)) for s in structures])
            cells = np.stack([np.asarray(s.get("cell", np.zeros((3, 3)))) for s in structures])
        return cls.from_flat(
            np.concatenate(
                [np.asarray(s["positions"], dtype=np.float64).reshape(-1, 3) for s in structures]
            ),
            np.concatenate([np.asarray(s["numbers"], dtype=np.int64) for s in structures]),
            np.concatenate([[0], np.cumsum(counts)]),
            cutoff,
            cells=cells,
            pbc=pbc,
            device=device,
            dtype=dtype,
        )

    @classmethod
    def from_flat(
        cls,
        positions: ArrayLike,
        numbers: ArrayLike,
        offsets: ArrayLike,
        cutoff: float,
        *,
        cells: ArrayLike | None = None,
        pbc: ArrayLike | None = None,
        energies: ArrayLike | None = None,
        forces: ArrayLike | None = None,
        stresses: ArrayLike | None = None,
        frames: ArrayLike | None = None,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        progress: Callable[[int, int], None] | None = None,
    ) -> GraphStore:
        """Build from flat arrays.

        Parameters
        ----------
        positions (n, 3) A, numbers (n,), offsets (g+1,): atoms of structure k are
            offsets[k]:offsets[k+1].
        cutoff : Angstrom.
        cells (g, 3, 3) A, pbc (g, 3): periodic structures only.
        energies (g,) eV, forces (n, 3) eV/A, stresses (g, 3, 3) eV/A^3: labels, optional.
        frames : (g,) numbers of the structures in their data set; 0..g-1 when absent.
        progress : called with (structures done, structures in all).

        Raises StructureError, naming the structure, for what `gnnip.geometry.faults` and
        `neighbour_list` refuse.
        """
        points = np.asarray(positions, dtype=np.float64)
        bounds = np.asarray(offsets, dtype=np.int64)
        names = np.arange(len(bounds) - 1) if frames is None else np.asarray(frames)
        for k, sentence in faults(points, np.asarray(numbers), bounds).items():
            raise _fault(sentence, names, k)
        graphs = _find_edges(points, bounds, cutoff, cells, pbc, names, progress)
        moved = _near_the_origin(graphs, points, bounds, cells, pbc, dtype)
        edge_counts = np.array([g.edge_index.shape[1] for g in graphs], dtype=np.int64)
        edge_index = np.concatenate([g.edge_index for g in graphs], axis=1)
        targets = edge_index[1] + np.repeat(bounds[:-1], edge_counts)
        arrays = {
            "positions": moved,
            "atomic_numbers": numbers,
            "degree": np.bincount(targets, minlength=len(points)),
            "source": edge_index[0],
            "reverse": np.concatenate([g.reverse for g in graphs]),
            "lengths": np.concatenate([g.lengths for g in graphs]),
            "frame": names,
        }
        if pbc is not None or moved is not points:
            arrays["edge_shift"] = np.concatenate([g.shift for g in graphs])
        if pbc is not None:
            arrays["cell"] = cells
        arrays |= {"energy": energies, "forces": forces, "stress": stresses}
        tensors = _tensors(arrays, dtype, device)
        crystals: Any = np.zeros(len(names), bool) if pbc is None else np.asarray(pbc, bool).all(-1)
        return cls(tensors, np.diff(bounds), edge_counts, float(cutoff), crystals)

    def with_labels(
        self,
        energies: ArrayLike,
        forces: ArrayLike | None = None,
        stresses: ArrayLike | None = None,
    ) -> GraphStore:
        """Return a store of the same graphs (shared memory) with other labels: energies (g,) eV,
        forces (n, 3) eV/A, stresses (g, 3, 3) eV/A^3.
        """
        labels = {"energy": energies, "forces": forces, "stress": stresses}
        tensors = {k: v for k, v in self._tensors.items() if k not in labels}
        tensors |= _tensors(labels, self.dtype, self.device)
        return GraphStore(
            tensors,
            self._atom_counts.numpy(),
            self._edge_counts.numpy(),
            self.cutoff,
            self._crystals.numpy(),
        )

    def condensed(self, cutoff: float, **per_atom: Tensor) -> GraphStore:
        """Return a store of the edges shorter than `cutoff` (Angstrom), in whose batches `extras`
        hold the rows of `per_atom` (n, ...), which stand for what was left out."""
        old, starts = self._tensors, self._starts[1]
        structure = torch.repeat_interleave(self._counts[1])
        kept = old["lengths"] < cutoff
        before = torch.cat([kept.new_zeros(1, dtype=torch.int64), kept.cumsum(0)])
        atom = torch.repeat_interleave(old["degree"])
        new_starts = before.index_select(0, starts)
        reverse = before.index_select(0, old["reverse"] + starts.index_select(0, structure))
        tensors = old | {name: old[name][kept] for name in ("source", "lengths")}
        tensors["reverse"] = (reverse - new_starts.index_select(0, structure))[kept]
        tensors["degree"] = torch.bincount(atom[kept], minlength=len(old["degree"]))
        if "edge_shift" in old:
            tensors["edge_shift"] = old["edge_shift"][kept]
        counts = torch.bincount(structure[kept], minlength=len(self)).cpu()
        found = GraphStore(
            tensors, self._atom_counts.numpy(), counts.numpy(), cutoff, self._crystals.numpy()
        )
        found._per_atom = per_atom
        return found

    def n_atoms(self, indices: Tensor) -> int:
        """Return the number of atoms of the structures `indices`, without touching the device."""
        return int(self._atom_counts[indices.cpu()].sum())

    @property
    def species(self) -> list[int]:
        """Atomic numbers that occur, ascending."""
        found: list[int] = self._tensors["atomic_numbers"].unique().tolist()
        return found

    def batch(self, indices: Tensor) -> GraphBatch:
        """Return the structures `indices` (g,) as one batch, in that order.

        Indices on the CPU keep a GPU from being waited for.
        """
        chosen = indices.to(torch.int64).cpu()
        n_atoms = int(self._atom_counts[chosen].sum())
        n_edges = int(self._edge_counts[chosen].sum())
        n_graphs = len(chosen)
        device = self.device
        here = chosen.to(device, non_blocking=True)
        starts, counts = self._starts[:, here], self._counts[:, here]
        ends = counts.cumsum(1)
        begins = ends - counts

        segment = torch.repeat_interleave(counts[0], output_size=n_atoms)
        atoms = torch.arange(n_atoms, device=device)
        atoms += (starts[0] - begins[0]).index_select(0, segment)
        edge_segment = torch.repeat_interleave(counts[1], output_size=n_edges)
        edges = torch.arange(n_edges, device=device)
        edges += (starts[1] - begins[1]).index_select(0, edge_segment)

        take = self._tensors
        degree = take["degree"].index_select(0, atoms)
        target = torch.repeat_interleave(degree, output_size=n_edges)
        source = take["source"].index_select(0, edges)
        source += begins[0].index_select(0, edge_segment)
        reverse = take["reverse"].index_select(0, edges)
        reverse += begins[1].index_select(0, edge_segment)
        zero = counts.new_zeros(1)
        edge_offsets = torch.cat([zero, degree.cumsum(0)])

        def optional(name: str, index: Tensor) -> Tensor | None:
            return take[name].index_select(0, index) if name in take else None

        return GraphBatch(
            positions=take["positions"].index_select(0, atoms),
            atomic_numbers=take["atomic_numbers"].index_select(0, atoms),
            edge_index=torch.stack([source, target]),
            batch=segment,
            n_graphs=n_graphs,
            offsets=torch.cat([zero, ends[0]]),
            adjacency=Adjacency(
                source, target, edge_offsets, reverse, edge_offsets, symmetric=True
            ),
            edge_shift=optional("edge_shift", edges),
            cell=optional("cell", here),
            lengths=take["lengths"].index_select(0, edges),
            energy=optional("energy", here),
            forces=optional("forces", atoms),
            stress=optional("stress", here),
            frame=take["frame"].index_select(0, here),
            crystals=bool(self._crystals[chosen].all()),
            cutoff=None if self._per_atom else self.cutoff,
            extras={name: t.index_select(0, atoms) for name, t in self._per_atom.items()},
        )

    def batches(self, indices: Tensor, size: int) -> Iterator[GraphBatch]:
        """Yield the structures `indices` in batches of at most `size`."""
        for start in range(0, len(indices), size):
            yield self.batch(indices[start : start + size])


#: precision of the values of a store that is not that of the geometry
_DTYPES = dict.fromkeys(("atomic_numbers", "degree", "source", "reverse", "frame"), torch.int64) | {
    "energy": torch.float64
}


def _tensors(
    arrays: Mapping[str, ArrayLike | None], dtype: torch.dtype, device: str | torch.device
) -> dict[str, Tensor]:
    """Return the arrays that are there as tensors, in the precision that each has in a store."""
    return {
        name: torch.as_tensor(np.asarray(value), dtype=_DTYPES.get(name, dtype), device=device)
        for name, value in arrays.items()
        if value is not None
    }


class _Edges(NamedTuple):
    """The edges of one structure; shifts (E, 3) are zeros in an open structure."""

    edge_index: NDArray[np.int64]
    shift: NDArray[np.float64]
    reverse: NDArray[np.int64]
    lengths: NDArray[np.float64]


def _find_edges(
    points: NDArray[np.float64],
    bounds: NDArray[np.int64],
    cutoff: float,
    cells: ArrayLike | None,
    pbc: ArrayLike | None,
    names: NDArray[Any],
    progress: Callable[[int, int], None] | None,
) -> list[_Edges]:
    """Return the edges of each structure; StructureError names the structure at fault."""
    found = []
    n_graphs = len(bounds) - 1
    for k in range(n_graphs):
        part = points[bounds[k] : bounds[k + 1]]
        cell, flags = (None if values is None else np.asarray(values)[k] for values in (cells, pbc))
        try:
            index, shift = neighbour_list(part, cutoff, cell, flags)
        except StructureError as error:
            raise _fault(str(error), names, k) from error
        vectors = part[index[0]] - part[index[1]]
        if shift is None:
            shift = np.zeros_like(vectors)
        else:
            vectors += shift
        lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
        found.append(_Edges(index, shift, reverse_edges(index, shift), lengths))
        if progress is not None:
            progress(k + 1, n_graphs)
    return found


def _near_the_origin(
    graphs: list[_Edges],
    points: NDArray[np.float64],
    bounds: NDArray[np.int64],
    cells: ArrayLike | None,
    pbc: ArrayLike | None,
    dtype: torch.dtype,
) -> NDArray[np.float64]:
    """Return positions (n, 3) that `dtype` tells apart, and correct the shifts of far structures.

    Structures with atoms beyond `FAR` are put into their cells, as far as they have any; what
    rounding to `dtype` then takes from the vector of an edge is added to its shift.
    """
    far = (np.abs(points) > FAR).any(axis=1)
    if not far.any():
        return points
    moved = points.copy()
    for k in np.unique(np.searchsorted(bounds, np.flatnonzero(far), side="right") - 1).tolist():
        part = slice(bounds[k], bounds[k + 1])
        source, target = graphs[k].edge_index
        vectors = points[part][source] - points[part][target] + graphs[k].shift
        if cells is not None and pbc is not None:
            moved[part] = into_cell(points[part], np.asarray(cells)[k], np.asarray(pbc)[k])
        rounded = torch.as_tensor(moved[part]).to(dtype).double().numpy()
        graphs[k] = graphs[k]._replace(shift=vectors - (rounded[source] - rounded[target]))
    return moved


def _fault(sentence: str, names: NDArray[Any], k: int) -> StructureError:
    """Return the error about structure k of a set, which it names where there are several."""
    where = "" if len(names) == 1 else f"Structure {names[k]}: "
    return StructureError(where + sentence)


def _which(name: int, n_graphs: int) -> str:
    return "The structure" if n_graphs == 1 else f"Structure {name}"


def reverse_edges(
    edge_index: NDArray[np.int64], edge_shift: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return for each edge j -> i the number of its reverse i -> j (same image), (E,)."""
    source, target = edge_index
    # the reverse edge carries exactly the negative shift, so the two orders pair up
    x, y, z = edge_shift.T
    here, there = (
        np.lexsort((z, y, x, source, target)),
        np.lexsort((-z, -y, -x, target, source)),
    )
    reverse = np.empty(len(source), dtype=np.int64)
    reverse[here] = there
    return reverse
