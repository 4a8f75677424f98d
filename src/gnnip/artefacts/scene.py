"""A small orthographic renderer for molecules and isosurfaces: NumPy in, an RGBA image out.

matplotlib's 3D axes neither sort nor shade spheres. Here every pixel knows its nearest surface (a
depth buffer), so that spheres cut each other correctly and a translucent surface lies in front of
what is behind it and behind what is in front of it. The viewer looks down the z axis from +z;
lengths are in Å.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Array = np.ndarray
Pixels = tuple[slice, slice]
SUPERSAMPLING = 2

# the light comes from the upper left, in front; the halfway vector makes the highlight (Blinn)
_LIGHT = np.array([-0.45, 0.60, 0.66], dtype=np.float32)
_LIGHT /= np.linalg.norm(_LIGHT)
_HALFWAY = _LIGHT + np.array([0.0, 0.0, 1.0], dtype=np.float32)
_HALFWAY /= np.linalg.norm(_HALFWAY)


@dataclass
class Layer:
    """Depth, normal and colour of the nearest opaque surface at every pixel."""

    depth: Array  # (h, w) Å, -inf where empty
    normal: Array  # (h, w, 3)
    colour: Array  # (h, w, 3)

    @classmethod
    def empty(cls, height: int, width: int) -> Layer:
        """Return a layer that nothing has been drawn on."""
        return cls(
            np.full((height, width), -np.inf, dtype=np.float32),
            np.zeros((height, width, 3), dtype=np.float32),
            np.ones((height, width, 3), dtype=np.float32),
        )

    def put(self, pixels: Pixels, hit: Array, z: Array, normal: Array, rgb: Array) -> None:
        """Draw a surface where it is hit and nearer than what is there."""
        nearer = hit & (z > self.depth[pixels])
        self.depth[pixels][nearer] = z[nearer]
        self.normal[pixels][nearer] = normal[nearer]
        self.colour[pixels][nearer] = rgb


class Scene:
    """What is drawn so far: opaque surfaces, and translucent ones to lay over them."""

    def __init__(
        self, centre: tuple[float, float], width: float, height: float, scale: float
    ) -> None:
        """Open an image of `width` x `height` Å around `centre` (x, y), `scale` pixels per Å."""
        self.scale = scale * SUPERSAMPLING
        rows, columns = (max(1, round(length * scale)) for length in (height, width))
        self.shape = (SUPERSAMPLING * rows, SUPERSAMPLING * columns)
        self.left, self.top = centre[0] - width / 2, centre[1] + height / 2
        self.opaque = Layer.empty(*self.shape)
        self.ghost = Layer.empty(*self.shape)

    def _window(self, low: Array, high: Array) -> tuple[Pixels, Array, Array] | None:
        """Return the pixels that cover a box, as slices and coordinates in Å; None if outside."""
        h, w = self.shape
        i0 = max(0, int((self.top - high[1]) * self.scale) - 1)
        i1 = min(h, int((self.top - low[1]) * self.scale) + 2)
        j0 = max(0, int((low[0] - self.left) * self.scale) - 1)
        j1 = min(w, int((high[0] - self.left) * self.scale) + 2)
        if i0 >= i1 or j0 >= j1:
            return None
        ys = self.top - (np.arange(i0, i1) + 0.5) / self.scale
        xs = self.left + (np.arange(j0, j1) + 0.5) / self.scale
        return (slice(i0, i1), slice(j0, j1)), xs[None, :], ys[:, None]

    def sphere(self, centre: Array, radius: float, rgb: Array, ghost: bool = False) -> None:
        """Draw a sphere; a ghost is drawn translucent over everything behind it."""
        window = self._window(centre - radius, centre + radius)
        if window is None:
            return
        pixels, xs, ys = window
        x, y, z = centre
        dx, dy = (xs - x) / radius, (ys - y) / radius
        inside = 1.0 - dx**2 - dy**2
        nz = np.sqrt(np.clip(inside, 0.0, None))
        normal = np.stack(np.broadcast_arrays(dx, dy, nz), axis=-1)
        layer = self.ghost if ghost else self.opaque
        layer.put(pixels, inside > 0, z + radius * nz, normal, rgb)

    def stick(
        self, start: Array, end: Array, radius: float, rgb: Array, ghost: bool = False
    ) -> None:
        """Draw a cylinder without caps between two points."""
        axis = end - start
        length = float(np.linalg.norm(axis))
        window = self._window(np.minimum(start, end) - radius, np.maximum(start, end) + radius)
        if window is None or length == 0.0:
            return
        pixels, xs, ys = window
        d = axis / length
        px, py = np.broadcast_arrays(xs - start[0], ys - start[1])
        # |(p + t k) - ((p + t k).d) d|^2 = radius^2 with the ray p + t k along k = z
        a = 1.0 - d[2] ** 2
        if a < 1e-9:
            return
        along = px * d[0] + py * d[1]
        b = -along * d[2]
        c = px**2 + py**2 - along**2 - radius**2
        root = b**2 - a * c
        t = (-b + np.sqrt(np.clip(root, 0.0, None))) / a
        s = along + t * d[2]
        hit = (root > 0) & (s >= 0) & (s <= length)
        normal = np.stack([px - s * d[0], py - s * d[1], t - s * d[2]], axis=-1) / radius
        layer = self.ghost if ghost else self.opaque
        layer.put(pixels, hit, start[2] + t, normal, rgb)

    def dashes(
        self, start: Array, end: Array, radius: float, rgb: Array, ghost: bool = False
    ) -> None:
        """Draw a dashed line: sticks of 0.22 Å with gaps of 0.14 Å."""
        length = float(np.linalg.norm(end - start))
        count = max(1, int((length + 0.14) / 0.36))
        step = (end - start) / length
        first = (length - (0.36 * count - 0.14)) / 2
        for k in range(count):
            a = start + step * (first + 0.36 * k)
            self.stick(a, a + 0.22 * step, radius, rgb, ghost)

    def surface(self, vertices: Array, normals: Array, triangles: Array) -> tuple[Layer, Layer]:
        """Return the front and the back sheet of a closed mesh, for `composite`.

        vertices, normals (v, 3); triangles (t, 3) vertex numbers. Between the sheets a pixel's
        line of sight is inside the mesh; inner folds are not resolved.
        """
        # the back sheet is the nearest one seen from behind
        front, back = Layer.empty(*self.shape), Layer.empty(*self.shape)
        for corners in triangles:
            p = vertices[corners]
            area = (p[1, 0] - p[0, 0]) * (p[2, 1] - p[0, 1]) - (p[2, 0] - p[0, 0]) * (
                p[1, 1] - p[0, 1]
            )
            if abs(area) < 1e-12:
                continue
            window = self._window(p.min(axis=0), p.max(axis=0))
            if window is None:
                continue
            pixels, xs, ys = window
            u = ((xs - p[0, 0]) * (p[2, 1] - p[0, 1]) - (p[2, 0] - p[0, 0]) * (ys - p[0, 1])) / area
            v = ((p[1, 0] - p[0, 0]) * (ys - p[0, 1]) - (xs - p[0, 0]) * (p[1, 1] - p[0, 1])) / area
            hit = (u >= -1e-9) & (v >= -1e-9) & (u + v <= 1 + 1e-9)
            if not hit.any():
                continue
            z = p[0, 2] + u * (p[1, 2] - p[0, 2]) + v * (p[2, 2] - p[0, 2])
            m = normals[corners]
            normal = m[0] + u[..., None] * (m[1] - m[0])[None, None] + v[..., None] * (m[2] - m[0])
            front.put(pixels, hit, z, normal, np.ones(3))
            back.put(pixels, hit, -z, normal, np.ones(3))
        drawn = np.isfinite(back.depth)
        back.depth[drawn] *= -1.0
        return front, back

    def composite(
        self,
        sheets: tuple[Layer, Layer] | None = None,
        surface_rgb: Array | None = None,
        surface_alpha: float = 0.35,
        ghost_alpha: float = 0.25,
        fog: tuple[float, float] | None = None,
    ) -> Array:
        """Shade and stack everything on white; return an (h, w, 4) RGBA image in 0..1.

        `fog` are the depths (Å) at which the depth cue is full and none: what lies further away
        fades towards white.
        """
        image = np.ones((*self.shape, 3), dtype=np.float32)
        cover = np.zeros(self.shape, dtype=np.float32)
        filled = np.isfinite(self.opaque.depth)
        shaded = _shade(self.opaque, self.scale, fog)
        image[filled] = shaded[filled]
        cover[filled] = 1.0
        depth = self.opaque.depth
        if sheets is not None and surface_rgb is not None:
            front, back = sheets
            for sheet, flip in ((back, -1.0), (front, 1.0)):
                seen = np.isfinite(sheet.depth) & (sheet.depth > depth)
                n = flip * sheet.normal[seen]
                n /= np.linalg.norm(n, axis=-1, keepdims=True) + 1e-12
                facing = np.clip(np.abs(n[:, 2]), 0.0, 1.0)
                alpha = surface_alpha + (0.85 - surface_alpha) * (1.0 - facing) ** 3
                light = 0.60 + 0.50 * np.clip(n @ _LIGHT, 0.0, 1.0)
                gloss = (flip > 0) * np.clip(n @ _HALFWAY, 0.0, 1.0) ** 60
                rgb = np.clip(surface_rgb * light[:, None], 0.0, 1.0)
                rgb = rgb + (1.0 - rgb) * (0.8 * gloss)[:, None]
                alpha = np.clip(alpha + 0.6 * gloss, 0.0, 1.0)
                image[seen] = image[seen] * (1 - alpha[:, None]) + rgb * alpha[:, None]
                cover[seen] = cover[seen] + (1 - cover[seen]) * alpha
        over = np.isfinite(self.ghost.depth) & (self.ghost.depth > depth)
        if over.any():
            rgb = _shade(self.ghost, self.scale, fog)[over]
            image[over] = image[over] * (1 - ghost_alpha) + rgb * ghost_alpha
            cover[over] = cover[over] + (1 - cover[over]) * ghost_alpha
        return _downsample(image, cover)


def _shade(layer: Layer, scale: float, fog: tuple[float, float] | None) -> Array:
    """Light a layer: diffuse and specular light, contact shadows, dark outlines, depth cue."""
    diffuse = np.clip(layer.normal @ _LIGHT, 0.0, 1.0)
    gloss = np.clip(layer.normal @ _HALFWAY, 0.0, 1.0) ** 40
    rgb = layer.colour * (0.46 + 0.58 * diffuse)[..., None]
    filled = np.isfinite(layer.depth)
    if filled.any():
        floor = layer.depth[filled].min() - 1.0
        z = np.where(filled, layer.depth, floor)
        # contact shadow: darker where the neighbourhood is nearer to the viewer
        radius = max(1, round(0.7 * scale))
        shadow = np.clip((_blur(z, radius) - z) / 3.0, 0.0, 1.0)
        rgb = rgb * (1.0 - 0.55 * shadow)[..., None]
        step = np.zeros_like(z)
        for axis in (0, 1):
            for shift in (-1, 1):
                step = np.maximum(step, np.roll(z, shift, axis=axis) - z)
        rgb = rgb * (1.0 - 0.45 * np.clip((step - 0.35) / 0.6, 0.0, 1.0))[..., None]
        rgb = rgb + (1.0 - rgb) * (0.35 * gloss)[..., None]
        if fog is not None:
            far, near = fog
            haze = 0.62 * np.clip((near - z) / max(near - far, 1e-9), 0.0, 1.0)
            rgb = rgb * (1.0 - haze[..., None]) + haze[..., None]
    return np.clip(rgb, 0.0, 1.0)


def _blur(image: Array, radius: int) -> Array:
    """Two passes of a box filter of width 2 radius + 1, edges repeated."""
    width = 2 * radius + 1
    for _ in range(2):
        for axis in (0, 1):
            padding = [(0, 0), (0, 0)]
            padding[axis] = (radius + 1, radius)
            total = np.cumsum(np.pad(image, padding, mode="edge"), axis=axis)
            high = np.take(total, np.arange(width, total.shape[axis]), axis=axis)
            low = np.take(total, np.arange(0, total.shape[axis] - width), axis=axis)
            image = (high - low) / width
    return image


def _downsample(image: Array, cover: Array) -> Array:
    h, w = cover.shape
    shape = (h // SUPERSAMPLING, SUPERSAMPLING, w // SUPERSAMPLING, SUPERSAMPLING)
    rgb = image.reshape(*shape, 3).mean(axis=(1, 3))
    alpha = cover.reshape(shape).mean(axis=(1, 3))
    # what is empty is white already: leaving the image opaque keeps viewers from dark backgrounds
    return np.concatenate([np.clip(rgb, 0.0, 1.0), np.where(alpha > 0, 1.0, 0.0)[..., None]], -1)


def rotation_to(direction: Array, target: Array) -> Array:
    """Return the (3, 3) rotation that turns `direction` into `target` by the shortest way."""
    a = np.asarray(direction, dtype=float) / np.linalg.norm(direction)
    b = np.asarray(target, dtype=float) / np.linalg.norm(target)
    v, c = np.cross(a, b), float(a @ b)
    if c < -1 + 1e-12:
        other = np.eye(3)[int(np.argmin(np.abs(a)))]
        axis = np.cross(a, other)
        axis /= np.linalg.norm(axis)
        return 2.0 * np.outer(axis, axis) - np.eye(3)
    k = np.array([[0.0, -v[2], v[1]], [v[2], 0.0, -v[0]], [-v[1], v[0], 0.0]])
    return np.eye(3) + k + k @ k / (1.0 + c)


def vertex_normals(vertices: Array, triangles: Array) -> Array:
    """Return area-weighted unit normals (v, 3), on average pointing away from the centroid."""
    p = vertices[triangles]
    face = np.cross(p[:, 1] - p[:, 0], p[:, 2] - p[:, 0])
    normals = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(normals, triangles[:, corner], face)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-300
    outward = np.einsum("ij,ij->", normals, vertices - vertices.mean(axis=0))
    return normals if outward >= 0 else -normals
