"""Path integrals: rings of beads contracted to fewer, estimators, and the harmonic answer.

Atomic units (hbar = 1); arrays of a ring have the shape (beads, n, 3). The dynamics of a ring are
those of `gnnip.sampling.langevin`.
"""

from __future__ import annotations

import numpy as np

from gnnip.errors import ConfigError
from gnnip.reference import spcf
from gnnip.sampling import clusters
from gnnip.sampling.atomic_units import KELVIN
from gnnip.sampling.langevin import Forces, normal_modes, ring_frequencies


def contraction(beads: int, contracted: int) -> np.ndarray:
    """Return the matrix T (contracted, beads) that leads to a ring of fewer beads, x' = T x.

    The contracted ring has the lowest normal modes alone: T = sqrt(P'/P) U'^T U. A force f' on its
    beads, each bead counting 1/P' of the potential, acts as P/P' T^T f' on those of the whole ring,
    each counting 1/P. Markland and Manolopoulos, J. Chem. Phys. 129, 024105 (2008).

    Raises ConfigError for a number of beads that is neither odd and below `beads` nor `beads`.
    """
    if not (contracted == beads or (0 < contracted < beads and contracted % 2)):
        raise ConfigError(
            f"A ring of {beads} beads cannot be contracted to {contracted}; give an odd number "
            f"below {beads}, or {beads}."
        )
    k = np.arange(contracted)
    # cosines come first, sines last, counted from the end
    lowest = np.where(2 * k <= contracted, k, beads - contracted + k)
    modes = normal_modes(beads)[lowest]
    return np.sqrt(contracted / beads) * normal_modes(contracted).T @ modes


def kinetic_energies(
    positions: np.ndarray, forces: np.ndarray, masses: np.ndarray, temperature: float
) -> tuple[float, float]:
    """Return the centroid virial and the primitive estimator of the kinetic energy (Hartree).

    K_cv = 3 n kT / 2 - sum_i (x_i - x_c) F_i / 2P, with `forces` F_i on each bead's potential, and
    K = 3 n P kT / 2 - sum_i m P (kT)^2 |x_{i+1} - x_i|^2 / 2 (Herman, Bruskin and Berne, J. Chem.
    Phys. 76, 5150 (1982)). Both have one mean; that of the second fluctuates with the number of
    beads. All 3 n freedoms are counted. `masses` (n,) in electron masses, `temperature` in kelvin.
    """
    beads, n = positions.shape[:2]
    kT = temperature * KELVIN
    away = positions - positions.mean(axis=0)
    virial = 1.5 * n * kT - 0.5 * float((away * forces).sum()) / beads
    steps = (np.roll(positions, -1, axis=0) - positions) ** 2
    springs = 0.5 * beads * kT**2 * float((masses[:, None] * steps).sum())
    return virial, 1.5 * n * beads * kT - springs


def harmonic_frequencies(
    minimum: np.ndarray, masses: np.ndarray, forces: Forces, step: float = 1e-3
) -> np.ndarray:
    """Return the frequencies (3n - 6,) of vibrations about a minimum (n, 3), softest first, zero
    for a mode of negative curvature.

    Second derivatives are central differences of `forces` over `step` (Bohr).
    """
    size = minimum.size
    root = np.sqrt(np.repeat(masses, 3))
    moves = step * np.eye(size).reshape(size, *minimum.shape)
    second = (forces(minimum - moves) - forces(minimum + moves)).reshape(size, size) / (2 * step)
    curvature = np.linalg.eigvalsh(0.5 * (second + second.T) / np.outer(root, root))
    # rigid motion has the six smallest in size
    kept = np.sort(curvature[np.argsort(np.abs(curvature))[6:]])
    return np.sqrt(np.maximum(kept, 0.0))


def harmonic_potential(frequencies: np.ndarray, temperature: float, beads: int | None) -> float:
    """Return the mean potential energy (Hartree) of oscillators above their minimum.

    For a ring of beads sum_w kT/2 sum_k w^2/(w^2 + w_k^2), one bead being classical; exact, w/4
    coth(w/2kT), for None. Frequencies in atomic units, all positive; `temperature` in kelvin.
    """
    kT = temperature * KELVIN
    if beads is None:
        return float((0.25 * frequencies / np.tanh(0.5 * frequencies / kT)).sum())
    square = frequencies[:, None] ** 2
    return float(0.5 * kT * (square / (square + ring_frequencies(beads, temperature) ** 2)).sum())


def harmonic_height(minimum: np.ndarray, temperature: float, beads: int | None) -> float:
    """Return by how much V_SPC/F of a molecule (Hartree) lies above its classical mean.

    In the harmonic approximation about a minimum (3N, 3) of V_SPC/F, for a ring of beads, or
    exactly for None; that of a centroid is zero. Modes softer than kT/10 are classical.
    """

    def forces(positions: np.ndarray) -> np.ndarray:
        return np.array([spcf.energy_and_forces(x)[1] for x in positions])

    frequencies = harmonic_frequencies(minimum, clusters.masses(len(minimum) // 3), forces)
    stiff = frequencies[frequencies > 0.1 * temperature * KELVIN]
    quantum, classical = (harmonic_potential(stiff, temperature, n) for n in (beads, 1))
    return 3.0 * (quantum - classical) / len(minimum)
