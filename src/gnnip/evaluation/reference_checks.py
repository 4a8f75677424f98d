"""How physical the engines behind the data sets are: what they give against known values.

    python -m gnnip.evaluation.reference_checks              # lattices, bonds and molecules
    python -m gnnip.evaluation.reference_checks data/sic.h5  # structure of the frames of archives

Known values are measured ones: 3C-SiC a = 4.360 Angstrom and B = 225 GPa; cubic HfO2 a = 5.08
Angstrom; Ge-Se in GeSe2 2.36 Angstrom, Ge fourfold; P4 2.21 Angstrom; amorphous HfO2 Hf-O 2.13
Angstrom, Hf six- to sevenfold; nitrate N-O 1.25 Angstrom; C-N of ethylammonium 1.50 Angstrom.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gnnip.datasets.store import read_frames
from gnnip.errors import DataError
from gnnip.reference.engines import evaluate, make_engine

EV_PER_A3_IN_GPA = 160.21766


class Check(NamedTuple):
    """One number, what it should be, and who says so."""

    system: str
    quantity: str
    unit: str
    engine: str
    found: float
    known: float


class Pair(NamedTuple):
    """A bond to look for: elements, farthest distance that counts (Angstrom), known length and
    number of neighbours (NaN where it depends on the phase)."""

    first: str
    second: str
    cutoff: float
    length: float
    neighbours: float


#: by name of the archive
PAIRS: dict[str, tuple[Pair, ...]] = {
    "sic": (Pair("Si", "C", 2.5, 1.89, 4.0),),
    "gese2": (Pair("Ge", "Se", 3.0, 2.36, 4.0),),
    "hfo2": (Pair("Hf", "O", 2.8, 2.13, 6.5),),
    "p4": (Pair("P", "P", 2.7, 2.21, 3.0),),
    "ean": (Pair("N", "O", 1.6, 1.25, np.nan), Pair("C", "N", 1.8, 1.50, 1.0)),
}


def equation_of_state(
    crystal: Callable[[float], Any], constants: Sequence[float], calculator: Any
) -> tuple[float, float]:
    """Return the lattice constant (Angstrom) and bulk modulus (GPa) at the minimum of the energy.

    `crystal` makes a cube of `constants` cells' edges; the fit is Birch and Murnaghan's. DataError
    when the constants do not enclose the minimum.
    """
    from ase.eos import EquationOfState

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


def materials(progress: Callable[[str], object] = print) -> list[Check]:
    """Return lattice constants, bulk moduli and bond lengths of the engines in use."""
    from ase import Atoms
    from ase.build import bulk
    from ase.optimize import BFGS

    from gnnip.sampling import aimd, ean, gese2, normal_modes, p4, sic

    rng = np.random.default_rng(0)
    checks: list[Check] = []

    def add(*values: Any) -> None:
        checks.append(Check(*values))
        progress(f"{checks[-1].system} {checks[-1].quantity} {checks[-1].found:.3f}")

    for method, constants in (
        ("GFN2-xTB", (4.28, 4.34, 4.40, 4.46, 4.52)),
        ("GFN1-xTB", (4.38, 4.44, 4.50, 4.56, 4.62)),
    ):
        a, modulus = equation_of_state(
            lambda a: sic.start(aimd.Plan("sic", 64, lattice=a), rng),
            constants,
            make_engine(f"xtb method={method}").calculator(),
        )
        add("SiC zincblende", "lattice constant", "Å", method, a, 4.360)
        add("SiC zincblende", "bulk modulus", "GPa", method, modulus, 225.0)
    for method, constants in (
        ("IPEA1-xTB", (4.85, 4.93, 5.01, 5.09, 5.17)),
        ("GFN1-xTB", (5.14, 5.23, 5.32, 5.41, 5.50)),
        ("GFN2-xTB", (4.65, 4.73, 4.81, 4.89, 4.97)),
    ):
        a, modulus = equation_of_state(
            lambda a: bulk("HfO2", "fluorite", a=a, cubic=True) * (2, 2, 2),
            constants,
            make_engine(f"xtb method={method}").calculator(),
        )
        add("HfO2 fluorite", "lattice constant", "Å", method, a, 5.08)
        add("HfO2 fluorite", "bulk modulus", "GPa", method, modulus, 200.0)
    gfn1 = make_engine("xtb method=GFN1-xTB").calculator()
    network = gese2.start(gese2.paper_plan(), rng)
    network.calc = gfn1
    BFGS(network, logfile=None).run(fmax=0.05, steps=40)
    distances = network.get_all_distances(mic=True)[network.numbers == 32][:, network.numbers == 34]
    bonds = distances[distances < 2.8]
    add("GeSe2 network", "Ge-Se bond", "Å", "GFN1-xTB", float(bonds.mean()), 2.36)
    add("GeSe2 network", "neighbours of Ge", "", "GFN1-xTB", len(bonds) / 16, 4.0)
    molecule = normal_modes.relax(Atoms("P4", positions=p4.molecule()), gfn1)
    add("P4 molecule", "bond", "Å", "GFN1-xTB", float(molecule.get_distance(0, 1)), 2.21)
    for name, charge, positions, symbols, pair, known in (
        ("nitrate", -1, ean.anion(), ean.ANION, (0, 1), 1.25),
        ("ethylammonium", 1, ean.cation(), ean.CATION, (0, 4), 1.50),
    ):
        ion = Atoms(list(symbols), positions=positions)
        calculator = make_engine(f"xtb method=GFN1-xTB charge={charge}").calculator()
        ion = normal_modes.relax(ion, calculator, force=0.01)
        bond = f"{symbols[pair[0]]}-{symbols[pair[1]]} bond"
        add(name, bond, "Å", "GFN1-xTB", float(ion.get_distance(*pair)), known)
    return checks


def archive(path: str | Path) -> list[Check]:
    """Return for each temperature of an archive the place of the first peak of its radial
    distribution, the neighbours within the bond's cutoff and the closest pair of atoms.

    DataError for an archive whose bonds are not known here.
    """
    path = Path(path)
    if path.stem not in PAIRS:
        raise DataError(f"No bonds are known of {path.name}; the sets are {', '.join(PAIRS)}.")
    frames = read_frames(path)
    engine = str(frames.attributes.get("engine", "")).split(" charge")[0]
    temperatures = frames.column("temperature_k")
    phases = frames.metadata.get("phase", np.full(frames.n_frames, ""))
    checks = []
    for phase, temperature in sorted(set(zip(phases.tolist(), temperatures.tolist(), strict=True))):
        chosen = np.flatnonzero((phases == phase) & (temperatures == temperature))
        where = f"{path.stem} {phase} {temperature:.0f} K ({len(chosen)} frames)"
        closest = np.inf
        for pair in PAIRS[path.stem]:
            lengths, neighbours = [], []
            for frame in chosen:
                distances, one, two = _distances(frames, int(frame), pair)
                closest = min(closest, float(distances.min()))
                block = distances[np.ix_(one, two)]
                lengths.append(block[block < pair.cutoff])
                neighbours.append((block < pair.cutoff).sum() / one.sum())
            values = np.concatenate(lengths)
            name = f"{pair.first}-{pair.second}"
            peak = _peak(values, pair.cutoff)
            checks.append(Check(where, f"{name} first peak", "Å", engine, peak, pair.length))
            number = float(np.mean(neighbours))
            what = f"{pair.second} around {pair.first} within {pair.cutoff:g} Å"
            checks.append(Check(where, what, "", engine, number, pair.neighbours))
        checks.append(Check(where, "closest pair of atoms", "Å", engine, closest, np.nan))
    return checks


def _distances(frames: Any, frame: int, pair: Pair) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    from ase import Atoms

    part = frames.atoms(frame)
    atoms = Atoms(
        numbers=frames.numbers[part],
        positions=frames.positions[part],
        cell=frames.cells[frame],
        pbc=frames.pbc[frame],
    )
    distances = atoms.get_all_distances(mic=True)
    np.fill_diagonal(distances, np.inf)
    return distances, atoms.symbols == pair.first, atoms.symbols == pair.second


def _peak(lengths: np.ndarray, cutoff: float) -> float:
    """Return where the radial distribution is highest, Angstrom; bins of 0.02 Angstrom."""
    if not len(lengths):
        return float("nan")
    counts, edges = np.histogram(lengths, bins=np.arange(0.5, cutoff, 0.02))
    middles = 0.5 * (edges[1:] + edges[:-1])
    smooth = np.convolve(counts / middles**2, np.ones(3) / 3, mode="same")
    return float(middles[np.argmax(smooth)])


def table(checks: Sequence[Check]) -> str:
    """Return the checks as a Markdown table with the deviation in per cent."""
    lines = [
        "| system | quantity | engine | found | known | deviation |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for check in checks:
        unit = f" {check.unit}" if check.unit else ""
        known = off = ""
        if np.isfinite(check.known):
            known = f"{check.known:.4g}{unit}"
            off = f"{100 * (check.found / check.known - 1):+.1f} %"
        cells = (check.system, check.quantity, check.engine, f"{check.found:.4g}{unit}", known, off)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    """Print the table of the materials, or of the archives that are named."""
    if arguments:
        print(table([check for path in arguments for check in archive(path)]))
    else:
        print(table(materials(lambda line: print(line, file=sys.stderr))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
