"""How physical the engines behind the data sets are: what they give against known values.

    python -m gnnip.artefacts.reference_checks              # lattices, bonds and molecules
    python -m gnnip.artefacts.reference_checks data/sic.h5  # structure of the frames of archives

Frames of others, made a file called e.g. hfo2.h5 by `python -m gnnip import`, are measured alike.

Known values are measured ones: 3C-SiC a = 4.360 Angstrom and B = 225 GPa; cubic HfO2 a = 5.08
Angstrom; bonds as in `gnnip.artefacts.reference_data`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.eos import EquationOfState
from ase.optimize import BFGS

from gnnip.artefacts.reference_data import bonds, density, groups, known_of, pairs
from gnnip.datasets.store import read_frames
from gnnip.errors import DataError
from gnnip.reference.engines import evaluate, make_engine
from gnnip.sampling import aimd, ean, gese2, normal_modes, p4, sic
from gnnip.terminal import answer

EV_PER_A3_IN_GPA = 160.21766


class Check(NamedTuple):
    """One number, what it should be, and who says so."""

    system: str
    quantity: str
    unit: str
    engine: str
    found: float
    known: float


def equation_of_state(
    crystal: Callable[[float], Any], constants: Sequence[float], calculator: Any
) -> tuple[float, float]:
    """Return the lattice constant (Angstrom) and bulk modulus (GPa) at the minimum of the energy.

    `crystal` makes a cube of `constants` cells' edges; the fit is Birch and Murnaghan's. DataError
    when the constants do not enclose the minimum.
    """
    cells = [crystal(a) for a in constants]
    volumes = [atoms.get_volume() for atoms in cells]
    energies = [evaluate(calculator, atoms).energy for atoms in cells]
    lowest = int(np.argmin(energies))
    if lowest in (0, len(cells) - 1):
        raise DataError(
            f"The energy is lowest at the end of the constants, {constants[lowest]:g} Å; widen "
            "their range."
        )
    volume, _, modulus = EquationOfState(volumes, energies, eos="birchmurnaghan").fit()
    return float(constants[0] * (volume / volumes[0]) ** (1 / 3)), float(modulus * EV_PER_A3_IN_GPA)


def molecules_apart(molecule: Any, nearest: float) -> Any:
    """Return `molecule` (`ase.Atoms`) and its mirror image along x, whose nearest atoms are
    `nearest` (Angstrom) apart."""
    image = molecule.copy()
    image.positions = -image.positions
    image.positions[:, 0] += np.ptp(molecule.positions) * 2 + nearest
    square = np.square(image.positions[None, :, 1:] - molecule.positions[:, None, 1:]).sum(2)
    along = image.positions[None, :, 0] - molecule.positions[:, None, 0]
    # each pair of atoms allows a shift; the smallest of them brings the first to its distance
    room = along - np.sqrt(np.clip(nearest**2 - square, 0.0, None))
    room[square > nearest**2] = np.inf
    image.positions[:, 0] -= room.min()
    return molecule + image


#: engine and lattice constants (Angstrom) around the minimum of its energy
SIC = {
    "GFN2-xTB": (4.28, 4.34, 4.40, 4.46, 4.52),
    "GFN1-xTB": (4.38, 4.44, 4.50, 4.56, 4.62),
}
HFO2 = {
    "IPEA1-xTB": (4.85, 4.93, 5.01, 5.09, 5.17),
    "GFN1-xTB": (5.14, 5.23, 5.32, 5.41, 5.50),
    "GFN2-xTB": (4.65, 4.73, 4.81, 4.89, 4.97),
}


def materials(progress: Callable[[str], object] = print) -> list[Check]:
    """Return lattice constants, bulk moduli and bond lengths of the engines in use."""
    rng = np.random.default_rng(0)
    checks = []
    for check in (*_lattices(rng), *_gese2(rng), *_p4(), *_ions()):
        checks.append(check)
        progress(f"{check.system} {check.quantity} {check.found:.3f}")
    return checks


def _calculator(method: str, charge: int = 0) -> Any:
    return make_engine(f"xtb method={method} charge={charge}").calculator()


def _lattices(rng: np.random.Generator) -> Iterator[Check]:
    def zincblende(a: float) -> Any:
        return sic.start(aimd.Plan("sic", 64, lattice=a), rng)

    def fluorite(a: float) -> Any:
        return bulk("HfO2", "fluorite", a=a, cubic=True) * (2, 2, 2)

    for system, crystal, engines, lattice, modulus in (
        ("SiC zincblende", zincblende, SIC, 4.360, 225.0),
        ("HfO2 fluorite", fluorite, HFO2, 5.08, 200.0),
    ):
        for method, constants in engines.items():
            a, b = equation_of_state(crystal, constants, _calculator(method))
            yield Check(system, "lattice constant", "Å", method, a, lattice)
            yield Check(system, "bulk modulus", "GPa", method, b, modulus)


def _gese2(rng: np.random.Generator) -> Iterator[Check]:
    network = gese2.start(gese2.paper_plan(), rng)
    network.calc = _calculator("GFN1-xTB")
    BFGS(network, logfile=None).run(fmax=0.05, steps=40)
    distances = network.get_all_distances(mic=True)[network.numbers == 32][:, network.numbers == 34]
    near = distances[distances < 2.8]
    yield Check("GeSe2 network", "Ge-Se bond", "Å", "GFN1-xTB", float(near.mean()), 2.36)
    yield Check("GeSe2 network", "neighbours of Ge", "", "GFN1-xTB", len(near) / 16, 4.0)


def _p4() -> Iterator[Check]:
    molecule = normal_modes.relax(Atoms("P4", positions=p4.molecule()), _calculator("GFN1-xTB"))
    yield Check("P4 molecule", "bond", "Å", "GFN1-xTB", float(molecule.get_distance(0, 1)), 2.21)
    for method in ("GFN1-xTB", "GFN2-xTB"):
        calculator = _calculator(method)
        alone = evaluate(calculator, molecule).energy
        for nearest in (2.7, 3.0, 3.3, 3.6):
            two = molecules_apart(molecule, nearest)
            bound = evaluate(calculator, two).energy - 2 * alone
            yield Check("P4 and P4", f"energy at {nearest:g} Å", "eV", method, bound, np.nan)


def _ions() -> Iterator[Check]:
    for name, charge, positions, symbols, pair, known in (
        ("nitrate", -1, ean.anion(), ean.ANION, (0, 1), 1.25),
        ("ethylammonium", 1, ean.cation(), ean.CATION, (0, 4), 1.50),
    ):
        ion = Atoms(list(symbols), positions=positions)
        ion = normal_modes.relax(ion, _calculator("GFN1-xTB", charge), force=0.01)
        bond = f"{symbols[pair[0]]}-{symbols[pair[1]]} bond"
        yield Check(name, bond, "Å", "GFN1-xTB", float(ion.get_distance(*pair)), known)


def archive(path: str | Path) -> list[Check]:
    """Return for each ensemble of an archive the place of the first peak of the radial distribution
    of its bonds, the neighbours within the bond's cutoff, the closest pair of atoms, pairs that are
    nearer than they should be and the density.

    DataError for an archive whose bonds are not known.
    """
    path = Path(path)
    known = known_of(path.stem)
    frames = read_frames(path)
    engine = str(frames.attributes.get("engine", "")).split(" charge")[0]
    checks = []
    for group, chosen in groups(frames, known.groups):
        where = f"{path.stem} {group} ({len(chosen)} frames)"
        for bond in known.bonds:
            found = bonds(frames, chosen, bond)
            what = f"{bond.second} around {bond.first} within {bond.cutoff:g} Å"
            peak = f"{bond.name} first peak"
            checks.append(Check(where, peak, "Å", engine, found.first_peak, bond.length))
            checks.append(Check(where, what, "", engine, found.neighbours, bond.neighbours))
        checks.append(Check(where, "closest pair of atoms", "Å", engine, found.closest, np.nan))
        for apart in known.apart:
            what = f"pairs {apart.name} below {apart.distance:g} Å"
            number, shortest = pairs(frames, chosen, apart)
            checks.append(Check(where, what, "", engine, number, np.nan))
            checks.append(Check(where, f"shortest {apart.name}", "Å", engine, shortest, np.nan))
        checks.append(Check(where, "density", "g/cm³", engine, density(frames, chosen), np.nan))
    return checks


def table(checks: Sequence[Check]) -> str:
    """Return the checks as a Markdown table with the deviation in per cent."""
    lines = ["| system | quantity | engine | found | known | deviation |", "| --- " * 6 + "|"]
    for check in checks:
        unit = f" {check.unit}" if check.unit else ""
        known = off = ""
        if np.isfinite(check.known):
            known = f"{check.known:.4g}{unit}"
            off = f"{100 * (check.found / check.known - 1):+.1f} %"
        cells = (check.system, check.quantity, check.engine, f"{check.found:.4g}{unit}", known, off)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table of the materials, or of the archives that are named."""
    parser = argparse.ArgumentParser(prog="python -m gnnip.artefacts.reference_checks")
    parser.add_argument("archives", nargs="*", help="frames whose structure is measured instead")
    options = parser.parse_args(arguments)
    return answer(lambda: _main(options.archives), "error")


def _main(archives: Sequence[str]) -> int:
    if archives:
        print(table([check for path in archives for check in archive(path)]))
    else:
        print(table(materials(lambda line: print(line, file=sys.stderr))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
