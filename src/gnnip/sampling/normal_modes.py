"""Normal-mode sampling of molecules, the recipe of the ANI-1 data set.

Around a minimum with force constants K_i along normalised Cartesian modes u_i, a structure is

    x = x_0 + sum_i R_i u_i,    R_i = +- sqrt(3 c_i N_a k_B T / K_i),

with random c_i >= 0 whose sum is at most one and a random sign, N_a atoms and a temperature T
(J. S. Smith, O. Isayev, A. E. Roitberg, Chem. Sci. 8, 3192 (2017)). The harmonic energy is then at
most 3/2 N_a k_B T. The sum is drawn evenly from 0 to 1 and divided evenly at random, which gives
the mean energies of the published conformations of methane, ammonia and water at 2000 K.
Units: eV, Angstrom, kelvin.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnip.errors import ConfigError, ConvergenceError
from gnnip.reference.engines import evaluate
from gnnip.units import KB

_Array = NDArray[np.float64]


def relax(atoms: Any, calculator: Any, *, force: float = 0.002, steps: int = 300) -> Any:
    """Return a copy of `atoms` at a minimum: no force above `force` (eV/Angstrom).

    Raises ConvergenceError when that takes more than `steps` steps.
    """
    from ase.optimize import BFGS

    relaxed = atoms.copy()
    relaxed.calc = calculator
    if not BFGS(relaxed, logfile=None).run(fmax=force, steps=steps):
        raise ConvergenceError(
            f"{atoms.symbols} is not at a minimum after {steps} steps; start from a better "
            "geometry."
        )
    relaxed.calc = None
    return relaxed


def hessian(atoms: Any, calculator: Any, *, step: float = 0.005) -> _Array:
    """Return second derivatives (3n, 3n) of the energy, eV/Angstrom^2, by central differences of
    the forces, symmetrised."""
    n = len(atoms)
    matrix = np.empty((3 * n, 3 * n))
    for i in range(3 * n):
        moved = []
        for sign in (1.0, -1.0):
            work = atoms.copy()
            work.positions[i // 3, i % 3] += sign * step
            moved.append(evaluate(calculator, work).forces.ravel())
        matrix[i] = (moved[1] - moved[0]) / (2.0 * step)
    return 0.5 * (matrix + matrix.T)


def modes(masses: _Array, positions: _Array, second: _Array) -> tuple[_Array, _Array]:
    """Return force constants (m,) in eV/Angstrom^2 and normalised modes (m, n, 3), softest first.

    m = 3n - 6, or 3n - 5 for linear molecules: translations and rotations are projected out. A mode
    of negative curvature has a negative force constant. The sign of a mode follows from the matrix
    but for rounding; modes of the same frequency are any basis of theirs.
    """
    n = len(masses)
    root = np.repeat(np.sqrt(masses), 3)
    centred = positions - masses @ positions / masses.sum()
    rigid = np.zeros((6, n, 3))
    for axis in range(3):
        rigid[axis, :, axis] = 1.0
        rigid[3 + axis] = np.cross(np.eye(3)[axis], centred)
    weighted = rigid.reshape(6, -1) * root
    _, sizes, vectors = np.linalg.svd(weighted, full_matrices=True)
    # a linear molecule has one rotation less
    internal = vectors[int((sizes > 1e-4 * sizes[0]).sum()) :]
    curvature, small = np.linalg.eigh(internal @ (second / np.outer(root, root)) @ internal.T)
    cartesian = (small.T @ internal) / root
    lengths = np.linalg.norm(cartesian, axis=1)
    # in a mode of unit Cartesian length the reduced mass is 1 / length^2
    cartesian /= lengths[:, None]
    # an eigenvector's sign is that of rounding errors: the first large component decides, where
    # large leaves out neither of two that symmetry makes equal
    large = np.abs(cartesian) > 0.9 * np.abs(cartesian).max(axis=1, keepdims=True)
    first = np.take_along_axis(cartesian, large.argmax(axis=1)[:, None], axis=1)
    return curvature / lengths**2, (np.sign(first) * cartesian).reshape(-1, n, 3)


def sample(
    positions: _Array,
    constants: _Array,
    vectors: _Array,
    temperature: float,
    rng: np.random.Generator,
) -> _Array:
    """Return one random structure (n, 3) around the minimum `positions` (see the module).

    Raises ConfigError for a temperature that is not positive, ConvergenceError for a force constant
    that is not positive: no minimum.
    """
    if not temperature > 0:
        raise ConfigError(f"Normal modes cannot be sampled at {temperature} K; give > 0.")
    if len(constants) == 0 or constants.min() <= 0:
        raise ConvergenceError(
            f"The structure is not a minimum: a mode has the force constant "
            f"{constants.min() if len(constants) else 0.0:.2g} eV/Å^2; relax it first."
        )
    n = len(positions)
    shares = rng.random() * rng.dirichlet(np.ones(len(constants)))
    lengths = np.sqrt(3.0 * shares * n * KB * temperature / constants)
    signs = rng.choice([-1.0, 1.0], size=len(constants))
    return positions + np.einsum("i,ijk->jk", signs * lengths, vectors)
