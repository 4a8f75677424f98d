import numpy as np
import pytest
from scipy import stats

from gnnip.errors import ConfigError
from gnnip.reference import spcf
from gnnip.sampling import clusters, langevin
from gnnip.sampling.atomic_units import FEMTOSECOND, KELVIN


def water_forces(positions):
    return np.array([spcf.energy_and_forces(x)[1] for x in positions])


@pytest.fixture(scope="module")
def relaxed():
    rng = np.random.default_rng(0)
    return clusters.quench(clusters.random_cluster(6, rng), spcf.energy_and_forces, 300)


def run(dynamics, positions, steps, rng, *, momenta=None, keep=1, discard=0, **slow):
    """Return the momenta (kept, beads, n, 3) along a trajectory and its end."""
    x = np.repeat(positions[None], dynamics.beads, axis=0)
    if momenta is None:
        momenta = langevin.maxwell_momenta(
            dynamics.masses, dynamics.temperature, dynamics.beads, rng
        )
    p, kept = momenta, []
    f = water_forces(x)
    for step in range(steps):
        x, p, f, _ = dynamics.advance(x, p, f, water_forces, rng)
        if step >= discard and step % keep == 0:
            kept.append(p)
    return np.array(kept), x


@pytest.mark.parametrize("temperature", [100.0, 300.0])
def test_momenta_are_maxwellian_and_the_heat_is_equally_shared(relaxed, temperature):
    masses = clusters.masses(6)
    dynamics = langevin.Langevin(
        masses, 0.5 * FEMTOSECOND, 0.1 / FEMTOSECOND, temperature, rigid_motion=True
    )
    momenta, _ = run(dynamics, relaxed, 12_000, np.random.default_rng(11), keep=60, discard=600)
    scaled = momenta[:, 0] / np.sqrt(masses * temperature * KELVIN)[:, None]
    # 30 fs between samples: three thermostat times, nearly independent
    assert stats.kstest(scaled.ravel(), "norm").pvalue > 1e-3
    for species in (slice(0, None, 3), slice(1, None, 3)):  # oxygen and hydrogen alike
        share = (scaled[:, species] ** 2).mean()
        assert share == pytest.approx(1.0, abs=5 * np.sqrt(2 / scaled[:, species].size))


def test_wrong_temperature_is_noticed(relaxed):
    # the test above can fail: momenta of 300 K are not those of 350 K
    masses = clusters.masses(6)
    rng = np.random.default_rng(12)
    momenta = np.concatenate(
        [langevin.maxwell_momenta(masses, 350.0, 1, rng)[0] for _ in range(190)]
    ).reshape(-1, 18, 3)
    scaled = momenta / np.sqrt(masses * 300.0 * KELVIN)[:, None]
    assert stats.kstest(scaled.ravel(), "norm").pvalue < 1e-3


def test_two_temperatures_sample_the_same_hamiltonian():
    # for any one Hamiltonian ln p_hot(V)/p_cold(V) is linear in V with slope b_cold - b_hot; for a
    # harmonic V of f freedoms that is <V> = f k T/2 and var V = f (k T)^2/2, slope from the means
    n, omega = 60, 0.01
    masses = np.full(n, 1837.0)
    k = masses[None, :, None] * omega**2
    energies = {}
    for temperature in (280.0, 300.0):
        dynamics = langevin.Langevin(masses, 0.3 / omega, omega, temperature)
        rng = np.random.default_rng(int(temperature))
        x = np.zeros((1, n, 3))
        p = langevin.maxwell_momenta(masses, temperature, 1, rng)
        f, kept = -k * x, []
        for step in range(20_000):
            x, p, f, _ = dynamics.advance(x, p, f, lambda y: -k * y, rng)
            if step > 200 and step % 20 == 0:
                kept.append(float((0.5 * k * x * x).sum()))
        energies[temperature] = np.array(kept)
    cold, hot = energies[280.0], energies[300.0]
    variance = 0.5 * (cold.var() + hot.var())
    slope = (hot.mean() - cold.mean()) / variance
    expected = 1 / (280.0 * KELVIN) - 1 / (300.0 * KELVIN)
    assert slope == pytest.approx(expected, rel=0.15)
    assert cold.mean() == pytest.approx(1.5 * n * 280.0 * KELVIN, rel=0.02)


def total_energy(x, p, masses):
    return spcf.energy_and_forces(x[0])[0] + 0.5 * float((p**2 / masses[:, None]).sum())


def test_without_friction_energy_is_conserved_with_the_second_order(relaxed):
    masses = clusters.masses(6)
    start = langevin.maxwell_momenta(masses, 200.0, 1, np.random.default_rng(5))
    errors = []
    for timestep in (0.5, 0.25):
        dynamics = langevin.Langevin(masses, timestep * FEMTOSECOND, 0.0, 200.0)
        rng = np.random.default_rng(6)
        x, p = relaxed[None], start
        f = water_forces(x)
        energies = [total_energy(x, p, masses)]
        for _ in range(round(100 / timestep)):
            x, p, f, _ = dynamics.advance(x, p, f, water_forces, rng)
            energies.append(total_energy(x, p, masses))
        errors.append(np.std(energies))
    assert errors[0] < 1e-3
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.15)


