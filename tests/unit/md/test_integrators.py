"""Time steps: order, conservation, and the distributions that the thermostats must sample."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from dynamics_systems import LennardJones, argon, simulate
from scipy import stats

from gnnip import md
from gnnip.errors import ConfigError
from gnnip.units import AMU_A2_PER_FS2, KB


def oscillators(n_replicas, atoms, temperature, spring, masses=None, start=1.0, fixed=False):
    """Independent oscillators in equilibrium at `start` times the target temperature."""
    rng = np.random.default_rng(5)
    kelvin = np.broadcast_to(temperature, n_replicas) * start
    mass = np.full(atoms, 10.0) if masses is None else masses
    positions = [rng.normal(size=(atoms, 3)) * np.sqrt(KB * t / spring) for t in kelvin]
    if fixed:  # the centre of mass too has no motion
        positions = [x - mass @ x / mass.sum() for x in positions]
    return md.make_state(
        positions,
        [np.full(atoms, 18)] * n_replicas,
        masses=[mass] * n_replicas,
        velocities=[md.maxwell_boltzmann(mass, t, 900 + k, fixed) for k, t in enumerate(kelvin)],
        temperature=temperature,
        seeds=range(n_replicas),
        fixed_momentum=fixed,
    )


def propagate(integrator, state, spring, n_steps, stride, skip):
    """Yield the state every `stride` steps after `skip`, with the exact forces of the springs."""
    state = state.replace(forces=-spring * state.positions)
    for step in range(n_steps):
        state = integrator.before_forces(state, step)
        state = integrator.after_forces(state.replace(forces=-spring * state.positions), step)
        if step >= skip and step % stride == 0:
            yield state


THERMOSTATS = {
    "langevin": (lambda: md.Langevin(2.0, 0.05), False),
    "csvr": (lambda: md.CSVR(2.0, 10.0), True),
}


@pytest.mark.parametrize("name", THERMOSTATS)
def test_kinetic_energy_has_the_canonical_distribution(name):
    make, fixed = THERMOSTATS[name]
    state = oscillators(64, 10, 300.0, 2.0, start=0.5, fixed=fixed)
    frames = propagate(make(), state, 2.0, 1400, 100, 200)
    values = np.concatenate([md.kinetic_energy(s).numpy() for s in frames]) / (KB * 300.0)
    half_freedom = 0.5 * (30 - 3 * fixed)
    # <p^2> is low by (omega dt)^2 / 4 (BAOAB): 0.2 %, below what 768 samples resolve
    assert stats.kstest(values, stats.gamma(half_freedom).cdf).pvalue > 0.0027
    n = len(values)
    ratio = values.var(ddof=1) / half_freedom
    low, high = stats.chi2.ppf([0.00135, 0.99865], n - 1) / (n - 1)
    # the kurtosis of a gamma distribution widens the spread of a sample variance
    widen = np.sqrt(1 + 3 / half_freedom)
    assert 1 + (low - 1) * widen < ratio < 1 + (high - 1) * widen


@pytest.mark.parametrize("name", THERMOSTATS)
def test_two_temperatures_differ_by_the_boltzmann_factor(name):
    """ln P(K | T2) / P(K | T1) is a line of slope 1 / k T1 - 1 / k T2 (Merz and Shirts, 2018)."""
    make, fixed = THERMOSTATS[name]
    state = oscillators(64, 20, np.repeat([300.0, 340.0], 32), 2.0, start=0.8, fixed=fixed)
    frames = propagate(make(), state, 2.0, 1600, 100, 200)
    kinetic = np.stack([md.kinetic_energy(s).numpy() for s in frames])
    k = np.concatenate([kinetic[:, :32].ravel(), kinetic[:, 32:].ravel()])
    y = np.repeat([0.0, 1.0], len(k) // 2)
    # maximum likelihood of P(high | K) = 1 / (1 + exp(-(a + b K))), equal numbers: b is the slope
    x = np.stack([np.ones_like(k), (k - k.mean()) / k.std()])
    beta = np.zeros(2)
    for _ in range(30):
        p = 1 / (1 + np.exp(-beta @ x))
        hessian = (x * (p * (1 - p))) @ x.T
        beta += np.linalg.solve(hessian, x @ (y - p))
    slope, error = beta[1] / k.std(), np.sqrt(np.linalg.inv(hessian)[1, 1]) / k.std()
    expected = 1 / (KB * 300.0) - 1 / (KB * 340.0)
    assert abs(slope - expected) < 3 * error
    assert error < 0.15 * expected  # sharp enough to tell a wrong ensemble


def test_every_direction_and_mass_has_its_share():
    masses = np.repeat([1.0, 40.0], 10)
    state = oscillators(32, 20, 300.0, 2.0, masses=masses, start=0.5)
    frames = list(propagate(md.Langevin(1.0, 0.05), state, 2.0, 1500, 100, 300))
    v = np.stack([s.velocities.numpy() for s in frames]).reshape(len(frames), 32, 2, 10, 3)
    scaled = AMU_A2_PER_FS2 * np.array([1.0, 40.0])[:, None, None] * v**2 / (KB * 300.0)
    means = scaled.mean(axis=(0, 3))  # replica, mass, axis
    error = means.std(axis=0, ddof=1) / np.sqrt(32)
    # BAOAB on an oscillator: <p^2> is low by (omega dt)^2 / 4, 0.5 % for the light atoms
    expected = 1.0 - 2.0 / (AMU_A2_PER_FS2 * np.array([1.0, 40.0]))[:, None] / 4.0
    assert (np.abs(means.mean(axis=0) - expected) < 3.5 * error).all()
    assert (error < 0.04).all()


def test_langevin_samples_the_positions_of_an_oscillator_exactly():
    """BAOAB has no step-size error in <x^2> of a harmonic well, even at long steps."""
    spring, mass, step = 5.0, 10.0, 14.0
    assert 0.9 < np.sqrt(spring / (mass * AMU_A2_PER_FS2)) * step < 1.1
    state = oscillators(64, 20, 300.0, spring, masses=np.full(20, mass), start=0.5)
    frames = list(propagate(md.Langevin(step, 0.05), state, spring, 500, 10, 50))
    square = np.stack([s.positions.square().sum(1).reshape(64, 20).mean(1).numpy() for s in frames])
    ratio = spring * square.mean(axis=0) / (3 * KB * 300.0)
    error = ratio.std(ddof=1) / np.sqrt(64)
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
    run = simulate(argon(3), 150, integrator=integrator, record_every=1)
    for state in run.final.values():
        momentum = state.masses @ state.velocities
        assert momentum.abs().max() < 1e-12 * state.masses.sum()
    for trajectory in run.trajectories:
        energy = trajectory.series["conserved_energy_ev"]
        kinetic = trajectory.series["kinetic_energy_ev"]
        assert np.ptp(energy) < 1e-3 * kinetic.mean()


def test_langevin_heat_closes_the_energy_balance():
    run = simulate(
        argon(2, fixed_momentum=False), 150, integrator=md.Langevin(1.0, 0.02), record_every=1
    )
    for trajectory in run.trajectories:
        series = trajectory.series
        total = series["potential_energy_ev"] + series["kinetic_energy_ev"]
        assert np.ptp(series["conserved_energy_ev"]) < 0.02 * np.ptp(total)


def test_langevin_warms_all_degrees_of_freedom():
    simulation = md.Simulation(LennardJones(), argon(2), md.Langevin(1.0, 0.02))
    assert simulation.state.layout.freedom == (96, 96)
    kinetic = md.kinetic_energy(simulation.state) / (0.5 * 96 * KB)
    torch.testing.assert_close(md.kinetic_temperature(simulation.state), kinetic)


def test_verlet_is_reversible():
    state = argon(1)
    there = simulate(state, 60).final[0]
    turned = there.replace(velocities=-there.velocities)
    back = simulate(turned, 60).final[0]
    torch.testing.assert_close(back.positions, state.positions, atol=1e-9, rtol=0)


def test_nve_order_is_two_for_a_smooth_potential_and_not_for_a_jump():
    state = argon(2, temperature=80.0)
    warm = simulate(state, 80, integrator=md.VelocityVerlet(8.0)).final
    start = md.State.concatenate(list(warm.values()))
    smooth = md.nve_order_test(LennardJones(), start, (4.0, 8.0, 16.0), duration_fs=800.0)
    assert (smooth.exponent > 1.9).all()
    assert (smooth.exponent < 2.1).all()
    assert np.abs(smooth.drift_mev_per_atom_ps).max() < 0.1
    rough = md.nve_order_test(
        LennardJones(smooth=False, cutoff=5.0), start, (4.0, 8.0, 16.0), duration_fs=800.0
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


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seeds": [1.5]}, "a seed must be a whole number from 0 to 2\\^63, found 1.5"),
        ({"seeds": [-1]}, "found -1"),
        ({"seeds": [True]}, "found True"),
        ({"seeds": [2**64]}, "found 18446744073709551616"),  # would be the same as 0
        ({"seeds": ["1"]}, "found '1'"),
        ({"steps": 1.5}, "n_steps must be a whole number from 0 to 2\\^63, found 1.5"),
        ({"steps": -1}, "n_steps must be a whole number .* found -1"),
        ({"steps": float("inf")}, "n_steps must be a whole number .* found inf"),
        ({"record_every": 0}, "record_every, in steps, must be a whole number from 1 .* found 0"),
        ({"frame_every": 2.5}, "frame_every, in steps, must be .* found 2.5"),
        ({"time_step": True}, "time_step must be a finite number .* found True"),
        ({"time_step": float("nan")}, "time_step must be a finite number .* found nan"),
    ],
)
def test_what_is_no_number_of_steps_or_seed(change, said):
    """Nothing is rounded: seed 1.5 would be the run of seed 1."""
    how = {"seeds": [1], "steps": 2, "time_step": 1.0, **change}
    every = {k: v for k, v in change.items() if k.endswith("_every")}

    def move() -> None:
        points = [np.array([[0.0, 0, 0], [3.8, 0, 0]])]
        state = md.make_state(points, [[18, 18]], temperature=9, seeds=how["seeds"])
        simulate(state, how["steps"], integrator=md.VelocityVerlet(how["time_step"]), **every)

    with pytest.raises(ConfigError, match=said):
        move()
