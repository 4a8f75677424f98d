"""What makes structures: packed liquids, normal modes, displaced paths, the systems' starts."""

from dataclasses import replace
from importlib import import_module

import h5py
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.neighborlist import neighbor_list

from gnnip.errors import CheckpointError, ConfigError, ConvergenceError, StructureError
from gnnip.reference.engines import evaluate, make_engine
from gnnip.sampling import ani, ean, frames, gese2, hfo2, normal_modes, p4, sic
from gnnip.sampling.displacements import around_path, displace, interpolate
from gnnip.sampling.packing import pack_box, random_rotation
from gnnip.units import KB

# ---------------------------------------------------------------------------------------- packing


def test_packed_molecules_are_whole_apart_and_seeded():
    water = molecule("H2O").positions
    box = (9.0, 10.0, 11.0)
    packed = pack_box([water] * 20, box, 1.9, np.random.default_rng(1))
    atoms = Atoms("OHH" * 20, positions=np.concatenate(packed), cell=box, pbc=True)
    distances = atoms.get_all_distances(mic=True)
    own = np.kron(np.eye(20), np.ones((3, 3))).astype(bool)
    assert distances[~own].min() >= 1.9
    inside = np.linalg.norm(water[:, None] - water[None], axis=-1)
    for i in range(20):
        np.testing.assert_allclose(distances[3 * i : 3 * i + 3, 3 * i : 3 * i + 3], inside)
    again = pack_box([water] * 20, box, 1.9, np.random.default_rng(1))
    np.testing.assert_array_equal(np.concatenate(again), np.concatenate(packed))
    other = pack_box([water] * 20, box, 1.9, np.random.default_rng(2))
    assert np.abs(np.concatenate(other) - np.concatenate(packed)).max() > 1


def test_atoms_have_radii_of_their_own():
    ion, counter = ean.cation(), ean.anion()
    radii = [np.array([ean.RADII[s] for s in names]) for names in (ean.CATION, ean.ANION)]
    packed = pack_box([ion, counter] * 4, [9.0] * 3, radii * 4, np.random.default_rng(0))
    atoms = Atoms(positions=np.concatenate(packed), cell=[9.0] * 3, pbc=True, numbers=[1] * 60)
    owner = np.repeat(np.arange(8), [11, 4] * 4)
    size = np.concatenate(radii * 4)
    allowed = size[:, None] + size[None]
    apart = owner[:, None] != owner[None]
    assert (atoms.get_all_distances(mic=True)[apart] >= allowed[apart] - 1e-9).all()


def test_packing_says_what_does_not_fit():
    rng = np.random.default_rng(0)
    water = molecule("H2O").positions
    with pytest.raises(StructureError, match=r"30 molecules do not fit into a box of 5 x 5 x 5 Å"):
        pack_box([water] * 30, (5, 5, 5), 2.0, rng)
    with pytest.raises(ConfigError, match=r"meets its own image in a box of 3 Å"):
        pack_box([water], (9, 9, 3), 2.0, rng)
    with pytest.raises(ConfigError, match=r"minimum distance of 0 Å; all must be > 0"):
        pack_box([water], (9, 9, 9), 0, rng)


def test_random_rotations_are_even():
    rng = np.random.default_rng(0)
    rotations = np.array([random_rotation(rng) for _ in range(2000)])
    np.testing.assert_allclose(np.linalg.det(rotations), 1)
    np.testing.assert_allclose(
        rotations @ rotations.transpose(0, 2, 1), [np.eye(3)] * 2000, atol=1e-12
    )
    # the image of every axis is spread over the sphere
    np.testing.assert_allclose(rotations.mean(axis=0), 0, atol=0.06)
    np.testing.assert_allclose((rotations**2).mean(axis=0), 1 / 3, atol=0.03)


# ----------------------------------------------------------------------------------- normal modes


def test_modes_of_a_spring():
    # two masses on a spring k: one mode along the bond, E = k (2 R / sqrt 2)^2 / 2
    k, bond = 30.0, np.array([[0.0, 0, 0], [0, 0, 1.2]])
    along = np.zeros((6, 6))
    along[2, 2] = along[5, 5] = k
    along[2, 5] = along[5, 2] = -k
    constants, vectors = normal_modes.modes(np.array([14.0, 14.0]), bond, along)
    assert constants == pytest.approx([2 * k])
    np.testing.assert_allclose(np.abs(vectors[0]), [[0, 0, 0.5**0.5]] * 2, atol=1e-12)


