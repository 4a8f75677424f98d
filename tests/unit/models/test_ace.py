"""ACE descriptors against values by hand, their symmetries and derivatives; the linear fit."""

import itertools
import math

import numpy as np
import pytest
import torch
from ase.build import bulk

from gnnip.datasets.store import load_arrays
from gnnip.errors import ConfigError, DataError
from gnnip.graphs import GraphBatch, GraphStore
from gnnip.models import build, evaluate, predict
from gnnip.models.ace.descriptors import Descriptors
from gnnip.models.ace.functions import functions
from gnnip.models.ace.least_squares import Rows, solve
from gnnip.models.ace.radial import INNER, LENGTH, POINTS, radial_functions
from gnnip.models.fitting import TrainingFrames
from gnnip.training import Settings, train

SPECIES = (8, 72)
CUTOFF = 5.0


def crystal(seed=0, n_frames=1):
    found = []
    for k in range(n_frames):
        atoms = bulk("HfO", "rocksalt", a=4.6, cubic=True)
        atoms.rattle(0.2, seed=seed + k)
        found.append({"positions": atoms.positions, "numbers": atoms.numbers})
        found[-1] |= {"cell": atoms.cell.array, "pbc": (True, True, True)}
    return found


def described(structures, body_order=3, degree=4, radial="polynomial"):
    """Return the functions (n, F) of the atoms of one or more structures."""
    structures = structures if isinstance(structures, list) else [structures]
    batch = GraphBatch.from_structures(structures, CUTOFF, dtype=torch.float64)
    kinds = (batch.atomic_numbers == SPECIES[1]).long()
    return Descriptors(2, CUTOFF, body_order, degree, radial)(batch, kinds)


def cluster(*neighbours):
    """Return hafnium at the origin with oxygen at the places given."""
    return {
        "positions": np.array([[0.0, 0.0, 0.0], *neighbours]),
        "numbers": np.array([72] + [8] * len(neighbours)),
    }


def by_angle(degrees, r=(2.0, 2.3)):
    angle = math.radians(degrees)
    return cluster([r[0], 0, 0], [r[1] * math.cos(angle), r[1] * math.sin(angle), 0])


def column(channels, body_order, degree):
    return functions(2, body_order, degree).index(channels)


def test_the_published_basis_has_26_descriptors_and_no_angular_one():
    published = functions(2, body_order=3, degree=3)
    assert 2 * len(published) == 26
    assert not any(angular for chosen in published for *_, angular in chosen)
    angular = [c for c in functions(2, 3, 4) if any(degree for *_, degree in c)]
    assert angular == [
        ((0, 1, 1), (0, 1, 1)), ((0, 1, 1), (1, 1, 1)), ((1, 1, 1), (1, 1, 1))
    ]  # fmt: skip


@pytest.mark.parametrize("body_order", [3, 4])
def test_degree_3_does_not_see_the_angle(body_order):
    at = {d: [described(by_angle(a), body_order, d)[0] for a in (80, 110)] for d in (3, 4)}
    assert torch.allclose(*at[3], rtol=0, atol=1e-14)
    assert (at[4][0] - at[4][1]).abs().max() > 1e-3


def radial_by_hand(r):
    """The first two polynomials from a QR decomposition over the grid, (2,)."""
    end, begin = (((1 + LENGTH) / (1 + d)) ** 2 for d in (CUTOFF, INNER))
    x = end + (begin - end) * (np.arange(POINTS) + 0.5) / POINTS
    basis = np.stack([(x - end) ** 2, x * (x - end) ** 2], axis=1)
    mixing = np.linalg.inv(np.linalg.qr(basis / math.sqrt(POINTS))[1])
    own = ((1 + LENGTH) / (1 + r)) ** 2
    found = np.array([(own - end) ** 2, own * (own - end) ** 2]) @ mixing
    return np.sign(mixing.diagonal()) * found


