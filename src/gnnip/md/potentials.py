"""What moves the atoms: a batched potential, or an ASE calculator for one replica at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch

from gnnip.errors import ConfigError, GnnipError
from gnnip.graphs import GraphBatch
from gnnip.md.neighbours import Edges
from gnnip.md.state import Layout, State
from gnnip.models.contract import Potential, evaluate


class EvaluationError(GnnipError):
    """A potential refused the structure of one replica."""


class ForceField(Protocol):
    """Energies (g,) in eV and forces (n, 3) in eV/Angstrom of all replicas, both float64."""

    cutoff: float | None  #: Angstrom; None when no neighbour list is needed

    def __call__(self, state: State, edges: Edges | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Evaluate; `edges` are the pairs closer than the cutoff."""


class ContractForceField:
    """Any potential of `gnnip.models`, evaluated on all replicas at once in its own precision."""

    def __init__(self, model: Any) -> None:
        """Take a module with `cutoff` (Angstrom); it is put into evaluation mode."""
        self.model = model.eval()
        self.cutoff: float | None = float(model.cutoff)
        tensors = list(model.parameters()) + list(model.buffers())
        self._dtype = next((t.dtype for t in tensors if t.is_floating_point()), torch.float64)
        self._device = next((t.device for t in tensors), None)
        self._checked: Layout | None = None

    def __call__(self, state: State, edges: Edges | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Evaluate with forces by autograd."""
        assert edges is not None
        output = evaluate(self.model, self.batch(state, edges), forces=True)
        return output["energy"].detach().double(), output["forces"].detach().double()

    def batch(self, state: State, edges: Edges) -> GraphBatch:
        """Return the graphs of all replicas, of `edges` within the cutoff, in the precision of the
        model; DataError for an element that it was not trained on."""
        if state.layout is not self._checked:
            self._check(state)
        positions, shift = state.positions.to(self._dtype), edges.edge_shift
        if edges.far is not None:
            # differences are taken in double precision, and what rounding took is added
            vectors, outside = edges.far
            positions = (state.positions - outside).to(self._dtype)
            (source, target), rounded = edges.edge_index, positions.double()
            shift = vectors - (rounded[source] - rounded[target])
        return GraphBatch(
            positions=positions,
            atomic_numbers=state.atomic_numbers,
            edge_index=edges.edge_index,
            batch=state.replica,
            n_graphs=state.n_replicas,
            offsets=torch.as_tensor(state.layout.offsets, device=state.device),
            adjacency=edges.adjacency,
            edge_shift=None if shift is None else shift.to(self._dtype),
            cell=state.cell.to(self._dtype) if edges.edge_shift is not None else None,
        )

    def _check(self, state: State) -> None:
        if self._device is not None and self._device.type != state.device.type:
            raise ConfigError(
                f"The potential is on {self._device.type} and the state on {state.device.type}: "
                "move one of them with .to(...)."
            )
        if isinstance(self.model, Potential):
            self.model.check_species(torch.unique(state.atomic_numbers).tolist())
        self._checked = state.layout


class AseForceField:
    """ASE calculators behind the same engine, so that reference MD differs from model MD in the
    forces only.

    A calculator that keeps something between calls (a wave function, say) needs one object per
    replica: give a function from the replica's identifier to its calculator. Such a memory is not
    part of a checkpoint; what the function makes is made anew at each, so that a run that continues
    there goes the same way.
    """

    cutoff: float | None = None

    def __init__(self, calculator: Any | Sequence[Any] | Callable[[int], Any]) -> None:
        """Take one calculator for all replicas, one for each, or a function that makes them."""
        self._given = calculator
        self._made: dict[int, Any] = {}

    def calculator(self, identifier: int) -> Any:
        """Return the calculator of a replica."""
        if identifier not in self._made:
            if hasattr(self._given, "get_potential_energy"):
                self._made[identifier] = self._given
            elif callable(self._given):
                self._made[identifier] = self._given(identifier)
            elif identifier < len(self._given):
                self._made[identifier] = self._given[identifier]
            else:
                raise ConfigError(
                    f"There are {len(self._given)} calculators, none for replica {identifier}."
                )
        return self._made[identifier]

    def forget(self) -> None:
        """Drop the calculators that a function can make anew, and what they remember."""
        if not hasattr(self._given, "get_potential_energy") and callable(self._given):
            self._made.clear()

    def __call__(self, state: State, edges: Edges | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Evaluate each replica."""
        from ase import Atoms

        energies, forces = [], []
        for row, identifier in enumerate(state.layout.identifiers):
            positions, numbers, cell, pbc = state.structure(row)
            atoms = Atoms(
                numbers=numbers,
                positions=positions,
                masses=state.masses[state.layout.atom_slice(row)].cpu().numpy(),
                cell=cell,
                pbc=pbc,
                calculator=self.calculator(identifier),
            )
            energies.append(float(atoms.get_potential_energy()))
            forces.append(np.array(atoms.get_forces(), dtype=np.float64))
        return (
            torch.tensor(energies, dtype=torch.float64, device=state.device),
            torch.as_tensor(np.concatenate(forces), device=state.device),
        )


def identity_of(force_field: ForceField, replica: int) -> list[Any]:
    """Return what tells a potential from others: class, weights, and the plain parameters of the
    calculator of a replica."""
    moved: Any = force_field
    if isinstance(force_field, ContractForceField):
        moved = force_field.model
    elif isinstance(force_field, AseForceField):
        moved = force_field.calculator(replica)
    digest = hashlib.sha256()
    for part in [moved, *getattr(moved, "__dict__", {}).values()]:
        if isinstance(part, torch.nn.Module):
            for name, tensor in sorted(part.state_dict().items()):
                digest.update(name.encode())
                digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    parameters = getattr(moved, "parameters", None)
    plain = {
        str(key): value
        for key, value in (parameters.items() if isinstance(parameters, dict) else ())
        if isinstance(value, str | int | float | bool)
    }
    return [type(moved).__qualname__, digest.hexdigest(), plain]


def as_force_field(potential: Any) -> ForceField:
    """Wrap a potential or ASE calculators; ConfigError for what gives no energies and forces."""
    if isinstance(potential, torch.nn.Module):
        if not hasattr(potential, "cutoff"):
            raise ConfigError(
                f"{type(potential).__name__} has no cutoff: give a potential of gnnip.models."
            )
        return ContractForceField(potential)
    if hasattr(potential, "cutoff") and callable(potential):
        return potential
    if hasattr(potential, "get_potential_energy") or callable(potential):
        return AseForceField(potential)
    if isinstance(potential, list | tuple):
        return AseForceField(potential)
    raise ConfigError(
        f"{type(potential).__name__} cannot drive dynamics: give a potential of gnnip.models "
        "or an ASE calculator."
    )
