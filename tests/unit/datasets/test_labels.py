"""What labels mean: stresses against strain, energies against work, and VASP's ionic steps."""

from __future__ import annotations

import re

import numpy as np
import pytest
from ase import Atoms

from gnnip import units
from gnnip.datasets.imports.importer import read_files
from gnnip.datasets.imports.settings import FolderSource, ImportSettings
from gnnip.errors import DataError
from gnnip.strict import validate

CUTOFF = 3.0


def settings(format="extxyz", **values):
    return validate(ImportSettings, {"format": format, **values}, "test")


def labelled(positions, cell):
    """Energy, forces (n, 3) and stress (3, 3) of springs, eV and Angstrom; the stress is held
    against differences below."""
    energy, forces, virial = -20.0, np.zeros((len(positions), 3)), np.zeros((3, 3))
    shifts = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), -1).reshape(-1, 3) @ cell
    for i, here in enumerate(positions):
        for there in positions:
            for d in there + shifts - here:
                r = np.linalg.norm(d)
                if 1e-9 < r < CUTOFF:
                    energy += 0.25 * (CUTOFF - r) ** 4
                    pull = -((CUTOFF - r) ** 3) * d / r
                    forces[i] += 2.0 * pull
                    virial += np.outer(pull, d)
    return energy, forces, virial / abs(np.linalg.det(cell))


START = np.array([[0.1, 0.2, 0.3], [1.6, 1.9, 1.4], [0.3, 2.2, 2.4]])
CELL = np.array([[3.6, 0.3, 0.0], [0.0, 3.7, 0.2], [0.4, 0.0, 3.8]])
SHEAR = np.array([[0.0, 0.004, 0.0], [0.001, 0.002, 0.0], [-0.003, 0.0, 0.001]])


def strained(count=8, strain=SHEAR):
    frames = []
    for step in range(count):
        deform = np.eye(3) + step * (strain + strain.T) / 2
        frames.append((START @ deform + 0.003 * step, CELL @ deform))
    return [(x, h, *labelled(x, h)) for x, h in frames]


