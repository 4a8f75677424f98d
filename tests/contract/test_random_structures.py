"""Every potential on structures that no training set has: random cells, tiny, skewed, left-handed
and periodic in one to three directions, lone atoms, atoms far away and atoms that were unwrapped.
"""

import functools
from dataclasses import dataclass, replace

import numpy as np
import pytest
import test_potentials
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gnnip.errors import DataError
from gnnip.geometry import complete_cell
from gnnip.graphs import GraphBatch, neighbour_list
from gnnip.models import evaluate
from gnnip.testing import PotentialContract

CLASSES = [
    cls
    for cls in vars(test_potentials).values()
    if isinstance(cls, type) and issubclass(cls, PotentialContract) and cls is not PotentialContract
]
CLOSEST = 0.9  #: Angstrom; potentials of random weights are steep below


@dataclass(frozen=True)
class Drawn:
    """A structure, and what is done with it: images that atoms are moved by, a shift of all."""

    structure: dict
    periodic: tuple
    images: np.ndarray
    shift: np.ndarray
    seed: int


@st.composite
def drawn(draw, open_only=False, crystals_only=False):
    """Choices are hypothesis's, coordinates those of a generator: no distance is a round number."""
    seed = draw(st.integers(0, 2**32 - 1))
    possible = [()] if open_only else [(), (2,), (0, 1), (0, 2), (0, 1, 2)]
    periodic = draw(st.sampled_from(possible[-1:] if crystals_only else possible))
    tiny = draw(st.booleans()) and bool(periodic)
    n_atoms = draw(st.integers(1, 2 if tiny else 5))
    skew = draw(st.sampled_from([0, 1, 40]))
    left_handed = draw(st.booleans())
    away = draw(st.sampled_from([0, 3, 30_000]))
    far = draw(st.sampled_from([0.0, 30.0, 1e6]))
    rng = np.random.default_rng(seed)
    lengths = rng.uniform(*((1.3, 1.8) if tiny else (2.6, 4.2)), 3)
    cell = lengths[:, None] * np.linalg.qr(rng.normal(size=(3, 3)))[0] + rng.uniform(-0.2, 0.2)
    if len(periodic) > 1:  # the same lattice by longer vectors
        cell[periodic[1]] += skew * cell[periodic[0]]
    if periodic and (np.linalg.det(cell) < 0) != left_handed:
        cell[periodic[0]] *= -1.0
    pbc = np.isin(range(3), periodic)
    if rng.integers(2):  # some programs write zeros along open directions
        cell[~pbc] = 0.0
    structure = {"numbers": rng.choice(test_potentials.SPECIES, n_atoms)}
    structure["positions"] = _apart(rng, n_atoms, cell, pbc)
    structure["numbers"] = structure["numbers"][: len(structure["positions"])]
    if periodic:
        structure |= {"cell": cell, "pbc": pbc}
    images = rng.integers(-away, away + 1, (len(structure["numbers"]), 3)) * pbc
    return Drawn(structure, periodic, images, far * rng.normal(size=3), seed)


def _apart(rng, n_atoms, cell, pbc):
    """Return positions of up to n_atoms atoms that are no closer than CLOSEST, images too."""
    box = complete_cell(cell, pbc) if pbc.any() else 3.0 * np.eye(3)
    box = np.where((np.linalg.norm(box, axis=1) < 2.0)[:, None] & ~pbc[:, None], 2.5 * box, box)
    kept = [rng.uniform(size=3) @ box]
    for trial in rng.uniform(size=(40, 3)) @ box:
        tried = np.array([*kept, trial])
        if len(kept) < n_atoms and not neighbour_list(tried, CLOSEST, cell, pbc)[0].size:
            kept.append(trial)
    return np.array(kept)


@functools.cache
def made(cls):
    contract = cls()
    return contract.make_model(contract.hyperparameters).double()


