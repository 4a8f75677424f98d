"""Published frames kept outside the repository: imported as the registry says, with known values.

The files are served to the import as a mirror folder, so that it runs as it would for a user.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from gnnip import units
from gnnip.datasets import published
from gnnip.datasets.arrays import FrameArrays
from gnnip.datasets.imports import runner
from gnnip.datasets.imports.importer import read_files
from gnnip.datasets.imports.settings import ImportSettings
from gnnip.datasets.splits import make_split
from gnnip.datasets.store import load_arrays
from gnnip.errors import DataError

#: name of a file in the mirror, where it begins -> where it lies
PLACES = {
    "ani": "ani1",
    "comp6": "comp6",
    "hfo2_sevennet": "hfo2/sevennet_example",
    "hfo2_films": "hfo2/cesmix",
    "sic_tersoff": "sic_tersoff",
    "au_mgo/nnp": "au_mgo/n2p2_4g_examples",
    "au_mgo": "au_mgo/dft-optimized-struct",
}
SETS = (
    "ani_s01",
    "au_mgo_examples",
    "au_mgo_relaxed",
    "comp6_s66x8",
    "hfo2_films",
    "hfo2_sevennet",
    "sic_tersoff",
)


@pytest.fixture(scope="module")
def data(shared: Path) -> Path:
    folder = shared / "data"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent")
    return folder


@pytest.fixture(scope="module")
def imported(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, FrameArrays]:
    """Every set of which the files are here, fetched from a mirror and read back."""
    mirror, work = tmp_path_factory.mktemp("mirror"), tmp_path_factory.mktemp("work")
    frames = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GNNIP_MIRROR", str(mirror))
        patch.setenv("GNNIP_DOWNLOADS", str(work / "downloads"))
        for name in SETS:
            for file in published.find_published(name).files:
                start = max((p for p in PLACES if file.name.startswith(p)), key=len)
                (mirror / file.name).parent.mkdir(exist_ok=True)
                shutil.copy(data / PLACES[start] / Path(file.name).name, mirror / file.name)
            published.import_published(name, work / f"{name}.h5", progress=lambda _: None)
            frames[name] = load_arrays(work / f"{name}.h5")
    return frames


def test_counts_and_sizes(imported):
    found = {
        name: (frames.n_frames, int(frames.n_atoms.min()), int(frames.n_atoms.max()))
        for name, frames in imported.items()
    }
    assert found == {
        "ani_s01": (10800, 3, 5),
        "au_mgo_examples": (19, 110, 110),
        "au_mgo_relaxed": (3, 110, 110),
        "comp6_s66x8": (528, 6, 34),
        "hfo2_films": (105, 60, 98),
        "hfo2_sevennet": (10, 12, 96),
        "sic_tersoff": (8, 6, 24),
    }
    for frames in imported.values():
        assert frames.units["positions"] == "Angstrom"
        assert frames.units["energies"] == "eV"
        assert frames.attributes["labeller"] == "imported"
        assert frames.attributes["reference"] == "published"


def energies(frames: FrameArrays) -> dict[str, float]:
    return dict(zip(frames.metadata["source"], frames.energies["total"], strict=True))


def shortest(frames: FrameArrays, frame: int, one: int, two: int) -> float:
    """The shortest distance (Å) between two elements of a frame, periodic images included."""
    import ase

    part = frames.atom_slice(frame)
    atoms = ase.Atoms(
        frames.numbers[part], frames.positions[part], cell=frames.cells[frame], pbc=True
    )
    distances = atoms.get_all_distances(mic=True)
    np.fill_diagonal(distances, np.inf)
    return float(distances[atoms.numbers == one][:, atoms.numbers == two].min())


def test_wetting_costs_what_is_published(imported):
    energy = energies(imported["au_mgo_relaxed"])
    difference = energy["3-undoped.data"] - energy["1-undoped.data"]
    assert 1000 * difference == pytest.approx(934.82, abs=0.01)
    assert energy["1-undoped.data"] / units.HARTREE == pytest.approx(-54268.593817, abs=1e-6)
    assert energy["1-doped.data"] / units.HARTREE == pytest.approx(-54396.012253, abs=1e-6)


def test_relaxed_gold_sits_where_it_is_published(imported):
    frames = imported["au_mgo_relaxed"]
    place = {source: i for i, source in enumerate(frames.metadata["source"])}
    gold, oxygen = 79, 8
    for name, gold_oxygen, gold_gold in (
        ("1-undoped.data", 2.1883, 2.5154),
        ("1-doped.data", 2.3300, 2.5582),
        ("3-undoped.data", None, 2.5443),
    ):
        assert shortest(frames, place[name], gold, gold) == pytest.approx(gold_gold, abs=1e-4)
        if gold_oxygen is not None:
            assert shortest(frames, place[name], gold, oxygen) == pytest.approx(
                gold_oxygen, abs=1e-4
            )


def test_both_formats_of_the_relaxed_structures_agree(data, imported):
    files = sorted((data / "au_mgo/dft-optimized-struct").glob("*.xyz"))
    other, _ = read_files(files, ImportSettings(format="extxyz", forces=False))
    ours = energies(imported["au_mgo_relaxed"])
    for source, energy in energies(other).items():
        # these files were converted with 27.211386376 eV per Hartree
        assert energy * units.HARTREE / 27.211386376 == pytest.approx(
            ours[source.replace(".xyz", ".data")], abs=1e-5
        )


def test_placeholder_forces_are_not_taken_for_forces(data, imported):
    assert imported["au_mgo_relaxed"].forces == {}
    files = sorted((data / "au_mgo/dft-optimized-struct").glob("*.data"))
    with pytest.raises(
        DataError, match=r"zero on many atoms, first frame 0.*108 of 110.*'missing'"
    ):
        read_files(files, ImportSettings(format="runner"))
    asked = ImportSettings(format="runner", zero_forces="missing")
    with pytest.raises(DataError, match=r"3 of 3 frames have no forces.*forces are asked for"):
        read_files(files, asked)
    kept = ImportSettings(format="runner", zero_forces="real")
    assert read_files(files, kept)[0].forces["total"].shape == (330, 3)


def test_displaced_gold_frames(data, imported):
    frames = imported["au_mgo_examples"]
    total = np.add.reduceat(frames.forces["total"], frames.offsets[:-1])
    assert np.abs(total).max() < 1e-3
    doped = np.add.reduceat(frames.numbers == 13, frames.offsets[:-1])
    assert sorted(doped) == [0] * 8 + [3] * 11
    predicted = frames.metadata["source"] == "nnp-predict_input.data"
    assert frames.energies["total"][predicted] / units.HARTREE == pytest.approx(
        -54395.981012, abs=1e-6
    )
    np.testing.assert_allclose(frames.metadata["total_charge"], 0.0, atol=1e-12)
    file = data / "au_mgo/n2p2_4g_examples/nnp-train_input.data"
    for batch in runner.read(file, ImportSettings(format="runner")):
        assert abs(float(batch.charges.sum())) < 1e-3


def test_runner_forces_pull_displaced_atoms_back(imported):
    """The sign of the forces: opposite to the displacement from the relaxed slab."""
    frames, relaxed = imported["au_mgo_examples"], imported["au_mgo_relaxed"]
    slab = relaxed.numbers[relaxed.atom_slice(0)] != 79
    place = {source: i for i, source in enumerate(relaxed.metadata["source"])}
    for frame in range(frames.n_frames):
        part = frames.atom_slice(frame)
        name = "1-doped.data" if (frames.numbers[part] == 13).any() else "1-undoped.data"
        start = relaxed.positions[relaxed.atom_slice(place[name])]
        np.testing.assert_array_equal(
            frames.numbers[part], relaxed.numbers[relaxed.atom_slice(place[name])]
        )
        moved = (frames.positions[part] - start)[slab]
        assert np.abs(moved).max() < 0.2
        pull = np.sum(moved * frames.forces["total"][part][slab])
        assert pull < 0.0


def test_gradients_become_forces(data, imported):
    frames = imported["comp6_s66x8"]
    energy, force = frames.energies["total"], frames.forces["total"]
    ratios = []
    for i in range(frames.n_frames - 1):
        one, two = frames.atom_slice(i), frames.atom_slice(i + 1)
        if frames.metadata["trajectory"][i] != frames.metadata["trajectory"][i + 1]:
            continue
        step = frames.positions[two] - frames.positions[one]
        ratios.append((energy[i + 1] - energy[i]) / -np.sum(0.5 * (force[one] + force[two]) * step))
    assert np.median(ratios) == pytest.approx(1.0, abs=0.03)
    total = np.add.reduceat(force, frames.offsets[:-1])
    assert np.abs(total).max() < 1e-3
    file = data / "comp6/s66x8_wb97x6-31gd.h5"
    with pytest.raises(DataError, match=r"opposite sign, set forces_are: gradient"):
        read_files([file], ImportSettings(format="ani", forces="forces"))
    bohr = {"forces": "Hartree/Bohr"}
    with pytest.raises(DataError, match=r"mixed units"):
        read_files(
            [file],
            ImportSettings(format="ani", forces="forces", forces_are="gradient", units=bohr),
        )


def test_ani_molecules(imported):
    frames = imported["ani_s01"]
    sizes, counts = np.unique(frames.n_atoms, return_counts=True)
    assert dict(zip(sizes.tolist(), counts.tolist(), strict=True)) == {3: 1800, 4: 3600, 5: 5400}
    assert len(np.unique(frames.metadata["trajectory"])) == 3
    # bound by 1 Ha at most, against the isolated atoms that the release states
    atoms = {1: -0.500607632585, 6: -37.8302333826, 7: -54.5680045287, 8: -75.0362229210}
    isolated = np.vectorize(atoms.get)(frames.numbers)
    bound = frames.energies["total"] / units.HARTREE - np.add.reduceat(
        isolated, frames.offsets[:-1]
    )
    assert -1.0 < bound.min() < bound.max() < 0.0
    split = make_split(frames, "trajectory", seed=0)
    molecules = [set(frames.metadata["trajectory"][part]) for part in split.values()]
    assert sum(map(len, molecules)) == 3


def test_vasp_and_extended_xyz(imported):
    cells = imported["hfo2_sevennet"]
    energy = energies(cells)
    for name, value in (
        ("OUTCAR_1", -2759.115555),
        ("OUTCAR_4", -2754.790286),
        ("OUTCAR_9", -347.812219),
        ("OUTCAR_10", -1717.681233),
    ):
        assert energy[name] == pytest.approx(value, abs=1e-6)
    assert cells.stresses["total"].shape == (10, 3, 3)
    films = imported["hfo2_films"]
    per_atom = films.energies["total"] / films.n_atoms
    oxide = films.metadata["source"] == "HfO2_mp352_ads_form_sorted.extxyz"
    for chosen, low, high, rms in ((oxide, -8.681, -7.367, 2.26), (~oxide, -6.697, -6.544, 0.99)):
        assert per_atom[chosen].min() == pytest.approx(low, abs=1e-3)
        assert per_atom[chosen].max() == pytest.approx(high, abs=1e-3)
        force = films.subset(np.flatnonzero(chosen)).forces["total"]
        assert np.sqrt(np.mean(force**2)) == pytest.approx(rms, abs=0.005)
    assert (films.metadata["trajectory"] == "Hf32O66").sum() == 37
    total = np.add.reduceat(films.forces["total"], films.offsets[:-1])
    # the archive keeps forces to 1e-6 eV/Å
    assert np.abs(total).max() < 5e-5


def test_ionic_liquid(data):
    settings = published.find_published("ean").frames
    frames, report = read_files([data / "ean/validation_original_subset.json"], settings)
    assert (frames.n_frames, set(frames.n_atoms)) == (38, {225})
    assert report.duplicates.count == report.non_finite.count == 0
    energy, force = frames.energies["total"], frames.forces["total"]
    assert energy.mean() == pytest.approx(-1264.27, abs=0.005)
    assert (energy.min(), energy.max()) == pytest.approx((-1272.54, -1181.61), abs=0.005)
    assert np.abs(force).mean() == pytest.approx(0.454, abs=0.0005)
    assert np.sqrt(np.mean(force**2)) == pytest.approx(0.795, abs=0.0005)
    assert np.abs(force).max() == pytest.approx(7.06, abs=0.005)
    np.testing.assert_allclose(frames.cells, np.eye(3)[None] * np.full((38, 1, 1), 12.9))
    # the elements, which the file does not hold: the first N-H and the N-O of the anions are bonds
    numbers = frames.numbers[frames.atom_slice(0)].reshape(-1)
    assert (numbers[:2].tolist(), numbers[165:167].tolist()) == ([7, 1], [7, 8])
    for first, second, low, high in ((0, 1, 0.9, 1.6), (165, 166, 1.1, 1.6)):
        step = (
            frames.positions.reshape(38, 225, 3)[:, second]
            - frames.positions.reshape(38, 225, 3)[:, first]
        )
        step -= 12.9 * np.rint(step / 12.9)
        length = np.linalg.norm(step, axis=1)
        assert low < length.min()
        assert length.max() < high
