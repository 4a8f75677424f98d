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

    One evaluation gives all there is: "energy" and "free_energy" (eV), "forces" (n, 3), "stress"
    (6,) of structures periodic in all directions, "energies" (n,) where the model has atomic
    energies.
    """

    implemented_properties = ["energy", "free_energy", "energies", "forces", "stress"]  # noqa: RUF012

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
        """Compute all properties, whichever were asked for.

        Raises DataError for elements that the potential was not trained on, and StructureError for
        a stress that is not defined and what `gnnip.geometry.faults` and
        `gnnip.graphs.neighbour_list` refuse.
        """
        super().calculate(atoms, properties, system_changes)
        atoms = self.atoms
        crystal = bool(atoms.pbc.all())
        if "stress" in (properties or ()) and not crystal:
            raise StructureError(
                "Stress needs a structure that is periodic in all three directions."
            )
        structure = {"positions": atoms.positions, "numbers": atoms.numbers}
        if atoms.pbc.any():
            structure |= {"cell": atoms.cell.array, "pbc": atoms.pbc}
        batch = GraphBatch.from_structures(
            [structure], self.model.cutoff, device=str(self.model.device), dtype=self.model.dtype
        )
        self.model.check_species(atoms.numbers)
        output = evaluate(self.model, batch, forces=True, stress=crystal)
        energy = float(output["energy"][0])
        self.results = {"energy": energy, "free_energy": energy}
        self.results["forces"] = _numpy(output["forces"])
        if crystal:
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