def test_rounding_does_not_turn_a_mode_around():
    # the last bits of a minimum differ with what was computed before
    rng = np.random.default_rng(0)
    calculator = make_engine("xtb accuracy=0.01").calculator()
    atoms = normal_modes.relax(molecule("H2O"), calculator)
    second = normal_modes.hessian(atoms, calculator)
    expected = normal_modes.modes(atoms.get_masses(), atoms.positions, second)[1]
    for _ in range(30):
        nearly = atoms.positions + 1e-12 * rng.normal(size=(3, 3))
        found = normal_modes.modes(atoms.get_masses(), nearly, second)[1]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "frequencies"),
    [
        # harmonic, 1/cm, of GFN2-xTB within its error of the measured ones
        ("H2O", [1595, 3657, 3756]),
        ("CO2", [667, 667, 1333, 2349]),
    ],
)
def test_modes_of_molecules_vibrate_as_measured(name, frequencies):
    calculator = make_engine("xtb accuracy=0.01").calculator()
    atoms = normal_modes.relax(molecule(name), calculator)
    assert np.abs(evaluate(calculator, atoms).forces).max() < 2e-3
    second = normal_modes.hessian(atoms, calculator)
    constants, vectors = normal_modes.modes(atoms.get_masses(), atoms.positions, second)
    assert len(constants) == len(frequencies)
    np.testing.assert_allclose(np.linalg.norm(vectors.reshape(len(vectors), -1), axis=1), 1)
    reduced = (vectors**2 * atoms.get_masses()[None, :, None]).sum(axis=(1, 2))
    # sqrt(eV/Angstrom^2/amu) is 521.47 / cm
    np.testing.assert_allclose(521.47 * np.sqrt(constants / reduced), frequencies, rtol=0.12)
    # translations and rotations cost nothing and are not among them
    np.testing.assert_allclose(vectors.transpose(0, 2, 1) @ atoms.get_masses(), 0, atol=1e-8)


def test_sampled_energies_are_bounded_and_have_the_published_mean(shared):
    calculator = make_engine("xtb accuracy=0.01").calculator()
    rng = np.random.default_rng(0)
    with h5py.File(shared / "data/ani1/ani_gdb_s01.h5") as file:
        (group,) = file.values()
        published = {
            b"".join(sorted(entry["species"])): entry["energies"][:] for entry in group.values()
        }
    for name in ani.MOLECULES[1]:
        atoms = normal_modes.relax(molecule(name), calculator)
        second = normal_modes.hessian(atoms, calculator)
        constants, vectors = normal_modes.modes(atoms.get_masses(), atoms.positions, second)
        temperature = ani.TEMPERATURES[1]
        harmonic = []
        for _ in range(1500):
            x = normal_modes.sample(atoms.positions, constants, vectors, temperature, rng)
            moved = (x - atoms.positions).ravel()
            harmonic.append(0.5 * moved @ second @ moved)
        bound = 1.5 * len(atoms) * KB * temperature
        assert max(harmonic) <= bound * (1 + 1e-9)
        assert np.mean(harmonic) == pytest.approx(0.5 * bound, rel=0.06)
        found = published["".join(sorted(atoms.symbols)).encode()] * 27.2114
        # those energies are not harmonic
        assert np.mean(harmonic) == pytest.approx(np.mean(found - found.min()), rel=0.12)


def test_modes_of_no_minimum_are_refused():
    atoms = molecule("H2O")
    with pytest.raises(ConvergenceError, match=r"not a minimum: a mode has the force constant -2"):
        normal_modes.sample(
            atoms.positions,
            np.array([-2.0, 1.0]),
            np.ones((2, 3, 3)),
            300.0,
            np.random.default_rng(0),
        )
    with pytest.raises(ConfigError, match="sampled at 0 K"):
        normal_modes.sample(
            atoms.positions, np.ones(1), np.ones((1, 3, 3)), 0, np.random.default_rng(0)
        )
    with pytest.raises(ConvergenceError, match="is not at a minimum after 1 steps"):
        normal_modes.relax(atoms, make_engine("xtb").calculator(), steps=1)


# ---------------------------------------------------------------------------------- displacements


def test_paths_are_straight_even_and_take_the_nearest_image():
    a = Atoms("AuMg", positions=[[0.5, 0, 0], [5, 5, 5]], cell=[10, 10, 10], pbc=True)
    b, c = a.copy(), a.copy()
    b.positions[0, 0] = 9.5  # one Angstrom to the left, through the wall
    c.positions[0] = [9.5, 3.0, 0]
    path = interpolate([a, b, c], 9)
    moving = np.array([atoms.positions[0] for atoms in path])
    np.testing.assert_allclose(moving[2], [-0.5, 0, 0], atol=1e-12)
    np.testing.assert_allclose(moving[-1], [-0.5, 3, 0], atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(np.diff(moving, axis=0), axis=1), 0.5)
    np.testing.assert_allclose([atoms.positions[1] for atoms in path], [[5, 5, 5]] * 9)
    with pytest.raises(StructureError, match="differ in their atoms or cells"):
        interpolate([a, a[::-1]], 3)
    with pytest.raises(StructureError, match="are the same"):
        interpolate([a, a], 3)
    with pytest.raises(ConfigError, match="found 1 and 3"):
        interpolate([a], 3)