def as_written(kind, sigma, volume):
    """Return the numbers that programs write for a stress sigma (eV/A^3)."""
    voigt = sigma[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    vasp = -sigma[[0, 1, 2, 0, 1, 2], [0, 1, 2, 1, 2, 0]] / (0.1 * units.GPA)
    return {
        "ase_nine": sigma,
        "ase_six": voigt,
        "gpa": sigma / units.GPA,
        "compressed": -sigma,
        "vasp_kbar": vasp,
        "vasp_nine": -sigma / (0.1 * units.GPA),
        "virial_nine": -volume * sigma,
        "virial_six": -volume * voigt,
        "virial_hartree": -volume * sigma / units.HARTREE,
        "strain_derivative": volume * sigma,
    }[kind]


def write(path, frames, kind="ase_nine", name="stress", energy="energy", scale=1.0, **more):
    lines = []
    for x, cell, value, forces, sigma in frames:
        numbers = as_written(kind, sigma, abs(np.linalg.det(cell)))
        info = {"Lattice": cell, name: numbers, **{k: f(value) for k, f in more.items()}}
        text = " ".join(
            f'{k}="{" ".join(f"{v:.12g}" for v in np.ravel(values))}"' for k, values in info.items()
        )
        lines.append(f"{len(x)}")
        lines.append(
            f'{text} pbc="T T T" {energy}={scale * value:.12g} '
            "Properties=species:S:1:pos:R:3:forces:R:3"
        )
        for row in np.hstack([x, forces]):
            lines.append("O " + " ".join(f"{v:.10f}" for v in row))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_the_stress_of_these_tests_is_the_derivative():
    x, cell, _, _, sigma = strained(2)[1]
    values = []
    for size in (-1e-5, 1e-5):
        deform = np.eye(3) + size * SHEAR
        values.append(labelled(x @ deform, cell @ deform)[0])
    slope = (values[1] - values[0]) / 2e-5
    assert slope == pytest.approx((sigma * SHEAR).sum() * np.linalg.det(cell), rel=1e-6)


STATED = {"stress_is": "pressure", "stress_order": "vasp", "units": {"stress": "kbar"}}


@pytest.mark.parametrize(
    ("kind", "name", "values", "said"),
    [
        ("ase_nine", "stress", {}, "positive when stretched"),
        ("ase_six", "dft_stress", {}, "in the order xx yy zz yz xz xy"),
        ("gpa", "stress", {"units": {"stress": "GPa"}}, "assumed of its name"),
        ("compressed", "sigma", {"stress_is": "pressure"}, "as the settings say"),
        ("compressed", "sigma", {}, "sign of a pressure.*strained frames show"),
        ("vasp_kbar", "kbar", STATED, "in the order xx yy zz xy yz zx"),
        ("vasp_kbar", "kbar", {"units": {"stress": "kbar"}}, "xx yy zz xy yz zx.*strained"),
        ("vasp_nine", "stress", {"units": {"stress": "kbar"}}, "sign of a pressure.*strained"),
        ("virial_nine", "virial", {}, "a virial, an energy.*assumed of its name 'virial'"),
        ("virial_six", "REF_virials", {}, "a virial"),
        (
            "virial_hartree",
            "W",
            {"stress_is": "virial", "units": {"energy": "Hartree", "forces": "eV/Angstrom"}},
            "a virial",
        ),
        ("strain_derivative", "depsilon", {}, r"dE/d\(strain\).*strained frames show"),
    ],
)
def test_a_stress_is_what_strain_says(tmp_path, kind, name, values, said):
    made = strained()
    scale = 1.0 / units.HARTREE if kind == "virial_hartree" else 1.0
    path = write(tmp_path / "a.xyz", made, kind, name, scale=scale)
    frames, report = read_files([path], settings(stress=name, **values))
    expected = np.array([sigma for *_, sigma in made])
    np.testing.assert_allclose(frames.stresses["total"], expected, atol=1e-8)
    assert any(re.search(said, sentence) for sentence in report.sentences())


@pytest.mark.parametrize(
    ("kind", "name", "values", "message"),
    [
        # one frame, or frames of one cell, tell nothing
        ("vasp_kbar", "kbar", {"units": {"stress": "kbar"}}, "nor the energies.*sign and kind"),
        ("vasp_kbar", "stress", {"units": {"stress": "kbar"}}, "set stress_is"),
        ("ase_six", "x", {"stress_is": "pressure"}, "the order of the six numbers"),
        ("ase_nine", "tensor", {}, "sign and kind"),
    ],
)
def test_a_stress_that_nothing_tells_is_refused(tmp_path, kind, name, values, message):
    path = write(tmp_path / "a.xyz", strained(1), kind, name)
    with pytest.raises(DataError, match=message):
        read_files([path], settings(stress=name, **values))


@pytest.mark.parametrize(
    ("kind", "name", "values", "cure"),
    [
        ("virial_nine", "stress", {}, "stress_is: virial"),
        ("compressed", "stress", {}, "stress_is: pressure"),
        ("ase_nine", "virial", {}, "stress_is: stress"),
        ("vasp_kbar", "kbar", {**STATED, "stress_order": "ase"}, "stress_order: vasp"),
    ],
)
def test_a_stress_that_strain_contradicts_is_refused(tmp_path, kind, name, values, cure):
    path = write(tmp_path / "a.xyz", strained(), kind, name)
    with pytest.raises(DataError, match=f"does not give the energy of strain.*{cure}"):
        read_files([path], settings(stress=name, **values))
    read_files([path], settings(stress=name, check_work=False, **values))


def moving(count=12):
    rng = np.random.default_rng(0)
    path = START + np.cumsum(rng.normal(0, 0.02, (count, 3, 3)), axis=0)
    return [(x, CELL, *labelled(x, CELL)) for x in path]


def test_energies_per_atom_are_known_by_their_work(tmp_path):
    path = write(tmp_path / "a.xyz", moving(), scale=1.0 / 3.0)
    with pytest.raises(DataError, match="energies per atom, set energy_per: atom"):
        read_files([path], settings())
    frames, _ = read_files([path], settings(energy_per="atom"))
    np.testing.assert_allclose(frames.energies["total"], [e for _, _, e, *_ in moving()])


def test_free_energy_beside_energy(tmp_path):
    path = write(tmp_path / "a.xyz", moving(), free_energy=lambda e: e - 0.2)
    with pytest.raises(DataError, match=r"another 'free_energy', first frame 0 of a\.xyz"):
        read_files([path], settings())
    for name, shift in (("energy", 0.0), ("free_energy", -0.2)):
        frames, _ = read_files([path], settings(energy=name))
        np.testing.assert_allclose(
            frames.energies["total"], [e + shift for _, _, e, *_ in moving()]
        )


def of_scale(path, mean, spread=0.01):
    made = moving(4)
    values = mean * 3 + spread * np.arange(4)
    return write(path, [(x, h, e, f, s) for (x, h, _, f, s), e in zip(made, values, strict=True)])


@pytest.mark.parametrize(
    ("one", "two", "spread", "values", "message"),
    [
        (-5.0, -5.02, 0.01, {}, None),
        (-5.0, -5.0 / units.HARTREE, 0.0, {}, "mixed units"),
        (-5.0, -5.0 / units.HARTREE, 0.0, {"energies_are": "relative"}, None),
        (0.05, 0.101, 0.001, {}, None),  # formation energies, twice as high by chance
        (0.05, 0.101, 0.001, {"energies_are": "total"}, "mixed units"),
        (-0.5, 0.5, 0.3, {}, None),
        (-4.0, -350.0, 0.01, {}, "zeros differ"),
        (-4.0, -350.0, 0.01, {"energies_are": "relative"}, None),
    ],
)
def test_scales_of_energies(tmp_path, one, two, spread, values, message):
    files = [of_scale(tmp_path / f"{n}.xyz", e, spread) for n, e in (("a", one), ("b", two))]
    chosen = settings(check_work=False, forces=False, **values)
    if message is None:
        frames, report = read_files(files, chosen)
        assert frames.n_frames == 8
        assert any("per atom they lie between" in s for s in report.sentences())
    else:
        with pytest.raises(DataError, match=message):
            read_files(files, chosen)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"energy": "TotEnergy"}, "no energy 'TotEnergy', did you mean 'dft_energy'"),
        ({}, "no energy 'energy', did you mean 'dft_energy'"),
        ({"energy": "dft_energy", "forces": "REF_forces"}, "'REF_forces', did you mean 'forces'"),
        ({"energy": "dft_energy", "stress": "virial"}, "no stress 'virial', did you mean 'sigma'"),
        ({"energy": "sigma"}, "not a number"),
    ],
)
def test_a_name_that_is_missing_is_answered_with_the_likely_one(tmp_path, values, message):
    path = write(tmp_path / "a.xyz", moving(3), "ase_nine", "sigma", "dft_energy", T=lambda _: 3.0)
    with pytest.raises(DataError, match=message):
        read_files([path], settings(**values))


