"""The fit: frames of a known model are fitted back, and the command prints what it found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase.data import chemical_symbols

from gnnip.datasets import fit_charge_equilibration as fitting
from gnnip.errors import DataError
from gnnip.reference import charge_equilibration as ce
from gnnip.units import BOHR, HARTREE, HARTREE_PER_BOHR

CELL = np.diag([6.0, 6.0, 11.0])
HARDNESS = np.array([9.0, 7.0, 4.0, 3.0])


def frames(doped: bool, count: int, rng: np.random.Generator) -> list[fitting.Structure]:
    """Eight atoms: a small slab with an upright and a flat dimer in turn, no labels yet."""
    found = []
    for k in range(count):
        slab = [[0, 0, 3], [3, 3, 3.2], [3, 0, 3], [0, 3, 3], [0, 0, 5.1], [3, 0, 5]]
        dimer = [[0, 0, 7.2], [0, 0, 9.7]] if k % 2 else [[1, 3, 7.6], [3.5, 3, 7.6]]
        positions = np.array(slab + dimer, dtype=float) + rng.normal(0, 0.08, (8, 3))
        found.append(
            fitting.Structure(
                source="made",
                numbers=np.array([12, 13 if doped else 12, 8, 8, 8, 12, 79, 79]),
                positions=positions,
                cell=CELL,
                energy=0.0,
                forces=np.zeros((8, 3)),
                charges=np.zeros(8),
                held=False,
            )
        )
    return found


@pytest.fixture(scope="module")
def labelled() -> list[fitting.Structure]:
    """Frames labelled by a model of the fitted form."""
    rng = np.random.default_rng(8)
    bare = frames(False, 6, rng) + frames(True, 6, rng)
    empty = fitting._empty(bare)
    tables = rng.normal(0, 0.3, (3, *empty.pair_energy.shape))
    model = replace(
        empty,
        hardness=HARDNESS,
        energy=rng.normal(size=4) - 1000.0,
        electronegativity=rng.normal(size=4),
        potential=rng.normal(size=4),
        stiffness=rng.normal(size=4),
        pair_energy=tables[0] + tables[0].transpose(1, 0, 2),
        pair_electronegativity=tables[1],
        pair_potential=tables[2],
    )
    done = []
    for s in bare:
        found = ce.evaluate(model, s.numbers, s.positions, s.cell)
        done.append(replace(s, energy=found.energy, forces=found.forces, charges=found.charges))
    return done


@pytest.fixture
def no_penalty(monkeypatch):
    for name in ("CHARGE_PENALTY", "ENERGY_PENALTY"):
        monkeypatch.setattr(fitting, name, 1e-6)


def test_a_known_model_is_fitted_back(labelled, no_penalty):
    parameters = fitting.fit(labelled, HARDNESS)
    table = fitting.errors(labelled, fitting.predict(parameters, labelled)).set_index("of")
    charges = table[table["quantity"] == "charge"]
    assert (charges["rmse"] < 1e-3 * charges["published"].max()).all()
    forces = table[table["quantity"] == "force"]
    assert (forces["rmse"] < 0.02 * forces["published"]).all()
    assert (table[table["quantity"] == "energy"]["rmse"] < 1.0).all()  # meV


def test_placeholders_of_a_held_slab_do_not_count(labelled, no_penalty):
    held = replace(labelled[0], held=True, forces=labelled[0].forces.copy())
    held.forces[held.numbers != 79] = 0.0
    one, two = (
        fitting.predict(fitting.fit([s, *labelled[1:]], HARDNESS), [labelled[0]])[0]
        for s in (labelled[0], held)
    )
    assert np.abs(held.forces - labelled[0].forces).max() > 0.1
    assert np.abs(two.forces - labelled[0].forces)[held.numbers == 79].max() < 0.05
    assert np.abs(one.forces - labelled[0].forces).max() < 0.05


def test_a_frame_left_out_fares_worse(labelled):
    inside = fitting.predict(fitting.fit(labelled, HARDNESS), labelled)
    outside = fitting.predict_left_out(labelled, HARDNESS)
    first, second = (fitting.errors(labelled, found)["rmse"].sum() for found in (inside, outside))
    assert second > first


def test_the_command_reads_fits_and_reports(labelled, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fitting, "HARDNESS_STEPS", 3)
    lines = []
    for s in labelled:
        lines += ["begin", *("lattice " + " ".join(map(str, row / BOHR)) for row in s.cell)]
        for z, x, q, force in zip(s.numbers, s.positions, s.charges, s.forces, strict=True):
            numbers = [*(x / BOHR), chemical_symbols[z], q, 0.0, *(force / HARTREE_PER_BOHR)]
            lines.append("atom " + " ".join(map(str, numbers)))
        lines += [f"energy {s.energy / HARTREE}", f"charge {s.charges.sum()}", "end"]
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames/input.data").write_text("\n".join(lines) + "\n")
    read = fitting.read_structures(tmp_path / "frames")
    assert [s.doped for s in read] == [False] * 6 + [True] * 6
    assert [s.wetting for s in read] == [True, False] * 6
    assert not any(s.held for s in read)
    np.testing.assert_allclose(read[3].forces, labelled[3].forces, atol=1e-9)
    out = tmp_path / "p.yaml"
    assert fitting.main([str(tmp_path / "frames"), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "12 frames, those of the fit" in printed
    assert "| force | eV/Å | Au | 72 |" in printed
    assert "E(wetting) - E(non-wetting), doped, mean of displaced frames" in printed
    assert ce.read_parameters(out).made["frames"] == 12


def test_a_folder_without_frames_is_named(tmp_path, capsys):
    assert fitting.main([str(tmp_path)]) == 2
    assert "no RuNNer files" in capsys.readouterr().err
    with pytest.raises(DataError, match=r"no RuNNer files \(\*\.data\)"):
        fitting.read_structures(tmp_path)
