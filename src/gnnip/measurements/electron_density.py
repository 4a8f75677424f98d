"""The excess electron as a surface in space: which frames to show, and the mesh around it."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pandas as pd

from gnnip.artefacts.inputs import frame_table
from gnnip.errors import DataError
from gnnip.units import BOHR, HARTREE

#: share of the electron inside the drawn surface
ENCLOSED = 0.5
#: a size at which both states exist and a print still shows single molecules
PREFERRED_SIZE = 76

COLUMNS = (
    "state",
    "record",
    "index",
    "number",
    "x_a",
    "y_a",
    "z_a",
    "a",
    "b",
    "c",
    "name",
    "value",
)


def choose_frames(frames: pd.DataFrame, size: int = PREFERRED_SIZE) -> dict[str, int]:
    """Return {"surface": row, "interior": row} of typical frames, without a state that is absent.

    The rule, so that no picture is hand-picked: the size nearest to `size` among those that show
    both states (else, for each state, among those that show it), its lowest temperature, and there
    the frame with the median E_0.
    """
    by_state = {str(s): set(g["n_molecules"]) for s, g in frames.groupby("state")}
    common = set.intersection(*by_state.values()) if len(by_state) > 1 else set()
    chosen: dict[str, int] = {}
    for state in ("surface", "interior"):
        sizes = common or by_state.get(state, set())
        if state not in by_state:
            continue
        n = min(sizes, key=lambda value: (abs(value - size), value))
        pool = frames[(frames["state"] == state) & (frames["n_molecules"] == n)]
        pool = pool[pool["temperature_k"] == pool["temperature_k"].min()]
        order = pool.sort_values(["energy_electronic_ev", "frame"], kind="stable")
        chosen[state] = int(order["frame"].iloc[(len(order) - 1) // 2])
    return chosen


def isosurface(
    origin: np.ndarray,
    spacing: float,
    density: np.ndarray,
    enclosed: float = ENCLOSED,
    refinement: int = 3,
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the surface of equal density that holds the share `enclosed` of the electron.

    origin (3,) and spacing in any length, density (nx, ny, nz); returns vertices (v, 3) in that
    length, triangles (t, 3) and the density level. The amplitude is refined by cubic splines first
    (`refinement` points per grid step): the solver's grid is coarse, the amplitude on it is smooth.
    DataError if the density is empty or `enclosed` not between 0 and 1.
    """
    from scipy.ndimage import map_coordinates
    from skimage.measure import marching_cubes

    if not 0.0 < enclosed < 1.0:
        raise DataError(f"The enclosed share must lie between 0 and 1, got {enclosed}.")
    total = float(density.sum())
    if density.size == 0 or not total > 0.0:
        raise DataError("The density is zero everywhere: there is no surface to draw.")
    amplitude = np.sqrt(np.clip(density, 0.0, None))
    fine = [np.linspace(0.0, n - 1.0, refinement * (n - 1) + 1) for n in density.shape]
    grid = np.meshgrid(*fine, indexing="ij")
    refined = np.square(map_coordinates(amplitude, grid, order=3, mode="nearest"))
    ordered = np.sort(refined, axis=None)[::-1]
    share = np.cumsum(ordered) / ordered.sum()
    level = float(ordered[int(np.searchsorted(share, enclosed))])
    # a surface that would leave the box is closed at its wall
    padded = np.pad(refined, 1)
    vertices, triangles, _, _ = marching_cubes(padded, level=level)
    vertices = np.asarray(origin) + (vertices - 1.0) * (spacing / refinement)
    return vertices, triangles.astype(np.int64), level


def compute_densities(
    dataset: str | os.PathLike[str],
    *,
    accuracy: float = 1e-4,
    enclosed: float = ENCLOSED,
    size: int = PREFERRED_SIZE,
) -> pd.DataFrame:
    """Solve the electron in one surface and one interior frame; return atoms and meshes, tidy.

    Rows: record `atom` (number, x_a, y_a, z_a in Å), `vertex` (x_a, y_a, z_a), `triangle` (vertex
    indices a, b, c) and `property` (name, value: frame, n_molecules, temperature_k, enclosed,
    energy_ha, gyration_radius_a, level_per_bohr3), each with the state `surface` or `interior`.
    """
    from gnnip.datasets.store import load_arrays
    from gnnip.reference.electron import ElectronSolver

    arrays = load_arrays(dataset)
    frames = frame_table(arrays)
    solver = ElectronSolver(accuracy=accuracy)
    tables: list[pd.DataFrame] = []
    for state, frame in choose_frames(frames, size).items():
        atoms = arrays.atom_slice(frame)
        positions = np.asarray(arrays.positions[atoms], dtype=float)
        solution = solver.solve(positions / BOHR, forces=False)
        origin, spacing, density = solver.density(solution)
        vertices, triangles, level = isosurface(
            np.asarray(origin), float(spacing), density, enclosed
        )
        info = frames.iloc[frame]
        properties = {
            "frame": frame,
            "n_molecules": int(info["n_molecules"]),
            "temperature_k": float(info["temperature_k"]),
            "enclosed": enclosed,
            "energy_ha": float(solution.energy),
            "label_ha": float(info["energy_electronic_ev"]) / HARTREE,
            "gyration_radius_a": float(solution.gyration_radius) * BOHR,
            "level_per_bohr3": level,
        }
        numbers = np.asarray(arrays.numbers[atoms])
        tables.append(tidy_state(state, numbers, positions, vertices * BOHR, triangles, properties))
    if not tables:
        raise DataError(f"{dataset} labels no frame as surface or interior state.")
    return pd.concat(tables, ignore_index=True)


def tidy_state(
    state: str,
    numbers: np.ndarray,
    positions: np.ndarray,
    vertices: np.ndarray,
    triangles: np.ndarray,
    properties: dict[str, float],
) -> pd.DataFrame:
    """Return the rows of one state: atoms (n,), (n, 3) Å; mesh (v, 3) Å, (t, 3); named numbers."""

    def xyz(values: np.ndarray) -> dict[str, np.ndarray]:
        return {k: np.round(values[:, i], 3) for i, k in enumerate(("x_a", "y_a", "z_a"))}

    corners = {k: triangles[:, i] for i, k in enumerate("abc")}
    parts: dict[str, dict[str, Any]] = {
        "atom": {"index": np.arange(len(numbers)), "number": numbers, **xyz(positions)},
        "vertex": {"index": np.arange(len(vertices)), **xyz(vertices)},
        "triangle": {"index": np.arange(len(triangles)), **corners},
        "property": {"name": list(properties), "value": list(properties.values())},
    }
    rows = [
        row
        for record, columns in parts.items()
        for row in pd.DataFrame({**columns, "state": state, "record": record}).to_dict("records")
    ]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    whole = ["index", "number", "a", "b", "c"]
    return table.astype(dict.fromkeys(whole, "Int64"))