def test_forces_that_do_not_add_up_are_reported(tmp_path):
    made = [(x, h, e, f + np.array([0, 0, 4.0]), s) for x, h, e, f, s in moving(4)]
    _, report = read_files([write(tmp_path / "a.xyz", made)], settings(check_work=False))
    assert report.net_forces.count == 4
    _, report = read_files([write(tmp_path / "a.xyz", moving(4))], settings())
    assert report.net_forces.count == 0


# --- VASP -----------------------------------------------------------------------------------------


def step(number, x, energy, forces, sigma, loop="reached", ml=False, iterations=2):
    """One ionic step of an OUTCAR."""
    lines = []
    for i in range(iterations if not ml else 0):
        lines += [
            f"------- Iteration {number:6d}({i + 1:4d})  -----",
            "  free energy    TOTEN  = -1.0 eV",
        ]
    if not ml and loop == "reached":
        lines.append("------ aborting loop because EDIFF is reached -------")
    elif not ml and loop == "unconverged":
        lines.append("------ aborting loop EDIFF was not reached (unconverged) ----")
    kbar = -sigma[[0, 1, 2, 0, 1, 2], [0, 1, 2, 1, 2, 0]] / (0.1 * units.GPA)
    lines.append("  in kB  " + " ".join(f"{v:12.5f}" for v in kbar))
    lines.append("      direct lattice vectors                 reciprocal lattice vectors")
    lines += ["".join(f"{v:13.9f}" for v in [*row, *row]) for row in CELL]
    lines.append(f" POSITION           TOTAL-FORCE (eV/Angst){' (ML)' if ml else ''}")
    lines.append(" " + "-" * 80)
    lines += ["".join(f"{v:13.6f}" for v in row) for row in np.hstack([x, forces])]
    word = " ML" if ml else "  "
    lines.append(f"  free  energy{word} TOTEN  = {energy:18.8f} eV")
    lines.append(
        f"  energy  without entropy= {energy:16.8f}  energy(sigma->0) = {energy + 0.01:.8f}"
    )
    return "\n".join(lines) + "\n"


