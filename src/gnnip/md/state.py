"""The state of many replicas in one flat batch: positions, velocities, and per-replica
temperature, seed and cell.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from gnnip.errors import ConfigError, StructureError
from gnnip.md.randomness import START, generator
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
    freedom: (
        torch.Tensor
    )  #: (g,) degrees of freedom as float64: 3n, or 3n - 3 where the momentum is fixed at zero
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
        counts = [len(a) for a in atoms]
        chosen["replica"] = torch.as_tensor(
            np.repeat(np.arange(len(counts)), counts), device=self.device
        )
        layout = Layout(
            *(
                tuple(getattr(self.layout, field.name)[row] for row in rows)
                for field in dataclasses.fields(Layout)
            )
        )
        return State(layout=layout, **chosen)

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
        parts["replica"] = torch.as_tensor(
            np.repeat(np.arange(len(joined["counts"])), joined["counts"]), device=states[0].device
        )
        return State(layout=Layout(**joined), **parts)


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
    """Build the batch from one entry per replica; draw Maxwell-Boltzmann velocities where none are
    given.

    `positions` (n_r, 3) in Angstrom, `cells` (3, 3) in Angstrom or None (open system), `pbc` bool
    or 3 bools (default: periodic where there is a cell), `masses` (n_r,) in amu (default: standard
    atomic masses), `velocities` (n_r, 3) in Angstrom/fs, `temperature` in K, one or one per
    replica. With `fixed_momentum` the total momentum of each replica is set to zero and three
    degrees of freedom are taken off. Raises StructureError for structures that cannot be run and
    ConfigError for wrong temperatures or numbers of entries.
    """
    n_replicas = len(positions)
    if n_replicas == 0:
        raise StructureError("No replicas: give at least one structure.")
    targets = np.atleast_1d(np.array(temperature, dtype=np.float64))
    if np.ndim(temperature) == 0:
        targets = np.repeat(targets, n_replicas)
    optional = {"cells": cells, "pbc": pbc, "masses": masses, "velocities": velocities}
    given: dict[str, Sequence[Any]] = {
        name: [None] * n_replicas if value is None else value for name, value in optional.items()
    }
    required: dict[str, Sequence[Any]] = {
        "atomic_numbers": atomic_numbers,
        "temperature": list(targets),
        "seeds": seeds,
    }
    for name, value in {**given, **required}.items():
        if len(value) != n_replicas:
            raise ConfigError(
                f"{name} has {len(value)} entries, but there are {n_replicas} replicas."
            )
    if not (np.isfinite(targets).all() and (targets >= 0).all()):
        raise ConfigError(
            f"temperature must be finite and not negative, found {targets.tolist()} K."
        )
    parts: dict[str, list[np.ndarray]] = {
        name: [] for name in ("positions", "numbers", "masses", "velocities", "cell", "pbc")
    }
    for row in range(n_replicas):
        label = f"replica {row}"
        points, numbers = _check_atoms(positions[row], atomic_numbers[row], label)
        cell, periodic = _check_cell(given["cells"][row], given["pbc"][row], label)
        mass = _check_masses(given["masses"][row], numbers, label)
        velocity: Any = given["velocities"][row]
        if velocity is None:
            velocity = maxwell_boltzmann(
                mass, float(targets[row]), int(seeds[row]), remove_momentum=fixed_momentum
            )
        else:
            velocity = np.array(velocity, dtype=np.float64)
            if velocity.shape != points.shape or not np.isfinite(velocity).all():
                raise StructureError(
                    f"velocities of {label} must be finite and of shape {points.shape}."
                )
            if fixed_momentum:
                velocity -= mass @ velocity / mass.sum()
        for name, value in zip(
            parts, (points, numbers, mass, velocity, cell, periodic), strict=True
        ):
            parts[name].append(value)
    sizes = [len(p) for p in parts["positions"]]
    n_atoms = sum(sizes)

    def flat(name: str) -> torch.Tensor:
        return torch.as_tensor(np.concatenate(parts[name]))

    freedom = [max(1, 3 * size - 3 * fixed_momentum) for size in sizes]
    state = State(
        layout=Layout(
            tuple(sizes), tuple(int(s) for s in seeds), tuple(range(n_replicas)), tuple(freedom)
        ),
        positions=flat("positions"),
        velocities=flat("velocities"),
        masses=flat("masses"),
        atomic_numbers=flat("numbers"),
        replica=torch.as_tensor(np.repeat(np.arange(n_replicas), sizes)),
        cell=torch.as_tensor(np.stack(parts["cell"])),
        pbc=torch.as_tensor(np.stack(parts["pbc"])),
        temperature=torch.as_tensor(np.array(targets)),
        freedom=torch.tensor(freedom, dtype=torch.float64),
        energy=torch.full((n_replicas,), torch.nan, dtype=torch.float64),
        forces=torch.full((n_atoms, 3), torch.nan, dtype=torch.float64),
        heat=torch.zeros(n_replicas, dtype=torch.float64),
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
    the atoms. Other options as for `make_state`.
    """
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


def sum_per_replica(values: torch.Tensor, replica: torch.Tensor, n_replicas: int) -> torch.Tensor:
    """Sum per-atom `values` (n,) over each replica, in the order of the atoms (the same bits in
    any batch on a CPU).
    """
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


def _check_atoms(positions: Any, numbers: Any, label: str) -> tuple[np.ndarray, np.ndarray]:
    points = np.array(positions, dtype=np.float64)
    species = np.array(numbers, dtype=np.int64)
    if points.ndim != 2 or points.shape[1:] != (3,) or len(points) == 0:
        raise StructureError(
            f"positions of {label} must have shape (n, 3) with n > 0, found {points.shape}."
        )
    if not np.isfinite(points).all():
        atom = int(np.argwhere(~np.isfinite(points))[0, 0])
        raise StructureError(
            f"positions of {label} are not finite (atom {atom}): give finite coordinates."
        )
    if (
        species.shape != (len(points),)
        or (species < 0).any()
        or (species >= len(ATOMIC_MASSES)).any()
    ):
        raise StructureError(
            f"atomic numbers of {label} must be {len(points)} integers below {len(ATOMIC_MASSES)}."
        )
    return points, species


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


def _check_cell(cell: Any, pbc: Any, label: str) -> tuple[np.ndarray, np.ndarray]:
    if cell is None:
        if pbc is not None and np.any(pbc):
            raise StructureError(f"{label} is periodic but has no cell: give its three vectors.")
        return np.zeros((3, 3)), np.zeros(3, dtype=bool)
    vectors = np.array(cell, dtype=np.float64)
    periodic = np.array(np.broadcast_to(True if pbc is None else pbc, (3,)), dtype=bool)
    if vectors.shape != (3, 3) or not np.isfinite(vectors).all():
        raise StructureError(
            f"the cell of {label} must be three finite vectors (3, 3), found {vectors.shape}."
        )
    volume = abs(np.linalg.det(vectors))
    lengths = np.linalg.norm(vectors, axis=1)
    if periodic.any() and volume <= 1e-9 * max(float(np.prod(lengths)), 1e-300):
        raise StructureError(
            f"the cell of {label} has zero volume: give three independent vectors."
        )
    return vectors, periodic
