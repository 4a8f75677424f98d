"""What the frames of a data set look like: structure against known values, energies, forces.

Behind the artefact `reference_data` of every card whose data come from an engine, and behind
`python -m gnnip.artefacts.reference_checks data/*.h5`.

Known values are measured ones. 3C-SiC: a = 4.360 Angstrom, so Si-C 1.888. GeSe2: Ge-Se 2.36
Angstrom, Ge fourfold. Amorphous HfO2: Hf-O 2.13 Angstrom, Hf six- to sevenfold. P4: 2.21 Angstrom,
three bonds. Nitrate: N-O 1.25 Angstrom; ethylammonium: C-N 1.50 Angstrom. Molecules: C-H of methane
1.09 Angstrom. MgO: a = 4.21 Angstrom, so Mg-O 2.106, sixfold inside; Au2: 2.47 Angstrom. Water:
O-H 0.957 Angstrom in the free molecule, O-O 2.76 Angstrom in ice.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from gnnip.artefacts.inputs import Inputs
from gnnip.artefacts.tables import Result, metric_row, metric_table
from gnnip.datasets.arrays import FrameArrays
from gnnip.errors import DataError, nearest
from gnnip.measurements.selection import atoms_of, spread_evenly

if TYPE_CHECKING:
    from gnnip.artefacts.kinds import ReferenceData

COLUMNS = ("dataset", "record", "group", "name", "x", "value", "text")
R_MAX, BINS = 6.0, 150  #: Angstrom and bins of the radial distributions
AMU_PER_A3_IN_G_PER_CM3 = 1.66053907
#: frames of a group that go into structure, spread over it
MOST_FRAMES = 60


class Bond(NamedTuple):
    """A bond to look for: elements, farthest distance that counts (Angstrom), known length and
    number of neighbours, a mean over all atoms of the first one (NaN where it depends on the
    phase)."""

    first: str
    second: str
    cutoff: float
    length: float
    neighbours: float

    @property
    def name(self) -> str:
        """Both elements, e.g. Si-C."""
        return f"{self.first}-{self.second}"


class Apart(NamedTuple):
    """Two elements that have no bond in the material, and the distance (Angstrom) below which they
    would have one."""

    first: str
    second: str
    distance: float

    @property
    def name(self) -> str:
        """Both elements, e.g. O-O."""
        return f"{self.first}-{self.second}"


class Known(NamedTuple):
    """What is known of a data set: its bonds, the columns that tell ensembles apart, and pairs of
    elements that should stay apart."""

    bonds: tuple[Bond, ...]
    groups: tuple[str, ...] = ("phase", "temperature_k")
    apart: tuple[Apart, ...] = ()


_WATER = (Bond("O", "H", 1.3, 0.957, 2.0), Bond("O", "O", 3.3, 2.76, np.nan))
KNOWN: dict[str, Known] = {
    "sic": Known((Bond("Si", "C", 2.5, 1.888, 4.0),)),
    "gese2": Known((Bond("Ge", "Se", 3.0, 2.36, 4.0),)),
    # glass by glass; O-O of peroxides is 1.5 Angstrom
    "hfo2": Known((Bond("Hf", "O", 2.8, 2.13, 6.5),), ("trajectory",), (Apart("O", "O", 1.6),)),
    "p4": Known((Bond("P", "P", 2.7, 2.21, 3.0),)),
    "ean": Known((Bond("N", "O", 1.6, 1.25, 1.5), Bond("C", "N", 1.8, 1.50, 0.5))),
    "ani": Known((Bond("C", "H", 1.4, 1.09, np.nan),), ("n_heavy",)),
    "au_mgo": Known(
        (Bond("Mg", "O", 2.6, 2.106, np.nan), Bond("Au", "Au", 3.2, 2.47, 1.0)),
        ("support", "configuration"),
    ),
    "water_anion": Known(_WATER, ("state", "temperature_k")),
    "water_anion_pimd": Known(_WATER, ("geometry", "temperature_k")),
}


class Bonds(NamedTuple):
    """What was found of one bond in the frames of one group."""

    first_peak: float  #: Angstrom
    neighbours: float  #: of an atom of the first element
    closest: float  #: Angstrom, of any two atoms


def known_of(dataset: str) -> Known:
    """Return what is known of a data set; DataError for one whose bonds are not listed."""
    # the same material, labelled by DFT
    dataset = dataset.removesuffix("_dft")
    if dataset not in KNOWN:
        raise DataError(f"No bonds are known of '{dataset}'{nearest(dataset, KNOWN)}.")
    return KNOWN[dataset]


def groups(frames: FrameArrays, columns: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the name of each group of frames (values of the columns that are there) and the frames,
    in ascending order of the values; without any column all frames are one group."""
    present = [name for name in columns if name in frames.metadata]
    columns_of = [frames.column(name).tolist() for name in present]
    keys = list(zip(*columns_of, strict=True)) or [()] * frames.n_frames
    for key in sorted(set(keys)):
        words = []
        for column, value in zip(present, key, strict=True):
            if column == "temperature_k":
                words.append(f"{value:.0f} K")
            elif column == "n_heavy":
                words.append(f"{value} heavy atom{'s' if value > 1 else ''}")
            else:
                words.append(str(value).replace("_", "-"))
        yield " ".join(words).strip(), np.array([i for i, k in enumerate(keys) if k == key])