def test_displacements_have_the_width_asked_for_atom_by_atom():
    slab = bulk("MgO", "rocksalt", a=4.2, cubic=True) * (4, 4, 4)
    widths = np.where(slab.numbers == 8, 0.1, 0.0)
    moved = displace(slab, widths, np.random.default_rng(3))
    difference = moved.positions - slab.positions
    assert (difference[slab.numbers == 12] == 0).all()
    assert difference[slab.numbers == 8].std() == pytest.approx(0.1, rel=0.1)
    np.testing.assert_array_equal(
        displace(slab, widths, np.random.default_rng(3)).positions, moved.positions
    )
    places = [s for s, _ in around_path([slab, moved], 5, 0.01, np.random.default_rng(0))]
    np.testing.assert_allclose(places, [0, 0.25, 0.5, 0.75, 1])
    for wrong in (-0.1, [0.1, 0.1]):
        with pytest.raises(ConfigError, match="do not fit 512 atoms"):
            displace(slab, wrong, np.random.default_rng(0))


# ---------------------------------------------------------------------------------------- systems


def begin(system, **changes):
    plan = replace(system.paper_plan(), **changes)
    return system.start(plan, np.random.default_rng(0))


def density(atoms):
    return atoms.get_masses().sum() / atoms.get_volume() / 0.602214076  # g/cm^3


def neighbours(atoms, a, b, cutoff):
    distances = atoms.get_all_distances(mic=True)
    np.fill_diagonal(distances, np.inf)
    block = distances[atoms.symbols == a][:, atoms.symbols == b]
    return (block < cutoff).sum(axis=1), block.min()


def test_starts_are_the_materials_they_are_named_after():
    atoms = begin(sic)
    assert atoms.get_chemical_formula() == "C32Si32"
    assert density(atoms) == pytest.approx(3.21, abs=0.07)
    number, bond = neighbours(atoms, "Si", "C", 2.2)
    assert set(number) == {4}
    assert bond == pytest.approx(1.89, abs=0.02)

    atoms = begin(gese2)
    assert atoms.get_chemical_formula() == "Ge16Se32"
    assert density(atoms) == pytest.approx(4.2, abs=0.01)
    assert set(neighbours(atoms, "Ge", "Se", 2.8)[0]) == {4}
    assert set(neighbours(atoms, "Se", "Ge", 2.8)[0]) == {2}
    assert len(begin(gese2, size=72)) == 72
    # layers: of 16 tetrahedra half share an edge, two by two
    atoms = begin(gese2, phase="layered_melt")
    assert density(atoms) == pytest.approx(4.39, abs=0.01)
    assert set(neighbours(atoms, "Ge", "Se", 2.8)[0]) == {4}
    assert set(neighbours(atoms, "Se", "Ge", 2.8)[0]) == {2}
    assert sorted(neighbours(atoms, "Ge", "Ge", 3.2)[0]) == [0] * 8 + [1] * 8
    with pytest.raises(ConfigError, match=r"layered phase .* of 48 atoms .* says 12 atoms"):
        begin(gese2, size=12, phase="layered")

    atoms = begin(hfo2)
    assert atoms.get_chemical_formula() == "Hf32O64"
    assert set(neighbours(atoms, "Hf", "O", 2.6)[0]) == {8}
    assert density(atoms) == pytest.approx(9.66, abs=0.05)

    atoms = begin(p4)
    assert density(atoms) == pytest.approx(1.745)
    number, bond = neighbours(atoms, "P", "P", 2.5)
    assert set(number) == {3}
    assert bond == pytest.approx(2.21)


def test_the_ionic_liquid_has_the_published_order_of_atoms():
    atoms = begin(ean)
    assert len(atoms) == 225
    assert atoms.cell.lengths() == pytest.approx([12.9] * 3)
    assert str(atoms.symbols[:11]) == "NH3CH2CH3"
    assert "".join(atoms.symbols[165:169]) == "NOOO"
    cation = Atoms(list(ean.CATION), positions=ean.cation())
    relaxed = normal_modes.relax(cation, make_engine("xtb charge=1").calculator(), force=0.05)
    # built by hand and near the minimum: no bond moves by more than 0.05 Angstrom
    near = cation.get_all_distances() < 1.7
    change = relaxed.get_all_distances() - cation.get_all_distances()
    assert np.abs(change[near]).max() < 0.05
    anion = Atoms(list(ean.ANION), positions=ean.anion())
    np.testing.assert_allclose(anion.get_all_distances()[0, 1:], 1.25)


