"""A picture of the atoms of a frame, with a ring around a pair that is too close."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colors, patheffects
from matplotlib.axes import Axes

from gnnip.artefacts import style
from gnnip.artefacts.scene import Scene

COLOURS = {"Si": "#4C78A8", "C": "#3A3A3A", "Ge": "#4C78A8", "Se": "#E1A33B"}
COLOURS |= {"O": "#C8443C", "Mg": "#7FB685", "Al": "#2F4B9C", "Au": "#E8A317"}
RADII = {"Si": 0.55, "C": 0.38, "Ge": 0.6, "Se": 0.55}  #: of the drawn atoms, Angstrom
RADII |= {"O": 0.5, "Mg": 0.6, "Al": 0.75, "Au": 0.95}
BOND = 2.75  #: Angstrom, below which a stick joins two atoms


def last_frame(tidy: pd.DataFrame, arm: str, failed: bool) -> tuple[pd.DataFrame, str] | None:
    """Return element, x, y, z of the last frame of the first replica of an arm that failed, or that
    did not, and the elements of the pair that its autopsy names; None without a frame."""
    frames = tidy[(tidy["record"] == "frame") & (tidy["potential"] == arm)]
    run = tidy[(tidy["record"] == "run") & (tidy["name"] == "failed") & (tidy["potential"] == arm)]
    wanted = set(run.loc[(run["value"] > 0) == failed, "replica"])
    chosen = sorted(wanted & set(frames["replica"]))
    if not chosen:
        return None
    part = frames[frames["replica"] == chosen[0]].sort_values("x")
    places = part["text"].str.split(expand=True).astype(float)
    frame = pd.DataFrame(
        {"element": part["name"].to_numpy(), **dict(zip("xyz", places.to_numpy().T, strict=True))}
    )
    autopsy = (tidy["record"] == "autopsy") & (tidy["name"] == "pair_ratio")
    own = autopsy & (tidy["potential"] == arm) & (tidy["replica"] == chosen[0])
    return frame, "".join(tidy.loc[own, "text"].iloc[:1])


def draw_frame(ax: Axes, frame: pd.DataFrame, pair: str = "") -> None:
    """Draw atoms and bonds, seen along z; the nearest two atoms of the elements of `pair` (Se-Se)
    have a ring."""
    elements = frame["element"].tolist()
    turned = _turned(frame[["x", "y", "z"]].to_numpy())
    half = np.abs(turned[:, :2]).max(axis=0) + 1.0
    scene = Scene((0.0, 0.0), 2 * half[0], 2 * half[1], 60.0)
    for element, place in zip(elements, turned, strict=True):
        rgb = np.array(colors.to_rgb(COLOURS.get(element, style.GREY)), dtype=np.float32)
        scene.sphere(place, RADII.get(element, 0.5), rgb)
    distance = np.linalg.norm(turned[:, None] - turned[None], axis=2)
    stick = np.array(colors.to_rgb("#B8B8B8"), dtype=np.float32)
    for i, j in zip(*np.nonzero(np.triu(distance < BOND, 1)), strict=True):
        scene.stick(turned[i], turned[j], 0.13, stick)
    depth = turned[:, 2]
    image = scene.composite(fog=(float(depth.min()) - 4.0, float(depth.max()) - 1.0))
    ax.imshow(image, extent=(-half[0], half[0], -half[1], half[1]), interpolation="antialiased")
    if pair:
        _ring(ax, elements, turned, distance, pair)
    ax.set_anchor("N")
    ax.axis("off")


def _turned(places: np.ndarray) -> np.ndarray:
    """Return the places about their middle, turned a little, so that rows of a crystal do not hide
    each other."""
    x, y = np.deg2rad([12.0, -16.0])
    about_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    middle = 0.5 * ((places.min(axis=0) - 1.0) + (places.max(axis=0) + 1.0))
    turned: np.ndarray = (places - middle) @ (about_x @ about_y).T
    return turned


def _ring(
    ax: Axes, elements: list[str], turned: np.ndarray, distance: np.ndarray, pair: str
) -> None:
    """Put a ring around the nearest two atoms of the elements of `pair`, with their distance."""
    first, last = (np.array(elements) == symbol for symbol in pair.split("-"))
    wanted = first[:, None] & last[None, :] & ~np.eye(len(elements), dtype=bool)
    distance = np.where(wanted, distance, np.inf)
    i, j = np.unravel_index(int(np.argmin(distance)), distance.shape)
    centre = 0.5 * (turned[i] + turned[j])[:2]
    ax.plot(*centre, "o", ms=17, mfc="none", mec=style.VERMILLION, mew=1.3)
    words = f"{elements[i]}–{elements[j]}, {distance[i, j]:.2f} Å"
    halo = [patheffects.withStroke(linewidth=2.5, foreground="white")]
    look: dict[str, Any] = {"fontsize": 7, "color": style.VERMILLION, "fontweight": "bold"}
    place: dict[str, Any] = {"xytext": (11, 9), "textcoords": "offset points"}
    ax.annotate(words, centre, path_effects=halo, **place, **look)
