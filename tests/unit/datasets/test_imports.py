"""Readers and importer on small files made here: units, signs, bad frames, bad input."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from pathlib import Path

import h5py
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from gnnip import units
from gnnip.datasets.imports import importer
from gnnip.datasets.imports.checks import SeenFrames
from gnnip.datasets.imports.folder import folder_files, import_folder
from gnnip.datasets.imports.importer import import_files, read_files
from gnnip.datasets.imports.settings import FolderSource, ImportSettings
from gnnip.datasets.splits import make_split
from gnnip.datasets.store import frame_writer, load_arrays
from gnnip.errors import ConfigError, DataError
from gnnip.strict import validate

SPRING = 3.0  #: eV/Å^2


def settings(format: str = "extxyz", **values: object) -> ImportSettings:
    return validate(ImportSettings, {"format": format, **values}, "test")


def dimers(count: int = 12, seed: int = 0) -> list[tuple[np.ndarray, float, np.ndarray]]:
    """Positions (2, 3) in Å, energy in eV and forces of a spring that swings."""
    rng = np.random.default_rng(seed)
    frames = []
    for length in 1.0 + 0.2 * np.sin(0.4 * np.arange(count)):
        positions = np.array([[0.0, 0, 0], [length, 0, 0]]) + 0.01 * rng.normal(size=(2, 3))
        bond = positions[1] - positions[0]
        stretch = np.linalg.norm(bond) - 1.0
        pull = SPRING * stretch * bond / np.linalg.norm(bond)
        frames.append((positions, 0.5 * SPRING * stretch**2 - 4.0, np.array([pull, -pull])))
    return frames


def write_xyz(
    path: Path,
    frames: list[tuple[np.ndarray, float, np.ndarray]],
    energy: str = "energy",
    forces: str | None = "forces",
    scale: float = 1.0,
    **info: object,
) -> Path:
    """Write extended XYZ with the given key names; energies and forces times `scale`."""
    lines = []
    for positions, value, force in frames:
        columns = "species:S:1:pos:R:3" + (f":{forces}:R:3" if forces else "")
        comment = " ".join(f"{k}={v}" for k, v in {energy: scale * value, **info}.items())
        lines += [str(len(positions)), f"Properties={columns} {comment}"]
        for point, f in zip(positions, force, strict=True):
            numbers = [*point, *(scale * f)] if forces else [*point]
            lines.append("O " + " ".join(f"{x:.10f}" for x in numbers))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_runner(path: Path, frames: list[tuple[np.ndarray, float, np.ndarray]]) -> Path:
    lines = []
    for positions, energy, forces in frames:
        lines += ["begin", "comment made up"]
        lines += [f"lattice {' '.join(map(str, row))}" for row in 20.0 * np.eye(3)]
        for point, force in zip(positions, forces, strict=True):
            p, f = point / units.BOHR, force / units.HARTREE_PER_BOHR
            lines.append(f"atom {p[0]} {p[1]} {p[2]} Au 0.25 0.0 {f[0]} {f[1]} {f[2]}")
        lines += [f"energy {energy / units.HARTREE}", "charge 0.5", "end"]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_ani(path: Path, molecules: dict[str, tuple[str, int]], **arrays: np.ndarray) -> Path:
    """Write molecules {name: (elements, conformations)} as ANI-1 does."""
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        for name, (elements, count) in molecules.items():
            group = file.create_group(f"release/{name}")
            group["coordinates"] = rng.normal(size=(count, len(elements), 3)).astype(np.float32)
            group["energies"] = rng.normal(size=count)
            group["species"] = np.array([e.encode() for e in elements])
            group["coordinatesHE"] = rng.normal(size=(2, len(elements), 3)).astype(np.float32)
            group["energiesHE"] = np.full(2, 9.0)
            for key, values in arrays.items():
                group[key] = values
    return path


# --- formats and units ----------------------------------------------------------------------------


def test_runner_is_read_in_atomic_units(tmp_path):
    made = dimers()
    path = write_runner(tmp_path / "input.data", made)
    frames, report = read_files([path], settings("runner"))
    assert frames.n_frames == report.n_kept == 12
    np.testing.assert_allclose(frames.positions, np.concatenate([p for p, _, _ in made]))
    np.testing.assert_allclose(frames.energies["total"], [e for _, e, _ in made])
    np.testing.assert_allclose(
        frames.forces["total"], np.concatenate([f for _, _, f in made]), atol=1e-12
    )
    np.testing.assert_allclose(frames.cells[3], 20.0 * units.BOHR * np.eye(3))
    assert frames.pbc.all()
    assert set(frames.numbers) == {79}
    np.testing.assert_allclose(frames.metadata["total_charge"], 0.5)
    assert report.work["median"] == pytest.approx(1.0, abs=0.02)


def test_extended_xyz_with_any_names_and_units(tmp_path):
    made = dimers()
    path = write_xyz(
        tmp_path / "a.xyz",
        made,
        "REF_energy",
        "REF_forces",
        1.0 / units.KCAL_PER_MOL,
        run="r1",
        T=3,
    )
    chosen = settings(
        energy="REF_energy",
        forces="REF_forces",
        units={"energy": "kcal/mol"},
        trajectory_key="run",
        columns={"temperature_k": "T"},
        term="dft",
    )
    frames, _ = read_files([path], chosen)
    np.testing.assert_allclose(frames.energies["dft"], [e for _, e, _ in made], atol=1e-9)
    np.testing.assert_allclose(
        frames.forces["dft"], np.concatenate([f for _, _, f in made]), atol=1e-9
    )
    assert set(frames.metadata["trajectory"]) == {"r1"}
    assert set(frames.metadata["temperature_k"]) == {3}
    assert frames.cells is None


def test_stress_of_extended_xyz_keeps_its_sign_and_order(tmp_path):
    stress = np.array([0.1, 0.2, 0.3, 0.04, 0.05, 0.06])
    atoms = Atoms("O2", [[0, 0, 0], [1.0, 0, 0]], cell=4 * np.eye(3), pbc=True)
    atoms.calc = SinglePointCalculator(atoms, energy=1.0, forces=np.ones((2, 3)), stress=stress)
    write(tmp_path / "a.xyz", [atoms], format="extxyz")
    frames, _ = read_files([tmp_path / "a.xyz"], settings(stress="stress", units={"stress": "GPa"}))
    expected = np.array([[0.1, 0.06, 0.05], [0.06, 0.2, 0.04], [0.05, 0.04, 0.3]])
    np.testing.assert_allclose(frames.stresses["total"][0], units.GPA * expected)
    import_files([tmp_path / "a.xyz"], settings(stress="stress"), tmp_path / "a.h5", root=tmp_path)
    loaded = load_arrays(tmp_path / "a.h5")
    np.testing.assert_allclose(loaded.stress("total")[0], expected)
    assert loaded.pbc.all()


def test_neuralil_takes_the_elements_from_the_settings(tmp_path):
    made = dimers(3)
    lines = [
        {"Energy": e, "Positions": p.tolist(), "Forces": f.tolist(), "Cell-Size": [7.0]}
        for p, e, f in made
    ]
    path = tmp_path / "a.json"
    path.write_text("\n".join(map(json.dumps, lines)) + "\n", encoding="utf-8")
    chosen = settings("neuralil", species=[{"times": 2, "symbols": "N"}])
    frames, _ = read_files([path], chosen)
    assert frames.numbers.tolist() == [7] * 6
    np.testing.assert_allclose(frames.cells[0], 7.0 * np.eye(3))
    np.testing.assert_allclose(frames.energies["total"], [e for _, e, _ in made])
    with pytest.raises(DataError, match=r"line 1: .*shape \(2, 3\) where the species name 3 atoms"):
        read_files([path], settings("neuralil", species=[{"symbols": "N N N"}]))
    with pytest.raises(ConfigError, match="format neuralil needs species"):
        settings("neuralil")


def test_ani_reads_in_pieces_and_keeps_high_energies_apart(tmp_path, monkeypatch):
    monkeypatch.setattr("gnnip.datasets.imports.ani.ROWS", 4)
    path = write_ani(tmp_path / "a.h5", {"m0": ("CHHHH", 10), "m1": ("OHH", 3)})
    frames, _ = read_files([path], settings("ani", trajectory="molecule"))
    assert frames.n_atoms.tolist() == [5] * 10 + [3] * 3
    assert frames.metadata["trajectory"].tolist() == ["m0"] * 10 + ["m1"] * 3
    assert frames.metadata["source_frame"].tolist() == list(range(13))
    with h5py.File(path) as file:
        np.testing.assert_allclose(
            frames.energies["total"][:10], file["release/m0/energies"][()] * units.HARTREE
        )
    more, _ = read_files([path], settings("ani", high_energy=True))
    assert more.n_frames == 17
    assert (more.energies["total"] == 9.0 * units.HARTREE).sum() == 4


def test_an_archive_is_written_in_chunks_and_is_the_same(tmp_path, monkeypatch):
    path = write_xyz(tmp_path / "a.xyz", dimers(30))
    whole, _ = read_files([path], settings())
    monkeypatch.setattr(importer, "CHUNK_ATOMS", 8)
    for name in ("one.h5", "two.h5"):
        report = import_files([path], settings(), tmp_path / name)
    assert report.n_kept == 30
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()
    loaded = load_arrays(tmp_path / "one.h5")
    np.testing.assert_array_equal(loaded.positions, whole.positions.astype(np.float32))
    np.testing.assert_array_equal(loaded.energies["total"], whole.energies["total"])
    assert np.abs(loaded.forces["total"] - whole.forces["total"]).max() <= 0.51e-6
    assert loaded.metadata["trajectory"].tolist() == whole.metadata["trajectory"].tolist()
    assert loaded.cells is None
    assert json.loads(loaded.attributes["import_report"])["n_read"] == 30


# --- what a split holds together ------------------------------------------------------------------


def test_files_are_trajectories(tmp_path):
    for i in range(4):
        write_xyz(tmp_path / f"run{i}.xyz", dimers(5, seed=i))
    source = validate(FolderSource, {"path": str(tmp_path), "format": "extxyz"}, "test")
    import_folder(source, tmp_path / "out" / "a.h5", progress=lambda _: None)
    frames = load_arrays(tmp_path / "out" / "a.h5")
    assert set(frames.metadata["trajectory"]) == {f"run{i}.xyz" for i in range(4)}
    split = make_split(frames, "trajectory", 0)
    parts = [set(frames.metadata["trajectory"][part]) for part in split.values()]
    assert sum(map(len, parts)) == 4


def test_one_long_run_is_cut_into_blocks(tmp_path):
    path = write_xyz(tmp_path / "a.xyz", dimers(20))
    frames, _ = read_files([path], settings(block_frames=5))
    names = frames.metadata["trajectory"].tolist()
    assert names == [f"a.xyz#{i // 5}" for i in range(20)]
    alone, _ = read_files([path], settings(trajectory="frame"))
    assert len(set(alone.metadata["trajectory"])) == 20
    formula, _ = read_files([path], settings(trajectory="composition"))
    assert set(formula.metadata["trajectory"]) == {"O2"}


# --- frames that are not in order -----------------------------------------------------------------


def test_duplicates_are_reported_and_left_out_by_choice(tmp_path):
    made = dimers(6)
    again = (made[1][0], made[1][1] + 0.5, made[1][2])
    path = write_xyz(tmp_path / "a.xyz", [*made, made[2], again])
    frames, report = read_files([path], settings())
    assert frames.n_frames == 8
    assert report.duplicates.frames == [6, 7]
    assert report.relabelled.frames == [7]
    assert any("2 have the geometry of an earlier frame (6, 7)" in s for s in report.sentences())
    frames, report = read_files([path], settings(duplicates="leave_out"))
    assert frames.n_frames == 6
    assert report.left_out == [6, 7]
    with pytest.raises(DataError, match=r"2 of 8 frames are duplicates, first frame 6 of a\.xyz"):
        read_files([path], settings(duplicates="refuse"))


def test_frames_that_are_not_finite(tmp_path):
    made = dimers(5)
    made[3] = (made[3][0], float("nan"), made[3][2])
    path = write_xyz(tmp_path / "a.xyz", made)
    with pytest.raises(DataError, match=r"1 of 5 frames .*first frame 3 of a\.xyz \(energy\)"):
        read_files([path], settings())
    frames, report = read_files([path], settings(non_finite="leave_out"))
    assert frames.n_frames == 4
    assert report.non_finite.frames == report.left_out == [3]


def test_frames_without_forces_where_forces_are_asked_for(tmp_path):
    with_forces, without = dimers(4), dimers(3, seed=1)
    files = [
        write_xyz(tmp_path / "a.xyz", with_forces),
        write_xyz(tmp_path / "b.xyz", without, forces=None),
    ]
    with pytest.raises(
        DataError,
        match=r"3 of 7 frames have no forces, first frame 0 of b\.xyz, and forces are ask",
    ):
        read_files(files, settings())
    with pytest.raises(DataError, match=r"3 of 7 frames have no forces, first frame 0 of b\.xyz"):
        read_files(files, settings(forces="forces"))
    frames, _ = read_files(files, settings(missing_forces="leave_out"))
    assert frames.n_frames == 4
    for order in (files, files[::-1]):
        import_files(order, settings(missing_forces="energies_only"), tmp_path / "a.h5")
        loaded = load_arrays(tmp_path / "a.h5")
        assert (loaded.n_frames, loaded.forces) == (7, {})
    assert read_files(files, settings(forces=False))[0].forces == {}


def test_forces_of_exactly_zero_need_a_decision(tmp_path):
    made = dimers(3)
    made[1] = (made[1][0], made[1][1], np.zeros((2, 3)))
    path = write_runner(tmp_path / "input.data", made)
    with pytest.raises(DataError, match="1 of 3 frames have forces of exactly zero on many atoms"):
        read_files([path], settings("runner"))
    assert read_files([path], settings("runner", zero_forces="real"))[0].n_frames == 3
    chosen = settings("runner", zero_forces="missing", missing_forces="leave_out")
    frames, report = read_files([path], chosen)
    assert (frames.n_frames, report.without_forces.frames) == (2, [1])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"forces_are": "gradient"}, "opposite sign, set forces_are: forces"),
        ({"units": {"forces": "eV/Bohr"}}, r"the ratio of .*mixed units"),
        ({"units": {"energy": "Hartree", "forces": "eV/Angstrom"}}, r"changes by 27\.\d times"),
    ],
)
def test_signs_and_units_are_checked_against_the_work(tmp_path, values, message):
    path = write_xyz(tmp_path / "a.xyz", dimers(20))
    with pytest.raises(DataError, match=message):
        import_files([path], settings(**values), tmp_path / "a.h5")
    assert not (tmp_path / "a.h5").exists()
    assert read_files([path], settings(check_work=False, **values))[0].n_frames == 20


def test_files_in_different_units_are_not_mixed(tmp_path):
    files = [
        write_xyz(tmp_path / "a.xyz", dimers(4), forces=None),
        write_xyz(tmp_path / "b.xyz", dimers(4, 1), forces=None, scale=1.0 / units.HARTREE),
    ]
    with pytest.raises(DataError, match=r"O2 are -\S+ in a\.xyz and -\S+ in b\.xyz.*mixed units"):
        read_files(files, settings(forces=False))


def test_units_that_the_file_states_win(tmp_path):
    path = write_ani(tmp_path / "a.h5", {"m": ("OHH", 4)})
    with h5py.File(path, "r+") as file:
        file["release/m/energies"].attrs["units"] = "eV"
    with pytest.raises(
        DataError, match="'energies' is in eV by the file and in Hartree by the set"
    ):
        read_files([path], settings("ani"))
    read_files([path], settings("ani", units={"energy": "eV"}))


# --- bad input ------------------------------------------------------------------------------------


def test_a_wrong_name_suggests_the_nearest(tmp_path):
    path = write_xyz(tmp_path / "a.xyz", dimers(2), "REF_energy", "REF_forces")
    with pytest.raises(DataError, match=r"frame 0 has no energy 'REF_enrgy', did you mean 'REF_en"):
        read_files([path], settings(energy="REF_enrgy"))
    with pytest.raises(DataError, match=r"no forces 'REF_force', did you mean 'REF_forces'"):
        read_files([path], settings(energy="REF_energy", forces="REF_force"))
    h5 = write_ani(tmp_path / "a.h5", {"m": ("OHH", 4)})
    with pytest.raises(
        DataError, match="molecule release/m has no 'energy', did you mean 'energies"
    ):
        read_files([h5], settings("ani", energy="energy"))
    lines = tmp_path / "a.json"
    lines.write_text('{"Energie": 1, "Positions": [[0,0,0]], "Cell-Size": [5]}\n')
    with pytest.raises(DataError, match="line 1 has no 'Energy', did you mean 'Energie'"):
        read_files([lines], settings("neuralil", species=[{"symbols": "N"}]))


def test_truncated_hdf5(tmp_path):
    path = write_ani(tmp_path / "a.h5", {"m": ("OHH", 400)})
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(
        DataError, match=r"a\.h5 is damaged, cut off or not the HDF5.*; fetch it again"
    ):
        read_files([path], settings("ani"))


def test_arrays_that_do_not_fit(tmp_path):
    path = write_ani(tmp_path / "a.h5", {"m": ("OHH", 4)}, forces=np.zeros((3, 3, 3)))
    with pytest.raises(DataError, match=r"'forces' has shape \(3, 3, 3\) where \(4, 3, 3\)"):
        read_files([path], settings("ani", forces="forces"))
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(DataError, match="not in the format of ANI-1"):
        read_files([tmp_path / "b.h5"], settings("ani"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t[: t.rindex("energy")], r"ends within frame 1 \(line \d+\).*truncated"),
        (
            lambda t: t.replace("atom", "atm", 1),
            "line 6: unknown keyword 'atm', did you mean 'atom'",
        ),
        (lambda t: t.replace("Au 0.25", "Au", 1), "'atom' is followed by 8 values, 9 are expected"),
        (lambda t: t.replace(" Au ", " Xq ", 1), "'Xq' is not a chemical element"),
        (lambda t: t.replace("Au 0.25", "Au x.25", 1), "frame 0 has a value that is not a number"),
        (lambda t: t.replace("end\n", "", 1), "begins before frame 0 has its 'end'"),
        (lambda t: t.replace("begin\n", "", 1), "outside of 'begin' and 'end'"),
        (lambda t: t[t.index("lattice") :].split("\n", 1)[1], "outside of 'begin' and 'end'"),
        (lambda t: t.replace("lattice", "#lattice", 1), "frame 0 has 2 lattice vectors"),
        (lambda t: "", "holds no frames"),
    ],
)
def test_damaged_runner_files_name_the_line(tmp_path, change, message):
    path = write_runner(tmp_path / "input.data", dimers(2))
    path.write_text(change(path.read_text()))
    with pytest.raises(DataError, match=message):
        read_files([path], settings("runner"))


def test_damaged_text_files(tmp_path):
    path = write_xyz(tmp_path / "a.xyz", dimers(3))
    path.write_text(path.read_text()[:-60])
    with pytest.raises(DataError, match=r"1 of 3 frames are cut off, first frame 2 of a\.xyz"):
        read_files([path], settings())
    assert read_files([path], settings(cut_off="leave_out"))[0].n_frames == 2
    path.write_text("H 0 0 0\n" + path.read_text())
    with pytest.raises(DataError, match=r"a\.xyz cannot be read as extended XYZ after 0 frames"):
        read_files([path], settings())
    outcar = tmp_path / "OUTCAR"
    outcar.write_text(" vasp.6.3.2\n nothing else\n")
    with pytest.raises(
        DataError, match=r"OUTCAR (cannot be read as a VASP OUTCAR|holds no frames)"
    ):
        read_files([outcar], settings("vasp"))
    lines = tmp_path / "a.json"
    lines.write_text('{"Energy": 1, "Posi')
    with pytest.raises(DataError, match=r"line 1 is not valid JSON"):
        read_files([lines], settings("neuralil", species=[{"symbols": "N"}]))
    with pytest.raises(DataError, match=r"gone\.data cannot be read"):
        read_files([tmp_path / "gone.data"], settings("runner"))
    binary = tmp_path / "b.data"
    binary.write_bytes(b"\xff\xfe\x00begin")
    with pytest.raises(DataError, match="is not a text file"):
        read_files([binary], settings("runner"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"format": "xyz"}, "format: input should be 'extxyz', 'vasp'"),
        ({"energi": "E"}, "unknown key 'energi', did you mean 'energy'"),
        ({"units": {"energy": "Hartre"}}, "units.energy: input should be"),
        (
            {"units": {"forces": "eV/Angstom"}},
            "forces cannot be in 'eV/Angstom', did you mean 'eV/Angstrom'",
        ),
        ({"trajectory": "molecule"}, "trajectory: molecule is for the format ani only"),
        ({"format": "runner", "stress": "stress"}, "the format runner has no stress"),
        ({"format": "vasp", "columns": {"a": "b"}}, "columns is for the format extxyz or ase"),
    ],
)
def test_wrong_settings_are_one_sentence(values, message):
    with pytest.raises(ConfigError, match=message):
        validate(FolderSource, {"format": "extxyz", "path": ".", **values}, "card")


def test_folders(tmp_path):
    def source(**values: object) -> FolderSource:
        return validate(FolderSource, {"format": "extxyz", "path": str(tmp_path), **values}, "card")

    with pytest.raises(DataError, match=r"has no file '\*\.xyz'; it holds nothing"):
        folder_files(source(pattern="*.xyz"))
    for name in ("b/OUTCAR", "a/OUTCAR", ".hidden/OUTCAR", "c.xyz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = folder_files(source(pattern="**/OUTCAR"))
    assert [str(p.relative_to(tmp_path)) for p in found] == ["a/OUTCAR", "b/OUTCAR"]
    for pattern in ("**x", "/tmp/*"):
        with pytest.raises(DataError, match="no pattern of file names"):
            folder_files(source(pattern=pattern))
    with pytest.raises(DataError, match="neither a folder nor a file; correct path"):
        folder_files(source(path=str(tmp_path / "d")))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda g: g.create_dataset("energies", (10**9,), chunks=True), "claims 1000000000 rows"),
        (lambda g: g.create_dataset("energies", data=1.0), "'energies' is no array"),
        (lambda g: g.create_group("energies"), "'energies' is no array"),
        (lambda g: g.create_dataset("energies", data=[b"a"] * 4), "holds no numbers"),
        (lambda g: g.create_dataset("energies", data=np.zeros((4, 2))), "one number a conform"),
        (lambda g: g.create_dataset("atomic_numbers", data=[-3, 1, 1]), "atomic number -3"),
        (lambda g: g.create_dataset("atomic_numbers", data=[8.5, 1, 1]), "no whole numbers"),
        (lambda g: g.create_dataset("species", data=[b"Xq", b"H", b"H"]), "not a chemical elem"),
    ],
)
def test_damaged_ani_files(tmp_path, change, message):
    path = write_ani(tmp_path / "a.h5", {"m": ("OHH", 4)})
    with h5py.File(path, "r+") as file:
        group = file["release/m"]
        for name in ("energies", "species"):
            kept = group[name][()]
            del group[name]
            if name == "species":
                group["spare"] = kept
        change(group)
        if "energies" not in group:
            group["energies"] = np.arange(4.0)
        if "species" not in group:
            group["species"] = group["spare"][()]
    with pytest.raises(DataError, match=message) as caught:
        read_files([path], settings("ani"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"Energy": [1, 2], "Positions": [[0, 0, 0]], "Cell-Size": [9]}', "'Energy' has 2 numb"),
        ('{"Energy": 1, "Positions": [[0, 0, 0]], "Cell-Size": [9, 9]}', "'Cell-Size' has 2 num"),
        ('{"Energy": %s, "Positions": [[0, 0, 0]], "Cell-Size": [9]}' % ("1" * 5000), "line 1"),
        ("[" * 100_000, "line 1"),
        ('{"Energy": 1, "Positions": [[0, 0, 0]], "Cell-Size": [0]}', "no volume"),
        ('{"Energy": 1, "Positions": "far", "Cell-Size": [9]}', "not an array of numbers"),
    ],
)
def test_damaged_json_lines(tmp_path, line, message):
    path = tmp_path / "a.json"
    path.write_text(line + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_files([path], settings("neuralil", species=[{"symbols": "N"}], forces=False))


def test_a_count_of_atoms_is_no_reason_to_wait(tmp_path):
    path = tmp_path / "a.xyz"
    path.write_text("1000000000000\nProperties=species:S:1:pos:R:3 energy=1\nO 0 0 0\n")
    with pytest.raises(DataError, match="1 of 1000000000000 atoms"):
        read_files([path], settings(forces=False))
    with pytest.raises(ConfigError, match=r"species.*more than 10000000 atoms|less than or equal"):
        settings("neuralil", species=[{"times": 10**12, "symbols": "H O"}])


# --- parts ----------------------------------------------------------------------------------------


def test_seen_frames_finds_the_first_of_equals_in_any_chunking():
    rng = np.random.default_rng(3)
    keys = rng.integers(0, 40, size=200).astype(np.uint64)
    energies = rng.normal(size=200)
    for cuts in ([], [7, 8, 9, 100], list(range(1, 200))):
        seen = SeenFrames()
        parts = np.split(np.arange(200), cuts)
        first, energy = (
            np.concatenate(out)
            for out in zip(*(seen.add(keys[p], p, energies[p]) for p in parts), strict=True)
        )
        for i, key in enumerate(keys):
            earlier = np.flatnonzero(keys[:i] == key)
            assert first[i] == (earlier[0] if len(earlier) else -1)
            if len(earlier):
                assert energy[i] == energies[earlier[0]]


def test_forces_beyond_the_archives_range_are_refused(tmp_path, made_frames):
    frames = made_frames()
    frames.forces["atomic"][0, 0] = 5e3
    with (
        pytest.raises(DataError, match=r"A force component of 5e\+03 is beyond what an archive"),
        frame_writer(tmp_path / "a.h5") as writer,
    ):
        writer.append(frames)
    assert list(tmp_path.iterdir()) == []


def test_pieces_of_an_archive_must_fit_together(tmp_path, made_frames):
    other = made_frames(seed=1)
    other.metadata["more"] = np.zeros(3)

    def write_both() -> None:
        with frame_writer(tmp_path / "a.h5") as writer:
            writer.append(made_frames())
            writer.append(other)

    with pytest.raises(DataError, match="Frame 3 is the first with 'metadata/more'"):
        write_both()
    with (
        pytest.raises(DataError, match="No frames are left to be written"),
        frame_writer(tmp_path / "a.h5"),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def copper_frames():
    """Rattled crystals with energy, forces and stress by EMT."""
    from ase.build import bulk
    from ase.calculators.emt import EMT

    found = []
    for seed in range(4):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.05, seed=seed)
        atoms.calc = EMT()
        atoms.get_potential_energy()
        atoms.get_stress()
        found.append(atoms)
    return found


@pytest.mark.parametrize("suffix", ["traj", "db", "json"])
def test_whatever_ase_reads_by_a_pattern(tmp_path, copper_frames, suffix):
    for part in (0, 2):
        write(tmp_path / f"run-{part}.{suffix}", copper_frames[part : part + 2])
    pattern = str(tmp_path / f"run-*.{suffix}")
    source = FolderSource(path=pattern, format="ase", stress="stress")
    report = import_folder(source, tmp_path / "frames.h5")
    assert report.n_kept == 4
    frames = load_arrays(tmp_path / "frames.h5")
    energies = [atoms.get_potential_energy() for atoms in copper_frames]
    np.testing.assert_allclose(frames.energies["total"], energies)
    forces = np.concatenate([atoms.get_forces() for atoms in copper_frames])
    np.testing.assert_allclose(frames.forces["total"], forces, atol=1e-6)
    stresses = [atoms.get_stress(voigt=False) for atoms in copper_frames]
    np.testing.assert_allclose(frames.stresses["total"], stresses, atol=1e-9)
    # a file is a trajectory
    assert len(set(frames.metadata["trajectory"])) == 2
    with pytest.raises(DataError, match="No file fits"):
        import_folder(FolderSource(path=str(tmp_path / "x*"), format="ase"), tmp_path / "n.h5")


def test_an_output_of_a_program_by_ase(tmp_path):
    """Quantum ESPRESSO's, in Rydberg and Bohr, which ASE converts."""
    text = QUANTUM_ESPRESSO
    (tmp_path / "pw.out").write_text(text, encoding="utf-8")
    import_folder(FolderSource(path=str(tmp_path), format="ase"), tmp_path / "frames.h5")
    frames = load_arrays(tmp_path / "frames.h5")
    assert frames.energies["total"][0] == pytest.approx(-2.0 * 13.605693, rel=1e-5)
    assert frames.forces["total"][0, 0] == pytest.approx(0.01 * 13.605693 / 0.5291772, rel=1e-4)