HEAD = """ vasp.6.3.0
 POTCAR:    PAW_PBE O_s 08Apr2002
 POTCAR:    PAW_PBE O_s 08Apr2002
   NELM   =      4;   NELMIN=  2; NELMDL=  0
   ions per type =               3
"""


def outcar(path, *changes, tail=""):
    made = [(x, e, f, s) for x, _, e, f, s in moving(len(changes))]
    steps = [step(k + 1, *one, **c) for k, (one, c) in enumerate(zip(made, changes, strict=True))]
    path.write_text(HEAD + "".join(steps) + tail, encoding="utf-8")
    return path, made


def test_an_outcar_is_read_with_its_labels(tmp_path):
    path, made = outcar(tmp_path / "OUTCAR", {}, {}, {})
    frames, report = read_files([path], settings("vasp", stress="stress"))
    assert set(frames.numbers) == {8}
    np.testing.assert_allclose(frames.energies["total"], [e for _, e, *_ in made], atol=1e-8)
    np.testing.assert_allclose(
        frames.forces["total"], np.vstack([f for *_, f, _ in made]), atol=1e-6
    )
    np.testing.assert_allclose(frames.stresses["total"], [s for *_, s in made], atol=1e-7)
    np.testing.assert_allclose(frames.cells, [CELL] * 3)
    assert any("free energy TOTEN that the forces belong to" in s for s in report.sentences())
    zero, _ = read_files([path], settings("vasp", energy="energy"))
    np.testing.assert_allclose(zero.energies["total"] - frames.energies["total"], 0.01, atol=1e-7)
    with pytest.raises(DataError, match="no 'enrgy', did you mean 'energy'"):
        read_files([path], settings("vasp", energy="enrgy"))


@pytest.mark.parametrize(
    ("changes", "tail", "finding", "kept", "message"),
    [
        ([{}, {"loop": "unconverged", "iterations": 4}, {}], "", "unconverged", [0, 2], "NELM = 4"),
        ([{}, {"loop": "silent", "iterations": 4}], "", "unconverged", [0], "NELM = 4"),
        ([{"ml": True}, {}, {"ml": True}, {}], "", "machine_learned", [1, 3], "ML_LMLFF"),
        ([{}, {}], "---- Iteration  3(   1) ---\n", "cut_off", [0, 1], "frame 2 of OUTCAR"),
        (
            [{}],
            " POSITION    TOTAL-FORCE (eV/Angst)\n ---\n  0.0  0.0 0.0 0.1 0.1 0.1\n",
            "cut_off",
            [0],
            "ends within its table of forces",
        ),
    ],
)
def test_steps_without_sound_labels(tmp_path, changes, tail, finding, kept, message):
    path, made = outcar(tmp_path / "OUTCAR", *changes, tail=tail)
    with pytest.raises(DataError, match=f"{message}.*set {finding}: leave_out"):
        read_files([path], settings("vasp"))
    frames, report = read_files([path], settings("vasp", **{finding: "leave_out"}))
    np.testing.assert_allclose(frames.energies["total"], [made[i][1] for i in kept], atol=1e-7)
    assert len(report.left_out) == len(report.reasons) == getattr(report, finding).count
    if finding != "cut_off":
        every, _ = read_files([path], settings("vasp", check_work=False, **{finding: "keep"}))
        assert every.n_frames == len(made)


