"""Time steps: order, conservation, and the distributions that the thermostats must sample."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from dynamics_systems import Harmonic, LennardJones, argon
from scipy import stats

from gnnip import md
from gnnip.errors import ConfigError
from gnnip.md.constants import AMU_A2_PER_FS2, KB

OFF = md.Criteria(temperature_factor=None, distance_factor=None, displacement=None)


def oscillators(n_replicas, atoms, temperature, spring=1.0, masses=None, fixed_momentum=False):
    """Independent oscillators, started in equilibrium."""
    rng = np.random.default_rng(5)
    t = np.broadcast_to(temperature, n_replicas)
    return md.make_state(
        [rng.normal(size=(atoms, 3)) * np.sqrt(KB * t[r] / spring) for r in range(n_replicas)],
        [np.full(atoms, 18)] * n_replicas,
        masses=None if masses is None else [masses] * n_replicas,
        temperature=temperature,
        seeds=range(n_replicas),
        fixed_momentum=fixed_momentum,
    )


def sample(potential, state, integrator, n_steps, stride, skip):
    run = md.Simulation(
        potential, state, integrator, criteria=OFF, record_every=stride, frame_every=None
    ).run(n_steps)
    return np.stack([t.series["kinetic_energy_ev"][skip:] for t in run.trajectories])


THERMOSTATS = {
    "langevin": (lambda: md.Langevin(2.0, 0.05), False),
    "csvr": (lambda: md.CSVR(2.0, 20.0), True),
}


@pytest.mark.parametrize("name", THERMOSTATS)
def test_kinetic_energy_has_the_canonical_distribution(name):
    make, fixed = THERMOSTATS[name]
    state = argon(12, temperature=60.0, fixed_momentum=fixed, first_seed=100)
    kinetic = sample(LennardJones(), state, make(), 1200, 40, 5)
    freedom = 3 * 32 - 3 * fixed
    # samples 80 fs apart are nearly, not quite, independent: thin again for the test
    values = kinetic[:, ::2].ravel() / (KB * 60.0)
    p = stats.kstest(values, stats.gamma(0.5 * freedom).cdf).pvalue
    assert p > 0.0027
    # the spread too, by chi2 of the sample variance
    n = len(values)
    ratio = values.var(ddof=1) / (0.5 * freedom)
    assert stats.chi2.ppf(0.00135, n - 1) / (n - 1) < ratio
    assert ratio < stats.chi2.ppf(0.99865, n - 1) / (n - 1)


@pytest.mark.parametrize("name", THERMOSTATS)
def test_two_temperatures_differ_by_the_boltzmann_factor(name):
    """ln P(K | T2) / P(K | T1) is a line of slope 1 / k T1 - 1 / k T2 (Merz and Shirts, 2018)."""
    make, fixed = THERMOSTATS[name]
    temperatures = np.repeat([300.0, 330.0], 24)
    # fast oscillators of one atom set: 3 periods between samples, and no cost
    state = oscillators(48, 20, temperatures, spring=20.0, fixed_momentum=fixed)
    kinetic = sample(Harmonic(20.0), state, make(), 4000, 40, 10)
    low, high = kinetic[:24].ravel(), kinetic[24:].ravel()
    # maximum likelihood for P(high | K) = 1 / (1 + exp(-(a + b K))), equal numbers: b is the slope
    k = np.concatenate([low, high])
    y = np.concatenate([np.zeros(len(low)), np.ones(len(high))])
    x = (k - k.mean()) / k.std()
    beta = np.zeros(2)
    for _ in range(30):
        p = 1 / (1 + np.exp(-(beta[0] + beta[1] * x)))
        hessian = np.array([[np.sum(w := p * (1 - p)), np.sum(w * x)], [0, np.sum(w * x * x)]])
        hessian[1, 0] = hessian[0, 1]
        beta += np.linalg.solve(hessian, [np.sum(y - p), np.sum((y - p) * x)])
    slope = beta[1] / k.std()
    error = np.sqrt(np.linalg.inv(hessian)[1, 1]) / k.std()
    expected = 1 / (KB * 300.0) - 1 / (KB * 330.0)
    assert abs(slope - expected) < 3 * error
    assert error < 0.2 * expected  # the test could tell a wrong slope


def test_every_direction_and_mass_has_its_share():
    masses = np.repeat([1.0, 40.0], 10)
    state = oscillators(16, 20, 300.0, spring=5.0, masses=masses)
    run = md.Simulation(
        Harmonic(5.0),
        state,
        md.Langevin(1.0, 0.05),
        criteria=OFF,
        frame_every=50,
        frame_precision="float64",
    ).run(3000)
    v = np.stack([t.velocities[4:] for t in run.trajectories])  # (replica, frame, atom, axis)
    energy = 0.5 * AMU_A2_PER_FS2 * masses[:, None] * v**2
    blocks = energy.reshape(16, -1, 2, 10, 3).mean(axis=(1, 3)) / (
        0.5 * KB * 300.0
    )  # replica, mass, axis
    error = blocks.std(axis=0, ddof=1) / 4.0
    # BAOAB on an oscillator: <p^2> is low by (omega dt)^2 / 4, 1.2 % for the light atoms
    omega_squared = 5.0 / (AMU_A2_PER_FS2 * np.array([1.0, 40.0]))
    expected = 1.0 - omega_squared[:, None] / 4.0
    assert (np.abs(blocks.mean(axis=0) - expected) < 3.5 * error).all()
    assert (error < 0.02).all()


def test_langevin_samples_the_positions_of_an_oscillator_exactly():
    """BAOAB has no step-size error in <x^2> of a harmonic well, even at long steps."""
    spring, mass, step = 5.0, 10.0, 8.0
    assert 0.5 < np.sqrt(spring / (mass * AMU_A2_PER_FS2)) * step < 0.6
    state = oscillators(16, 20, 300.0, spring=spring, masses=np.full(20, mass))
    run = md.Simulation(
        Harmonic(spring),
        state,
        md.Langevin(step, 0.05),
        criteria=OFF,
        record_every=5,
        frame_every=None,
    ).run(4000)
    potential = np.stack([t.series["potential_energy_ev"][10:].mean() for t in run.trajectories])
    ratio = potential / (1.5 * 20 * KB * 300.0)
    error = ratio.std(ddof=1) / 4.0
    assert abs(ratio.mean() - 1.0) < 3 * error < 0.03


def test_maxwell_boltzmann_start():
    masses = np.repeat([1.0, 16.0], 2000)
    v = md.maxwell_boltzmann(masses, 250.0, 3)
    np.testing.assert_allclose(masses @ v, 0.0, atol=1e-10)
    temperature = AMU_A2_PER_FS2 * (masses[:, None] * v**2).sum() / ((3 * 4000 - 3) * KB)
    assert abs(temperature / 250.0 - 1) < 3 * np.sqrt(2 / 12000)
    for z in (1.0, 16.0):
        scaled = (v[masses == z] / np.sqrt(KB * 250.0 / (z * AMU_A2_PER_FS2))).ravel()
        assert stats.kstest(scaled, "norm").pvalue > 0.0027
    np.testing.assert_array_equal(v, md.maxwell_boltzmann(masses, 250.0, 3))
    assert not np.array_equal(v, md.maxwell_boltzmann(masses, 250.0, 4))


@pytest.mark.parametrize("integrator", [md.VelocityVerlet(2.0), md.CSVR(2.0, 50.0)])
def test_momentum_and_conserved_energy_are_kept(integrator):
    run = md.Simulation(LennardJones(), argon(3), integrator, record_every=1).run(300)
    for state in run.final.values():
        momentum = state.masses @ state.velocities
        assert momentum.abs().max() < 1e-12 * state.masses.sum()
    for trajectory in run.trajectories:
        energy = trajectory.series["conserved_energy_ev"]
        kinetic = trajectory.series["kinetic_energy_ev"]
        assert np.ptp(energy) < 1e-3 * kinetic.mean()


def test_langevin_heat_closes_the_energy_balance():
    run = md.Simulation(
        LennardJones(), argon(2, fixed_momentum=False), md.Langevin(1.0, 0.02), record_every=1
    ).run(400)
    for trajectory in run.trajectories:
        series = trajectory.series
        total = series["potential_energy_ev"] + series["kinetic_energy_ev"]
        assert np.ptp(series["conserved_energy_ev"]) < 0.02 * np.ptp(total)


def test_verlet_is_reversible():
    state = argon(1)
    there = md.Simulation(LennardJones(), state, md.VelocityVerlet(2.0)).run(100).final[0]
    turned = there.replace(velocities=-there.velocities)
    back = md.Simulation(LennardJones(), turned, md.VelocityVerlet(2.0)).run(100).final[0]
    torch.testing.assert_close(back.positions, state.positions, atol=1e-9, rtol=0)


def test_nve_order_is_two_for_a_smooth_potential_and_not_for_a_jump():
    state = argon(2, temperature=80.0)
    warm = md.Simulation(LennardJones(), state, md.VelocityVerlet(4.0)).run(200).final
    start = md.State.concatenate(list(warm.values()))
    smooth = md.nve_order_test(LennardJones(), start, (2.0, 4.0, 8.0), duration_fs=800.0)
    assert (smooth.exponent > 1.9).all()
    assert (smooth.exponent < 2.1).all()
    assert np.abs(smooth.drift_mev_per_atom_ps).max() < 0.05
    rough = md.nve_order_test(
        LennardJones(smooth=False, cutoff=5.0), start, (2.0, 4.0, 8.0), duration_fs=800.0
    )
    assert (rough.exponent < 1.5).all()


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf"), "1"])
def test_wrong_settings_are_named(value):
    with pytest.raises(ConfigError, match="time_step"):
        md.VelocityVerlet(value)
    with pytest.raises(ConfigError, match="friction"):
        md.Langevin(1.0, value)
    with pytest.raises(ConfigError, match="relaxation"):
        md.CSVR(1.0, value)


def test_order_test_refuses_what_it_cannot_fit():
    with pytest.raises(ConfigError, match="two different"):
        md.nve_order_test(LennardJones(), argon(1), (1.0, 1.0))
    with pytest.raises(ConfigError, match="at least 20"):
        md.nve_order_test(LennardJones(), argon(1), (1.0, 2.0), duration_fs=30.0)
