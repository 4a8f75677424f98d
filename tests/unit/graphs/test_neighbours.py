"""Neighbour lists against brute force, for open and periodic structures and both engines."""

import itertools

import numpy as np
import pytest

from gnnip.errors import StructureError
from gnnip.graphs import neighbour_list

ENGINES = ["vesin", "numpy"]


def brute_force(points, cutoff, cell=None, pbc=(False, False, False)):
    # atoms may lie several cells outside: search far enough for all pairs
    span = [range(-9, 10) if p else range(1) for p in pbc]
    shifts = np.array(list(itertools.product(*span))) @ (np.zeros((3, 3)) if cell is None else cell)
    rows = []
    for i, j in itertools.product(range(len(points)), repeat=2):
        distance = np.linalg.norm(points[j] + shifts - points[i], axis=1)
        for s in shifts[(distance < cutoff) & ~((distance < 1e-9) & (i == j))]:
            rows.append((j, i, *np.round(s, 9)))
    return sorted(rows)


def as_rows(edge_index, shift):
    shift = np.zeros((edge_index.shape[1], 3)) if shift is None else shift
    return sorted(
        (int(j), int(i), *np.round(s, 9)) for (j, i), s in zip(edge_index.T, shift, strict=True)
    )


@pytest.mark.parametrize("engine", ENGINES)
def test_open(engine):
    points = np.random.default_rng(0).uniform(0, 6, (25, 3))
    edge_index, shift = neighbour_list(points, 2.5, engine=engine)
    assert shift is None
    assert edge_index.dtype == np.int64
    assert as_rows(edge_index, shift) == brute_force(points, 2.5)
    assert (np.diff(edge_index[1]) >= 0).all()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("pbc", [(True, True, True), (True, False, True), (False, False, True)])
def test_periodic_cell_smaller_than_the_cutoff(engine, pbc):
    cell = np.array([[3.0, 0, 0], [0.9, 2.8, 0], [-0.4, 0.3, 3.2]])
    points = np.random.default_rng(1).uniform(-5, 5, (4, 3))  # atoms outside the cell too
    edge_index, shift = neighbour_list(points, 4.5, cell, pbc, engine=engine)
    assert as_rows(edge_index, shift) == brute_force(points, 4.5, cell, pbc)


def test_engines_agree_bit_for_bit():
    points = np.random.default_rng(2).uniform(0, 9, (60, 3))
    cell = np.diag([9.0, 9.0, 9.0])
    for kwargs in ({}, {"cell": cell, "pbc": True}):
        (a, s), (b, t) = (neighbour_list(points, 3.0, engine=e, **kwargs) for e in ENGINES)
        assert np.array_equal(a, b)
        assert (s is None and t is None) or np.array_equal(s, t)


def test_a_pair_at_the_cutoff_is_left_out():
    points = np.array([[0.0, 0, 0], [2.0, 0, 0]])
    for engine in ENGINES:
        assert neighbour_list(points, 2.0, engine=engine)[0].shape == (2, 0)
        assert neighbour_list(points, np.nextafter(2.0, 3), engine=engine)[0].shape == (2, 2)


@pytest.mark.parametrize(
    ("points", "cutoff", "cell", "pbc", "word"),
    [
        (np.zeros((0, 3)), 3.0, None, None, "no atoms"),
        (np.array([[0.0, 0, 0], [np.nan, 0, 0]]), 3.0, None, None, "atom 1 is not finite"),
        (np.eye(3), -1.0, None, None, "must be positive"),
        (np.eye(3), 0.0, None, None, "must be positive"),
        (np.array([[0.0, 0, 0], [4.0, 0, 0], [4.0, 0, 1e-4]]), 3.0, None, None, "Atoms 1 and 2"),
        (np.eye(3), 3.0, np.zeros((3, 3)), True, "no volume"),
        (np.eye(3), 3.0, np.array([[1.0, 0, 0], [2, 0, 0], [0, 0, 1]]), True, "no volume"),
        (np.zeros(3), 3.0, None, None, "shape"),
    ],
)
def test_bad_structures(points, cutoff, cell, pbc, word):
    with pytest.raises(StructureError, match=word) as caught:
        neighbour_list(points, cutoff, cell, pbc)
    assert str(caught.value).count("\n") == 0


@pytest.mark.parametrize("cutoff", [1e-300, 1e-9, 1e-6, 1e-4, 0.9, 1.1, 1e4])
@pytest.mark.parametrize("cell", [None, 3.0 * np.eye(3)])
def test_any_cutoff(cutoff, cell):
    """Vesin refuses very short ones."""
    if cell is not None and cutoff > 10:
        pytest.skip("refused for its images")
    points = np.array([[0.0, 0, 0], [1.0, 0, 0]])
    edge_index, _ = neighbour_list(points, cutoff, cell, cell is not None)
    assert edge_index.shape == (2, 2 * (cutoff > 1.0))