QUANTUM_ESPRESSO = """
     Program PWSCF v.6.0 starts on 1Jan2020 at  0: 0: 0

     bravais-lattice index     =            0
     lattice parameter (alat)  =      10.0000  a.u.
     unit-cell volume          =    1000.0000 (a.u.)^3
     number of atoms/cell      =            2
     number of atomic types    =            1

     celldm(1)=  10.000000  celldm(2)=   0.000000  celldm(3)=   0.000000
     celldm(4)=   0.000000  celldm(5)=   0.000000  celldm(6)=   0.000000

     crystal axes: (cart. coord. in units of alat)
               a(1) = (   1.000000   0.000000   0.000000 )
               a(2) = (   0.000000   1.000000   0.000000 )
               a(3) = (   0.000000   0.000000   1.000000 )

   Cartesian axes

     site n.     atom                  positions (alat units)
         1           H   tau(   1) = (   0.0000000   0.0000000   0.0000000  )
         2           H   tau(   2) = (   0.1500000   0.0000000   0.0000000  )

     number of k points=     1
                       cart. coord. in units 2pi/alat
        k(    1) = (   0.0000000   0.0000000   0.0000000), wk =   2.0000000

!    total energy              =      -2.00000000 Ry

     Forces acting on atoms (cartesian axes, Ry/au):

     atom    1 type  1   force =     0.01000000    0.00000000    0.00000000
     atom    2 type  1   force =    -0.01000000    0.00000000    0.00000000

     Total force =     0.014142     Total SCF correction =     0.000000
"""