def bonds(frames: FrameArrays, chosen: np.ndarray, bond: Bond) -> Bonds:
    """Return length and number of a bond, and the closest pair of atoms, over the frames."""
    lengths, neighbours, closest = [], [], np.inf
    for frame in chosen:
        atoms = atoms_of(frames, int(frame))
        distances = atoms.get_all_distances(mic=bool(atoms.pbc.any()))
        np.fill_diagonal(distances, np.inf)
        closest = min(closest, float(distances.min()))
        one, two = atoms.symbols == bond.first, atoms.symbols == bond.second
        block = distances[np.ix_(one, two)]
        lengths.append(block[block < bond.cutoff])
        if one.any():
            neighbours.append((block < bond.cutoff).sum() / one.sum())
    found = float(np.mean(neighbours)) if neighbours else float("nan")
    return Bonds(_peak(np.concatenate(lengths), bond.cutoff), found, closest)


class Pairs(NamedTuple):
    """What was found of two elements that should stay apart in the frames of one group."""

    close_pairs: float  #: nearer than that, a mean over the frames
    shortest: float  #: Angstrom; NaN where none is nearer than twice that


def pairs(frames: FrameArrays, chosen: np.ndarray, apart: Apart) -> Pairs:
    """Return how many pairs are closer than they should be, and the shortest distance of any."""
    from ase.neighborlist import neighbor_list

    limits = {(apart.first, apart.second): 2.0 * apart.distance}
    found = [neighbor_list("d", atoms_of(frames, int(frame)), limits) for frame in chosen]
    # a pair of one element is listed from both of its ends, as any other is
    count = float(np.mean([(lengths < apart.distance).sum() for lengths in found])) / 2.0
    return Pairs(count, float(min((d.min() for d in found if len(d)), default=np.nan)))


def density(frames: FrameArrays, chosen: np.ndarray) -> float:
    """Return the mean density of the frames, g/cm^3; NaN for open systems."""
    found = []
    for frame in chosen:
        atoms = atoms_of(frames, int(frame))
        open_system = not atoms.pbc.all()
        found.append(np.nan if open_system else atoms.get_masses().sum() / atoms.get_volume())
    return float(np.mean(found)) * AMU_PER_A3_IN_G_PER_CM3


def relative_energies(frames: FrameArrays) -> np.ndarray:
    """Return the energy of each frame (n,) above the lowest of the same molecule, or of the same
    composition, meV/atom."""
    energies = sum(frames.energies.values()) * 1000.0 / frames.n_atoms
    if "molecule" in frames.metadata:
        kinds = frames.column("molecule").astype(str).tolist()
    else:
        kinds = [np.sort(frames.structure(i)[1]).tobytes() for i in range(len(energies))]
    lowest = pd.Series(energies).groupby(pd.Series(kinds)).transform("min").to_numpy()
    return np.asarray(energies - lowest)


def reference_data(inputs: Inputs, options: ReferenceData) -> Result:
    """Structure, energies and forces of the data sets that the artefact names, by ensemble.

    Tidy: dataset, record, group, name, x, value, text. By record:

    about : title, engine, n_frames, n_atoms, n_trajectories of the set, and failed, the frames that
        could not be labelled.
    rdf : g(r) of the bond in `name`, x in Angstrom; of molecules the probability density of the
        distance, 1/Angstrom.
    bond : first_peak (Angstrom), neighbours, known_length and known_neighbours of the bond in
        `text`, by `name`; closest, the shortest distance of any two atoms; close_pairs, how many
        pairs of the elements in `text`, which should have no bond, are as near as one, and the
        shortest distance of such a pair; x what counts as near.
    energy : per frame, x its place in the set, above the lowest of the composition or molecule,
        meV/atom.
    force : root mean square of the components, eV/Angstrom.
    """
    rows: list[tuple[Any, ...]] = []
    metrics = []
    for dataset in inputs.datasets:
        frames, known = inputs.arrays(dataset), known_of(dataset)
        own = [*_about(frames), *_ensembles(frames, known)]
        rows += [(dataset, *row) for row in own]
        name = f"{dataset}_n_frames"
        metrics.append(metric_row(inputs, name, "", frames.n_frames, dataset=dataset))
        # read backwards, so that those of the first ensemble stay
        peaks = {row[5]: row[4] for row in reversed(own) if row[2] == "first_peak"}
        for bond in known.bonds:
            name = f"{dataset}_{bond.name}_first_peak"
            about: dict[str, Any] = {"dataset": dataset}
            row = metric_row(inputs, name, "A", peaks[bond.name], baseline=bond.length, **about)
            metrics.append(row)
        for apart in known.apart:
            close = [row[4] for row in own if row[2] == "close_pairs" and row[5] == apart.name]
            name = f"{dataset}_{apart.name}_close_pairs"  # of the best ensemble
            metrics.append(metric_row(inputs, name, "", min(close), dataset=dataset))
    return pd.DataFrame(rows, columns=list(COLUMNS)), metric_table(metrics)


