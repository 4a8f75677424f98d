"""One ion pair of ethylammonium nitrate, moved along the two coordinates of its dissociation.

python -m hoedl2022.ion_pair

computes the energies of N...O by wB97X/6-31G*, the functional and the basis of ANI-1, with fitted
densities, and writes them, less that of the pair that curves begin at, to ion_pair_wb97x.csv beside
this file: it takes PySCF and some core-minutes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gnnip.files import write_text
from gnnip.sampling.ean import ANION, CATION, anion, cation

if TYPE_CHECKING:
    from ase import Atoms

TABLE = Path(__file__).with_name("ion_pair_wb97x.csv")
#: coordinate -> its values, Angstrom: of N-H with N...O fixed, of N...O with N-H fixed
COORDINATES = {
    "N-H": np.round(np.linspace(0.85, 1.90, 22), 3),
    "N...O": np.round(np.concatenate([np.arange(2.4, 4.0, 0.1), np.arange(4.0, 7.6, 0.5)]), 3),
}
#: those of N...O that are dear
DEAR = np.array([2.4, 2.6, 3.2, 3.6, 4.0, 5.0, 6.0, 7.0])
#: Angstrom: of the ion pair that curves begin at, whose energy is their common zero
N_H, N_O = 1.05, 2.80
ANGLE = np.deg2rad(120.0)  #: H...O-N


def ion_pair(n_h: float = N_H, n_o: float = N_O) -> Atoms:
    """Return rigid ions, open boundaries, with N-H...O in one line; distances in Angstrom."""
    from ase import Atoms

    body, planar = cation(), anion()
    along = (body[1] - body[0]) / np.linalg.norm(body[1] - body[0])
    body[1] = body[0] + n_h * along
    # in the plane of the bond and of the carbon, on the far side of it
    off = body[0] - body[4]
    off -= (off @ along) * along
    off /= np.linalg.norm(off)
    bond = -np.cos(ANGLE) * along + np.sin(ANGLE) * off
    normal = np.cross(along, off)
    frame = planar[1] / np.linalg.norm(planar[1])
    side = np.cross(np.array([0.0, 0.0, 1.0]), frame)
    # its first oxygen lies on the line, its nitrogen beyond
    axes = np.stack([-bond, np.cross(normal, -bond), normal])
    own = np.stack([frame, side, np.array([0.0, 0.0, 1.0])])
    moved = planar @ own.T @ axes
    moved += body[0] + n_o * along - moved[1]
    return Atoms(list(CATION + ANION), positions=np.vstack([body, moved]))


def points() -> list[tuple[str, float, Atoms]]:
    """Return coordinate, its value (Angstrom) and structure of every point, the zero first."""
    found = [("zero", 0.0, ion_pair())]
    for name, values in COORDINATES.items():
        for x in values:
            atoms = ion_pair(n_h=float(x)) if name == "N-H" else ion_pair(n_o=float(x))
            found.append((name, float(x), atoms))
    return found


def relative(energies: Sequence[float]) -> pd.DataFrame:
    """Return coordinate, x_a and energy_ev, less that of the first, for energies of `points`."""
    rows = [
        {"coordinate": name, "x_a": x, "energy_ev": energy - energies[0]}
        for (name, x, _), energy in zip(points(), energies, strict=True)
    ]
    return pd.DataFrame(rows[1:])


def _is_dear(x: float) -> bool:
    return bool(np.isclose(x, DEAR).any())


def main() -> None:
    """Write the table."""
    from pyscf import dft, gto

    from gnnip.units import HARTREE

    chosen = [p for p in points() if p[0] == "zero" or (p[0] == "N...O" and _is_dear(p[1]))]
    rows, density = [], None
    zero = 0.0
    for name, x, atoms in chosen:
        structure = list(zip(atoms.symbols, atoms.positions, strict=True))
        field = dft.RKS(gto.M(atom=structure, basis="6-31g*", cart=True, verbose=0)).density_fit()
        field.xc, field.grids.level, field.conv_tol = "wb97x", 2, 1e-7
        energy = field.kernel(density) * HARTREE
        if not field.converged:
            raise SystemExit(f"{name} {x:g} A: the field is not self-consistent")
        density, zero = field.make_rdm1(), zero or energy
        print(f"{name} {x:g} A: {energy:.6f} eV", flush=True)
        rows.append({"coordinate": name, "x_a": x, "energy_ev": energy - zero})
    write_text(TABLE, pd.DataFrame(rows[1:]).to_csv(index=False, float_format="%.5f"))


if __name__ == "__main__":
    main()