def test_an_archive_is_read_like_files(tmp_path, copper_frames):
    write(tmp_path / "a.traj", copper_frames)
    source = FolderSource(path=str(tmp_path / "a.traj"), format="ase", stress="stress")
    import_folder(source, tmp_path / "one.h5")
    again = {"path": str(tmp_path / "one.h5"), "format": "gnnip", "trajectory_key": "trajectory"}
    import_folder(FolderSource(**again, stress="total"), tmp_path / "two.h5")
    one, two = (load_arrays(tmp_path / f"{name}.h5") for name in ("one", "two"))
    for part in ("energies", "forces", "stresses"):
        np.testing.assert_allclose(getattr(one, part)["total"], getattr(two, part)["total"])
    assert list(one.metadata["trajectory"]) == list(two.metadata["trajectory"])
    with pytest.raises(DataError, match="no 'electronic'"):
        import_folder(FolderSource(**again, energy="electronic"), tmp_path / "none.h5")
    with pytest.raises(DataError, match="no column 'stat'"):
        import_folder(FolderSource(**again | {"trajectory_key": "stat"}), tmp_path / "none.h5")


# --- texts as programs and editors leave them -----------------------------------------------------


def texts_of(tmp_path: Path) -> dict[str, tuple[bytes, dict[str, object]]]:
    """The same two dimers in every text format: content and settings."""
    rows = "".join(
        f"atom {x[0]!r} {x[1]!r} {x[2]!r} H 0 0 {f[0]!r} {f[1]!r} {f[2]!r}\n".replace(
            "np.float64", ""
        )
        for x, f in zip(dimers(1)[0][0], dimers(1)[0][2], strict=True)
    )
    runner_text = f"begin\n{rows}energy -4.0\nend\n".replace("(", "").replace(")", "")
    positions, energy, forces = dimers(1)[0]
    entry = {"Energy": energy, "Positions": positions.tolist(), "Forces": forces.tolist()}
    return {
        "extxyz": (write_xyz(tmp_path / "plain.xyz", dimers(2)).read_bytes(), {}),
        "runner": (runner_text.encode(), {}),
        "neuralil": (
            (json.dumps({**entry, "Cell-Size": 9.0}) + "\n").encode(),
            {"species": [{"symbols": "H H"}]},
        ),
    }