def test_impulses_of_a_slow_force_keep_the_second_order():
    # a stiff and a soft spring on one particle: the soft one comes every 4 steps
    masses = np.array([1.0])
    fast, slow = (lambda x: -100.0 * x), (lambda x: -0.7 * x)
    errors = []
    for timestep in (0.02, 0.01):
        dynamics = langevin.Langevin(masses, timestep, 0.0, 300.0)
        rng = np.random.default_rng(0)
        x, p = np.array([[[1.0, 0.3, -0.2]]]), np.array([[[0.5, 1.0, 2.0]]])
        f, g = fast(x), slow(x)
        energies = []
        for _ in range(round(20 / timestep)):
            x, p, f, g = dynamics.advance(x, p, f, fast, rng, n_inner=4, slow_forces=g, slow=slow)
            energies.append(float((0.5 * p * p + 50.35 * x * x).sum()))
        errors.append(np.std(energies))
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.2)


def test_rigid_motion_is_removed(relaxed):
    masses = clusters.masses(6)
    rng = np.random.default_rng(8)
    p = langevin.maxwell_momenta(masses, 300.0, 2, rng)
    x = np.repeat(relaxed[None], 2, axis=0) + rng.normal(size=p.shape) * 0.1
    q = langevin.remove_rigid_motion(x, p, masses)
    centre = clusters.centre_of_mass(relaxed)
    assert np.abs(q.sum(axis=(0, 1))).max() < 1e-9
    assert np.abs(np.cross(x - centre, q).sum(axis=(0, 1))).max() < 1e-7
    # a projection: nothing is left to remove
    np.testing.assert_allclose(langevin.remove_rigid_motion(x, q, masses), q, atol=1e-9)


def test_normal_modes_diagonalise_the_springs():
    for beads in (1, 2, 5, 8):
        U = langevin.normal_modes(beads)
        np.testing.assert_allclose(U @ U.T, np.eye(beads), atol=1e-12)
        ring = 2 * np.eye(beads) - np.roll(np.eye(beads), 1, 0) - np.roll(np.eye(beads), -1, 0)
        spring = U @ ring @ U.T * (beads * 300.0 * KELVIN) ** 2
        expected = np.diag(langevin.ring_frequencies(beads, 300.0) ** 2)
        np.testing.assert_allclose(spring, expected, atol=1e-9 * spring.max() + 1e-20)


def oscillator_energy(beads, seed=3):
    """Sampled and analytic energy of oscillators with beta w = 4, in units of w."""
    temperature, n = 300.0, 150
    omega = 4.0 * temperature * KELVIN
    masses = np.full(n, 1837.0)
    k = masses[None, :, None] * omega**2
    dynamics = langevin.Langevin(masses, 0.25 / omega, omega, temperature, beads=beads)
    rng = np.random.default_rng(seed)
    p = langevin.maxwell_momenta(masses, temperature, beads, rng)
    x = rng.normal(size=p.shape) * np.sqrt(0.25 / (masses[0] * omega))
    f, energies = -k * x, []
    for step in range(3000):
        x, p, f, _ = dynamics.advance(x, p, f, lambda y: -k * y, rng)
        if step > 400 and step % 10 == 0:
            potentials = (0.5 * k * x * x).sum(axis=(1, 2))
            # centroid virial: 3 n k T / 2 - sum (x - x_c) f / 2 P + mean of V
            virial = -0.5 * ((x - x.mean(axis=0)) * f).sum() / beads
            energy = 1.5 * n * temperature * KELVIN + virial + potentials.mean()
            energies.append(energy / (3 * n))
    ring = langevin.ring_frequencies(beads, temperature) ** 2
    finite = (temperature * KELVIN * omega**2 / (ring + omega**2)).sum()
    return np.mean(energies) / omega, finite / omega


@pytest.mark.parametrize("beads", [1, 4, 16])
def test_ring_polymer_has_the_quantum_energy_of_its_beads(beads):
    sampled, finite = oscillator_energy(beads)
    assert sampled == pytest.approx(finite, rel=0.01)
    # at P -> infinity E = w/2 coth(beta w/2) = 0.5187 w; one bead has the classical 0.25 w
    if beads == 16:
        assert sampled == pytest.approx(0.5 / np.tanh(2.0), rel=0.015)


def test_analytic_energy_of_the_ring_converges_to_coth():
    temperature = 300.0
    omega = 4.0 * temperature * KELVIN
    ring = langevin.ring_frequencies(512, temperature) ** 2
    energy = (temperature * KELVIN * omega**2 / (ring + omega**2)).sum()
    assert energy == pytest.approx(0.5 * omega / np.tanh(2.0), rel=1e-4)


def test_free_ring_without_friction_conserves_its_energy():
    rng = np.random.default_rng(2)
    beads, temperature, masses = 6, 200.0, np.full(3, 2000.0)
    dynamics = langevin.Langevin(masses, 40.0, 0.0, temperature, beads=beads)
    p = langevin.maxwell_momenta(masses, temperature, beads, rng)
    x = rng.normal(size=p.shape) * 0.1
    spring = masses[0] * beads * (temperature * KELVIN) ** 2

    def energy():
        kinetic = 0.5 * beads * (p**2).sum() / masses[0]
        return kinetic + 0.5 * spring * ((x - np.roll(x, 1, axis=0)) ** 2).sum()

    before, f = energy(), np.zeros_like(x)
    for _ in range(50):
        x, p, f, _ = dynamics.advance(x, p, f, np.zeros_like, rng)
    assert energy() == pytest.approx(before, rel=1e-10)


@pytest.mark.parametrize(
    "change", [{"timestep": 0.0}, {"friction": -1.0}, {"temperature": 0.0}, {"beads": 0}]
)
def test_impossible_settings_are_named(change):
    settings = {"timestep": 1.0, "friction": 0.1, "temperature": 300.0, "beads": 1, **change}
    with pytest.raises(ConfigError, match=next(iter(change))):
        langevin.Langevin(np.ones(3), **settings)
