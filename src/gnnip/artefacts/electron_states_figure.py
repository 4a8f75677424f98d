"""Figure of surface and interior states: water clusters with an excess electron."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gnnip.artefacts import style
from gnnip.artefacts.kinds import ElectronStates
from gnnip.artefacts.scene import Scene, rotation_to, vertex_normals

OXYGEN, HYDROGEN, BOND, ELECTRON = np.array(
    [[0.80, 0.22, 0.16], [0.93, 0.93, 0.95], [0.62, 0.66, 0.72], [0.12, 0.46, 0.86]]
)
HYDROGEN_BOND = 2.2  #: Å, the longest O...H that is drawn
RADII = {"O": 0.62, "H": 0.36, "stick": 0.17, "bond": 0.05}  #: Å
PIXELS = 1004  #: along the window, about 300 dpi in a panel of a column's width


@style.styled
def electron_states(tidy: pd.DataFrame, info: Mapping[str, Any], _: ElectronStates) -> Figure:
    """Return the surface (a) and the interior (b) state, side by side at one scale."""
    states = [s for s in ("surface", "interior") if (tidy["state"] == s).any()]
    views = {s: ClusterView(tidy[tidy["state"] == s], s) for s in states}
    # one window, so one scale, for both panels; the page is as high as the clusters need
    half_x, half_y = (max(v.half[k] for v in views.values()) + 0.8 for k in (0, 1))
    half_x = max(half_x, half_y)
    bottom, top, panel = 10.0, 14.0, style.DOUBLE / 2 * half_y / half_x
    height = bottom + panel + top
    fig = style.figure(style.DOUBLE, height)
    for column, state in enumerate(("surface", "interior")):
        ax = fig.add_axes((0.5 * column, bottom / height, 0.5, panel / height))
        ax.axis("off")
        if state not in views:
            ax.text(0.5, 0.5, f"no {state} state in this data set", ha="center", color=style.GREY)
            continue
        view = views[state]
        image = view.render(half_x, half_y)
        ax.imshow(image, extent=(-half_x, half_x, -half_y, half_y), aspect="equal")
        p = view.properties
        left = 0.5 * column + 0.012
        title = f"({'ab'[column]})  {state} state"
        fig.text(left, 1 - 2 / height, title, va="top", fontsize=9, fontweight="bold")
        facts = (
            rf"(H$_2$O)$_{{{p['n_molecules']:.0f}}}^-$, {p['temperature_k']:.0f} K:  "
            rf"$E_0$ = ${p['energy_ha']:.3f}$ Ha,  $r_g$ = {p['gyration_radius_a']:.1f} Å"
        )
        fig.text(left, 1 - 7.5 / height, facts, va="top", fontsize=7.5)
        if column == 0:
            _scale_bar(ax, half_x, half_y)
    enclosed = next((v.properties["enclosed"] for v in views.values()), None)
    note = f"blue: surface that encloses {100 * enclosed:.0f} % of the electron" if enclosed else ""
    style.footer(fig, info, tidy, note)
    return fig


def _scale_bar(ax: Axes, half_width: float, half: float) -> None:
    """Draw 5 Å below the picture, where no atom can be."""
    x, y = -half_width * 0.97, -half - 0.3
    ax.plot([x, x + 5.0], [y, y], color=style.INK, lw=1.6, solid_capstyle="butt", clip_on=False)
    ax.text(x + 5.3, y, "5 Å", ha="left", va="center", fontsize=7)
    ax.set(xlim=(-half_width, half_width), ylim=(-half, half))


class ClusterView:
    """One cluster turned so that its electron is seen: at the right, a little towards the viewer,
    where it sits at the surface.

    properties : the numbers of the state by name.  centre, half : of its window, Å.
    """

    def __init__(self, rows: pd.DataFrame, state: str) -> None:
        """Take atoms, surface and numbers of the `state` that `rows` describe."""
        record = {name: part.sort_values("index") for name, part in rows.groupby("record")}
        named = record["property"]
        self.properties = dict(zip(named["name"], named["value"].astype(float), strict=True))
        self.oxygens = np.flatnonzero(record["atom"]["number"] == 8)
        xyz, vertices = (
            record[name][["x_a", "y_a", "z_a"]].to_numpy(dtype=float) for name in ("atom", "vertex")
        )
        self.triangles = record["triangle"][["a", "b", "c"]].to_numpy(dtype=int)
        middle, turn = xyz.mean(axis=0), np.eye(3)
        if state == "surface":
            turn = rotation_to(vertices.mean(axis=0) - middle, np.array([1.0, 0.28, 0.35]))
        self.xyz = (xyz - middle) @ turn.T
        self.vertices = (vertices - middle) @ turn.T
        everything = np.concatenate([self.xyz, self.vertices])[:, :2]
        low, high = everything.min(axis=0), everything.max(axis=0)
        self.centre = tuple((low + high) / 2)
        self.half = (high - low) / 2
        self.state = state

    def render(self, half_width: float, half_height: float) -> np.ndarray:
        """Return the RGBA image of the window (Å)."""
        scale = PIXELS / (2 * half_width)
        scene = Scene(self.centre, 2 * half_width, 2 * half_height, scale)
        faint = self._hiding()
        for oxygen in self.oxygens:
            self._molecule(scene, int(oxygen), faint)
        normals = vertex_normals(self.vertices, self.triangles)
        sheets = scene.surface(self.vertices, normals, self.triangles)
        depth = self.xyz[:, 2]
        return scene.composite(
            sheets, ELECTRON, surface_alpha=0.36, fog=(float(depth.min()), float(depth.max()) - 2.0)
        )

    def _hiding(self) -> np.ndarray:
        """Return which atoms would hide an interior electron: molecules of them are drawn as
        glass."""
        electron = self.vertices.mean(axis=0)
        reach = np.linalg.norm(self.vertices - electron, axis=1).max() + 1.0
        offset = self.xyz - electron
        before = (offset[:, 2] > 0.0) & (np.hypot(offset[:, 0], offset[:, 1]) < reach)
        return np.asarray(before & (self.state == "interior"))

    def _molecule(self, scene: Scene, oxygen: int, faint: np.ndarray) -> None:
        ghost, place = bool(faint[oxygen]), self.xyz[oxygen]
        scene.sphere(place, RADII["O"], OXYGEN, ghost)
        others = self.oxygens[self.oxygens != oxygen]
        for hydrogen in self.xyz[oxygen + 1 : oxygen + 3]:
            middle = 0.45 * place + 0.55 * hydrogen
            scene.stick(place, middle, RADII["stick"], OXYGEN, ghost)
            scene.stick(middle, hydrogen, RADII["stick"], HYDROGEN, ghost)
            scene.sphere(hydrogen, RADII["H"], HYDROGEN, ghost)
            gap = np.linalg.norm(self.xyz[others] - hydrogen, axis=1)
            for partner in others[gap < HYDROGEN_BOND]:
                either = ghost or bool(faint[partner])
                scene.dashes(hydrogen, self.xyz[partner], RADII["bond"], BOND, either)