#: {name: (suffix, what is done to the bytes, what is said of it)}
ENCODINGS = {
    "plain": ("", bytes, None),
    "byte_order_mark": ("", lambda c: b"\xef\xbb\xbf" + c, None),
    "windows": ("", lambda c: c.replace(b"\n", b"\r\n"), None),
    "blank_lines_behind": ("", lambda c: c + b"\n  \n", None),
    "gzip": (".gz", gzip.compress, None),
    "bzip2": (".bz2", bz2.compress, None),
    "xz": (".xz", lzma.compress, None),
    "cut_gzip": (".gz", lambda c: gzip.compress(c)[:-9], "damaged or cut off"),
    "cut_bzip2": (".bz2", lambda c: bz2.compress(c)[:-9], "damaged or cut off"),
    "cut_xz": (".xz", lambda c: lzma.compress(c)[:-9], "damaged or cut off"),
    "changed_gzip": (".gz", lambda c: gzip.compress(c)[:30] + b"\0" * 40, "damaged|cannot be read"),
    "no_gzip": (".gz", bytes, "cannot be read"),
    "no_xz": (".xz", bytes, "damaged or cut off"),
    "latin": ("", lambda c: b"\xb5" + c, "not a text file in UTF-8"),
    "utf_16": ("", lambda c: c.decode().encode("utf-16"), "not a text file in UTF-8"),
}


