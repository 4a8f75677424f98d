"""Figures of gijon2023 (water cluster anions): one function per artefact, from its tidy table.

Every function takes the tidy DataFrame that `gnnip.evaluation.gijon2023` wrote and `info` (tier,
reference, card) and returns a matplotlib Figure at print size. Published values are drawn hollow or
grey, ours solid.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gnnip.figures import style
from gnnip.figures.scene import Scene, rotation_to, vertex_normals

Info = Mapping[str, Any]

OXYGEN, HYDROGEN, ELECTRON = np.array([[0.80, 0.22, 0.16], [0.93, 0.93, 0.95], [0.10, 0.42, 0.80]])


@style.styled
def fig1(tidy: pd.DataFrame, info: Info) -> Figure:
    """Surface (a) and interior (b) state: the cluster and the excess electron's isosurface."""
    states = [s for s in ("surface", "interior") if (tidy["state"] == s).any()]
    fig = style.figure(style.DOUBLE, 92)
    views = {s: _View(tidy[tidy["state"] == s], s) for s in states}
    # one scale for both panels, so that the clusters can be compared
    half = max((v.half for v in views.values()), default=1.0) + 1.2
    for column, state in enumerate(("surface", "interior")):
        ax = fig.add_axes((0.5 * column, 0.06, 0.5, 0.87))
        ax.axis("off")
        if state not in views:
            ax.text(0.5, 0.5, f"no {state} state in this data set", ha="center", color=style.GREY)
            continue
        view = views[state]
        aspect = 85.0 / (92.0 * 0.87)
        image = view.render(half * aspect, half)
        ax.imshow(image, extent=(-half * aspect, half * aspect, -half, half), aspect="equal")
        p = view.properties
        ax.text(
            0.02,
            1.0,
            f"({'ab'[column]})  {state} state",
            transform=ax.transAxes,
            va="bottom",
            fontsize=9,
            fontweight="bold",
        )
        ax.text(
            0.02,
            0.985,
            rf"(H$_2$O)$_{{{p['n_molecules']:.0f}}}^-$, {p['temperature_k']:.0f} K"
            "\n"
            rf"$E_0$ = {p['energy_ha']:.3f} Ha, $r_g$ = {p['gyration_radius_a']:.1f} Å",
            transform=ax.transAxes,
            va="top",
            fontsize=7,
            linespacing=1.4,
        )
        if column == 0:
            _scale_bar(ax, half * aspect, half)
    enclosed = next((v.properties["enclosed"] for v in views.values()), None)
    note = f"blue: surface that encloses {100 * enclosed:.0f} % of the electron" if enclosed else ""
    style.footer(fig, info, tidy, note)
    return fig


def _scale_bar(ax: Axes, half_width: float, half: float) -> None:
    x, y = -half_width + 1.0, -half + 0.8
    ax.plot([x, x + 5.0], [y, y], color=style.INK, lw=1.6, solid_capstyle="butt")
    ax.text(x + 2.5, y + 0.3, "5 Å", ha="center", va="bottom", fontsize=7)


class _View:
    """One cluster turned so that its electron is seen."""

    def __init__(self, rows: pd.DataFrame, state: str) -> None:
        atoms = rows[rows["record"] == "atom"].sort_values("index")
        mesh = rows[rows["record"] == "vertex"].sort_values("index")
        faces = rows[rows["record"] == "triangle"].sort_values("index")
        named = rows[rows["record"] == "property"]
        self.properties = dict(zip(named["name"], named["value"].astype(float), strict=True))
        self.numbers = atoms["number"].to_numpy(dtype=int)
        xyz = atoms[["x_a", "y_a", "z_a"]].to_numpy(dtype=float)
        vertices = mesh[["x_a", "y_a", "z_a"]].to_numpy(dtype=float)
        self.triangles = faces[["a", "b", "c"]].to_numpy(dtype=int)
        middle = xyz.mean(axis=0)
        electron = vertices.mean(axis=0) - middle
        # a surface electron sits at the right, a little towards the viewer
        turn = rotation_to(electron, np.array([1.0, 0.28, 0.35])) if state == "surface" else np.eye(3)
        self.xyz = (xyz - middle) @ turn.T
        self.vertices = (vertices - middle) @ turn.T
        everything = np.concatenate([self.xyz, self.vertices])[:, :2]
        low, high = everything.min(axis=0), everything.max(axis=0)
        self.centre = tuple((low + high) / 2)
        self.half = float((high - low).max() / 2)
        self.state = state

    def render(self, half_width: float, half_height: float) -> np.ndarray:
        """Return the RGBA image of the window at about 300 dpi of the printed panel."""
        scale = 1004 / (2 * half_width)
        scene = Scene(self.centre, 2 * half_width, 2 * half_height, scale)
        palette = {8: OXYGEN, 1: HYDROGEN}
        radius = {8: 0.62, 1: 0.36}
        electron = self.vertices.mean(axis=0)
        reach = np.linalg.norm(self.vertices - electron, axis=1).max() + 1.0
        for oxygen in np.flatnonzero(self.numbers == 8):
            hydrogens = [h for h in (oxygen + 1, oxygen + 2) if h < len(self.numbers)]
            offset = self.xyz[oxygen] - electron
            # what would hide an interior electron is drawn as glass
            ghost = bool(
                self.state == "interior"
                and offset[2] > 0.0
                and np.hypot(offset[0], offset[1]) < reach
            )
            scene.sphere(self.xyz[oxygen], radius[8], palette[8], ghost)
            for h in hydrogens:
                middle = 0.45 * self.xyz[oxygen] + 0.55 * self.xyz[h]
                scene.stick(self.xyz[oxygen], middle, 0.17, palette[8], ghost)
                scene.stick(middle, self.xyz[h], 0.17, palette[1], ghost)
                scene.sphere(self.xyz[h], radius[1], palette[1], ghost)
        normals = vertex_normals(self.vertices, self.triangles)
        sheets = scene.surface(self.vertices, normals, self.triangles)
        depth = self.xyz[:, 2]
        return scene.composite(
            sheets, ELECTRON, surface_alpha=0.42, fog=(float(depth.min()), float(depth.max()) - 2.0)
        )
