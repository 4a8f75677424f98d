"""The state of many replicas in one flat batch, each with its temperature, seed and cell."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
import torch

from gnnip.errors import ConfigError, StructureError
from gnnip.geometry import check_structure
from gnnip.md.randomness import START, generator
from gnnip.md.structures import Structure
from gnnip.models.elements import ATOMIC_MASSES
from gnnip.units import AMU_A2_PER_FS2, KB


@dataclass(frozen=True)
class Layout:
    """What a batch knows of its replicas without asking the device. Tuples of length g."""

    counts: tuple[int, ...]  #: atoms
    seeds: tuple[int, ...]
    identifiers: tuple[int, ...]  #: kept when other replicas are removed
    freedom: tuple[int, ...]  #: degrees of freedom of the velocities

    @property
    def offsets(self) -> np.ndarray:
        """First atom of each replica, and the number of atoms at the end (g + 1,)."""
        return np.concatenate([[0], np.cumsum(self.counts, dtype=np.int64)])

    def atom_slice(self, row: int) -> slice:
        """Return where the atoms of the replica in this row stand."""
        first = sum(self.counts[:row])
        return slice(first, first + self.counts[row])


@dataclass(frozen=True)
class State:
    """Replicas of one or many systems, atoms of replica r in one contiguous block. Never modified
    in place.

    All floating-point tensors are float64, whatever the precision of the potential. Units:
    Angstrom, fs, amu, eV, K. n is the number of atoms of all replicas, g the number of replicas.
    """

    layout: Layout
    positions: torch.Tensor  #: (n, 3), unwrapped
    velocities: torch.Tensor  #: (n, 3)
    masses: torch.Tensor  #: (n,)
    atomic_numbers: torch.Tensor  #: (n,) int64
    replica: torch.Tensor  #: (n,) int64, ascending: row of the per-replica tensors
    cell: torch.Tensor  #: (g, 3, 3), zeros for open systems
    pbc: torch.Tensor  #: (g, 3) bool
    temperature: torch.Tensor  #: (g,) target temperature
    #: (g,) degrees of freedom as float64: 3n, or 3n - 3 where the momentum is fixed at zero
    freedom: torch.Tensor
    energy: torch.Tensor  #: (g,) potential energy, NaN before the first evaluation
    forces: torch.Tensor  #: (n, 3), NaN before the first evaluation
    heat: torch.Tensor  #: (g,) energy taken up from the thermostat since the start

    @property
    def n_replicas(self) -> int:
        """Number of replicas g."""
        return len(self.layout.counts)

    @property
    def device(self) -> torch.device:
        """Device of all tensors."""
        return self.positions.device

    def replace(self, **changes: torch.Tensor) -> State:
        """Return a copy with some tensors exchanged."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]

    def to(self, device: str | torch.device) -> State:
        """Return the state on another device."""
        return self.replace(**{name: tensor.to(device) for name, tensor in self.tensors().items()})

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return all tensors by name."""
        return {name: getattr(self, name) for name in _TENSORS}

    def with_free_momentum(self) -> State:
        """Return the state with 3n degrees of freedom for every replica."""
        freedom = tuple(3 * count for count in self.layout.counts)
        state = self.replace(freedom=torch.tensor(freedom, device=self.device).double())
        return dataclasses.replace(state, layout=dataclasses.replace(self.layout, freedom=freedom))

    def structure(self, row: int) -> Structure:
        """Return one replica as arrays on the host; cell and pbc are None for an open system."""
        atoms = self.layout.atom_slice(row)
        pbc = self.pbc[row].cpu().numpy()
        positions, numbers = self.positions[atoms], self.atomic_numbers[atoms]
        cell = self.cell[row].cpu().numpy() if pbc.any() else None
        return positions.cpu().numpy(), numbers.cpu().numpy(), cell, None if cell is None else pbc

    def select(self, rows: Sequence[int]) -> State:
        """Return only the replicas of the given rows, in the order given."""
        offsets = self.layout.offsets
        atoms = [np.arange(offsets[row], offsets[row + 1]) for row in rows]
        atom_index = torch.as_tensor(
            np.concatenate(atoms) if atoms else np.zeros(0, dtype=np.int64), device=self.device
        )
        row_index = torch.as_tensor(list(rows), dtype=torch.int64, device=self.device)
        chosen = {
            name: tensor[atom_index if name in _PER_ATOM else row_index]
            for name, tensor in self.tensors().items()
        }
        chosen["replica"] = _row_of_atoms([len(a) for a in atoms], self.device)
        layout = {
            field.name: tuple(getattr(self.layout, field.name)[row] for row in rows)
            for field in dataclasses.fields(Layout)
        }
        return State(layout=Layout(**layout), **chosen)

    @staticmethod
    def concatenate(states: Sequence[State]) -> State:
        """Join several states into one batch; identifiers are numbered anew from 0."""
        if not states:
            raise StructureError("No states to join: give at least one.")
        parts = {name: torch.cat([getattr(state, name) for state in states]) for name in _TENSORS}
        joined = {
            field.name: sum((getattr(state.layout, field.name) for state in states), ())
            for field in dataclasses.fields(Layout)
        }
        joined["identifiers"] = tuple(range(len(joined["counts"])))
        parts["replica"] = _row_of_atoms(joined["counts"], states[0].device)
        return State(layout=Layout(**joined), **parts)


def _row_of_atoms(counts: Sequence[int], device: torch.device) -> torch.Tensor:
    """Return the row of the replica of each atom (n,)."""
    return torch.as_tensor(np.repeat(np.arange(len(counts)), counts), device=device)


_PER_ATOM = {"positions", "velocities", "masses", "atomic_numbers", "replica", "forces"}
_TENSORS = [field.name for field in dataclasses.fields(State) if field.name != "layout"]


def make_state(
    positions: Sequence[np.ndarray],
    atomic_numbers: Sequence[np.ndarray],
    *,
    temperature: float | Sequence[float],
    seeds: Sequence[int],
    cells: Sequence[np.ndarray | None] | None = None,
    pbc: Sequence[Any] | None = None,
    masses: Sequence[np.ndarray | None] | None = None,
    velocities: Sequence[np.ndarray | None] | None = None,
    fixed_momentum: bool = True,
    device: str | torch.device = "cpu",
) -> State:
    """Build the batch from one entry per replica; velocities not given are Maxwell-Boltzmann.

    `positions` (n_r, 3) in Angstrom, `cells` (3, 3) in Angstrom or None (open system), `pbc` bool
    or 3 bools (default: periodic where there is a cell), `masses` (n_r,) in amu (default: standard
    atomic masses), `velocities` (n_r, 3) in Angstrom/fs, `temperature` in K, one or one per
    replica. With `fixed_momentum` the total momentum of each replica is set to zero and three
    degrees of freedom are taken off.

    Raises StructureError for coordinates, elements, cells, masses or velocities of the wrong shape
    or without a physical meaning, and ConfigError for negative temperatures and for lists that do
    not have one entry per replica.
    """
    n_replicas = len(positions)
    if n_replicas == 0:
        raise StructureError("No replicas: give at least one structure.")
    targets = np.atleast_1d(np.array(temperature, dtype=np.float64))
    given = {
        "positions": positions,
        "cells": cells,
        "pbc": pbc,
        "masses": masses,
        "velocities": velocities,
        "atomic_numbers": atomic_numbers,
        "temperature": np.repeat(targets, n_replicas) if np.ndim(temperature) == 0 else targets,
        "seeds": seeds,
    }
    entries = _by_replica(given, n_replicas)
    starts = [_start(f"replica {row}", one, fixed_momentum) for row, one in enumerate(entries)]
    counts = tuple(len(start["positions"]) for start in starts)
    freedom = tuple(max(1, 3 * count - 3 * fixed_momentum) for count in counts)
    tensors = {
        name: torch.as_tensor(
            (np.concatenate if name in _PER_ATOM else np.stack)([start[name] for start in starts])
        )
        for name in starts[0]
    }
    state = State(
        layout=Layout(counts, tuple(int(s) for s in seeds), tuple(range(n_replicas)), freedom),
        replica=_row_of_atoms(counts, torch.device("cpu")),
        freedom=torch.tensor(freedom, dtype=torch.float64),
        energy=torch.full((n_replicas,), torch.nan, dtype=torch.float64),
        forces=torch.full((sum(counts), 3), torch.nan, dtype=torch.float64),
        heat=torch.zeros(n_replicas, dtype=torch.float64),
        **tensors,
    )
    return state.to(device)


def from_atoms(
    atoms: Sequence[Any],
    *,
    temperature: float | Sequence[float],
    seeds: Sequence[int],
    **options: Any,
) -> State:
    """Build the batch from ``ase.Atoms``, one per replica (repeat one to run it several times).

    Masses come from the atoms; velocities are drawn, unless ``velocities="atoms"`` takes those of
    the atoms. Other options as for `make_state`. StructureError for atoms that are held by
    constraints: these dynamics move all.
    """
    for row, one in enumerate(atoms):
        held = one.constraints
        _check_structure(f"replica {row}", one.positions, one.numbers, one.cell.array, one.pbc)
        if held:
            raise StructureError(
                f"replica {row} has atoms that are held ({type(held[0]).__name__}), and these "
                "dynamics move all atoms; remove the constraints (atoms.set_constraint()), or run "
                "ASE's dynamics with gnnip.load_calculator."
            )
    if options.get("velocities") == "atoms":
        # ASE's velocities are in Angstrom per its own time unit, of which one fs is sqrt(1 /
        # AMU_A2_PER_FS2)
        options["velocities"] = [a.get_velocities() / AMU_A2_PER_FS2**0.5 for a in atoms]
    return make_state(
        [a.get_positions() for a in atoms],
        [a.get_atomic_numbers() for a in atoms],
        cells=[np.array(a.get_cell()) if a.pbc.any() else None for a in atoms],
        pbc=[np.array(a.pbc) if a.pbc.any() else None for a in atoms],
        masses=[a.get_masses() for a in atoms],
        temperature=temperature,
        seeds=seeds,
        **options,
    )


def maxwell_boltzmann(
    masses: np.ndarray, temperature: float, seed: int, remove_momentum: bool = True
) -> np.ndarray:
    """Draw velocities (n, 3) in Angstrom/fs from exp(-m v^2 / 2 k T) at `temperature` K.

    With `remove_momentum` the total momentum is made zero (the kinetic energy is then that of 3n -
    3 degrees of freedom on average; it is not rescaled, so that replicas spread as the ensemble
    does).
    """
    masses = np.asarray(masses, dtype=np.float64)
    width = np.sqrt(KB * temperature / (masses * AMU_A2_PER_FS2))
    velocities = width[:, None] * generator(seed, START, 0).standard_normal((len(masses), 3))
    if remove_momentum:
        velocities -= masses @ velocities / masses.sum()
    return velocities


def check_whole(name: str, value: Any, least: int) -> None:
    """Raise ConfigError unless a value is a whole number, `least` at least and of 63 bits."""
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not whole or not least <= int(value) < 2**63:
        raise ConfigError(f"{name} must be a whole number from {least} to 2^63, found {value!r}.")


def sum_per_replica(values: torch.Tensor, replica: torch.Tensor, n_replicas: int) -> torch.Tensor:
    """Sum `values` (n,) over each replica in the order of its atoms: the same bits in any batch."""
    return values.new_zeros(n_replicas).index_add_(0, replica, values)


def kinetic_energy(state: State, velocities: torch.Tensor | None = None) -> torch.Tensor:
    """Kinetic energy of each replica (g,), eV."""
    v = state.velocities if velocities is None else velocities
    square = v[:, 0] * v[:, 0] + v[:, 1] * v[:, 1] + v[:, 2] * v[:, 2]
    return (
        0.5
        * AMU_A2_PER_FS2
        * sum_per_replica(state.masses * square, state.replica, state.n_replicas)
    )


def kinetic_temperature(state: State) -> torch.Tensor:
    """Instantaneous temperature of each replica (g,), K: 2 K / (degrees of freedom k)."""
    return 2.0 * kinetic_energy(state) / (state.freedom * KB)


def _by_replica(given: Mapping[str, Any], n_replicas: int) -> list[dict[str, Any]]:
    """Return for each replica its entry of every list; None where no list is given."""
    filled: dict[str, Any] = {
        name: [None] * n_replicas if values is None else values for name, values in given.items()
    }
    for name, values in filled.items():
        if len(values) != n_replicas:
            raise ConfigError(
                f"{name} has {len(values)} entries, but there are {n_replicas} replicas."
            )
    for seed in filled["seeds"]:
        check_whole("a seed", seed, 0)
    targets = filled["temperature"]
    if not (np.isfinite(targets).all() and (targets >= 0).all()):
        raise ConfigError(
            f"temperature must be finite and not negative, found {targets.tolist()} K."
        )
    return [{name: values[row] for name, values in filled.items()} for row in range(n_replicas)]


def _start(label: str, given: Mapping[str, Any], fixed_momentum: bool) -> dict[str, np.ndarray]:
    """Return the checked arrays of one replica, by the names of the tensors of `State`."""
    points, numbers, cell, periodic = _check_atoms(given, label)
    masses = _check_masses(given["masses"], numbers, label)
    temperature = given["temperature"]
    if given["velocities"] is None:
        velocities = maxwell_boltzmann(
            masses, float(temperature), int(given["seeds"]), remove_momentum=fixed_momentum
        )
    else:
        velocities = np.array(given["velocities"], dtype=np.float64)
        if velocities.shape != points.shape or not np.isfinite(velocities).all():
            raise StructureError(
                f"velocities of {label} must be finite and of shape {points.shape}."
            )
        if fixed_momentum:
            velocities -= masses @ velocities / masses.sum()
    return {
        "positions": points,
        "atomic_numbers": numbers,
        "masses": masses,
        "velocities": velocities,
        "cell": cell,
        "pbc": periodic,
        "temperature": np.array(temperature),
    }


def _check_atoms(
    given: Mapping[str, Any], label: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return positions, atomic numbers, cell and periodicity of one replica, checked."""
    species, cell, pbc = given["atomic_numbers"], given["cells"], given["pbc"]
    flags = cell is not None if pbc is None else pbc
    points = _check_structure(label, given["positions"], species, cell, flags)
    periodic = np.array(np.broadcast_to(flags, (3,)), dtype=bool)
    lattice = np.zeros((3, 3)) if cell is None else np.array(cell, dtype=np.float64)
    return points, np.array(species, dtype=np.int64), lattice, periodic


def _check_structure(label: str, *structure: Any) -> np.ndarray:
    try:
        # atoms at one point are for the neighbour list of a potential to refuse
        return check_structure(*structure)
    except StructureError as error:
        raise StructureError(f"{label}: {error}") from None


def _check_masses(masses: Any, numbers: np.ndarray, label: str) -> np.ndarray:
    values = np.array(
        np.array(ATOMIC_MASSES)[numbers] if masses is None else masses, dtype=np.float64
    )
    if values.shape != numbers.shape:
        raise StructureError(
            f"masses of {label} must be {len(numbers)} numbers, found shape {values.shape}."
        )
    if not (np.isfinite(values).all() and (values > 0).all()):
        raise StructureError(
            f"masses of {label} must be finite and greater than zero (amu), found {values.min()}."
        )
    return values