@pytest.mark.parametrize("name", ENCODINGS)
@pytest.mark.parametrize("format", ["extxyz", "runner", "neuralil"])
def test_encodings(tmp_path, format, name):
    content, how = texts_of(tmp_path)[format]
    suffix, change, complaint = ENCODINGS[name]
    plain, path = tmp_path / "as_it_is", tmp_path / f"a{suffix}"
    plain.write_bytes(content)
    path.write_bytes(change(content))
    if complaint is not None:
        with pytest.raises(DataError, match=complaint):
            read_files([path], settings(format, **how))
        return
    found, wanted = (read_files([p], settings(format, **how))[0] for p in (path, plain))
    np.testing.assert_array_equal(found.positions, wanted.positions)
    np.testing.assert_array_equal(found.energies["total"], wanted.energies["total"])
    np.testing.assert_array_equal(found.forces["total"], wanted.forces["total"])


@pytest.mark.parametrize(
    ("change", "kept", "message"),
    [
        (lambda t: t[:-6], [0, 1, 2], "its last line is shorter than the others"),
        (lambda t: t[:-1], [0, 1, 2, 3], ""),  # an editor that leaves out the last line's end
        (lambda t: t[:-60], [0, 1, 2], "its last line is incomplete"),
        (lambda t: t[: t.rindex("\nH")], [0, 1, 2], "it has 4 of 5 atoms"),
        (lambda t: t[: t.rindex("Prop")], [0, 1, 2], "it has 0 of 5 atoms"),
    ],
)
def test_a_file_that_ends_within_a_frame(tmp_path, change, kept, message):
    """Within its last number, too, which then still is one."""
    rng = np.random.default_rng(1)
    made = [Atoms("H5", rng.uniform(0, 5, (5, 3))) for _ in range(4)]
    for k, atoms in enumerate(made):
        forces = rng.normal(size=(5, 3))
        atoms.calc = SinglePointCalculator(atoms, energy=-k, forces=forces)
    write(tmp_path / "whole.xyz", made, format="extxyz")
    path = tmp_path / "a.xyz"
    path.write_text(change((tmp_path / "whole.xyz").read_text()))
    if message:
        with pytest.raises(DataError, match=message):
            read_files([path], settings(check_work=False))
    frames, _ = read_files([path], settings(check_work=False, cut_off="leave_out"))
    assert frames.energies["total"].tolist() == [-float(k) for k in kept]


