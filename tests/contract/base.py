"""The promises of every potential as one reusable class.

A test class for a model inherits `PotentialContract` and defines `make_model`, and where it needs
to `structures`. A promise that the model lists in `violates` is tested the other way round: the
failure must really be there, so that a repaired model cannot keep its excuse. All in float64.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from gnnip.errors import CheckpointError
from gnnip.graphs import GraphBatch
from gnnip.models import evaluate, load, save
from gnnip.models.contract import Potential


def water(n_molecules, seed, spacing=3.0):
    """n water molecules with random orientations on a grid, Angstrom; atoms O H H O H H ..."""
    rng = np.random.default_rng(seed)
    side = int(np.ceil(n_molecules ** (1 / 3)))
    grid = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), -1).reshape(-1, 3)
    molecule = np.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    positions = []
    for cell in grid[:n_molecules]:
        q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        positions.append(molecule @ q + cell * spacing + rng.normal(0, 0.15, 3))
    return {"positions": np.concatenate(positions), "numbers": np.tile([8, 1, 1], n_molecules)}


def rotation(seed):
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return q * np.linalg.det(q)


class PotentialContract:
    """House rule 4. Tolerances in eV, eV/Angstrom."""

    invariance = 1e-9
    batching = 1e-10
    finite_difference = 1e-6
    single_precision = 1e-3  # relative
    #: whether structures of different sizes have different energies
    tells_apart = True
    #: how large the failure of a broken promise must at least be
    visible = 1e-6

    def make_model(self) -> Potential:
        raise NotImplementedError

    def structures(self):
        """Open structures of different sizes."""
        return [water(6, 0), water(3, 1), water(9, 2)]

    def periodic_structure(self):
        structure = water(8, 3, spacing=3.1)
        return structure | {"cell": np.diag([6.2, 6.3, 6.4]) + 0.2, "pbc": (True, True, True)}

    @pytest.fixture
    def model(self):
        torch.manual_seed(0)
        model = self.make_model().double().eval()
        # weights of a trained network are not those of a fresh one: move biases off zero
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
        model.species = (1, 8)
        return model

    def energies(self, model, structures, dtype=torch.float64):
        batch = GraphBatch.from_structures(structures, model.cutoff, dtype=dtype)
        with torch.no_grad():
            return model(batch)["energy"]

    def forces(self, model, structure):
        batch = GraphBatch.from_structures([structure], model.cutoff, dtype=torch.float64)
        return evaluate(model, batch, forces=True)["forces"].numpy()

    def judge(self, model, promise, failure, tolerance):
        if promise in model.violates:
            assert failure > self.visible, f"{promise} holds: take it off the list of violations"
        else:
            assert failure < tolerance

    def test_output(self, model):
        structures = self.structures()
        batch = GraphBatch.from_structures(structures, model.cutoff, dtype=torch.float64)
        output = evaluate(model, batch, forces=True)
        assert output["energy"].shape == (len(structures),)
        assert output["forces"].shape == (sum(len(s["numbers"]) for s in structures), 3)
        assert not output["energy"].requires_grad
        assert torch.isfinite(output["energy"]).all()
        assert (output["energy"].std() > 0) == self.tells_apart
        if "atomic_energies" in output:
            total = batch.sum_atoms(output["atomic_energies"])
            assert (total - output["energy"]).abs().max() < self.batching

    def test_input_is_not_changed(self, model):
        batch = GraphBatch.from_structures(self.structures(), model.cutoff, dtype=torch.float64)
        before = batch.positions.clone()
        evaluate(model, batch, forces=True)
        assert torch.equal(batch.positions, before)
        assert not batch.positions.requires_grad

    def test_violations_are_known_promises(self, model):
        assert set(model.violates) <= set(Potential.PROMISES)
        assert all(model.violates.values())

    def test_forces_are_minus_the_gradient(self, model):
        structure = self.structures()[0]
        forces = self.forces(model, structure)
        rng = np.random.default_rng(0)
        graph = GraphBatch.from_structures([structure], model.cutoff, dtype=torch.float64)
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
            scale = max(1.0, abs(forces[atom, axis]))
            assert abs(slope + forces[atom, axis]) < self.finite_difference * scale

    def test_forces_can_be_trained_on(self, model):
        graph = GraphBatch.from_structures(
            self.structures()[1:2], model.cutoff, dtype=torch.float64
        )
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
        assert abs(slope - expected) < 1e-5 * max(1.0, abs(expected))

    def test_translation(self, model):
        structure = self.structures()[0]
        moved = structure | {"positions": structure["positions"] + [11.0, -7.0, 3.0]}
        a, b = self.energies(model, [structure, moved])
        self.judge(model, "translation", abs(a - b).item(), self.invariance)
        change = np.abs(self.forces(model, structure) - self.forces(model, moved)).max()
        if "translation" not in model.violates:
            assert change < self.invariance
            assert np.abs(self.forces(model, structure).sum(0)).max() < self.invariance

    def test_rotation(self, model):
        structure = self.structures()[0]
        turn = rotation(5)
        turned = structure | {"positions": structure["positions"] @ turn}
        a, b = self.energies(model, [structure, turned])
        self.judge(model, "rotation", abs(a - b).item(), self.invariance)
        change = np.abs(self.forces(model, structure) @ turn - self.forces(model, turned)).max()
        self.judge(model, "rotation", change, self.invariance)

    def test_permutation(self, model):
        structure = self.structures()[0]
        order = np.random.default_rng(6).permutation(len(structure["numbers"]))
        mixed = {k: v[order] for k, v in structure.items()}
        a, b = self.energies(model, [structure, mixed])
        self.judge(model, "permutation", abs(a - b).item(), self.invariance)
        change = np.abs(self.forces(model, structure)[order] - self.forces(model, mixed)).max()
        self.judge(model, "permutation", change, self.invariance)

    def test_batch_equals_single(self, model):
        structures = self.structures()
        together = self.energies(model, structures)
        alone = torch.cat([self.energies(model, [s]) for s in structures])
        assert (together - alone).abs().max() < self.batching
        batch = GraphBatch.from_structures(structures, model.cutoff, dtype=torch.float64)
        forces = evaluate(model, batch, forces=True)["forces"].numpy()
        single = np.concatenate([self.forces(model, s) for s in structures])
        assert np.abs(forces - single).max() < self.batching

    def test_two_copies_far_apart(self, model):
        structure = self.structures()[1]
        far = structure["positions"] + [200.0, 0.0, 0.0]
        pair = {
            "positions": np.concatenate([structure["positions"], far]),
            "numbers": np.tile(structure["numbers"], 2),
        }
        one, two = self.energies(model, [structure, pair])
        self.judge(model, "size_extensivity", abs(two - 2 * one).item(), self.invariance)

    def test_smooth_through_the_cutoff(self, model):
        """Energy and forces of a probe atom that crosses the cutoff sphere of a cluster's atom."""
        structure = self.structures()[1]
        step = 1e-6
        axis = np.array([1.0, 0.0, 0.0])
        # along +x from the outermost atom no other atom is nearer
        outer = structure["positions"][structure["positions"][:, 0].argmax()]
        values, slopes = [], []
        for side in (-1, 1):
            probe = outer + axis * (model.cutoff + side * step)
            with_probe = {
                "positions": np.vstack([structure["positions"], probe]),
                "numbers": np.append(structure["numbers"], 8),
            }
            values.append(self.energies(model, [with_probe])[0].item())
            slopes.append(self.forces(model, with_probe))
        drift = 2 * step * max(np.abs(slopes[0]).max(), np.abs(slopes[1]).max())
        self.judge(model, "smoothness", abs(values[1] - values[0]) - drift, 1e-8)
        if "smoothness" not in model.violates:
            assert np.abs(slopes[1] - slopes[0]).max() < 1e-4

    def test_periodic_cell_equals_supercell(self, model):
        structure = self.periodic_structure()
        cell = structure["cell"]
        shifted = structure["positions"] + cell[0]
        doubled = {
            "positions": np.concatenate([structure["positions"], shifted]),
            "numbers": np.tile(structure["numbers"], 2),
            "cell": cell * np.array([[2.0], [1.0], [1.0]]),
            "pbc": structure["pbc"],
        }
        one, two = self.energies(model, [structure, doubled])
        self.judge(model, "supercell", abs(two - 2 * one).item(), 10 * self.invariance)

    def test_stress_is_the_derivative_with_strain(self, model):
        structure = self.periodic_structure()
        graph = GraphBatch.from_structures([structure], model.cutoff, dtype=torch.float64)
        stress = evaluate(model, graph, stress=True)["stress"][0]
        assert (stress - stress.T).abs().max() < 1e-12
        trained = evaluate(model, graph, forces=True, stress=True, create_graph=True)
        plain = evaluate(model, graph, forces=True, stress=True)
        for name in ("forces", "stress"):  # the derivative that training differentiates again
            assert (trained[name] - plain[name]).abs().max() < 1e-10
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
            assert abs(slope - stress[i, j]) < 1e-6 * max(1.0, abs(stress[i, j]))

    def test_single_atom(self, model):
        alone = {"positions": np.zeros((1, 3)), "numbers": np.array([8])}
        assert torch.isfinite(self.energies(model, [alone])).all()
        assert np.isfinite(self.forces(model, alone)).all()

    def test_single_precision(self, model):
        structures = self.structures()
        double = self.energies(model, structures)
        single = self.energies(model.float(), structures, dtype=torch.float32)
        assert ((single - double).abs() / double.abs().clamp(min=1.0)).max() < self.single_precision

    def test_save_and_load(self, model, tmp_path):
        save(model, tmp_path / "model")
        again = load(tmp_path)
        structures = self.structures()
        assert torch.equal(self.energies(model, structures), self.energies(again, structures))
        assert again.species == (1, 8)
        assert again.hyperparameters == model.hyperparameters
        assert not again.training

    def test_weights_of_other_hyperparameters_are_refused(self, model, tmp_path):
        weights, _ = save(model, tmp_path / "model")
        weights.write_bytes(weights.read_bytes()[:-8])
        with pytest.raises(CheckpointError, match="damaged"):
            load(tmp_path)