def test_numbers_that_touch_or_overflow(tmp_path):
    path, _ = outcar(tmp_path / "OUTCAR", {})
    text = path.read_text()
    row = next(
        line for line in text.splitlines() if line.startswith("     0.") and "TOTAL" not in line
    )
    path.write_text(text.replace(row, row[:65] + "*" * 13))
    with pytest.raises(DataError, match=r"not finite, first frame 0 of OUTCAR \(forces\)"):
        read_files([path], settings("vasp"))


def test_two_runs_in_one_file_keep_their_own_atoms(tmp_path):
    """As `cat OUTCAR1 OUTCAR2` makes it: other elements, and another number of them."""
    path, _ = outcar(tmp_path / "OUTCAR", {}, {})
    x, _, _, forces, sigma = moving(1)[0]
    other = HEAD.replace("O_s", "Zr_sv").replace("  3\n", "  2\n")
    path.write_text(path.read_text() + other + step(1, x[:2], -7.0, forces[:2], sigma))
    frames, _ = read_files([path], settings("vasp"))
    assert frames.n_atoms.tolist() == [3, 3, 2]
    assert frames.numbers.tolist() == [8] * 6 + [40] * 2
    np.testing.assert_allclose(frames.forces["total"][6:], forces[:2], atol=1e-6)
    assert frames.energies["total"][2] == -7.0
    cut = path.read_text().replace(other, "---- Iteration  3(   1) ---\n" + other)
    path.write_text(cut)
    with pytest.raises(DataError, match=r"its ionic step has no labels.*set cut_off: leave_out"):
        read_files([path], settings("vasp"))


def test_an_electronic_loop_that_was_stopped_by_hand(tmp_path):
    path, _ = outcar(tmp_path / "OUTCAR", {}, {"loop": "silent"})
    text = path.read_text().rpartition("  in kB")
    path.write_text(
        "".join([text[0], "--- aborting loop because hard stop was set ---\n", *text[1:]])
    )
    with pytest.raises(DataError, match=r"its electronic loop stopped without reaching EDIFF\)"):
        read_files([path], settings("vasp"))


def test_kinds_of_atoms_that_do_not_fit_their_numbers(tmp_path):
    path, _ = outcar(tmp_path / "OUTCAR", {})
    two = " POTCAR:    PAW_PBE O_s 08Apr2002\n POTCAR:    PAW_PBE Hf 20Jan2003\n"
    path.write_text(two + path.read_text().split("2002\n", 2)[2])
    with pytest.raises(DataError, match="names 2 kinds of atoms and 1 numbers of them"):
        read_files([path], settings("vasp"))


# --- what has no stress ---------------------------------------------------------------------------


def as_molecule(text):
    """Extended XYZ whose frames are no crystals, whatever they say of a virial."""
    return re.sub(r'(Lattice|pbc)="[^"]*" ', "", text)


def as_slab(text):
    return text.replace("Properties", 'pbc="T T F" Properties')


def without_the_label(text):
    return re.sub(r'virial="[^"]*" ?', "", text)


