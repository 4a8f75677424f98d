"""The same structures that nothing can be computed of, through every entry: one sentence each."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import torch
from ase import Atoms

from gnnip import md
from gnnip.__main__ import main
from gnnip.datasets.arrays import FrameArrays
from gnnip.datasets.imports.importer import read_files
from gnnip.datasets.imports.settings import ImportSettings
from gnnip.datasets.store import load_arrays, write_frames
from gnnip.errors import GnnipError
from gnnip.graphs import GraphStore, from_torch_geometric
from gnnip.models import build, save
from gnnip.models.calculator import PotentialCalculator
from gnnip.training import Settings, train

POINTS = [[0.0, 0.1, 0.2], [1.1, 0.0, 0.3], [0.2, 1.2, 0.0]]
BOX = 5.0 * np.eye(3)


def with_point(value):
    return [*POINTS[:2], [value, 0.0, 0.0]]


#: positions, atomic numbers, cell, pbc, and a word of the sentence
BAD = {
    "no_atoms": ([], [], None, False, "no atoms"),
    "dummy": (POINTS, [8, 0, 1], None, False, "atomic number"),
    "unknown_element": (POINTS, [8, 119, 1], None, False, "from 1 to 118"),
    "negative_number": (POINTS, [8, -3, 1], None, False, "atomic number -3"),
    "nan": (with_point(np.nan), [8, 1, 1], None, False, "finite"),
    "infinite": (with_point(np.inf), [8, 1, 1], None, False, "finite"),
    "huge": (with_point(1e300), [8, 1, 1], None, False, "1.0e\\+300"),
    "coinciding": ([*POINTS[:2], POINTS[1]], [8, 1, 1], None, False, "Atoms 1 and 2"),
    "image": ([*POINTS[:2], [6.1, 5.0, -4.7]], [8, 1, 1], BOX, True, "Atoms 1 and 2"),
    "image_in_a_slab": ([*POINTS[:2], [6.1, 0, 0.3]], [8, 1, 1], BOX, [1, 0, 0], "Atoms 1 and 2"),
    "zero_cell": (POINTS, [8, 1, 1], np.zeros((3, 3)), True, "no volume"),
    "flat_cell": (POINTS, [8, 1, 1], [[5, 0, 0], [0, 5, 0], [5, 5, 0]], True, "no volume"),
    "flat_in_two": (POINTS, [8, 1, 1], [[5, 0, 0], [9, 0, 0], [0, 0, 5]], [1, 1, 0], "no volume"),
    "no_vector": (POINTS, [8, 1, 1], np.diag([5.0, 5.0, 0.0]), True, "no volume"),
    "nan_cell": (POINTS, [8, 1, 1], BOX * np.nan, True, "finite"),
    "tiny_cell": (POINTS, [8, 1, 1], 1e-3 * np.eye(3), True, "0.001|images"),
}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    made = build("zbl", species=(1, 8), cutoff=2.0)
    made.species = (1, 8)
    return made


def frames_of(points, numbers, cell, pbc):
    periodic = np.any(pbc)
    return FrameArrays(
        positions=np.reshape(np.array(points, dtype=np.float64), (-1, 3)),
        numbers=np.array(numbers, dtype=np.int64),
        offsets=np.array([0, len(numbers)]),
        energies={"total": np.zeros(1)},
        cells=np.array(cell, dtype=np.float64)[None] if periodic else None,
        pbc=np.broadcast_to(np.array(pbc, dtype=bool), (1, 3)) if periodic else None,
        units={"positions": "Angstrom", "energies": "eV", "forces": "eV/Angstrom"},
    )


def atoms_of(points, numbers, cell, pbc):
    atoms = Atoms(positions=np.reshape(points, (-1, 3)), numbers=np.zeros(len(numbers)), cell=cell)
    atoms.numbers[:] = numbers
    atoms.pbc = pbc
    return atoms


def by_graphs(model, _, *bad):
    points, numbers, cell, pbc = bad
    one = {"positions": np.reshape(points, (-1, 3)), "numbers": numbers}
    GraphStore.from_structures([one | {"cell": cell, "pbc": pbc} if np.any(pbc) else one], 2.0)


def by_converter(model, _, *bad):
    """A batch of torch-geometric, as other packages pass it on."""
    from torch_geometric.data import Batch, Data

    points, numbers, cell, pbc = bad
    values = {
        "pos": torch.tensor(np.reshape(points, (-1, 3)), dtype=torch.float64),
        "z": torch.tensor(numbers, dtype=torch.int64),
        "edge_index": torch.zeros((2, 0), dtype=torch.int64),
    }
    if np.any(pbc):
        values["cell"] = torch.tensor(np.array(cell, dtype=np.float64))[None]
        values["pbc"] = torch.tensor(np.broadcast_to(pbc, (1, 3)).astype(bool))
    from_torch_geometric(Batch.from_data_list([Data(num_nodes=len(numbers), **values)]))


def by_calculator(model, _, *bad):
    PotentialCalculator(model).get_potential_energy(atoms_of(*bad))


def by_dynamics(model, _, *bad):
    state = md.from_atoms([atoms_of(*bad)], temperature=300.0, seeds=[0])
    md.Simulation(model, state, md.VelocityVerlet(1.0)).run(1)


def by_archive(model, folder, *bad):
    write_frames(folder / "a.h5", frames_of(*bad), attributes={})
    split = {"train": np.array([0]), "validation": np.array([1])}
    frames = load_arrays(folder / "a.h5").subset([0, 0])
    options = {"species": (1, 8), "cutoff": 2.0}
    train("pair", options, frames, "total", split, Settings(epochs=1), folder / "training")


def by_damaged_archive(model, folder, *bad):
    """What another program wrote, as a training spec or a card may name it."""
    write_frames(folder / "a.h5", frames_of(POINTS, [8, 1, 1], BOX, True), attributes={})
    frames = frames_of(*bad)
    with h5py.File(folder / "a.h5", "r+") as file:
        for name in ("positions", "numbers", "offsets", "cells", "pbc"):
            values = getattr(frames, name)
            del file[name]
            if values is not None:
                file[name] = values
                if name == "positions":
                    file[name].attrs["units"] = "Angstrom"
    arrays = load_arrays(folder / "a.h5")
    GraphStore.from_flat(
        arrays.positions, arrays.numbers, arrays.offsets, 2.0, cells=arrays.cells, pbc=arrays.pbc
    )


def write_xyz(path, points, numbers, cell, pbc):
    flags = " ".join("T" if p else "F" for p in np.broadcast_to(pbc, 3))
    lattice = "" if cell is None else f'Lattice="{" ".join(map(str, np.ravel(cell)))}" '
    rows = [
        f"{z} {p[0]!r} {p[1]!r} {p[2]!r}" for z, p in zip(numbers, np.array(points), strict=True)
    ]
    rows = [row.replace("np.float64(", "").replace(")", "") for row in rows]
    comment = f'{lattice}pbc="{flags}" Properties=Z:I:1:pos:R:3 energy=-1.0'
    path.write_text("\n".join([str(len(numbers)), comment, *rows]) + "\n", encoding="utf-8")
    return path


def by_import(model, folder, *bad):
    path = write_xyz(folder / "a.xyz", *bad)
    read_files([path], ImportSettings(format="extxyz", forces=False))


def by_predict(model, folder, *bad):
    save(model, folder / "model")
    path = write_xyz(folder / "a.xyz", *bad)
    assert main(["predict", str(path), "--model", str(folder / "model")]) == 2
    raise GnnipError(pytest.capsys.readouterr().err.strip().removeprefix("gnnip: "))


ENTRIES = (
    by_graphs,
    by_converter,
    by_calculator,
    by_dynamics,
    by_archive,
    by_damaged_archive,
    by_import,
    by_predict,
)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", BAD)
def test_every_entry_says_what_is_wrong(entry, name, model, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(pytest, "capsys", capsys, raising=False)
    *bad, word = BAD[name]
    if entry is by_damaged_archive and name == "negative_number":
        pytest.skip("an archive has no signs")
    with pytest.raises(GnnipError, match=word) as caught:
        entry(model, tmp_path, *bad)
    assert "\n" not in str(caught.value)


def test_one_bad_frame_is_left_out_and_told(model, tmp_path, capsys):
    """The others are predicted; status and a file beside the output say what is missing."""
    save(model, tmp_path / "model")
    good = write_xyz(tmp_path / "a.xyz", POINTS, [8, 1, 1], None, False).read_text()
    bad = write_xyz(tmp_path / "b.xyz", [*POINTS[:2], POINTS[1]], [8, 1, 1], None, False)
    (tmp_path / "set.xyz").write_text(good + bad.read_text() + "0\n\n" + good)
    out = tmp_path / "out.xyz"
    command = ["predict", str(tmp_path / "set.xyz"), "--model", str(tmp_path / "model")]
    assert main([*command, "-o", str(out)]) == 1
    assert out.read_text().count("Properties") == 2
    told = (tmp_path / "out.xyz.left_out.json").read_text()
    assert '"1": "Atoms 1 and 2 are at one point' in told
    assert '"2": "it has no atoms' in told
    assert "frame 1 left out: Atoms 1 and 2" in capsys.readouterr().err
    (tmp_path / "set.xyz").write_text(good)
    assert main([*command, "-o", str(out)]) == 0
    assert not (tmp_path / "out.xyz.left_out.json").exists()


@pytest.mark.parametrize(
    ("cutoff", "cell", "word"),
    [
        (5.0, 2e-2 * np.eye(3), "0.02 x 0.02 x 0.02 Angstrom has .* cutoff of 5 "),
        (1e9, BOX, r"5 x 5 x 5 Angstrom has .* cutoff of 1e\+09"),
        (1e6, BOX, r"cutoff of 1e\+06"),
    ],
)
def test_more_images_than_memory_holds(cutoff, cell, word, monkeypatch):
    monkeypatch.setattr("gnnip.graphs.neighbours._most_pairs", lambda: 1e6)
    one = {"positions": POINTS[:1], "numbers": [8], "cell": cell, "pbc": True}
    with pytest.raises(GnnipError, match=word):
        GraphStore.from_structures([one], cutoff)


def test_more_pairs_than_memory_holds(monkeypatch):
    monkeypatch.setattr("gnnip.graphs.neighbours._most_pairs", lambda: 1e4)
    points = np.random.default_rng(0).uniform(0, 6, (400, 3))
    with pytest.raises(GnnipError, match=r"400 atoms has about .* pairs within the cutoff of 9 "):
        GraphStore.from_structures([{"positions": points, "numbers": [8] * 400}], 9.0)
    # many atoms and few neighbours are no reason
    grid = 3.0 * np.stack(np.meshgrid(*[np.arange(8)] * 3), -1).reshape(-1, 3)
    made = GraphStore.from_structures([{"positions": grid, "numbers": [8] * 512}], 3.1)
    assert made.mean_neighbours == pytest.approx(6 * 7 / 8)


def test_held_atoms(model):
    """Constraints are ASE's: the potential's own forces are not changed, our dynamics refuse."""
    from ase.constraints import FixAtoms

    atoms = atoms_of(POINTS, [8, 1, 1], None, False)
    atoms.set_constraint(FixAtoms([0]))
    with pytest.raises(GnnipError, match=r"held \(FixAtoms\)"):
        md.from_atoms([atoms], temperature=300.0, seeds=[0])