#: a row of the tidy table without its data set
Row = tuple[str, str, str, float | None, float, str]


def _about(frames: FrameArrays) -> Iterator[Row]:
    facts = frames.attributes
    trajectories = frames.metadata.get("trajectory")
    yield "about", "", "title", None, np.nan, str(facts.get("title", ""))
    yield "about", "", "engine", None, np.nan, _engine(facts)
    yield "about", "", "n_frames", None, frames.n_frames, ""
    yield "about", "", "n_atoms", None, int(frames.n_atoms.max()), ""
    if trajectories is not None:
        yield "about", "", "n_trajectories", None, len(np.unique(trajectories)), ""
    yield "about", "", "failed", None, len(json.loads(str(facts.get("failed", "[]")))), ""


def _ensembles(frames: FrameArrays, known: Known) -> Iterator[Row]:
    """Yield the rows of bonds, energies and forces, one ensemble after the other."""
    energies = relative_energies(frames)
    for group, chosen in groups(frames, known.groups):
        some = spread_evenly(chosen, MOST_FRAMES)
        for bond in known.bonds:
            for x, y in zip(*_distribution(frames, some, bond), strict=True):
                yield "rdf", group, bond.name, float(f"{x:.6g}"), float(f"{y:.5g}"), ""
            for name, value in bonds(frames, some, bond)._asdict().items():
                yield "bond", group, name, None, value, bond.name
            yield "bond", group, "known_length", None, bond.length, bond.name
            yield "bond", group, "known_neighbours", None, bond.neighbours, bond.name
        for apart in known.apart:
            for name, value in pairs(frames, some, apart)._asdict().items():
                yield "bond", group, name, apart.distance, value, apart.name
        for frame in chosen:
            yield "energy", group, "", int(frame), float(f"{energies[frame]:.6g}"), ""
        own = frames.subset(chosen)
        forces = np.sum([own.force(term) for term in own.terms], axis=0)
        yield "force", group, "rms", None, float(np.sqrt(np.mean(np.square(forces)))), ""


def _engine(facts: Mapping[str, Any]) -> str:
    """Return engine and level of theory in a few words, e.g. GFN1-xTB (xtb)."""
    name, *settings = shlex.split(str(facts.get("engine", facts.get("labeller", ""))))
    values = dict(setting.split("=", 1) for setting in settings)
    level = "/".join(values[key] for key in ("method", "functional", "basis") if key in values)
    return f"{level} ({name})" if level else name


def _distribution(
    frames: FrameArrays, chosen: np.ndarray, bond: Bond
) -> tuple[np.ndarray, np.ndarray]:
    """Return the centres of the bins and the radial distribution of one pair of elements."""
    from ase.data import atomic_numbers

    from gnnip.md import mean_radial_distribution

    first, second = sorted(atomic_numbers[s] for s in (bond.first, bond.second))
    structures = [frames.structure(int(frame)) for frame in chosen]
    # a molecule without the bond says nothing about it
    with_both = [s for s in structures if {first, second} <= set(s[1].tolist())]
    if not with_both:
        middles = (np.arange(BINS) + 0.5) * (R_MAX / BINS)
        return middles, np.zeros(BINS)
    found = mean_radial_distribution(with_both, r_max=R_MAX, bins=BINS)
    return found.r, found.g[first, second]


def _peak(lengths: np.ndarray, cutoff: float) -> float:
    """Return where the radial distribution is highest, Angstrom; bins of 0.02 Angstrom."""
    if not len(lengths):
        return float("nan")
    counts, edges = np.histogram(lengths, bins=np.arange(0.5, cutoff, 0.02))
    middles = 0.5 * (edges[1:] + edges[:-1])
    smooth = np.convolve(counts / middles**2, np.ones(3) / 3, mode="same")
    return float(middles[np.argmax(smooth)])