@pytest.mark.parametrize(
    ("system", "size", "sentence"),
    [
        (sic, 60, "SiC cannot have 60 atoms"),
        (gese2, 50, "no cell of 50 atoms; give one of 12, 48, 72"),
        (hfo2, 64, "HfO2 cannot have 64 atoms"),
        (p4, 30, "not a whole number of P4 molecules"),
        (ean, 220, "not a whole number of ion pairs"),
    ],
)
def test_sizes_that_cannot_be_are_refused(system, size, sentence):
    with pytest.raises(ConfigError, match=sentence):
        begin(system, size=size)


@pytest.mark.parametrize("name", ["sic", "gese2", "hfo2", "p4", "ean", "sic_dft", "gese2_dft"])
def test_plans_give_enough_independent_frames(name):
    system = import_module(f"gnnip.sampling.{name}")
    replicas = {"sic": 4, "sic_dft": 4, "gese2": 4, "gese2_dft": 5, "p4": 3}.get(name, 2)
    plans = [system.paper_plan(replica=r) for r in range(replicas)]
    wanted = {"hfo2": 300, "p4": 150, "ean": 200, "gese2_dft": 200}.get(name, 330)
    assert sum(len(plan.temperatures) * plan.frames for plan in plans) >= wanted
    assert len({plan.name for plan in plans}) == replicas
    # one reference labels a set; frames of SiC and those for DFT are drawn by a cheaper one
    (label,) = {make_engine(p.label_engine) for p in plans}
    drawn = make_engine(plans[0].engine)
    if name.endswith("_dft"):
        assert (drawn.name, label.reference) == ("xtb", "dft")
    else:
        assert (label.method == drawn.method) == (name != "sic")
    for plan in plans:
        assert plan.system == name


@pytest.mark.slow
@pytest.mark.parametrize("wall", [True, False])
def test_oxygens_that_are_kept_apart_form_no_peroxide(tmp_path, wall):
    short = {"melt_fs": 200.0, "quench_fs": 250.0, "equilibration_fs": 100.0, "frames": 5}
    plan = replace(hfo2.paper_plan(12), **short)
    if not wall:
        plan = replace(plan, wall_pair="", wall_distance=0.0)
    found = frames.read_trajectory(hfo2.run_trajectory(plan, tmp_path, str)).frames
    bonds = [len(neighbor_list("d", frame.atoms(), {("O", "O"): 1.6})) for frame in found]
    assert max(bonds) == 0 if wall else min(bonds) > 0


# ---------------------------------------------------------------------------------------- molecules


def test_molecules_are_drawn_with_streams_of_their_own(tmp_path):
    whole = replace(ani.paper_plan(1), conformations=4)
    part = replace(whole, molecules=("H2O",))
    paths = [
        ani.run_trajectory(plan, tmp_path / str(i), str) for i, plan in enumerate((whole, part))
    ]
    first, second = (frames.read_trajectory(path).frames for path in paths)
    water = [f for f in first if f.columns["molecule"] == "H2O"]
    for a, b in zip(water, second, strict=True):
        # the last bits of a matrix product depend on where its operands lie in memory
        np.testing.assert_allclose(a.positions, b.positions, rtol=0, atol=1e-12)
    assert {f.columns["temperature_k"] for f in first} == {2000.0}
    assert all(f.cell is None for f in first)
    # finished: nothing is done again, and another plan is another folder
    assert ani.run_trajectory(part, tmp_path / "1", str) == paths[1]
    with pytest.raises(CheckpointError, match="another seed"):
        ani.run_trajectory(replace(part, seed=3), tmp_path / "1", str)


def test_isomers_are_held_out_and_the_plan_is_large_enough(tmp_path):
    counts = [ani.paper_plan(n).conformations * len(ani.MOLECULES[n]) for n in (1, 2, 3)]
    assert sum(counts) >= 2000
    plan = replace(ani.paper_plan(3), conformations=1, molecules=("CO2", "C3H4_C2v", "CH2OCH2"))
    found = frames.read_trajectory(ani.run_trajectory(plan, tmp_path, str)).frames
    assert [f.columns["purpose"] for f in found] == ["train", "held_out", "held_out"]