@pytest.mark.parametrize("changed", [as_molecule, as_slab, without_the_label])
def test_a_frame_without_stress_is_refused_or_left_out(tmp_path, changed):
    """A virial over the volume of a vacuum is no stress; it was one of 1 A^3 for a molecule."""
    path = write(tmp_path / "a.xyz", strained(4), "virial_nine", "virial")
    lines = path.read_text().splitlines(keepends=True)
    size = len(lines) // 4
    path.write_text(changed("".join(lines[:size])) + "".join(lines[size:]))
    with pytest.raises(DataError, match=r"1 of 4 frames have no stress, first frame 0 of a.xyz"):
        read_files([path], settings(stress="virial"))
    frames, report = read_files([path], settings(stress="virial", missing_stress="leave_out"))
    wanted = [sigma for *_, sigma in strained(4)[1:]]
    np.testing.assert_allclose(frames.stresses["total"], wanted, atol=1e-8)
    assert report.reasons[0].startswith("frame 0 of a.xyz (")
    (tmp_path / "no_cell.xyz").write_text(
        re.sub(r'Lattice="[^"]*" ', "", path.read_text(), count=1)
    )
    if changed is without_the_label:
        with pytest.raises(DataError, match="The periodic cell has no volume"):
            read_files([tmp_path / "no_cell.xyz"], settings(stress="virial"))
    path.write_text(without_the_label(path.read_text()))
    with pytest.raises(DataError, match="4 of 4 frames have no stress 'virial'; nothing else"):
        read_files([path], settings(stress="virial"))


def test_a_step_of_vasp_without_stress(tmp_path):
    path, made = outcar(tmp_path / "OUTCAR", {}, {})
    before, _, after = path.read_text().rpartition("  in kB")
    path.write_text(before + after.partition("\n")[2])
    with pytest.raises(DataError, match="1 of 2 frames have no stress, first frame 1 of OUTCAR"):
        read_files([path], settings("vasp", stress="stress"))
    how = settings("vasp", stress="stress", missing_stress="leave_out")
    np.testing.assert_allclose(
        read_files([path], how)[0].stresses["total"][0], made[0][3], atol=1e-7
    )


def test_six_and_nine_numbers_in_one_file(tmp_path):
    made = strained(8)
    parts = [
        write(tmp_path / f"{k}.xyz", [frame], ["ase_six", "ase_nine"][k % 2]).read_text()
        for k, frame in enumerate(made)
    ]
    path = tmp_path / "all.xyz"
    path.write_text("".join(parts))
    frames, _ = read_files([path], settings(stress="stress"))
    np.testing.assert_allclose(frames.stresses["total"], [s for *_, s in made], atol=1e-8)


# --- names of files, words of the user ------------------------------------------------------------


def test_a_name_with_an_at_sign_is_a_name(tmp_path):
    write(tmp_path / "run", moving(2))
    write(tmp_path / "run@1", moving(3))
    assert read_files([tmp_path / "run@1"], settings())[0].n_frames == 3


@pytest.mark.parametrize(
    ("said", "kept"),
    [("EMT", "EMT"), ("CCSD(T) / cc-pVTZ", "CCSD(T) / cc-pVTZ"), ("DFT", "dft"), ("xtb", "xtb")],
)
def test_a_reference_is_known_or_in_the_users_words(said, kept):
    values = {"path": ".", "format": "extxyz", "reference": said}
    assert validate(FolderSource, values, "test").reference == kept


def test_far_and_unwrapped_atoms_are_kept_to_single_precision(tmp_path):
    made = moving(3)
    images = np.array([[40_000, -3, 7], [0, 50_000, 1], [-9, 0, -20_000]]) @ CELL
    far = [(x + images, h, e, f, s) for x, h, e, f, s in made]
    frames, _ = read_files([write(tmp_path / "a.xyz", far)], settings())
    x = frames.positions.astype(np.float32).reshape(-1, 3, 3)
    fraction = (x - np.array([x for x, *_ in made])) @ np.linalg.inv(CELL)
    assert np.abs(fraction - np.rint(fraction)).max() < 1e-5
    assert np.abs(x).max() < 10.0


def test_atoms_of_ase(tmp_path):
    """What ASE writes is read as it was meant: its stress has six numbers, its file nine."""
    from ase.calculators.singlepoint import SinglePointCalculator

    x, cell, energy, forces, sigma = moving(1)[0]
    atoms = Atoms("O3", x, cell=cell, pbc=True)
    voigt = sigma[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces, stress=voigt)
    atoms.write(tmp_path / "a.xyz", format="extxyz")
    frames, _ = read_files([tmp_path / "a.xyz"], settings(stress="stress"))
    np.testing.assert_allclose(frames.stresses["total"][0], sigma, atol=1e-7)
