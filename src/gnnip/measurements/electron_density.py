"""The excess electron as a surface in space: which frames to show, and the mesh around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gnnip.errors import DataError
from gnnip.measurements.selection import frame_table
from gnnip.units import BOHR, HARTREE

if TYPE_CHECKING:
    from gnnip.measurements.kinds import ElectronDensity
    from gnnip.measurements.sources import Sources

XYZ = ("x_a", "y_a", "z_a")
CORNERS = ("a", "b", "c")
COLUMNS = ("state", "record", "index", "number", *XYZ, *CORNERS, "name", "value")


def choose_frames(frames: pd.DataFrame, size: int) -> dict[str, int]:
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
    enclosed: float,
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


def compute_densities(sources: Sources, options: ElectronDensity) -> pd.DataFrame:
    """Solve the electron in one surface and one interior frame; return atoms and meshes, tidy.

    Rows: record `atom` (number, x_a, y_a, z_a in Å), `vertex` (x_a, y_a, z_a), `triangle` (vertex
    indices a, b, c) and `property` (name, value: frame, n_molecules, temperature_k, enclosed,
    energy_ha, gyration_radius_a, level_per_bohr3), each with the state `surface` or `interior`.
    """
    from gnnip.reference.electron import ElectronSolver

    arrays = sources.arrays()
    frames = frame_table(arrays)
    solver = ElectronSolver(accuracy=options.accuracy)
    tables: list[pd.DataFrame] = []
    for state, frame in choose_frames(frames, options.size).items():
        positions, numbers, _, _ = arrays.structure(frame)
        solution = solver.solve(positions / BOHR, forces=False)
        origin, spacing, density = solver.density(solution)
        vertices, triangles, level = isosurface(
            np.asarray(origin), float(spacing), density, options.enclosed
        )
        info = frames.iloc[frame]
        properties = {
            "frame": frame,
            "n_molecules": int(info["n_molecules"]),
            "temperature_k": float(info["temperature_k"]),
            "enclosed": options.enclosed,
            "energy_ha": float(solution.energy),
            "label_ha": float(info["energy_electronic_ev"]) / HARTREE,
            "gyration_radius_a": float(solution.gyration_radius) * BOHR,
            "level_per_bohr3": level,
        }
        tables.append(tidy_state(state, numbers, positions, vertices * BOHR, triangles, properties))
    if not tables:
        raise DataError("The data set labels no frame as surface or interior state.")
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

    def part(record: str, columns: dict[str, Any]) -> pd.DataFrame:
        return pd.DataFrame({**columns, "state": state, "record": record})

    def points(values: np.ndarray, **columns: Any) -> dict[str, Any]:
        places = zip(XYZ, np.round(values, 3).T, strict=True)
        return {"index": np.arange(len(values)), **columns, **dict(places)}

    corners = dict(zip(CORNERS, triangles.T, strict=True))
    parts = [
        part("atom", points(positions, number=numbers)),
        part("vertex", points(vertices)),
        part("triangle", {"index": np.arange(len(triangles)), **corners}),
        part("property", {"name": list(properties), "value": list(properties.values())}),
    ]
    table = pd.concat(parts, ignore_index=True).reindex(columns=list(COLUMNS))
    return table.astype(dict.fromkeys(("index", "number", *CORNERS), "Int64"))
