"""What every potential is: structures in, energies out; forces and stress by autograd."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gnnip.errors import DataError
from gnnip.graphs import GraphBatch, GraphStore
from gnnip.models.composition import composition_energies, fit_composition
from gnnip.models.fitting import FitReport, TrainingFrames
from gnnip.models.listing import POTENTIALS
from gnnip.threads import share_cores


def __getattr__(name: str) -> Any:
    # where it stood before; the file reads potentials, which are defined here
    if name == "load":
        return import_module("gnnip.models.files").load
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


@dataclass(frozen=True)
class TargetStatistics:
    """What a potential may know of the training subset before it is trained.

    energy_mean, energy_std : of the total energies, eV.
    species_energies : eV for each atomic number, from a linear fit of the energies on the
        composition (the least-norm one where the composition does not tell them apart).
    residual_std : standard deviation of the energies after that fit, eV.
    force_rms : root mean square of the force components, eV/Angstrom, or None without forces.
    mean_neighbours : edges per atom within the potential's cutoff.
    """

    energy_mean: float
    energy_std: float
    species_energies: dict[int, float]
    residual_std: float
    force_rms: float | None
    mean_neighbours: float

    @classmethod
    def measure(
        cls,
        energies: NDArray[np.float64],
        numbers: NDArray[np.int64],
        offsets: NDArray[np.int64],
        mean_neighbours: float,
        forces: NDArray[np.float64] | None = None,
    ) -> TargetStatistics:
        """Compute them from energies (g,), numbers (n,), offsets (g+1,), forces (n, 3)."""
        species = fit_composition(energies, numbers, offsets)
        residual = energies - composition_energies(species, numbers, offsets)
        return cls(
            energy_mean=float(np.mean(energies)),
            energy_std=float(np.std(energies)),
            species_energies=species,
            residual_std=float(np.std(residual)),
            force_rms=None if forces is None else float(np.sqrt(np.mean(np.square(forces)))),
            mean_neighbours=mean_neighbours,
        )


class Potential(nn.Module):
    """Base of all potentials.

    A subclass sets `Hyperparameters` (a dataclass), takes an instance of that dataclass as its only
    argument, and defines `forward`.

    Attributes
    ----------
    cutoff : Angstrom; the graph must hold exactly the pairs closer than this.
    species : atomic numbers seen in training; empty before training.
    violates : the contract's promises that this potential does not keep, each with the reason. The
        keys are those of `PROMISES`; the contract tests check that the failure is really there.
    """

    Hyperparameters: ClassVar[type]
    PROMISES: ClassVar[tuple[str, ...]] = (
        "translation",
        "rotation",
        "permutation",
        "size_extensivity",
        "smoothness",
        "supercell",
        "periodicity",
    )

    def __init__(self, hyperparameters: Any) -> None:
        """Keep the hyper-parameters; a subclass builds its layers after this."""
        super().__init__()
        self.hyperparameters = hyperparameters
        self.species: tuple[int, ...] = ()
        self.training_record: dict[str, Any] = {}

    @property
    def architecture(self) -> str:
        """Its name for `build`: that of the library, or `package.module:Class`."""
        return name_of(type(self))

    @property
    def cutoff(self) -> float:
        """Radius of the graph, Angstrom: that of the hyper-parameters, unless a class differs."""
        return float(self.hyperparameters.cutoff)

    @property
    def violates(self) -> dict[str, str]:
        """Promises not kept, with reasons."""
        return {}

    @property
    def carries_reference(self) -> bool:
        """Whether `calibrate` takes the energies of the elements; in a sum one term does."""
        return True

    def parts(self) -> tuple[Potential | None, Potential]:
        """Return the part that is known before training (None without one) and the one to train,
        whose sum the potential is; they share its weights."""
        return None, self

    def calibrate(self, statistics: TargetStatistics) -> None:
        """Set fixed shifts and scales from the training subset, once, before training; its labels
        are less what the known one of `parts` predicts."""

    def fit(self, frames: TrainingFrames) -> FitReport | None:
        """Fit to the training frames in closed form, once, after `calibrate` and before any
        training by gradient, which is left out where the report says `complete`.

        What is set must be a parameter or a buffer. None means that there was nothing to fit.
        """
        return None

    def condense(self, store: GraphStore) -> GraphStore:
        """Return the graphs that energies are trained on: `store`, or a condensed one
        (`GraphStore.condensed`) with what no parameter changes, which `forward` finds in
        `batch.extras`. Not asked for where forces or stresses are trained on."""
        return store

    def prepare(self, batch: GraphBatch) -> dict[str, Tensor]:
        """Return tensors whose shape depends on the values in the batch (chosen edges, say), by
        name.

        `forward` finds them in `batch.extras` when a compiled step has called this before, and must
        do without. Data that the potential cannot treat are refused here.
        """
        return {}

    @property
    def eager_reason(self) -> str | None:
        """Why a compiled step should not take the place of the eager one, or None."""
        return None

    def forward(self, batch: GraphBatch) -> dict[str, Tensor]:
        """Return "energy" (g,) in eV and, where the model has them, "atomic_energies" (n,)."""
        raise NotImplementedError

    @property
    def n_parameters(self) -> int:
        """Number of trainable numbers."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the weights, or of the buffers where there are none."""
        return next(t.dtype for t in self._tensors() if t.is_floating_point())

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self._tensors()).device

    def _tensors(self) -> Iterator[Tensor]:
        return itertools.chain(self.parameters(), self.buffers())

    def check_species(self, numbers: NDArray[np.int64] | list[int]) -> None:
        """Raise DataError if `numbers` holds an element that was not in the training data."""
        unseen = sorted({int(z) for z in np.unique(numbers)} - set(self.species))
        if self.species and unseen:
            raise DataError(
                f"The potential was trained on the atomic numbers {list(self.species)} and knows "
                f"nothing of {unseen}; train it on structures that contain them."
            )


