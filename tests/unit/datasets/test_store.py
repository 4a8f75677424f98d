import h5py
import numpy as np
import pytest

from gnnip import datasets, units
from gnnip.datasets import arrays, store
from gnnip.errors import DataError
from gnnip.files import sha256


def test_round_trip_keeps_labels_and_rounds_forces(tmp_path, made_frames):
    frames = made_frames()
    store.write_frames(tmp_path / "a.h5", frames, attributes={"labeller": "water_anion"})
    back = store.read_frames(tmp_path / "a.h5")
    np.testing.assert_array_equal(back.positions, frames.positions)
    np.testing.assert_array_equal(back.numbers, frames.numbers)
    np.testing.assert_array_equal(back.offsets, frames.offsets)
    for term in ("atomic", "electronic"):
        np.testing.assert_array_equal(back.energies[term], frames.energies[term])
        assert np.abs(back.forces[term] - frames.forces[term]).max() <= 0.5001e-6
    assert list(back.metadata["state"]) == ["surface", "interior", "surface"]
    assert back.units == frames.units
    assert back.attributes["labeller"] == "water_anion"


def test_units_are_in_the_file(tmp_path, made_frames):
    store.write_frames(tmp_path / "a.h5", made_frames(), attributes={})
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["positions"].attrs["units"] == "Bohr"
        assert file["forces/atomic"].attrs["units"] == "Hartree/Bohr"
        assert file["energies/electronic"].attrs["units"] == "Hartree"


def test_the_same_frames_give_the_same_bytes(tmp_path, made_frames):
    for name in ("a.h5", "b.h5"):
        store.write_frames(tmp_path / name, made_frames(), attributes={"seed": 1})
    assert sha256(tmp_path / "a.h5") == sha256(tmp_path / "b.h5")


def test_load_arrays_converts_to_the_projects_units(tmp_path, made_frames):
    frames = made_frames()
    store.write_frames(tmp_path / "a.h5", frames, attributes={})
    loaded = store.load_arrays(tmp_path / "a.h5")
    expected = frames.positions.astype(np.float64) * units.BOHR
    np.testing.assert_allclose(loaded.positions, expected, rtol=1e-12)
    np.testing.assert_allclose(
        loaded.energies["atomic"], frames.energies["atomic"] * units.HARTREE, rtol=1e-12
    )
    np.testing.assert_allclose(
        loaded.forces["electronic"],
        frames.forces["electronic"] * units.HARTREE_PER_BOHR,
        atol=0.6e-6 * units.HARTREE_PER_BOHR,
    )
    np.testing.assert_allclose(loaded.metadata["gap"], frames.metadata["gap"] * units.HARTREE)
    assert loaded.units["forces"] == "eV/Angstrom"
    assert loaded.positions.dtype == np.float64


def test_subset_takes_whole_frames_in_order(tmp_path, made_frames):
    frames = made_frames((2, 5, 3))
    part = frames.subset([2, 0])
    np.testing.assert_array_equal(part.n_atoms, [9, 6])
    np.testing.assert_array_equal(part.positions[:9], frames.positions[21:30])
    np.testing.assert_array_equal(part.forces["atomic"][9:], frames.forces["atomic"][:6])
    np.testing.assert_array_equal(part.energies["atomic"], frames.energies["atomic"][[2, 0]])
    part.check()


def test_periodic_sets_keep_their_cells(tmp_path, made_frames):
    frames = made_frames((2, 2))
    frames.cells = np.tile(np.eye(3) * 7.0, (2, 1, 1))
    frames.pbc = np.ones((2, 3), dtype=bool)
    store.write_frames(tmp_path / "a.h5", frames, attributes={})
    loaded = store.load_arrays(tmp_path / "a.h5")
    np.testing.assert_allclose(loaded.cells[1], np.eye(3) * 7.0 * units.BOHR)
    assert loaded.pbc.all()


def test_stresses_are_stored_converted_and_cut(tmp_path, made_frames):
    frames = made_frames((2, 2))
    frames.cells = np.tile(np.eye(3) * 7.0, (2, 1, 1))
    frames.pbc = np.ones((2, 3), dtype=bool)
    values = np.arange(18.0).reshape(2, 3, 3)
    values = values + values.transpose(0, 2, 1)
    frames.stresses = {"atomic": values, "electronic": 2 * values}
    with pytest.raises(DataError, match="no unit for stresses"):
        store.write_frames(tmp_path / "a.h5", frames, attributes={})
    frames.units["stresses"] = "Hartree/Bohr^3"
    store.write_frames(tmp_path / "a.h5", frames, attributes={})
    np.testing.assert_array_equal(store.read_frames(tmp_path / "a.h5").stresses["atomic"], values)
    loaded = store.load_arrays(tmp_path / "a.h5")
    factor = units.HARTREE / units.BOHR**3
    np.testing.assert_allclose(loaded.stresses["atomic"], values * factor)
    assert loaded.units["stresses"] == "eV/Angstrom^3"
    part = loaded.subset([1]).stresses["atomic"]
    np.testing.assert_array_equal(part, loaded.stresses["atomic"][1:])
    stress = datasets.load(tmp_path / "a.h5")[1].get_stress(voigt=False)
    np.testing.assert_allclose(stress, 3 * values[1] * factor)
    import ase.units

    gigapascal = store.read_frames(tmp_path / "a.h5")
    gigapascal.units["stresses"] = "GPa"
    converted = arrays.in_project_units(gigapascal).stresses["atomic"]
    np.testing.assert_allclose(converted, values * ase.units.GPa)
    frames.stresses["atomic"] = values[:, :2]
    with pytest.raises(DataError, match="stresses of 'atomic' have shape"):
        frames.check()


