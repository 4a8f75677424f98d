"""Gold on MgO: the crystal, the paths, what doping does, and the archive that is drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gnnip.datasets.assembly import assemble, draw_structures
from gnnip.datasets.store import load_arrays
from gnnip.datasets.verification import verify_labels
from gnnip.errors import ConfigError
from gnnip.reference.charge_equilibration import shipped_parameters
from gnnip.sampling import au_mgo, au_mgo_dft
from gnnip.sampling.au_mgo import ALUMINIUM, GOLD, MAGNESIUM, OXYGEN
from gnnip.sampling.plans import make_drawing_plan

SMALL = {"passes": 1, "test_passes": 1, "points": 3, "curve_points": 3}
GROUPS = [(s, c) for s in au_mgo.SUPPORTS for c in au_mgo.CONFIGURATIONS]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return draw_structures("au_mgo", SMALL, tmp_path_factory.mktemp("drawn") / "au_mgo.h5")


@pytest.fixture(scope="module")
def frames(path):
    return load_arrays(path)


@pytest.mark.parametrize("support", au_mgo.SUPPORTS)
def test_the_slab_is_rock_salt(support):
    slab = au_mgo.slab(support)
    n_aluminium = 3 if support == "doped" else 0
    counts = [(slab.numbers == z).sum() for z in (OXYGEN, MAGNESIUM, ALUMINIUM)]
    assert counts == [54, 54 - n_aluminium, n_aluminium]
    distances = slab.get_all_distances(mic=True) + 9.0 * np.eye(108)
    bond = au_mgo.LATTICE_CONSTANT / 2
    bonds = np.abs(distances - bond) < 1e-6
    assert distances.min() == pytest.approx(bond)
    # six neighbours inside, five in the two faces, all of the other kind
    assert sorted(np.unique(bonds.sum(axis=1), return_counts=True)[1]) == [36, 72]
    oxygen = slab.numbers == OXYGEN
    assert not bonds[oxygen][:, oxygen].any()
    assert not bonds[~oxygen][:, ~oxygen].any()


@pytest.mark.parametrize("configuration", au_mgo.CONFIGURATIONS)
def test_no_pair_term_joins_gold_and_aluminium(configuration):
    atoms = au_mgo.with_dimer("doped", configuration, 2.3, 2.5)
    gold = np.flatnonzero(atoms.numbers == GOLD)
    nearest = min(
        atoms.get_distances(g, np.flatnonzero(atoms.numbers == ALUMINIUM), mic=True).min()
        for g in gold
    )
    assert nearest > shipped_parameters().cutoff + 4.0
    assert atoms.get_distance(*gold) == pytest.approx(2.5)
    top = atoms.positions[:108, 2].max()
    assert atoms.positions[gold, 2].min() - top == pytest.approx(2.3)


@pytest.mark.parametrize(("support", "configuration"), GROUPS)
def test_the_relaxed_dimer_is_at_rest_in_every_direction(support, configuration):
    atoms = au_mgo.with_dimer(support, configuration, *au_mgo.relaxed(support, configuration))
    forces = au_mgo.label(atoms.positions, atoms.numbers, atoms.cell[:])["forces_total"]
    assert np.abs(forces[-2:]).max() < 0.05


def test_doping_decides_whether_gold_wets(frames):
    chosen = frames.column("purpose") == "fig2b"
    cost, charge = {}, {}
    for support in au_mgo.SUPPORTS:
        flat, upright = (
            int(np.flatnonzero(chosen & (frames.column("support") == support)
                               & (frames.column("configuration") == c))[0])
            for c in ("wetting", "non_wetting")
        )  # fmt: skip
        cost[support] = frames.energies["total"][flat] - frames.energies["total"][upright]
        charge[support] = frames.column("gold_charge_e")[[flat, upright]]
    assert cost["undoped"] == pytest.approx(0.935, abs=0.05)
    assert cost["doped"] < cost["undoped"] - 0.7
    assert (charge["doped"] < charge["undoped"] - 0.1).all()


def test_the_curve_crosses_zero_further_out_when_doped(frames):
    zero = {}
    for support in au_mgo.SUPPORTS:
        rows = np.flatnonzero(frames.column("trajectory") == f"{support}-curve")
        distances = frames.column("gold_oxygen_a")[rows]
        np.testing.assert_allclose(distances, [2.0, 2.3, 2.6], atol=1e-4)
        total = [frames.forces["total"][frames.atom_slice(r)][-2:, 2].sum() for r in rows]
        assert total[0] > 1.0
        assert total[-1] < 0.0
        zero[support] = np.interp(0.0, total[::-1], distances[::-1])
        # the shift is measured from the relaxed dimer
        height = au_mgo.relaxed(support, "non_wetting")[0]
        np.testing.assert_allclose(frames.column("path_a")[rows], distances - height, atol=1e-4)
    assert zero["doped"] > zero["undoped"] + 0.05


def test_everything_that_the_plan_asks_for_is_there(frames):
    assert frames.n_frames == 4 * (1 + 1) * 3 + 4 + 2 * 3
    assert set(frames.n_atoms) == {110}
    assert frames.pbc.all()
    np.testing.assert_allclose(frames.cells[:, 2, 2], au_mgo.HEIGHT)
    np.testing.assert_allclose(
        frames.cells[:, 0, 0], 3 * au_mgo.LATTICE_CONSTANT / np.sqrt(2), atol=1e-9
    )
    trained = frames.column("purpose") == "train"
    groups = list(
        zip(frames.column("support")[trained], frames.column("configuration")[trained],
            strict=True)
    )  # fmt: skip
    assert sorted(map(tuple, groups)) == sorted(3 * GROUPS)
    assert len(set(frames.column("trajectory"))) == 4 * 2 + 1 + 2
    assert np.abs(frames.column("path_a")[trained]).max() == pytest.approx(0.35)
    doped = np.add.reduceat(frames.numbers == ALUMINIUM, frames.offsets[:-1]) == 3
    np.testing.assert_array_equal(doped, frames.column("support") == "doped")
    total = np.add.reduceat(frames.forces["total"], frames.offsets[:-1])
    assert np.abs(total).max() < 1e-3


def test_the_published_displacements(frames):
    for purpose, slab, gold in (("train", 0.02, 0.1), ("fig2b", 0.0, 0.0)):
        moves: dict[str, list[np.ndarray]] = {"slab": [], "gold": []}
        for row in np.flatnonzero(frames.column("purpose") == purpose):
            support, configuration = (
                str(frames.column(name)[row]) for name in ("support", "configuration")
            )
            height, length = au_mgo.relaxed(support, configuration)
            ideal = au_mgo.with_dimer(
                support, configuration, height + frames.column("path_a")[row], length
            )
            off = frames.positions[frames.atom_slice(row)] - ideal.positions
            moves["slab"].append(off[:-2].ravel())
            moves["gold"].append(off[-2:].ravel())
        assert np.concatenate(moves["slab"]).std() == pytest.approx(slab, rel=0.05, abs=1e-5)
        # 72 numbers: their deviation is known to a twelfth
        assert np.concatenate(moves["gold"]).std() == pytest.approx(gold, rel=0.35, abs=1e-5)


def test_every_pass_has_a_stream_of_its_own(frames):
    more = make_drawing_plan("au_mgo", {**SMALL, "passes": 2})
    drawn = {}
    for frame in au_mgo.structures(more):
        drawn.setdefault(frame.columns["trajectory"], []).append(frame.positions)
    name = "doped-wetting-train-0"
    rows = np.flatnonzero(frames.column("trajectory") == name)
    for row, positions in zip(rows, drawn[name], strict=True):
        np.testing.assert_allclose(frames.positions[frames.atom_slice(row)], positions, atol=1e-5)
    other = np.array(drawn["doped-wetting-train-1"]) - np.array(drawn[name])
    assert np.abs(other).min(axis=(1, 2)).max() > 0.0


def test_labels_are_verified(path):
    table = verify_labels(path, 2, seed=0)
    assert table["energy_error_ev"].abs().max() < au_mgo.LABEL_ACCURACY_EV
    assert set(table["term"]) == {"total"}


# ------------------------------------------------------------------------------------- with engines


def test_kinds_that_cannot_be_are_refused():
    assert len({au_mgo_dft.paper_plan(replica=r).name for r in range(4)}) == 4
    for changes, sentence in (
        ({"size": 100}, "no slab of 100 atoms and kind 0; give one of 18, 110 atoms"),
        ({"replica": 4}, "and kind 4; .* replicas 0 to 3"),
        ({"frames": 1}, "1 frames between .* a path has two ends"),
        ({"gold_deviation": -1.0}, "gold_deviation = -1"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            replace(au_mgo_dft.paper_plan(), **changes)


def test_frames_for_dft_in_miniature_continue_where_they_were_stopped(tmp_path):
    plan = replace(au_mgo_dft.smoke_plan(replica=2), residual=0.5)
    told = []

    def stop(line):
        told.append(line)
        if len(told) == 1:
            raise KeyboardInterrupt

    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        au_mgo_dft.run_trajectory(plan, folder, stop)
    kept = {p.name: p.stat().st_mtime_ns for p in folder.glob("relaxation/*.npz")}
    assert len(kept) == 1
    path = au_mgo_dft.run_trajectory(plan, folder, stop)
    assert len(told) > 2
    assert all((folder / "relaxation" / k).stat().st_mtime_ns == v for k, v in kept.items())
    # finished: nothing is done again
    assert au_mgo_dft.run_trajectory(plan, folder, stop) == path
    out = assemble("au_mgo_dft", [path], tmp_path / "au_mgo_dft.h5")
    found = load_arrays(out)
    assert list(found.column("purpose")) == ["fig2b", "train", "train"]
    assert set(found.column("support")) == {"doped"}
    assert (found.numbers == ALUMINIUM).sum() == 3 * 2
    relaxed, *displaced = (found.structure(i)[0] for i in range(3))
    along = found.column("path_a")[1:]
    for positions, height in zip(displaced, along, strict=True):
        moved = positions - relaxed
        assert np.abs(moved[:-2]).max() < 0.02 * 5
        assert np.abs(moved[-2:] - [0, 0, height]).max() < 0.1 * 5
    # the dimer rests where it was left
    pull = found.forces["total"][found.atom_slice(0)][-2:, 2]
    assert max(abs(pull.sum()), abs(pull[1])) < 0.55
    assert len(verify_labels(out, 1, seed=0)) == 1
