import numpy as np
import pytest

from gnnip import units
from gnnip.datasets.arrays import FrameArrays


@pytest.fixture
def made_frames():
    """A function that makes random labelled frames of a few waters."""

    def make(sizes=(2, 5, 3), seed=0, forces=True):
        rng = np.random.default_rng(seed)
        n = 3 * sum(sizes)
        names = ("atomic", "electronic")
        return FrameArrays(
            positions=rng.normal(size=(n, 3)).astype(np.float32),
            numbers=np.tile([8, 1, 1], sum(sizes)),
            offsets=np.concatenate([[0], np.cumsum(3 * np.array(sizes))]),
            energies={t: rng.normal(size=len(sizes)) for t in names},
            forces={t: rng.normal(size=(n, 3)) * 0.02 for t in names} if forces else {},
            metadata={
                "n_molecules": np.array(sizes),
                "state": np.array(["surface", "interior", "surface"][: len(sizes)]),
                "gap": rng.uniform(0.01, 0.07, len(sizes)),
            },
            units={
                "positions": "Bohr",
                "energies": "Hartree",
                "forces": "Hartree/Bohr",
                "gap": "Hartree",
            },
            attributes={"bohr_in_angstrom": units.BOHR, "hartree_in_ev": units.HARTREE},
        )

    return make