def test_two_and_three_atoms_by_hand():
    angle, r = 100.0, (2.0, 2.3)
    first, second = radial_by_hand(r[0]), radial_by_hand(r[1])
    pair = described(cluster([r[0], 0, 0]), 2, 4)
    single = column(((0, 2, 0),), 2, 4)
    assert float(pair[0, single]) == pytest.approx(first[1] / math.sqrt(4 * math.pi), rel=1e-10)
    assert float(pair[0, column(((1, 1, 0),), 2, 4)]) == 0  # there is no hafnium around
    found = described(by_angle(angle, r))[0]
    plain = (first[0] + second[0]) * (first[1] + second[1]) / (4 * math.pi)
    assert float(found[column(((0, 1, 0), (0, 2, 0)), 3, 4)]) == pytest.approx(plain, rel=1e-10)
    squares = first[0] ** 2 + second[0] ** 2
    squares += 2 * first[0] * second[0] * math.cos(math.radians(angle))
    angular = column(((0, 1, 1), (0, 1, 1)), 3, 4)
    expected = squares * math.sqrt(3) / (4 * math.pi)
    assert float(found[angular].abs()) == pytest.approx(expected, rel=1e-10)


def test_the_coupling_of_three_harmonics_by_hand():
    """For one neighbour it is the product of the norms times Wigner's 3j with zeros."""
    r = 2.0
    size = float(radial_by_hand(r)[0]) ** 3 / (4 * math.pi) ** 1.5
    found = described(cluster([0.6 * r, 0.0, 0.8 * r]), 4, 7)[0]
    for degrees, squared in {(1, 1, 0): 1 / 3, (1, 1, 2): 2 / 15}.items():
        place = column(tuple(sorted((0, 1, angular) for angular in degrees)), 4, 7)
        norms = math.prod(2 * angular + 1 for angular in degrees)
        expected = size * math.sqrt(norms * squared)
        assert float(found[place].abs()) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("radial", ["polynomial", "bessel"])
def test_radial_functions_end_smoothly(radial):
    r = torch.tensor([CUTOFF - 1e-5, CUTOFF - 1.1], dtype=torch.float64, requires_grad=True)
    found = radial_functions(r, CUTOFF, 8, radial)
    slope = torch.autograd.grad(found.square().sum(), r, create_graph=True)[0]
    assert found[0].abs().max() < 1e-8
    assert found[1].abs().min() > 1e-3
    assert slope[0].abs() < 1e-8
    assert slope[1].abs() > 1e-3


def test_polynomials_are_orthonormal():
    end, begin = (((1 + LENGTH) / (1 + d)) ** 2 for d in (CUTOFF, INNER))
    x = end + (begin - end) * (torch.arange(POINTS, dtype=torch.float64) + 0.5) / POINTS
    found = radial_functions((1 + LENGTH) / x.sqrt() - 1, CUTOFF, 8, "polynomial")
    assert torch.allclose(found.T @ found / POINTS, torch.eye(8).double(), atol=1e-9)


@pytest.mark.parametrize("radial", ["polynomial", "bessel"])
def test_descriptors_are_invariant(radial):
    (frame,) = crystal()
    rng = np.random.default_rng(3)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turn *= np.linalg.det(turn)
    order = rng.permutation(8)
    images = rng.integers(-2, 3, (8, 3)) @ frame["cell"]
    doubled = {
        "positions": np.concatenate([frame["positions"], frame["positions"] + frame["cell"][0]]),
        "numbers": np.tile(frame["numbers"], 2),
        "cell": frame["cell"] * np.array([[2.0], [1.0], [1.0]]),
    }
    changed = {
        "rotation": {k: frame[k] @ turn for k in ("positions", "cell")},
        "reflection": {k: frame[k] * [1, -1, 1] for k in ("positions", "cell")},
        "translation": {"positions": frame["positions"] + [3.0, -5.0, 7.0]},
        "permutation": {k: frame[k][order] for k in ("positions", "numbers")},
        "images": {"positions": frame["positions"] + images},
        "supercell": doubled,
    }
    expected = described(frame, 4, 8, radial)
    for name, values in changed.items():
        found = described(frame | values, 4, 8, radial)
        wanted = expected[order] if name == "permutation" else expected
        scale = float(expected.abs().max())
        assert float((found[:8] - wanted[: len(found)]).abs().max()) < 1e-10 * scale, name


