"""Trained potentials as ASE calculators (eV, eV/Angstrom, eV/Angstrom^3)."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from gnnip.errors import StructureError
from gnnip.graphs import GraphBatch
from gnnip.models.contract import Potential, evaluate
from gnnip.models.files import load


class PotentialCalculator(Calculator):
    """ASE calculator of one potential; forces and stress are derivatives of the energy by autograd.

    Results: "energy" and "free_energy" (eV), "forces" (n, 3), "stress" (6,) for structures periodic
    in all directions, "energies" (n,) where the model has atomic energies.
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012

    def __init__(self, model: Potential, **kwargs: Any) -> None:
        """Wrap `model`, which keeps its device and precision."""
        super().__init__(**kwargs)
        self.model = model.eval()

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Compute what was asked for.

        Raises DataError for elements that the potential was not trained on and StructureError for
        empty structures, positions that are not finite, coinciding atoms, a cell without volume.
        """
        super().calculate(atoms, properties, system_changes)
        wanted = properties or ["energy"]
        atoms = self.atoms
        if len(atoms) == 0:
            raise StructureError("The structure has no atoms; at least one is needed.")
        self.model.check_species(atoms.numbers)
        structure = {"positions": atoms.positions, "numbers": atoms.numbers}
        if atoms.pbc.any():
            structure |= {"cell": atoms.cell.array, "pbc": atoms.pbc}
        stress = "stress" in wanted
        if stress and not atoms.pbc.all():
            raise StructureError(
                "Stress needs a structure that is periodic in all three directions."
            )
        batch = GraphBatch.from_structures(
            [structure], self.model.cutoff, device=str(self.model.device), dtype=self.model.dtype
        )
        output = evaluate(self.model, batch, forces="forces" in wanted, stress=stress)
        energy = float(output["energy"][0])
        self.results = {"energy": energy, "free_energy": energy}
        if "forces" in wanted:
            self.results["forces"] = _numpy(output["forces"])
        if stress:
            self.results["stress"] = full_3x3_to_voigt_6_stress(_numpy(output["stress"])[0])
        if "atomic_energies" in output:
            self.results["energies"] = _numpy(output["atomic_energies"])


def load_calculator(path: str | os.PathLike[str], device: str = "auto") -> PotentialCalculator:
    """Return an ASE calculator of a saved potential.

    Parameters
    ----------
    path : its .json or .safetensors file, their common stem, or the folder of a training.
    device : "auto" (a GPU if there is one), "cpu" or "cuda".

    Raises
    ------
    CheckpointError : missing or damaged files, a pickle, a newer format.
    """
    return PotentialCalculator(load(path, device))


def _numpy(value: torch.Tensor) -> np.ndarray:
    return value.detach().double().cpu().numpy()
