"""The toy structures: numbers, distances, seeds, bounds, errors."""

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from gnnip.errors import StructureError
from gnnip.reference import coulomb
from gnnip.sampling import point_charges
from gnnip.sampling.point_charges import Plan
from gnnip.units import COULOMB_CONSTANT

PUBLISHED = Plan()


@pytest.mark.parametrize(("distance", "particles"), [(4, 282), (8, 322), (12, 362)])
def test_published_structures(distance, particles):
    positions, numbers = point_charges.random_charges(PUBLISHED, distance, "train", 0)
    assert len(positions) == len(numbers) == particles
    charges = point_charges.charges_of(numbers)
    for charge, count in ((1.0, 1), (-1.0, 1), (0.5, 120 + 5 * distance)):
        assert (charges == charge).sum() == count
    assert charges.sum() == 0
    np.testing.assert_array_equal(positions[:2], [[5, 5, 12], [5, 5, 12 + distance]])
    assert pdist(positions).min() >= 1.5
    assert (positions >= 0).all()
    assert (positions <= [10, 10, 24 + distance]).all()
    # the whole box is used, up to a layer that 300 particles are sure to reach
    assert (positions[2:].min(axis=0) < 1).all()
    assert (positions[2:].max(axis=0) > np.array([10, 10, 24 + distance]) - 1).all()
    # stored in single precision without loss
    np.testing.assert_array_equal(positions, positions.astype(np.float32))


def test_draws_are_seeded_and_independent_of_one_another():
    def draw(plan=PUBLISHED, distance=5, purpose="train", number=3):
        return point_charges.random_charges(plan, distance, purpose, number)[0]

    np.testing.assert_array_equal(draw(), draw(plan=Plan(train_draws=7, distances=(5,))))
    others = [draw(number=4), draw(purpose="test"), draw(plan=Plan(seed=1))]
    for other in others:
        assert not np.isin(other[2:], draw()[2:]).any()


def test_configuration_two_lacks_the_negative_unit_charge():
    one = point_charges.random_charges(PUBLISHED, 6, "test", 0)
    two = point_charges.remove_negative(*one)
    assert len(two[0]) == len(one[0]) - 1
    assert point_charges.charges_of(two[1]).sum() == 1.0
    assert point_charges.NEGATIVE not in two[1]
    np.testing.assert_array_equal(two[0][0], one[0][0])
    np.testing.assert_array_equal(two[0][1:], one[0][2:])


def test_force_difference_is_that_of_the_pair():
    one = point_charges.random_charges(PUBLISHED, 9, "test", 1)
    two = point_charges.remove_negative(*one)
    difference = (
        point_charges.label(*one)["forces_coulomb"][0]
        - point_charges.label(*two)["forces_coulomb"][0]
    )
    np.testing.assert_allclose(difference, [0, 0, COULOMB_CONSTANT / 81], atol=1e-12)


def test_dilution_keeps_a_part_of_the_medium():
    plan = Plan(distances=(8,), train_draws=1, test_draws=0, kept_fractions=(1.0, 0.25, 0.0))
    full, thin, none = (
        frame for frame in point_charges.structures(plan) if frame.columns["configuration"] == "I"
    )
    assert len(full.positions) == 322
    assert len(thin.positions) == 2 + 2 * 40
    assert len(none.positions) == 2
    np.testing.assert_array_equal(thin.positions, full.positions[:82])
    for frame in (full, thin, none):
        assert point_charges.charges_of(frame.numbers).sum() == 0


def test_structures_come_with_what_tells_them_apart():
    plan = Plan(distances=(4, 5), train_draws=2, test_draws=1, margin=4.0, width=6.0)
    rows = [frame.columns for frame in point_charges.structures(plan)]
    assert len(rows) == 2 * (2 + 1) * 2
    assert len({tuple(r.items()) for r in rows}) == len(rows)
    media = {r["medium"] for r in rows}
    assert len(media) == 6
    for medium in media:
        pair = [r for r in rows if r["medium"] == medium]
        assert {r["configuration"] for r in pair} == {"I", "II"}


def test_labels_agree_with_the_independent_sum():
    one = point_charges.random_charges(PUBLISHED, 4, "train", 5)
    fast, slow = point_charges.label(*one), point_charges.label_again(*one)
    assert fast["energy_coulomb"] == pytest.approx(slow["energy_coulomb"], abs=1e-10)
    np.testing.assert_allclose(fast["forces_coulomb"], slow["forces_coulomb"], atol=1e-11)
    charges = point_charges.charges_of(one[1])
    assert fast["energy_coulomb"] == coulomb.energy_and_forces(one[0], charges)[0]


def test_insertion_is_uniform():
    # first particle of many draws: uniform in the box, apart from the two spheres it must avoid
    rng = np.random.default_rng(0)
    fixed = np.array([[5.0, 5.0, 12.0]])
    box = np.array([10.0, 10.0, 24.0])
    points = np.array(
        [point_charges.insert_at_random(fixed, box, 1, 1.5, rng)[1] for _ in range(3000)]
    )
    assert np.linalg.norm(points - fixed, axis=1).min() >= 1.5
    share, error = (points[:, 2] < 6).mean(), np.sqrt(0.25 * 0.75 / 3000)
    # the excluded sphere takes 0.6 % of the volume
    assert share == pytest.approx(0.25 / (1 - 0.0059), abs=4 * error)


def test_a_medium_that_cannot_be_filled_ends_with_a_reason():
    with pytest.raises(StructureError, match=r"Only \d+ of \d+ particles fit .* lower the density"):
        point_charges.random_charges(Plan(density=0.2), 4, "train", 0)


def test_bad_places_and_labels_are_named():
    rng = np.random.default_rng(0)
    box = np.full(3, 4.0)
    with pytest.raises(StructureError, match="outside the box"):
        point_charges.insert_at_random(np.array([[5.0, 1, 1]]), box, 1, 1.0, rng)
    with pytest.raises(StructureError, match="closer than the minimum distance"):
        point_charges.insert_at_random(np.array([[1.0, 1, 1], [1.2, 1, 1]]), box, 1, 1.0, rng)
    with pytest.raises(StructureError, match="atomic number 6 stands for no charge"):
        point_charges.charges_of(np.array([11, 6]))