def name_of(cls: type[Potential]) -> str:
    """Return the name under which `build` finds a class, whatever the class says of itself."""
    place = (cls.__module__, cls.__qualname__)
    return next((name for name, held in POTENTIALS.items() if held == place), ":".join(place))


def evaluate(
    model: Potential,
    batch: GraphBatch,
    forces: bool = False,
    stress: bool = False,
    create_graph: bool = False,
) -> dict[str, Tensor]:
    """Run a potential and differentiate it.

    Parameters
    ----------
    forces, stress : also return F = -dE/dr and sigma = (1/V) dE/d(strain); the sign of ASE.
    create_graph : keep the graph, to train on forces.

    Returns
    -------
    The model's own output and "forces" (n, 3) eV/Angstrom, "stress" (g, 3, 3) eV/Angstrom^3.

    Raises
    ------
    DataError : stress of structures that are not crystals, or a graph built for another cutoff.
    """
    share_cores(torch.get_num_threads())
    if batch.cutoff is not None and abs(model.cutoff / batch.cutoff - 1.0) > 1e-6:
        raise DataError(
            f"The graph holds pairs closer than {batch.cutoff:g} Angstrom and the potential "
            f"'{model.architecture}' is defined with {model.cutoff:g}; build it with model.cutoff."
        )
    if not (forces or stress):
        with torch.set_grad_enabled(create_graph and torch.is_grad_enabled()):
            return model(batch)
    if stress and (batch.cell is None or batch.crystals is False):
        raise DataError(
            "Stress needs structures that are periodic in all three directions, and some are not."
        )
    positions = batch.positions.detach().requires_grad_(forces)
    varied = replace(batch, positions=positions, lengths=None)
    wanted = [positions] if forces else []
    with torch.enable_grad(), nullcontext() if create_graph else frozen_parameters(model):
        if stress:
            strain = positions.new_zeros((batch.n_graphs, 3, 3), requires_grad=True)
            varied = _strained(varied, strain)
            wanted.append(strain)
        output = dict(model(varied))
        energy = output["energy"].sum()
        if energy.requires_grad:
            gradients = torch.autograd.grad(
                energy, wanted, create_graph=create_graph, materialize_grads=True
            )
        else:
            gradients = tuple(torch.zeros_like(w) for w in wanted)
    if not create_graph:
        output = {name: value.detach() for name, value in output.items()}
    if forces:
        output["forces"] = -gradients[0]
    if stress:
        assert batch.cell is not None
        volume = torch.linalg.det(batch.cell).abs()
        output["stress"] = gradients[-1] / volume[:, None, None]
    return output


def _strained(batch: GraphBatch, strain: Tensor) -> GraphBatch:
    """Deform positions, shifts and cells by the symmetric part of `strain` (g, 3, 3)."""
    assert batch.edge_shift is not None
    assert batch.cell is not None
    deform = torch.eye(3, dtype=strain.dtype, device=strain.device) + 0.5 * (
        strain + strain.transpose(1, 2)
    )
    per_atom = deform.index_select(0, batch.batch)
    per_edge = per_atom.index_select(0, batch.adjacency.target)
    return replace(
        batch,
        positions=torch.einsum("ni,nij->nj", batch.positions, per_atom),
        edge_shift=torch.einsum("ni,nij->nj", batch.edge_shift, per_edge),
        cell=batch.cell @ deform,
    )


@contextmanager
def frozen_parameters(model: nn.Module) -> Iterator[None]:
    """Take the parameters out of the graph, so that it holds what positions need and no more."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    for p in parameters:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in parameters:
            p.requires_grad_(True)


def predict(
    model: Potential,
    store: GraphStore,
    indices: Tensor | None = None,
    batch_size: int = 64,
    forces: bool = False,
    stress: bool = False,
) -> dict[str, NDArray[np.float64]]:
    """Evaluate many structures in batches, in evaluation mode.

    Returns "energy" (g,) eV and, if asked, "forces" (n, 3) eV/Angstrom and "stress" (g, 3, 3)
    eV/Angstrom^3, in the order of `indices` (all structures when absent).

    Raises DataError for elements that the potential was not trained on, a store built for another
    cutoff, or stress of structures that are not periodic in all directions.
    """
    if indices is None:
        indices = torch.arange(len(store))
    model.check_species(store.species)
    was_training = model.training
    model.eval()
    collected: dict[str, list[Tensor]] = {"energy": []}
    if forces:
        collected["forces"] = []
    if stress:
        collected["stress"] = []
    try:
        with torch.no_grad():
            for batch in store.batches(indices, batch_size):
                output = evaluate(model, batch, forces=forces, stress=stress)
                for name, parts in collected.items():
                    parts.append(output[name].double())
    finally:
        model.train(was_training)
    return {name: torch.cat(parts).cpu().numpy() for name, parts in collected.items()}


def choose_device(device: str) -> torch.device:
    """Return the device for "auto" (a GPU if there is one), "cpu", "cuda", "cuda:1"..."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise DataError(f"There is no device '{device}'; use auto, cpu or cuda.") from error
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise DataError("The device 'cuda' was asked for and no GPU is visible; use auto or cpu.")
    return chosen
