"""A small anion-like cluster made here: molecules around a hole that holds the electron."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from gnnip.reference import spcf


def shells(counts_and_radii: tuple[tuple[int, float], ...]) -> np.ndarray:
    """Molecules spread over spheres, each with one O-H bond towards the centre; (3N, 3) Bohr."""
    rng = np.random.default_rng(5)
    half = np.radians(109.47)
    water = spcf.R0 * np.array([[0, 0, 0], [1, 0, 0], [np.cos(half), np.sin(half), 0]])
    golden = np.pi * (3.0 - np.sqrt(5.0))
    out = []
    for count, radius in counts_and_radii:
        for i in range(count):
            z = 1.0 - (2 * i + 1) / count
            flat = np.sqrt(1.0 - z * z)
            direction = np.array([flat * np.cos(golden * i), flat * np.sin(golden * i), z])
            turn, _ = Rotation.align_vectors([-direction], [[1.0, 0.0, 0.0]])
            spin = Rotation.from_rotvec(rng.uniform(0, 2 * np.pi) * direction)
            out.append((spin * turn).apply(water) + radius * direction)
    return np.concatenate(out)


@pytest.fixture(scope="session")
def cavity_cluster() -> np.ndarray:
    """24 molecules around a hole that holds the electron."""
    return shells(((6, 6.0), (18, 11.0)))


@pytest.fixture(scope="session")
def large_cavity_cluster() -> np.ndarray:
    """102 molecules around the same hole, on four shells."""
    return shells(((6, 6.0), (18, 11.0), (30, 16.0), (48, 21.0)))