def test_structures_carry_terms_and_totals(tmp_path, made_frames):
    frames = made_frames()
    store.write_frames(tmp_path / "a.h5", frames, attributes={})
    atoms = datasets.load(tmp_path / "a.h5")
    assert len(atoms) == 3
    two = atoms[1]
    total = sum(frames.energies[t][1] for t in frames.terms) * units.HARTREE
    assert two.get_potential_energy() == pytest.approx(total)
    np.testing.assert_allclose(
        two.get_forces(), two.arrays["forces_atomic"] + two.arrays["forces_electronic"]
    )
    assert two.info["frame"] == 1
    assert two.info["state"] == "interior"
    assert two.info["n_molecules"] == 5
    assert two.info["energy_atomic_ev"] == pytest.approx(
        frames.energies["atomic"][1] * units.HARTREE
    )
    only = datasets.load(tmp_path / "a.h5", terms=["electronic"])[1]
    assert only.get_potential_energy() == pytest.approx(
        frames.energies["electronic"][1] * units.HARTREE
    )
    with pytest.raises(DataError, match="did you mean 'electronic'"):
        datasets.load(tmp_path / "a.h5", terms=["electron"])


def test_frames_without_forces_load_and_say_so(tmp_path, made_frames):
    store.write_frames(tmp_path / "a.h5", made_frames(forces=False), attributes={})
    loaded = store.load_arrays(tmp_path / "a.h5")
    with pytest.raises(DataError, match="no forces of the term 'atomic'; train on energies only"):
        loaded.force("atomic")
    atoms = datasets.load(tmp_path / "a.h5")[0]
    assert "forces" not in atoms.calc.results


def test_unknown_term_and_column_are_named(made_frames):
    frames = made_frames()
    with pytest.raises(DataError, match="did you mean 'atomic'"):
        frames.energy("atomik")
    with pytest.raises(DataError, match="no column 'size'"):
        frames.column("size")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: f.energies["atomic"].__setitem__(1, np.nan), "energies of 'atomic' of frame 1"),
        (lambda f: f.forces["atomic"].__setitem__((7, 0), np.inf), "forces of 'atomic' of frame 1"),
        (lambda f: f.positions.__setitem__((0, 0), np.nan), "positions of frame 0 are not finite"),
        (lambda f: f.energies.update(atomic=np.zeros(2)), r"shape \(2,\) where \(3,\)"),
        (lambda f: f.units.pop("forces"), "no unit for forces"),
    ],
)
def test_bad_labels_are_refused(tmp_path, spoil, message, made_frames):
    frames = made_frames()
    spoil(frames)
    with pytest.raises(DataError, match=message):
        store.write_frames(tmp_path / "a.h5", frames, attributes={})
    assert not (tmp_path / "a.h5").exists()


def test_nan_label_in_a_file_is_found_when_it_is_read(tmp_path, made_frames):
    store.write_frames(tmp_path / "a.h5", made_frames(), attributes={})
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file["energies/electronic"][2] = np.nan
    with pytest.raises(DataError, match="energies of 'electronic' of frame 2 are not finite"):
        store.load_arrays(tmp_path / "a.h5")


def test_damaged_files_are_named(tmp_path, made_frames):
    path = tmp_path / "a.h5"
    with pytest.raises(DataError, match=r"a\.h5 does not exist; fetch it or run the pipeline"):
        store.read_frames(path)
    store.write_frames(path, made_frames(), attributes={})
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="is damaged, cut off or not the HDF5 file it should be"):
        store.read_frames(path)
    path.write_text("not HDF5")
    with pytest.raises(DataError, match="is damaged, cut off or not the HDF5 file it should be"):
        store.read_frames(path)


def test_other_and_newer_formats_are_refused(tmp_path, made_frames):
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(DataError, match="not an archive of gnnip"):
        store.read_frames(tmp_path / "b.h5")
    store.write_frames(tmp_path / "a.h5", made_frames(), attributes={})
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file.attrs["version"] = 99
    with pytest.raises(DataError, match=r"version 99.*update gnnip"):
        store.read_frames(tmp_path / "a.h5")