def check(cls, case):
    """Forces against differences; images, rigid motion and permutation; stress against strain."""
    model, one = made(cls), case.structure
    scale = cls.length_scale
    one = one | {k: scale * one[k] for k in ("positions", "cell") if k in one}
    one["numbers"] = np.where(one["numbers"] == 1, cls.species[0], cls.species[-1])
    rng = np.random.default_rng(case.seed)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turn *= np.linalg.det(turn)
    order = rng.permutation(len(one["numbers"]))
    far = one | {"positions": one["positions"] + case.shift}
    if case.periodic:
        far["positions"] = far["positions"] + case.images @ one["cell"]
    turned = one | {k: one[k] @ turn for k in ("positions", "cell") if k in one}
    mixed = one | {k: one[k][order] for k in ("positions", "numbers")}
    graph = GraphBatch.from_structures([one, far, turned, mixed], model.cutoff, dtype=model.dtype)
    if model.architecture == "coulomb" and len(case.periodic) in (1, 2):
        with pytest.raises(DataError, match="not periodic in all"):
            evaluate(model, graph, forces=True)
        return
    found = evaluate(model, graph, forces=True)
    energy, forces = found["energy"].numpy(), found["forces"].numpy().reshape(4, -1, 3)
    assert np.isfinite(energy).all()
    assert np.isfinite(forces).all()
    # a position of 1e6 Angstrom has a rounding of 1e-10, and the weights are steep
    size = 1e-6 * max(1.0, np.abs(energy).max(), np.abs(forces).max())
    kept = {"translation", "periodicity"} - set(model.violates)
    if len(kept) == 2:
        assert abs(energy[1] - energy[0]) < size
        assert np.abs(forces[1] - forces[0]).max() < size
    if "rotation" not in model.violates:
        assert abs(energy[2] - energy[0]) < size
        assert np.abs(forces[2] - forces[0] @ turn).max() < size
    if "permutation" not in model.violates:
        assert abs(energy[3] - energy[0]) < size
        assert np.abs(forces[3] - forces[0][order]).max() < size
    _check_slopes(model, one, forces[0], rng)


def _check_slopes(model, one, forces, rng):
    graph = GraphBatch.from_structures([one], model.cutoff, dtype=model.dtype)
    direction = torch.as_tensor(rng.normal(size=forces.shape))
    direction /= direction.norm()

    def slope(changed, step):
        values = []
        with torch.no_grad():
            for k in (-2.0, -1.0, 1.0, 2.0):
                values.append(model(changed(k * step))["energy"].item())
        return (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12.0 * step)

    size = 1e-5 * max(1.0, np.abs(forces).max())
    moved = slope(
        lambda x: replace(graph, positions=graph.positions + x * direction, lengths=None), 2e-4
    )
    assert abs(moved + float((torch.as_tensor(forces) * direction).sum())) < size
    if not np.all(one.get("pbc", False)):
        return
    stress = evaluate(model, graph, stress=True)["stress"][0]
    shape = rng.normal(size=(3, 3))
    strain = torch.as_tensor(shape + shape.T) / np.linalg.norm(shape + shape.T)

    def strained(x):
        deform = torch.eye(3, dtype=torch.float64) + x * strain
        parts = {name: getattr(graph, name) @ deform for name in ("positions", "edge_shift")}
        return replace(graph, **parts, cell=graph.cell @ deform, lengths=None)

    work = float((stress * strain).sum() * torch.linalg.det(graph.cell[0]).abs())
    assert abs(slope(strained, 1e-5) - work) < 1e-5 * max(1.0, abs(work), np.abs(forces).max())


def run(cls, examples):
    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(drawn(bool(cls.open_only), getattr(cls, "crystals_only", False)))
    def holds(case):
        check(cls, case)

    holds()


@pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.__name__)
def test_a_few_structures(cls):
    run(cls, 4)


@pytest.mark.slow
@pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.__name__)
def test_many_structures(cls):
    run(cls, 60)
