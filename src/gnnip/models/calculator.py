"""Trained potentials as ASE calculators (eV, eV/Angstrom, eV/Angstrom^3)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from gnnip.errors import DataError, StructureError
from gnnip.graphs import GraphBatch
from gnnip.models.contract import Potential, evaluate
from gnnip.models.files import find_seeds, load


class PotentialCalculator(Calculator):
    """ASE calculator of one potential; forces and stress are derivatives of the energy by autograd.

    One evaluation gives all there is: "energy" and "free_energy" (eV), "forces" (n, 3), "stress"
    (6,) of structures periodic in all directions, "energies" (n,) where the model has atomic
    energies. Calculators can be pickled and copied.
    """

    implemented_properties = ["energy", "free_energy", "energies", "forces", "stress"]  # noqa: RUF012

    def __init__(self, model: Potential, *, threads: int | None = None, **kwargs: Any) -> None:
        """Wrap `model`, which keeps its device and precision; `threads` of the CPU during an
        evaluation, None leaves those of torch."""
        super().__init__(**kwargs)
        self.model, self.threads = model.eval(), threads

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
        crystal = bool(self.atoms.pbc.all())
        if "stress" in (properties or ()) and not crystal:
            raise StructureError(
                "Stress needs a structure that is periodic in all three directions."
            )
        with _threads(self.threads):
            self.results = self._evaluate(self.atoms, crystal)

    def _evaluate(self, atoms: Atoms, crystal: bool) -> dict[str, Any]:
        return _results(self.model, _graph(self.model, atoms), atoms, crystal)


class EnsembleCalculator(PotentialCalculator):
    """ASE calculator of several potentials, such as the seeds of a training: their mean, and how
    far they are apart.

    Besides what `PotentialCalculator` gives, all of it means, `results` has the sample standard
    deviations over the potentials "energy_spread" (eV) and "forces_spread" (n,), eV/Angstrom, the
    length of the vector of those of an atom's components.
    """

    implemented_properties = [  # noqa: RUF012
        *PotentialCalculator.implemented_properties,
        "energy_spread",
        "forces_spread",
    ]

    def __init__(
        self, models: Sequence[Potential], *, threads: int | None = None, **kwargs: Any
    ) -> None:
        """Wrap `models`; DataError for less than two, which have no spread."""
        if len(models) < 2:
            raise DataError(
                f"An ensemble needs two potentials at least, here is {len(models)}; train more "
                "seeds."
            )
        super().__init__(models[0], threads=threads, **kwargs)
        self.models = [model.eval() for model in models]

    def _evaluate(self, atoms: Atoms, crystal: bool) -> dict[str, Any]:
        graphs: dict[tuple[Any, ...], GraphBatch] = {}
        members = []
        for model in self.models:
            key = (model.cutoff, model.dtype, model.device)
            if key not in graphs:
                graphs[key] = _graph(model, atoms)
            members.append(_results(model, graphs[key], atoms, crystal))
        common = [name for name in members[0] if all(name in member for member in members)]
        every = {name: np.stack([member[name] for member in members]) for name in common}
        found: dict[str, Any] = {name: values.mean(axis=0) for name, values in every.items()}
        for name in ("energy", "free_energy"):
            found[name] = float(found[name])
        found["energy_spread"] = float(every["energy"].std(ddof=1))
        found["forces_spread"] = np.linalg.norm(every["forces"].std(axis=0, ddof=1), axis=-1)
        return found


def _graph(model: Potential, atoms: Atoms) -> GraphBatch:
    structure = {"positions": atoms.positions, "numbers": atoms.numbers}
    if atoms.pbc.any():
        structure |= {"cell": atoms.cell.array, "pbc": atoms.pbc}
    return GraphBatch.from_structures(
        [structure], model.cutoff, device=str(model.device), dtype=model.dtype
    )


def _results(model: Potential, graph: GraphBatch, atoms: Atoms, crystal: bool) -> dict[str, Any]:
    """Return what ASE calls results, of one potential."""
    model.check_species(atoms.numbers)
    output = evaluate(model, graph, forces=True, stress=crystal)
    energy = float(output["energy"][0])
    found = {"energy": energy, "free_energy": energy, "forces": _numpy(output["forces"])}
    if crystal:
        found["stress"] = full_3x3_to_voigt_6_stress(_numpy(output["stress"])[0])
    if "atomic_energies" in output:
        found["energies"] = _numpy(output["atomic_energies"])
    return found


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Let torch use so many threads within a block."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        if count is not None:
            torch.set_num_threads(before)


def load_calculator(
    path: str | os.PathLike[str],
    device: str = "auto",
    dtype: str | None = None,
    threads: int | None = None,
    ensemble: bool | None = None,
) -> PotentialCalculator:
    """Return an ASE calculator of a saved potential.

    Parameters
    ----------
    path : its .json or .safetensors file, their common stem, or a folder: of a training, of the
        seeds of one, or of a run of `gnnip train`.
    device : "auto" (a GPU if there is one), "cpu" or "cuda".
    dtype : "float32" or "float64"; None takes that of the weights.
    threads : of the CPU, during an evaluation; None leaves those of torch.
    ensemble : True takes all seeds that the folder has, and there must be several; False the first
        one; None all where there are several.

    Raises
    ------
    CheckpointError : missing or damaged files, a pickle, a newer format, seeds of several models.
    DataError : an ensemble of one seed, or a precision that is none.
    """
    places = find_seeds(path)
    if ensemble is False:
        places = places[:1]
    if dtype not in (None, "float32", "float64"):
        raise DataError(f"The precision '{dtype}' is not known; take float32 or float64.")
    models = [load(place, device) for place in places]
    if dtype is not None:
        models = [model.to(getattr(torch, dtype)) for model in models]
    if ensemble or len(models) > 1:
        return EnsembleCalculator(models, threads=threads)
    return PotentialCalculator(models[0], threads=threads)


def _numpy(value: torch.Tensor) -> np.ndarray:
    return value.detach().double().cpu().numpy()
