"""Forces by differences of energies."""

import numpy as np


def force(energy, positions, atom, axis, step):
    """Return minus the central difference of `energy` (a function of positions)."""
    ends = []
    for sign in (1, -1):
        moved = np.array(positions)
        moved[atom, axis] += sign * step
        ends.append(energy(moved))
    return (ends[1] - ends[0]) / (2 * step)


def force_of_atoms(energy, atoms, atom, axis, step):
    """Return the same of a function of `ase.Atoms`."""

    def of_positions(positions):
        moved = atoms.copy()
        moved.positions = positions
        return energy(moved)

    return force(of_positions, atoms.positions, atom, axis, step)