@pytest.mark.parametrize(
    ("format", "change", "message"),
    [
        ("extxyz", (b"energy=", b"energy=T other="), "'energy' is True, not a number"),
        ("extxyz", (b"energy=", b"energy=0.1D+02 other="), "not a number"),
        ("extxyz", (b"energy=", b"energy=none other="), "not a number"),
        ("extxyz", (b"\nO ", b"\nD "), "'D' is not a chemical element"),
        ("extxyz", (b"\nO ", b"\nO1 "), "'O1' is not a chemical element"),
        ("neuralil", (b'"Energy": ', b'"Energy": true, "other": '), "'Energy' is not an array"),
        ("neuralil", (b'"Energy": ', b'"Energy": "-1", "other": '), "'Energy' is not an array"),
        ("neuralil", (b"[[", b"[[true, 0, 0], ["), "is not an array of numbers"),
        ("runner", (b"-4.0", b"T"), "not a number"),
        ("runner", (b" H ", b" D "), "'D' is not a chemical element"),
    ],
)
def test_what_is_no_number_or_element(tmp_path, format, change, message):
    content, how = texts_of(tmp_path)[format]
    assert change[0] in content
    (tmp_path / "a").write_bytes(content.replace(*change, 1))
    with pytest.raises(DataError, match=message):
        read_files([tmp_path / "a"], settings(format, **how))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"source": "T"}, "columns cannot be called source"),
        ({"trajectory": "T"}, "columns cannot be called trajectory"),
        ({"a/b": "T"}, "a/b"),
        ({"..": "T"}, "string should match"),
        ({"": "T"}, "string should match"),
    ],
)
def test_names_of_columns(columns, message):
    with pytest.raises(ConfigError, match=message):
        settings(columns=columns)