@pytest.mark.parametrize(
    ("body_order", "degree", "radial"), [(4, 6, "polynomial"), (2, 3, "bessel")]
)
def test_gradient_rows_are_the_forces_of_each_coefficient(body_order, degree, radial):
    """Two frames of different sizes, open and periodic, against automatic derivatives."""
    options = {"species": SPECIES, "body_order": body_order, "degree": degree, "radial": radial}
    model = build("ace", **options).double()
    with torch.no_grad():
        model.coefficients.normal_()
    for structures in ([by_angle(80), cluster([1.9, 0, 0])], crystal(n_frames=2)):
        batch = GraphBatch.from_structures(structures, CUTOFF, dtype=torch.float64)
        rows = model.descriptors.gradients(batch, model.kinds(batch))
        forces = evaluate(model, batch, forces=True)["forces"]
        found = -(rows @ model.coefficients.detach().flatten()).view(-1, 3)
        assert torch.allclose(found, forces, rtol=0, atol=1e-11 * float(forces.abs().max()))
    alone = GraphBatch.from_structures([cluster()], CUTOFF, dtype=torch.float64)
    assert not model.descriptors.gradients(alone, model.kinds(alone)).any()


def labelled(n_frames, noise=0.0, seed=5, **options):
    """Return a linear teacher, and the frames that it labels."""
    teacher = build("ace", species=SPECIES, **options).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        teacher.coefficients.normal_(generator=generator)
    teacher.species_energies.copy_(torch.tensor([-3.0, -70.0]))
    structures = crystal(seed, n_frames)
    for k, s in enumerate(structures):  # compositions that tell the elements apart
        s |= {"positions": s["positions"][k % 2 :], "numbers": s["numbers"][k % 2 :]}
    store = GraphStore.from_structures(structures, CUTOFF, dtype=torch.float64)
    said = predict(teacher, store, forces=True)
    energies = said["energy"] + noise * torch.randn(n_frames, generator=generator).numpy()
    return teacher, store.with_labels(energies, said["forces"])


def test_the_fit_finds_the_teacher():
    """But for what no frame tells: oxygen around hafnium is hafnium around oxygen."""
    for n, weights in (
        (60, {}),
        (4, {"energy_weight": 0.1, "force_weight": 2.0, "per_atom": True}),
    ):
        teacher, store = labelled(n, degree=3)
        model = build("ace", species=SPECIES, degree=3, ridge=0.0).double()
        rows = torch.arange(n)
        report = model.fit(TrainingFrames(store, rows, rows[:0], **weights))
        assert report.complete
        ours, theirs = (m.coefficients.detach().flatten() for m in (model, teacher))
        mixed = torch.tensor([3, 4, 5, 13, 14, 15])
        assert torch.allclose(*(c[mixed].view(2, 3).sum(0) for c in (ours, theirs)), atol=1e-6)
        told = torch.tensor([k for k in range(26) if k not in mixed])
        assert torch.allclose(ours[told], theirs[told], atol=1e-6)
        assert torch.allclose(model.species_energies, teacher.species_energies, atol=1e-5)


def test_weights_and_ridge_are_those_of_the_normal_equations():
    """Against the equations written out, with energies of the elements that are not penalised."""
    _, store = labelled(6, noise=0.5, degree=2)
    model = build("ace", species=SPECIES, degree=2, ridge=0.03).double()
    rows, weights = torch.arange(6), {"energy_weight": 0.7, "force_weight": 2.0}
    model.fit(TrainingFrames(store, rows, rows[:0], **weights))
    batch = store.batch(rows)
    kinds = model.kinds(batch)
    found = model.descriptors.by_kind(model.descriptors(batch, kinds), kinds)
    counts = torch.nn.functional.one_hot(kinds, 2).double()
    energies = batch.sum_atoms(torch.cat([found, counts], 1)) * math.sqrt(0.7 / 6)
    slopes = -model.descriptors.gradients(batch, kinds) * math.sqrt(2.0 / batch.forces.numel())
    x = torch.cat([energies, torch.cat([slopes, slopes.new_zeros(len(slopes), 2)], 1)])
    y = torch.cat(
        [
            batch.energy * math.sqrt(0.7 / 6),
            batch.forces.flatten() * math.sqrt(2.0 / batch.forces.numel()),
        ]
    )
    left = x[:6, -2:] @ torch.linalg.pinv(x[:6, -2:])
    sizes = torch.cat([x[:6, :-2] - left @ x[:6, :-2], x[6:, :-2]]).square().sum(0)
    penalty = torch.diag(0.03 * torch.cat([sizes, sizes.new_zeros(2)]))
    expected = torch.linalg.solve(x.T @ x + penalty, x.T @ y)
    assert torch.allclose(model.coefficients.flatten(), expected[:-2], rtol=1e-7)
    assert torch.allclose(model.species_energies, expected[-2:], rtol=1e-7)


