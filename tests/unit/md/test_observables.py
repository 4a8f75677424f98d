"""Observables against cases known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from gnnip import md
from gnnip.errors import DataError
from gnnip.md.observables import shortest_lattice_vector
from gnnip.units import AMU_A2_PER_FS2


def test_ideal_gas_has_no_structure():
    rng = np.random.default_rng(1)
    numbers = np.repeat([1, 8], [60, 40])
    cell = np.array([[12.0, 0, 0], [3.0, 11.0, 0], [0, 2.0, 13.0]])
    frames = rng.random((40, 100, 3)) @ cell
    g = md.radial_distribution(frames, numbers, cell, bins=10)
    assert g.edges[-1] == pytest.approx(0.5 * shortest_lattice_vector(cell))
    shell = 4 / 3 * np.pi * np.diff(g.edges**3)
    volume = np.linalg.det(cell)
    for pair, expected, count in (
        ((1, 1), 59 / 60, 60 * 59 / 2),
        ((1, 8), 1.0, 60 * 40),
        ((8, 8), 39 / 40, 40 * 39 / 2),
    ):
        error = expected / np.sqrt(40 * count * shell / volume)
        assert (np.abs(g.g[pair] - expected) < 4 * error).all()


def test_rdf_counts_the_shells_of_a_crystal_past_half_the_cell():
    positions = np.zeros((1, 1, 3))
    cell = 3.0 * np.eye(3)
    g = md.radial_distribution(positions, np.array([29]), cell, r_max=6.5, bins=650)
    shell = 4 / 3 * np.pi * np.diff(g.edges**3)
    counts = g.g[29, 29] * shell / 27.0
    for distance, neighbours in ((3.0, 6), (3 * 2**0.5, 12), (3 * 3**0.5, 8), (6.0, 6)):
        near = np.abs(g.r - distance) < 0.05
        assert counts[near].sum() == pytest.approx(neighbours)


def test_rdf_of_open_systems_is_a_density():
    frames = np.array([[[0, 0, 0], [1.0, 0, 0], [0, 2.0, 0]]])
    g = md.radial_distribution(frames, np.array([1, 1, 8]), r_max=4.0, bins=400)
    assert not g.density
    for values in (g.g[1, 1], g.g[1, 8]):
        assert values.sum() * 0.01 == pytest.approx(1.0)
    assert abs(g.r[g.g[1, 1].argmax()] - 1.0) < 0.01
    with pytest.raises(DataError, match="r_max"):
        md.radial_distribution(frames, np.array([1, 1, 8]))


def test_adf_of_random_directions_is_a_sine_and_of_water_a_peak():
    rng = np.random.default_rng(3)
    spokes = rng.normal(size=(5, 400, 3))
    spokes *= rng.uniform(1.0, 2.4, (5, 400, 1)) / np.linalg.norm(spokes, axis=2, keepdims=True)
    frames = np.concatenate([np.zeros((5, 1, 3)), spokes], axis=1)
    numbers = np.array([8] + [1] * 400)
    adf = md.angular_distribution(frames, numbers, cutoff={(1, 8): 2.5}, bins=30)
    assert list(adf.p) == [(8, 1, 1)]
    expected = 0.5 * (np.cos(adf.edges[:-1]) - np.cos(adf.edges[1:])) / np.diff(adf.edges)
    assert np.abs(adf.p[8, 1, 1] - expected).max() < 0.03
    assert adf.p[8, 1, 1].sum() * (np.pi / 30) == pytest.approx(1.0)

    angle = np.radians(104.5)
    water = np.array([[[0, 0, 0], [1.0, 0, 0], [np.cos(angle), np.sin(angle), 0]]])
    adf = md.angular_distribution(water, np.array([8, 1, 1]), cutoff=1.2, bins=180)
    assert set(adf.p) == {(8, 1, 1)}
    assert abs(np.degrees(adf.angle[adf.p[8, 1, 1].argmax()]) - 104.5) <= 0.5


def test_adf_of_diamond_is_tetrahedral_through_the_boundary():
    a = 3.57
    face = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    positions = np.concatenate([face, face + 0.25]) * a
    adf = md.angular_distribution(
        positions[None], np.full(8, 6), np.eye(3) * a, cutoff=1.7, bins=180
    )
    assert abs(np.degrees(adf.angle[adf.p[6, 6, 6].argmax()]) - 109.47) <= 0.5
    assert adf.p[6, 6, 6].max() * np.pi / 180 == pytest.approx(1.0)


def test_vdos_of_oscillators_peaks_at_their_frequency():
    spring = 5.0
    masses = np.array([1.0, 1.0, 16.0])
    frequency = np.sqrt(spring / (masses * AMU_A2_PER_FS2)) / (2 * np.pi) * 1000.0  # THz
    time = np.arange(4096) * 1.0
    phase = np.array([0.3, 1.0, 2.0])
    v = np.zeros((4096, 3, 3))
    v[:, :, 0] = np.cos(2 * np.pi * frequency * time[:, None] / 1000.0 + phase) / np.sqrt(masses)
    dos = md.vibrational_density_of_states(v, masses, np.array([1, 1, 8]), 1.0)
    width = dos.frequency[1]
    assert abs(dos.frequency[dos.species[1].argmax()] - frequency[0]) <= width
    assert abs(dos.frequency[dos.species[8].argmax()] - frequency[2]) <= width
    assert dos.total.sum() * width == pytest.approx(1.0)
    # equal energies, so each atom has a third of the modes
    assert dos.species[8].sum() * width == pytest.approx(1 / 3, rel=1e-3)
    np.testing.assert_allclose(dos.species[1] + dos.species[8], dos.total)
    with pytest.raises(DataError, match="t > 7"):
        md.vibrational_density_of_states(v[:4], masses, np.array([1, 1, 8]), 1.0)
    with pytest.raises(DataError, match="interval"):
        md.vibrational_density_of_states(v, masses, np.array([1, 1, 8]), 0.0)
    with pytest.raises(DataError, match="all zero"):
        md.vibrational_density_of_states(0 * v, masses, np.array([1, 1, 8]), 1.0)


def test_msd_ballistic_and_diffusive():
    time = np.arange(101) * 2.0
    v = np.array([[0.01, 0, 0], [0, 0.02, 0.0]])
    ballistic = time[:, None, None] * v + 5.0
    msd = md.mean_square_displacement(ballistic, np.array([1, 8]), 2.0)
    np.testing.assert_allclose(msd.species[8], (0.02 * msd.time_fs) ** 2, atol=1e-9)
    np.testing.assert_allclose(msd.total, (msd.species[1] + msd.species[8]) / 2)

    rng = np.random.default_rng(4)
    walk = np.cumsum(rng.normal(scale=0.1, size=(4000, 60, 3)), axis=0)
    msd = md.mean_square_displacement(walk, np.full(60, 3), 1.0)
    d = 0.1**2 / 2 * 0.1  # sigma^2 / 2 per step and axis, Angstrom^2/fs -> cm^2/s
    assert msd.diffusion(5.0, 100.0)[3] == pytest.approx(d, rel=0.05)
    # by the definition, at one lag
    direct = np.square(walk[7:] - walk[:-7]).sum(axis=2).mean()
    assert msd.total[7] == pytest.approx(direct, rel=1e-9)
    assert msd.total[0] == pytest.approx(0.0, abs=1e-9)
    drifting = walk + np.arange(4000)[:, None, None]
    still = md.mean_square_displacement(drifting, np.full(60, 3), 1.0, masses=np.ones(60))
    assert still.total[50] < 1.1 * msd.total[50]
    with pytest.raises(DataError, match="two times"):
        msd.diffusion(1.2, 1.5)


def test_errors_by_both_definitions():
    edges = np.linspace(0, 6, 601)
    r = 0.5 * (edges[1:] + edges[:-1])
    step = np.where(r > 2, 1.0, 0.0)
    shifted = np.where(r > 2.5, 1.0, 0.0)
    reference = md.RadialDistribution(edges, {(1, 1): step}, True)
    errors = md.rdf_errors(md.RadialDistribution(edges, {(1, 1): shifted}, True), reference)[1, 1]
    assert errors["integral_angstrom"] == pytest.approx(0.5)
    assert errors["percent"] == pytest.approx(25.0)
    far = md.RadialDistribution(edges, {(1, 1): 9 * step}, True)
    assert md.rdf_errors(far, reference)[1, 1]["percent"] == 100.0
    assert md.rdf_errors(reference, reference)[1, 1] == {"integral_angstrom": 0.0, "percent": 0.0}
    with pytest.raises(DataError, match="different bins"):
        md.rdf_errors(md.RadialDistribution(edges[:-1], {}, True), reference)

    angles = np.linspace(0, np.pi, 181)
    width = np.pi / 180

    def peak(k):
        p = np.zeros(180)
        p[k] = 1 / width
        return md.AngularDistribution(angles, {(1, 1, 1): p})

    near = md.adf_errors(peak(100), peak(104))[1, 1, 1]
    far_angle = md.adf_errors(peak(100), peak(120))[1, 1, 1]
    assert near["integral"] == far_angle["integral"] == pytest.approx(2.0)  # saturates
    assert far_angle["percent"] == pytest.approx(5 * near["percent"], rel=0.3)  # does not
    centre = 0.5 * (angles[1:] + angles[:-1])
    norm = stats.wasserstein_distance([centre[104]], centre, v_weights=np.sin(centre))
    assert near["percent"] == pytest.approx(100 * 4 * width / norm, rel=0.01)
    none = md.adf_errors(md.AngularDistribution(angles, {}), peak(3))
    assert none[1, 1, 1]["percent"] == 100.0

    f = np.linspace(0, 50, 501)

    def band(centre):
        total = np.exp(-(((f - centre) / 2.0) ** 2) / 2)
        return md.Spectrum(f, total / (total.sum() * 0.1), {})

    error = md.vdos_error(band(21.0), band(20.0))
    assert error["percent"] == pytest.approx(50.0, rel=0.03)
    assert md.vdos_error(band(20.0), band(20.0))["percent"] == 0.0
    with pytest.raises(DataError, match="different frequencies"):
        md.vdos_error(md.Spectrum(f * 2, f, {}), band(20.0))


def test_noise_floor_falls_with_the_length_of_the_reference():
    rng = np.random.default_rng(6)
    numbers = np.full(30, 18)
    cell = 9.0 * np.eye(3)
    frames = rng.random((64, 30, 3)) * 9.0

    def floor(x):
        first, last = (
            md.radial_distribution(half, numbers, cell, bins=5) for half in np.split(x, 2)
        )
        return md.rdf_errors(first, last)[18, 18]["integral_angstrom"]

    assert 0 < floor(frames) < 0.6 * np.mean([floor(part) for part in np.split(frames, 8)])


def test_frames_are_checked():
    with pytest.raises(DataError, match="shape"):
        md.radial_distribution(np.zeros((0, 2, 3)), np.array([1, 1]), np.eye(3))
    with pytest.raises(DataError, match="Frame 0"):
        md.angular_distribution(np.full((1, 2, 3), np.nan), np.array([1, 1]), cutoff=2.0)


def test_survival_curve_by_hand():
    """Textbook case: failures at 1, 3, 3, one run lost from view at 2, two alive at 5."""
    times, failed = [1, 2, 3, 3, 5, 5], [True, False, True, True, False, False]
    curve = md.survival_curve(times, failed)
    np.testing.assert_allclose(curve.time_fs, [0, 1, 3, 5])
    np.testing.assert_allclose(curve.survival, [1, 5 / 6, 5 / 6 * 0.5, 5 / 12])
    np.testing.assert_array_equal(curve.at_risk, [6, 6, 4, 2])
    greenwood = md.survival_curve(times, failed, interval="greenwood")
    sigma = 5 / 12 * np.sqrt(1 / 30 + 2 / 8)
    assert greenwood.upper[2] - greenwood.survival[2] == pytest.approx(1.959964 * sigma)


def test_survival_interval_without_censoring_is_wilson():
    curve = md.survival_curve([3.0] * 3 + [9.0] * 5, [True] * 3 + [False] * 5)
    low, high = stats.binomtest(5, 8).proportion_ci(method="wilson")
    assert curve.survival[-1] == pytest.approx(5 / 8)
    assert curve.lower[-1] == pytest.approx(low, abs=1e-6)
    assert curve.upper[-1] == pytest.approx(high, abs=1e-6)
    alive = md.survival_curve([9.0] * 8, [False] * 8)
    assert alive.upper[-1] == 1.0
    assert alive.lower[-1] == pytest.approx(8 / (8 + 1.959964**2))
    dead = md.survival_curve([2.0] * 8, [True] * 8)
    assert dead.survival[-1] == 0.0
    assert 0.2 < dead.upper[-1] < 0.4
    with pytest.raises(DataError, match="at least one run"):
        md.survival_curve([], [])
    with pytest.raises(DataError, match="finite"):
        md.survival_curve([-1.0], [True])
    with pytest.raises(ValueError, match="interval"):
        md.survival_curve([1.0], [True], interval="other")


# averages over different systems


def two_systems():
    """A periodic crystal, the same atoms in another order, and a larger cell."""
    rng = np.random.default_rng(2)
    positions = rng.random((12, 3)) * 6.0
    numbers = np.array([32, 34, 34] * 4)
    cell, pbc = np.eye(3) * 6.0, np.ones(3, dtype=bool)
    order = rng.permutation(12)
    wide = (1.2 * positions, numbers, 1.2 * cell, pbc)
    return (positions, numbers, cell, pbc), (positions[order], numbers[order], cell, pbc), wide


def test_the_order_of_atoms_does_not_matter_to_a_mean():
    one, shuffled, wide = two_systems()
    options = {"r_max": 5.0, "bins": 20}
    single = md.radial_distribution(one[0][None], *one[1:], **options)
    both = md.mean_radial_distribution([one, shuffled, one], **options)
    angle = md.angular_distribution(one[0][None], *one[1:], cutoff=4.0, bins=12)
    angles = md.mean_angular_distribution([one, shuffled], cutoff=4.0, bins=12)
    for pair, g in single.g.items():
        np.testing.assert_allclose(both.g[pair], g, atol=1e-12)
    assert set(angles.p) == set(angle.p)
    for key, p in angle.p.items():
        np.testing.assert_allclose(angles.p[key], p, atol=1e-12)
    # structures of different cells count each the same
    other = md.radial_distribution(wide[0][None], *wide[1:], **options)
    mean = md.mean_radial_distribution([one, wide, wide], **options)
    for pair, g in mean.g.items():
        np.testing.assert_allclose(g, (single.g[pair] + 2 * other.g[pair]) / 3, atol=1e-12)
    width = np.pi / 12
    for p in md.mean_angular_distribution([one, wide], cutoff=4.0, bins=12).p.values():
        assert p.sum() * width == pytest.approx(1.0)
    open_one = (one[0], one[1], None, None)
    with pytest.raises(DataError, match="no common radial distribution"):
        md.mean_radial_distribution([one, open_one], **options)
    with pytest.raises(DataError, match="at least one structure"):
        md.mean_radial_distribution([], **options)


def test_shortest_distances_by_pair():
    positions = np.array([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 2.5, 0.0], [5.6, 0.0, 0.0]])
    numbers = np.array([34, 32, 34, 32])
    free = md.shortest_distances([(positions, numbers, None, None)])
    assert free == pytest.approx({(32, 34): 2.0, (34, 34): 2.5, (32, 32): 3.6})
    # the image of the last atom comes closer to the first
    cell, pbc = np.eye(3) * 7.0, np.ones(3, dtype=bool)
    assert md.shortest_distances([(positions, numbers, cell, pbc)])[32, 34] == pytest.approx(1.4)
    broken = (np.full((4, 3), np.nan), numbers, None, None)
    met = (np.zeros((4, 3)), numbers, None, None)
    assert md.shortest_distances([broken, met]) == {}


def test_a_spectrum_at_other_frequencies():
    own = md.Spectrum(np.arange(5.0), np.array([0.0, 0.4, 0.4, 0.2, 0.0]), {})
    assert own.at(np.arange(5.0)) is own
    fine = own.at(np.arange(0.0, 4.1, 0.5))
    assert fine.total.sum() * 0.5 == pytest.approx(1.0)
    assert fine.total[3] == pytest.approx(fine.total[4])
    assert own.at(np.arange(7.0)).total[5:].tolist() == [0.0, 0.0]
