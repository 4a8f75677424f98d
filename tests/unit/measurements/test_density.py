import numpy as np
import pandas as pd
import pytest
from made_up_trainings import frames_of, sources
from scipy import stats

from gnnip.errors import DataError
from gnnip.measurements import electron_density as density
from gnnip.measurements.kinds import ElectronDensity


def is_closed(triangles):
    """Tell whether every edge belongs to two triangles."""
    edges = np.sort(triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    _, counts = np.unique(edges, axis=0, return_counts=True)
    return set(counts) == {2}


def test_isosurface_of_a_gaussian_encloses_the_asked_share():
    sigma, spacing = 2.0, 1.25
    axis = np.arange(-11.0, 11.1, spacing)
    centre = np.array([0.3, -0.2, 0.1])
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)
    rho = np.exp(-np.square(points - centre).sum(axis=-1) / (2 * sigma**2))
    for share in (0.5, 0.9):
        vertices, triangles, level = density.isosurface(np.full(3, -11.0), spacing, rho, share)
        radius = np.linalg.norm(vertices - centre, axis=1)
        # r^2 / sigma^2 of a normal density in three dimensions is chi-square distributed
        expected = sigma * np.sqrt(stats.chi2.ppf(share, 3))
        assert radius.mean() == pytest.approx(expected, rel=0.02)
        assert radius.std() < 0.02 * expected
        assert level == pytest.approx(np.exp(-(expected**2) / (2 * sigma**2)), rel=0.1)
        assert is_closed(triangles)


def test_isosurface_is_closed_at_the_wall_of_the_box():
    rho = np.zeros((6, 6, 6))
    rho[0, 2:4, 2:4] = 1.0
    _, triangles, _ = density.isosurface(np.zeros(3), 1.0, rho, 0.9)
    assert is_closed(triangles)


def test_bad_densities_are_refused():
    with pytest.raises(DataError, match="zero everywhere"):
        density.isosurface(np.zeros(3), 1.0, np.zeros((4, 4, 4)), 0.5)
    with pytest.raises(DataError, match="between 0 and 1"):
        density.isosurface(np.zeros(3), 1.0, np.ones((4, 4, 4)), 1.0)


def frames(rows):
    columns = ["state", "n_molecules", "temperature_k", "energy_electronic_ev"]
    table = pd.DataFrame(rows, columns=columns)
    return table.assign(frame=range(len(table)))


def test_frames_are_chosen_by_rule_not_by_hand():
    table = frames(
        [
            ("surface", 20, 50.0, -0.5),
            ("surface", 47, 50.0, -0.9),
            ("surface", 47, 50.0, -0.7),
            ("surface", 47, 50.0, -0.8),
            ("surface", 76, 50.0, -0.8),
            ("interior", 47, 100.0, -2.0),
            ("interior", 47, 50.0, -2.2),
            ("interior", 237, 50.0, -2.9),
        ]
    )
    # 76 has no interior state, so 47 it is; at 50 K the frame with the median E_0
    assert density.choose_frames(table, 76) == {"surface": 3, "interior": 6}
    only = table[table["state"] == "surface"]
    assert density.choose_frames(only, 76) == {"surface": 4}


def test_states_at_different_sizes_are_shown_all_the_same():
    table = frames([("surface", 20, 50.0, -0.5), ("interior", 237, 50.0, -2.9)])
    assert density.choose_frames(table, 76) == {"surface": 0, "interior": 1}


def test_densities_of_a_real_cluster(shared, tmp_path):
    from ase.io import read

    facts = {"n_molecules": [20], "temperature_k": [50.0], "state": ["surface"]}
    atoms = read(shared / "data" / "water_clusters" / "20.xyz")
    arrays = frames_of([atoms], metadata=facts, atomic=[-5.0], electronic=[-0.35])
    options = ElectronDensity(accuracy=1e-3)
    table = density.compute_densities(sources(tmp_path, one=arrays), options)
    assert tuple(table.columns) == density.COLUMNS
    count = table["record"].value_counts()
    assert count["atom"] == 60
    assert count["vertex"] > 100
    named = table[table["record"] == "property"].set_index("name")["value"].astype(float)
    assert -0.03 < named["energy_ha"] < -0.005
    # half of the electron lies within a surface about as wide as its radius of gyration
    mesh = table.loc[table["record"] == "vertex", ["x_a", "y_a", "z_a"]].to_numpy(dtype=float)
    radius = np.linalg.norm(mesh - mesh.mean(axis=0), axis=1).mean()
    assert 0.5 < radius / named["gyration_radius_a"] < 1.5
    arrays.metadata["state"] = np.array(["unknown"])
    with pytest.raises(DataError, match="labels no frame as surface or interior"):
        density.compute_densities(sources(tmp_path, other=arrays), options)