def test_cross_validation_takes_a_ridge_where_there_is_noise():
    def energy_error(noise, ridge):
        _, store = labelled(80, noise, degree=4)
        model = build("ace", species=SPECIES, degree=4, ridge=ridge).double()
        report = model.fit(TrainingFrames(store, torch.arange(52), torch.arange(0)))
        said = predict(model, store, torch.arange(52, 80))["energy"]
        errors = said - store.batch(torch.arange(52, 80)).energy.numpy()
        return report.details["ridge"], float(np.sqrt(np.mean(errors**2)))

    noisy, clean = energy_error(3.0, None), energy_error(0.0, None)
    assert noisy[0] > 1e4 * clean[0]
    assert noisy[1] < 0.5 * energy_error(3.0, 0.0)[1]


def test_least_squares_takes_rows_in_any_portions():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(200, 5, generator=generator).double(), torch.randn(200, generator=generator)
    x[:, 4] = x[:, 3]  # not unique: the solution of the least norm
    whole = Rows(5)
    for begin, end in itertools.pairwise((0, 1, 4, 50, 51, 200)):
        whole.add(x[begin:end], y[begin:end].double())
    found, _ = solve([whole.triangle()], 0.0)
    assert torch.allclose(found, torch.linalg.pinv(x) @ y.double(), atol=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"degree": 0}, "degree 0 admits no function of body order 3, the first has degree 2"),
        ({"degree": 2, "body_order": 4}, "degree 2 admits no function of body order 4"),
        ({"body_order": 5}, "body_order is 5, it must be 2, 3 or 4"),
        ({"ridge": -1.0}, "ridge is -1.0, it must not be negative"),
        ({"species": (8, 8)}, "distinct atomic numbers"),
    ],
)
def test_bad_choices(options, message):
    with pytest.raises(ConfigError, match=message):
        build("ace", **{"species": SPECIES} | options)


def test_bad_frames():
    _, store = labelled(5, degree=2)
    rows, nothing = torch.arange(5), torch.arange(0)
    model = build("ace", species=SPECIES, degree=3, ridge=0.0).double()
    with pytest.raises(DataError, match="26 coefficients and 5 training frames give 5 equations"):
        model.fit(TrainingFrames(store, rows, nothing))
    with pytest.raises(DataError, match="set stress_weight to 0"):
        model.fit(TrainingFrames(store, rows, nothing, stress_weight=1.0))
    chooses = build("ace", species=SPECIES, degree=3).double()
    with pytest.raises(DataError, match="there is only one; give it more frames or state a ridge"):
        chooses.fit(TrainingFrames(store, rows[:1], nothing))
    with pytest.raises(DataError, match=r"set up for the atomic numbers \[8\], not for \[72\]"):
        build("ace", species=(8,))(store.batch(rows))


def test_the_error_falls_from_degree_to_degree(root, tmp_path):
    arrays = load_arrays(root / "data/hfo2.h5")
    frames = np.flatnonzero(arrays.column("replica") == 0)
    split = {"train": frames[::15], "validation": frames[1:2], "test": frames[7::30]}
    errors = []
    for degree in (3, 4, 6):
        options = {"species": SPECIES, "degree": degree}
        how = Settings(loss="mse", dtype="float64", force_weight=1.0)
        folder = tmp_path / str(degree)
        summary = train("ace", options, arrays, "total", split, how, folder, lambda _: None)
        errors.append(summary["test_force_rmse_ev_per_a"])
    rms = float(np.sqrt(np.mean(np.square(arrays.force("total")))))
    assert errors[0] < 0.8 * rms
    assert errors[1] < 0.9 * errors[0]
    assert errors[2] < 0.9 * errors[1]
