"""The promises of every potential as one class of tests.

A test class inherits `PotentialContract` and says which potential it means; what that potential
does not do as others do, it says too:

    class TestSpring(PotentialContract):
        architecture = "my_package.springs:Spring"
        hyperparameters = {"cutoff": 3.0}

A promise that the model lists in `violates` is tested the other way round: the failure must really
be there, so that a repaired model cannot keep its excuse.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from gnnip.graphs import GraphBatch, GraphStore
from gnnip.models import Potential, build, evaluate, load, save
from gnnip.models.contract import TargetStatistics
from gnnip.training.compiled import compile_evaluation

Structure = dict[str, Any]

#: what `calibrate` is given: energies of hydrogen and oxygen of no particular method
STATISTICS = TargetStatistics(
    energy_mean=-7.0,
    energy_std=2.0,
    species_energies={1: -1.5, 8: -4.25},
    residual_std=0.3,
    force_rms=1.2,
    mean_neighbours=9.0,
)


@dataclass(frozen=True)
class Tolerances:
    """Largest differences that pass, in eV, eV/Angstrom and eV/Angstrom^3, or relative to values
    above one of these units.

    invariance : of a structure that is moved, turned, reordered, wrapped, doubled.
    batching : of a structure in a batch and alone.
    devices : of a GPU and a CPU.
    """

    invariance: float
    batching: float
    devices: float


DOUBLE = Tolerances(invariance=1e-9, batching=1e-10, devices=1e-8)
SINGLE = Tolerances(invariance=1e-3, batching=1e-4, devices=1e-3)

#: of forces and stress against finite differences, double precision
FINITE_DIFFERENCE = 1e-6
#: of the gradient of a loss on forces against finite differences, double precision
LOSS_GRADIENT = 1e-5
#: of single against double precision, in units of the largest value
PRECISION = 1e-3
#: jumps of the energy and of the forces at the cutoff, double precision
ENERGY_JUMP, FORCE_JUMP = 1e-8, 1e-4


@functools.cache
def water(n_molecules: int, seed: int, spacing: float = 3.0) -> Structure:
    """Return molecules with random orientations on a grid, Angstrom; atoms O H H O H H ...

    The arrays are shared between calls: make new ones, do not write into them.
    """
    rng = np.random.default_rng(seed)
    side = int(np.ceil(n_molecules ** (1 / 3)))
    grid = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), -1).reshape(-1, 3)
    molecule = np.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    positions = [
        molecule @ _orthogonal(rng) + cell * spacing + rng.normal(0, 0.15, 3)
        for cell in grid[:n_molecules]
    ]
    return {"positions": np.concatenate(positions), "numbers": np.tile([8, 1, 1], n_molecules)}


def _orthogonal(rng: np.random.Generator) -> NDArray[np.float64]:
    return np.linalg.qr(rng.normal(size=(3, 3)))[0]


def variants(**changes: Mapping[str, Any]) -> Any:
    """Return the fixture `options` of a test class: its hyper-parameters, changed in each way."""

    @pytest.fixture(params=list(changes))
    def options(self: PotentialContract, request: pytest.FixtureRequest) -> dict[str, Any]:
        return {**self.hyperparameters, **changes[request.param]}

    return options


class PotentialContract:
    """What holds for every potential, in both precisions, of open and of periodic structures.

    Attributes
    ----------
    architecture, hyperparameters : as for `gnnip.models.build`; more sets of them with `variants`.
    species : the lightest and the heaviest element to test with; they take the places of hydrogen
        and oxygen in water.
    length_scale : factor on all distances of the structures.
    open_only : why the potential refuses periodic structures, where it does.
    tells_apart : whether structures of different sizes have different energies.
    not_compiled : how the reason begins why training steps are not compiled, where they are not.
    visible : how large the failure of a broken promise must at least be, double precision.
    """

    architecture: ClassVar[str]
    hyperparameters: ClassVar[Mapping[str, Any]] = {}
    species: ClassVar[tuple[int, ...]] = (1, 8)
    length_scale: ClassVar[float] = 1.0
    open_only: ClassVar[str] = ""
    tells_apart: ClassVar[bool] = True
    not_compiled: ClassVar[str] = ""
    visible: ClassVar[float] = 1e-6

    def open_structures(self) -> list[Structure]:
        """Return open structures of different sizes."""
        return [self._adapted(water(6, 0)), self._adapted(water(3, 1)), self._adapted(water(9, 2))]

    def periodic_structures(self) -> list[Structure]:
        """Return structures of different sizes in skewed cells, periodic in all directions."""
        cell = np.diag([6.2, 6.3, 6.4]) + 0.2
        return [
            self._adapted(water(n, seed, 3.1) | {"cell": cell, "pbc": (True, True, True)})
            for n, seed in ((8, 3), (6, 4), (7, 5))
        ]

    def _adapted(self, structure: Structure) -> Structure:
        heavy = structure["numbers"] == 8
        lengths = {
            k: self.length_scale * structure[k] for k in ("positions", "cell") if k in structure
        }
        numbers = np.where(heavy, self.species[-1], self.species[0])
        return structure | lengths | {"numbers": numbers}

    def make_model(self, options: Mapping[str, Any]) -> Potential:
        """Return a potential with weights as after some training: calibrated, none of them zero."""
        torch.default_generator.manual_seed(0)
        model = build(self.architecture, **options)
        model.calibrate(STATISTICS)
        with torch.no_grad():
            for parameter in model.parameters():
                width = 0.05 if parameter.any() else 0.3
                parameter.add_(width * torch.randn_like(parameter))
        model.species = self.species
        return model.eval()

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        """The hyper-parameters."""
        return dict(self.hyperparameters)

    @pytest.fixture(params=[torch.float64, torch.float32], ids=["double", "single"])
    def dtype(self, request: pytest.FixtureRequest) -> torch.dtype:
        """Both precisions."""
        return request.param

    @pytest.fixture
    def tolerances(self, dtype: torch.dtype) -> Tolerances:
        """Those of the precision."""
        return DOUBLE if dtype == torch.float64 else SINGLE

    @pytest.fixture
    def model(self, options: dict[str, Any], dtype: torch.dtype) -> Potential:
        """The potential in each precision."""
        return self.make_model(options).to(dtype)

    @pytest.fixture
    def double_model(self, options: dict[str, Any]) -> Potential:
        """The potential in double precision."""
        return self.make_model(options).double()

    def kinds(self) -> list[list[Structure]]:
        """Return open and, unless they are refused, periodic structures of different sizes."""
        return [self.open_structures(), *([] if self.open_only else [self.periodic_structures()])]

    def crystals(self) -> list[Structure]:
        """Return the periodic structures; skips the test for a potential that refuses them."""
        if self.open_only:
            pytest.skip(f"{self.architecture} is for open structures: {self.open_only}")
        return self.periodic_structures()

    def batch(self, model: Potential, structures: Sequence[Structure]) -> GraphBatch:
        """Return a batch in the precision and on the device of the model."""
        return GraphBatch.from_structures(
            list(structures), model.cutoff, dtype=model.dtype, device=str(model.device)
        )

    def values(self, model: Potential, structures: Sequence[Structure]) -> dict[str, Tensor]:
        """Return energies, forces and, of periodic structures, stress, on the CPU in double."""
        periodic = "cell" in structures[0]
        output = evaluate(model, self.batch(model, structures), forces=True, stress=periodic)
        kept = ("energy", "forces", "stress") if periodic else ("energy", "forces")
        return {name: output[name].double().cpu() for name in kept}

    def radius(self, model: Potential) -> float:
        """Return the distance, Angstrom, at which a pair must not be felt all at once."""
        return model.cutoff

    def judge(self, model: Potential, promise: str, failure: Tensor, tolerance: float) -> None:
        """Compare a failure with its tolerance, or look for it where the promise is not kept."""
        size = float(failure.abs().max())
        if promise not in model.violates:
            assert size < tolerance
        elif model.dtype == torch.float64:  # in single precision rounding would do
            assert size > self.visible, f"{promise} holds: take it off the list of violations"

    def judge_change(
        self,
        model: Potential,
        promise: str,
        structures: tuple[Structure, Structure],
        tolerance: float,
        forces: Any = lambda forces: forces,
    ) -> None:
        """Judge the change of energy and forces from one structure to another; `forces` makes the
        forces (n, 3) expected of the second from those of the first."""
        found = self.values(model, structures)
        one, two = found["energy"]
        before, after = found["forces"].chunk(2)
        self.judge(model, promise, (one - two) / max(1.0, float(one.abs())), tolerance)
        size = max(1.0, float(before.abs().max()))
        self.judge(model, promise, (forces(before) - after) / size, tolerance)

    def test_output_and_that_the_input_is_not_changed(
        self, model: Potential, tolerances: Tolerances
    ) -> None:
        for structures in self.kinds():
            batch = self.batch(model, structures)
            before = batch.positions.clone()
            output = evaluate(model, batch, forces=True, stress=batch.cell is not None)
            assert torch.equal(batch.positions, before)
            assert not batch.positions.requires_grad
            assert output["energy"].shape == (len(structures),)
            assert output["forces"].shape == batch.positions.shape
            if batch.cell is not None:
                assert output["stress"].shape == batch.cell.shape
            for value in output.values():
                assert not value.requires_grad
                assert value.dtype == model.dtype
                assert torch.isfinite(value).all()
            assert (output["energy"].std() > 0) == self.tells_apart
            if "atomic_energies" in output:
                total = batch.sum_atoms(output["atomic_energies"])
                size = output["energy"].abs().clamp(min=1.0)
                assert ((total - output["energy"]) / size).abs().max() < tolerances.batching

    def test_it_has_its_name_and_violates_known_promises(self, double_model: Potential) -> None:
        assert double_model.architecture == self.architecture
        assert set(double_model.violates) <= set(Potential.PROMISES)
        assert all(double_model.violates.values())

    def test_forces_are_minus_the_gradient(self, double_model: Potential) -> None:
        model = double_model
        for structures in self.kinds():
            graph = self.batch(model, structures[:1])
            forces = evaluate(model, graph, forces=True)["forces"]
            rng = np.random.default_rng(0)
            for atom, axis in zip(rng.integers(0, len(forces), 6), (0, 1, 2) * 2, strict=True):
                values = []
                for step in (-2e-4, -1e-4, 1e-4, 2e-4):
                    moved = graph.positions.clone()
                    moved[atom, axis] += step
                    # the same edges: a pair at the cutoff is the business of another test
                    with torch.no_grad():
                        varied = replace(graph, positions=moved, lengths=None)
                        values.append(model(varied)["energy"].item())
                slope = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / 1.2e-3
                scale = max(1.0, abs(forces[atom, axis].item()))
                assert abs(slope + forces[atom, axis].item()) < FINITE_DIFFERENCE * scale

    def test_forces_can_be_trained_on(self, double_model: Potential) -> None:
        model = double_model
        graph = self.batch(model, self.open_structures()[1:2])
        output = evaluate(model, graph, forces=True, create_graph=True)
        loss = output["forces"].square().sum()
        parameters = [p for p in model.parameters() if p.requires_grad]
        if not parameters:
            pytest.skip("the model has nothing to train")
        gradients = torch.autograd.grad(loss, parameters, materialize_grads=True)
        pick = max(range(len(parameters)), key=lambda k: gradients[k].abs().max().item())
        flat = parameters[pick].data.view(-1)
        index = int(gradients[pick].abs().argmax())
        values = []
        for step in (-1e-5, 1e-5):
            flat[index] += step
            values.append(evaluate(model, graph, forces=True)["forces"].square().sum().item())
            flat[index] -= step
        slope = (values[1] - values[0]) / 2e-5
        expected = gradients[pick].reshape(-1)[index].item()
        assert abs(slope - expected) < LOSS_GRADIENT * max(1.0, abs(expected))

    def test_translation(self, model: Potential, tolerances: Tolerances) -> None:
        for structures in self.kinds():
            structure = structures[0]
            moved = structure | {"positions": structure["positions"] + [11.0, -7.0, 3.0]}
            self.judge_change(model, "translation", (structure, moved), tolerances.invariance)
            if "translation" not in model.violates:
                forces = self.values(model, [structure])["forces"]
                size = max(1.0, float(forces.abs().max()))
                assert forces.sum(0).abs().max() / size < tolerances.invariance

    def test_rotation(self, model: Potential, tolerances: Tolerances) -> None:
        turn = _orthogonal(np.random.default_rng(5))
        turn *= np.linalg.det(turn)
        matrix = torch.as_tensor(turn)
        for structures in self.kinds():
            structure = structures[0]
            turned = structure | {
                k: structure[k] @ turn for k in ("positions", "cell") if k in structure
            }
            self.judge_change(
                model, "rotation", (structure, turned), tolerances.invariance, lambda f: f @ matrix
            )

    def test_permutation(self, model: Potential, tolerances: Tolerances) -> None:
        for structures in self.kinds():
            structure = structures[0]
            order = np.random.default_rng(6).permutation(len(structure["numbers"]))
            mixed = structure | {k: structure[k][order] for k in ("positions", "numbers")}
            self.judge_change(
                model,
                "permutation",
                (structure, mixed),
                tolerances.invariance,
                lambda f, o=order: f[o],
            )

    def test_atoms_outside_the_cell(self, model: Potential, tolerances: Tolerances) -> None:
        structure = self.crystals()[0]
        rng = np.random.default_rng(8)
        images = rng.integers(-2, 3, (len(structure["numbers"]), 3))
        moved = structure | {"positions": structure["positions"] + images @ structure["cell"]}
        self.judge_change(model, "periodicity", (structure, moved), tolerances.invariance)

    def test_batch_equals_single(self, model: Potential, tolerances: Tolerances) -> None:
        for structures in self.kinds():
            together = self.values(model, structures)
            alone = [self.values(model, [s]) for s in structures]
            for name, value in together.items():
                single = torch.cat([found[name] for found in alone])
                size = max(1.0, float(value.abs().max()))
                assert (value - single).abs().max() / size < tolerances.batching

    def test_two_copies_far_apart(self, model: Potential, tolerances: Tolerances) -> None:
        structure = self.open_structures()[1]
        pair = {
            "positions": np.concatenate(
                [structure["positions"], structure["positions"] + [200.0, 0.0, 0.0]]
            ),
            "numbers": np.tile(structure["numbers"], 2),
        }
        one, two = self.values(model, [structure, pair])["energy"]
        failure = (two - 2 * one) / max(1.0, float(one.abs()))
        self.judge(model, "size_extensivity", failure, tolerances.invariance)

    def test_smooth_through_the_cutoff(self, double_model: Potential) -> None:
        """Energy and forces as a probe atom crosses the cutoff sphere of a cluster's atom."""
        structure = self.open_structures()[1]
        step = 1e-6
        # along +x from the outermost atom no other atom is nearer
        outer = structure["positions"][structure["positions"][:, 0].argmax()]
        energies, forces = [], []
        for side in (-1, 1):
            probe = outer + np.array([self.radius(double_model) + side * step, 0.0, 0.0])
            with_probe = {
                "positions": np.vstack([structure["positions"], probe]),
                "numbers": np.append(structure["numbers"], self.species[-1]),
            }
            found = self.values(double_model, [with_probe])
            energies.append(found["energy"][0])
            forces.append(found["forces"])
        drift = 2 * step * max(float(f.abs().max()) for f in forces)
        jump = (energies[1] - energies[0]).abs() - drift
        self.judge(double_model, "smoothness", jump.clamp(min=0.0), ENERGY_JUMP)
        if "smoothness" not in double_model.violates:
            assert (forces[1] - forces[0]).abs().max() < FORCE_JUMP

    def test_periodic_cell_equals_supercell(self, model: Potential, tolerances: Tolerances) -> None:
        structure = self.crystals()[0]
        cell = structure["cell"]
        shifted = structure["positions"] + cell[0]
        doubled = structure | {
            "positions": np.concatenate([structure["positions"], shifted]),
            "numbers": np.tile(structure["numbers"], 2),
            "cell": cell * np.array([[2.0], [1.0], [1.0]]),
        }
        one, two = self.values(model, [structure, doubled])["energy"]
        failure = (two - 2 * one) / max(1.0, float(one.abs()))
        self.judge(model, "supercell", failure, 10 * tolerances.invariance)

    def test_stress_is_the_derivative_with_strain(self, double_model: Potential) -> None:
        model = double_model
        graph = self.batch(model, self.crystals()[:1])
        assert graph.edge_shift is not None
        assert graph.cell is not None
        stress = evaluate(model, graph, stress=True)["stress"][0]
        assert (stress - stress.T).abs().max() < 1e-12
        trained = evaluate(model, graph, forces=True, stress=True, create_graph=True)
        plain = evaluate(model, graph, forces=True, stress=True)
        for name in ("forces", "stress"):  # the derivative that training differentiates again
            assert (trained[name] - plain[name]).abs().max() < DOUBLE.batching
        with torch.no_grad():  # as batched evaluation asks for it
            again = evaluate(model, graph, forces=True, stress=True)["stress"][0]
        assert torch.equal(again, stress)
        volume = torch.linalg.det(graph.cell[0]).abs()
        for i, j in ((0, 0), (1, 2)):
            values = []
            for size in (-1e-5, 1e-5):
                strain = torch.eye(3, dtype=torch.float64)
                strain[i, j] += size / 2
                strain[j, i] += size / 2
                with torch.no_grad():
                    strained = replace(
                        graph,
                        positions=graph.positions @ strain,
                        edge_shift=graph.edge_shift @ strain,
                        cell=graph.cell @ strain,
                        lengths=None,
                    )
                    values.append(model(strained)["energy"].item())
            slope = (values[1] - values[0]) / 2e-5 / volume
            assert abs(slope - stress[i, j]) < FINITE_DIFFERENCE * max(
                1.0, abs(stress[i, j].item())
            )

    def test_single_atom(self, model: Potential) -> None:
        alone = {"positions": np.zeros((1, 3)), "numbers": np.array([self.species[-1]])}
        for value in self.values(model, [alone]).values():
            assert torch.isfinite(value).all()

    def test_single_precision_equals_double(self, double_model: Potential) -> None:
        for structures in self.kinds():
            double = self.values(double_model, structures)
            single = self.values(double_model.float(), structures)
            for name, value in double.items():
                size = max(1.0, float(value.abs().max()))
                assert (single[name] - value).abs().max() / size < PRECISION

    def test_save_and_load(self, model: Potential, tmp_path: Path) -> None:
        save(model, tmp_path / "model")
        again = load(tmp_path, architecture=self.architecture)
        structures = self.open_structures()
        found, expected = self.values(again, structures), self.values(model, structures)
        assert torch.equal(found["energy"], expected["energy"])
        assert again.dtype == model.dtype
        assert again.species == self.species
        assert again.hyperparameters == model.hyperparameters
        assert not again.training

    def test_compiled_step_equals_eager(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The graph that a compiler is given, on two batches, with the gradient of the weights."""
        model = self.make_model(self.hyperparameters).double()
        if model.eager_reason is not None or model.n_parameters == 0:
            pytest.skip(model.eager_reason or "the model has nothing to train")
        structures = self.open_structures() if self.open_only else self.periodic_structures()
        store = GraphStore.from_structures(structures, model.cutoff, dtype=torch.float64)
        # what compilers make of a graph is tested once for all models, and takes them long
        monkeypatch.setattr(torch, "compile", lambda graph, **_: graph)
        said: list[str] = []
        rows = torch.tensor([0, 1, 2, 1, 0])
        made = compile_evaluation(model, store, rows, 2, True, not self.open_only, said.append)
        if self.not_compiled:
            assert said[0].removeprefix("steps are not compiled: ").startswith(self.not_compiled)
        else:
            assert made is not None, said

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
    def test_gpu_equals_cpu(self, options: dict[str, Any]) -> None:
        for dtype, tolerances in ((torch.float64, DOUBLE), (torch.float32, SINGLE)):
            model = self.make_model(options).to(dtype)
            expected = [self.values(model, structures) for structures in self.kinds()]
            model.to("cuda")
            for structures, values in zip(self.kinds(), expected, strict=True):
                found = self.values(model, structures)
                for name, value in values.items():
                    size = max(1.0, float(value.abs().max()))
                    assert (found[name] - value).abs().max() / size < tolerances.devices
