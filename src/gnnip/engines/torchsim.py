"""Potentials as models of TorchSim (torch-sim-atomistic), batched, with neighbour lists kept
between steps."""

from __future__ import annotations

import os
from typing import Any

import torch

from gnnip.errors import ConfigError, DataError
from gnnip.md import make_state
from gnnip.md.neighbours import SkinList
from gnnip.md.potentials import ContractForceField
from gnnip.md.state import State
from gnnip.models.contract import Potential, evaluate

try:
    from torch_sim.models.interface import ModelInterface
    from torch_sim.state import SimState
except ImportError as error:  # pragma: no cover
    raise ConfigError(
        f"TorchSim cannot be imported ({error}); pip install torch-sim-atomistic."
    ) from error


class TorchSimModel(ModelInterface):  # type: ignore[misc]
    """A potential for `torch_sim.integrate`, `optimize` and `static`.

    Energies are eV, forces eV/Angstrom, stresses eV/Angstrom^3. Neighbour lists hold all pairs up
    to the cutoff and a skin, and are made anew where an atom has moved by half of it, where a cell
    changes, and for other systems.
    """

    def __init__(
        self,
        model: Potential | str | os.PathLike[str],
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float64,
        *,
        compute_stress: bool = True,
        skin: float = 1.0,
    ) -> None:
        """Take a potential, or where it is saved, or the name of a recorded one; `skin` is in
        Angstrom."""
        super().__init__()
        if not isinstance(model, Potential):
            from gnnip.models import load
            from gnnip.models.files import find_seeds
            from gnnip.own.shipped import locate

            model = load(find_seeds(locate(model))[0])
        self.potential = model.to(device=device, dtype=dtype).eval()
        self._device, self._dtype = torch.device(device), dtype
        self._compute_stress, self._compute_forces = compute_stress, True
        self._graph = ContractForceField(self.potential)
        self._skin = skin
        self._known: tuple[Any, ...] | None = None
        self._state: State | None = None
        self._lists = SkinList(model.cutoff, skin)

    @property
    def rebuilds(self) -> int:
        """Number of neighbour lists made since the systems or their cells changed."""
        return self._lists.rebuilds

    def forward(self, state: Any, **kwargs: Any) -> dict[str, torch.Tensor]:
        """Return energy (g,), forces (n, 3) and stress (g, 3, 3) of a SimState or its fields.

        Raises DataError for elements that the potential was not trained on, and StructureError for
        systems that give no graph.
        """
        if isinstance(state, dict):
            masses = torch.ones_like(state["positions"][:, 0])
            state = SimState(**({"masses": masses, "pbc": True} | state))
        own = self._kept(state)
        failed = self._lists.update(own, self._lists.displacement(own).tolist())
        if failed:
            raise next(iter(failed.values()))
        edges, _ = self._lists.edges(own, 0, range(own.n_replicas))
        assert edges is not None
        stress = self._compute_stress and edges.edge_shift is not None
        found = evaluate(self.potential, self._graph.batch(own, edges), forces=True, stress=stress)
        names = ["energy", "forces", *(["stress"] if stress else [])]
        return {name: found[name].detach().to(state.positions.dtype) for name in names}

    def _kept(self, state: Any) -> State:
        """Return the systems as a state of our own, with new neighbour lists where they changed."""
        known = (state.atomic_numbers, state.system_idx, state.cell, state.pbc)
        if self._state is None or self._known is None or not _same(known, self._known):
            self._known = tuple(v.clone() if torch.is_tensor(v) else v for v in known)
            self._state = self._new(state)
            self._lists = SkinList(self.potential.cutoff, self._skin)
        positions = state.positions.detach().to(self._device, torch.float64)
        return self._state.replace(positions=positions)

    def _new(self, state: Any) -> State:
        count = int(state.system_idx.max()) + 1
        parts = [state.system_idx == k for k in range(count)]
        numbers = [state.atomic_numbers[part].cpu().numpy() for part in parts]
        for system in numbers:
            if not len(system):
                raise DataError("A system has no atoms; leave it out.")
        # columns are cell vectors there, rows here
        cells = [state.cell[k].T.detach().cpu().double().numpy() for k in range(count)]
        pbc = [[bool(state.pbc)] * 3 for _ in range(count)]
        periodic = bool(state.pbc)
        return make_state(
            [state.positions[part].detach().cpu().double().numpy() for part in parts],
            numbers,
            temperature=0.0,
            seeds=list(range(count)),
            cells=cells if periodic else None,
            pbc=pbc if periodic else None,
            device=str(self._device),
        )


def _same(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    return all(
        a.shape == b.shape and bool((a == b).all()) if torch.is_tensor(a) else a == b
        for a, b in zip(one, other, strict=True)
    )
