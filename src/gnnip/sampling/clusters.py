"""Starting structures and shape of water clusters. Atoms in the order O H H, positions in Bohr."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import minimize
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import cdist

from gnnip.errors import StructureError
from gnnip.sampling.atomic_units import ANGSTROM, MASS_HYDROGEN, MASS_OXYGEN
from gnnip.sampling.packing import random_rotation

MOLECULE_VOLUME = 29.9 * ANGSTROM**3  #: Bohr^3 per molecule at 1 g/cm^3
OXYGEN_DISTANCE = 2.5 * ANGSTROM  #: closest O-O of a random start
CONTACT = 1.5 * ANGSTROM  #: closest atoms of two molecules of a random start
BOND = 1.0 * ANGSTROM
ANGLE = np.deg2rad(109.47)
#: a molecule whose oxygen is farther than this from every other one has left the cluster (the first
#: shell is at 5.3 Bohr, the second at 8.5)
DETACHED = 14.0

EnergyAndForces = Callable[[np.ndarray], tuple[float, np.ndarray]]


def masses(n_molecules: int) -> np.ndarray:
    """Return the masses (3N,) of N water molecules in electron masses, order O H H."""
    return np.tile([MASS_OXYGEN, MASS_HYDROGEN, MASS_HYDROGEN], n_molecules)


def centre_of_mass(positions: np.ndarray) -> np.ndarray:
    """Return the centre of mass (3,) of water molecules at `positions` (3N, 3)."""
    weights = masses(len(positions) // 3)
    return weights @ positions / weights.sum()


def radius(positions: np.ndarray) -> float:
    """Return the radius of the homogeneous sphere with the cluster's radius of gyration.

    R = sqrt(5/3) R_g, R_g over the oxygen atoms of `positions` (3N, 3), same unit.
    """
    oxygens = positions[::3]
    return float(np.sqrt(5.0 / 3.0 * oxygens.var(axis=0).sum()))


def fragments(positions: np.ndarray, distance: float = DETACHED) -> list[int]:
    """Return the sizes (molecules, largest first) of the pieces linked by O-O shorter than
    `distance`."""
    oxygens = positions[::3]
    _, label = connected_components(cdist(oxygens, oxygens) < distance, directed=False)
    return sorted(np.bincount(label).tolist(), reverse=True)


def random_cluster(n_molecules: int, rng: np.random.Generator) -> np.ndarray:
    """Return positions (3N, 3) in Bohr of a random drop of water at about 1 g/cm^3.

    Molecules of the model's equilibrium geometry are inserted one by one into a sphere, at random
    points and orientations, refused when oxygens come closer than 2.5 or other atoms than 1.5
    Angstrom; the sphere grows by 2 % when 200 insertions in a row fail. Centred on the centre of
    mass.

    Raises StructureError for fewer than one molecule.
    """
    if n_molecules < 1:
        raise StructureError(f"A water cluster needs at least 1 molecule, not {n_molecules}.")
    half = 0.5 * ANGLE
    arm = BOND * np.array(
        [[0, 0, 0], [np.sin(half), np.cos(half), 0], [-np.sin(half), np.cos(half), 0]]
    )
    sphere = (3.0 * n_molecules * MOLECULE_VOLUME / (4.0 * np.pi)) ** (1.0 / 3.0)
    placed = np.empty((0, 3))
    refused = 0
    while len(placed) < 3 * n_molecules:
        direction = rng.normal(size=3)
        point = direction / np.linalg.norm(direction) * sphere * rng.uniform() ** (1.0 / 3.0)
        molecule = point + arm @ random_rotation(rng).T
        if len(placed):
            close = cdist(molecule, placed)
            if close.min() < CONTACT or close[0, ::3].min() < OXYGEN_DISTANCE:
                refused += 1
                if refused == 200:
                    sphere *= 1.02
                    refused = 0
                continue
        placed = np.vstack([placed, molecule])
        refused = 0
    return placed - centre_of_mass(placed)


def quench(positions: np.ndarray, energy_and_forces: EnergyAndForces, steps: int) -> np.ndarray:
    """Return `positions` (n, 3) after at most `steps` L-BFGS iterations downhill (Bohr,
    Hartree)."""

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        energy, forces = energy_and_forces(flat.reshape(-1, 3))
        return energy, -forces.ravel()

    found = minimize(
        objective,
        positions.ravel(),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": steps, "maxcor": 20},
    )
    return found.x.reshape(-1, 3)
