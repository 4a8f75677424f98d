"""Ground state E_0 of the excess electron of a water cluster, with forces.

H = -1/2 grad^2 + V with the potential of :mod:`gnnip.reference.pseudopotential`, in a box with hard
walls. The basis are the box's sine functions, equivalent to a uniform grid (sinc-DVR; Colbert and
Miller, J. Chem. Phys. 96, 1982 (1992)): T is diagonal in it, V on the grid, and three small matrix
products lead from one to the other. Atomic units (Hartree, Bohr) throughout.

How far the walls must be is measured, not assumed. A wall put into the tail A exp(-kappa x) of a
state, kappa = sqrt(-2 E_0), at x = L raises E_0 by kappa A^2 exp(-2 kappa L), as follows from
Hadamard's formula for a moving wall, dE_0 = -1/2 int |d psi/dn|^2 dS dL. A is read off the
probabilities of the grid planes of a coarse solution, and the result is checked on the final one.
Where the tail lies inside the cluster the walls may do so too: the box follows the electron.

All dense algebra is numpy's BLAS: set OMP_NUM_THREADS=1 (or threadpoolctl) when several processes
share the cores; one thread is the efficient choice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gnnip.errors import ConfigError, ConvergenceError, StructureError
from gnnip.reference.davidson import Workspace, lowest
from gnnip.reference.pseudopotential import forces_of_density, potential
from gnnip.reference.spcf import as_water_positions

Floats = NDArray[np.float64]

#: error of E_0 (Hartree) at grid spacing (Bohr): the worst of ten orientations of two surface and
#: two interior states of 47 and 100 molecules; a relaxed interior state is the hardest
SPACING_ERRORS = (
    (2.5, 1.5e-3),
    (2.25, 8e-4),
    (2.0, 5e-4),
    (1.8, 1.3e-4),
    (1.6, 4e-5),
    (1.5, 2e-5),
    (1.4, 8e-6),
    (1.3, 4e-6),
    (1.2, 1.8e-6),
    (1.1, 3e-7),
    (1.0, 8e-8),
    (0.9, 2e-8),
)
SEARCH_SPACING = 2.5  #: grid of the first look at an unknown cluster (Bohr)
#: walls may cut through the cluster when the search, good to 1.5e-3 Hartree, leaves no
#: doubt which state is the lowest
SAFE_GAP = 1e-2
SEARCH_MARGINS = (14.0, 28.0, 45.0)  #: margins tried until the electron is bound clearly (Bohr)
LEAST_MARGIN = (
    6.0  #: from the outermost atom to a wall, when a wall must not cut the cluster (Bohr)
)
LARGEST_MARGIN = 70.0  #: from the outermost atom to a wall (Bohr)
#: a state bound by less (Hartree) lies mostly outside the cluster: where its tail does not fit into
#: the largest margin, the box goes on to this one, with a coarser grid (Bohr), which then errs by
#: less than 2e-6 Hartree where it would err by 5e-4 on a state inside
WEAK, WEAK_MARGIN, WEAK_SPACING = 3e-3, 200.0, 2.0
MOST_POINTS = 4_000_000  #: grid points, about 0.5 GB of workspace


class Grid(NamedTuple):
    """Uniform grid: first point `origin` (3,), `spacing` (Bohr), `shape` (nx, ny, nz).

    The hard walls stand one spacing outside the outermost points.
    """

    origin: Floats
    spacing: float
    shape: tuple[int, int, int]

    def axis(self, k: int) -> Floats:
        """Coordinates (Bohr) of the points along axis k."""
        return self.origin[k] + self.spacing * np.arange(self.shape[k])

    @property
    def walls(self) -> Floats:
        """Coordinates (2, 3) of the low and high walls (Bohr)."""
        low = self.origin - self.spacing
        return np.stack([low, low + self.lengths])

    @property
    def lengths(self) -> Floats:
        """Distances (3,) between opposite walls (Bohr)."""
        return self.spacing * (np.array(self.shape) + 1.0)


@dataclass
class ElectronState:
    """Ground state of the excess electron; atomic units.

    `forces` (n, 3) or None; `centre` (3,) and `gyration_radius` of the density; `gap` E_1 - E_0 or
    None; `bound` False when the box's lowest level is not below the vacuum; `residual` the norm of
    H psi - E psi; `boundary_error` the estimate of how much the walls raise the energy;
    `applications` products with H, over all grids; `coefficients` (nx, ny, nz) in the sine basis,
    of norm 1; `excited` those of the next state when the gap was asked for.
    """

    energy: float
    forces: Floats | None
    centre: Floats
    gyration_radius: float
    gap: float | None
    converged: bool
    bound: bool
    residual: float
    boundary_error: float
    applications: int
    grid: Grid
    coefficients: NDArray[Any]
    excited: NDArray[Any] | None = None


def sine_matrix(n: int) -> Floats:
    """Symmetric orthogonal matrix (n, n) between n grid points and n sine functions of a box."""
    k = np.arange(1, n + 1)
    # the argument is reduced first: sin of large multiples of pi loses digits
    return np.sqrt(2.0 / (n + 1)) * np.sin(np.pi / (n + 1) * (np.outer(k, k) % (2 * (n + 1))))


def _cycle(
    matrices: tuple[NDArray[Any], ...], a: NDArray[Any], buffers: tuple[NDArray[Any], NDArray[Any]]
) -> NDArray[Any]:
    """Multiply each axis k of `a` (n0, n1, n2) by matrices[k] (m_k, n_k); flat, in a buffer."""
    shape = list(a.shape)
    flat = a.reshape(-1)
    for k, matrix in enumerate(matrices):
        rest = flat.size // shape[k]
        out = buffers[k % 2][: rest * len(matrix)].reshape(rest, len(matrix))
        # one product for the leading axis, which moves to the end; after three the order is back
        np.dot(flat.reshape(shape[k], rest).T, matrix.T, out=out)
        flat = out.reshape(-1)
    return flat


class _Hamiltonian:
    """T in sine space and V on the points of one grid."""

    def __init__(self, grid: Grid, workspace: Workspace) -> None:
        self.grid, self.workspace = grid, workspace
        dtype = workspace.dtype
        self.size = int(np.prod(grid.shape))
        self.sines = tuple(sine_matrix(n).astype(dtype) for n in grid.shape)
        waves = [
            np.pi * np.arange(1, n + 1) / L for n, L in zip(grid.shape, grid.lengths, strict=True)
        ]
        parts = [0.5 * w**2 for w in waves]
        self.waves = waves
        self.kinetic = workspace.array("kinetic", grid.shape)
        self.kinetic[:] = parts[0][:, None, None] + parts[1][:, None] + parts[2]
        self.potential = workspace.array("potential", grid.shape)
        self.buffers = (
            workspace.array("transform a", (self.size,)),
            workspace.array("transform b", (self.size,)),
        )

    def transform(self, a: NDArray[Any]) -> NDArray[Any]:
        """Sine coefficients to sqrt(h^3) psi on the points, or back; valid until the next."""
        return _cycle(self.sines, a.reshape(self.grid.shape), self.buffers)

    def apply(self, vector: NDArray[Any], out: NDArray[Any]) -> None:
        values = self.transform(vector)
        values *= self.potential.reshape(-1)
        product = self.transform(values.reshape(self.grid.shape))
        np.multiply(vector, self.kinetic.reshape(-1), out=out)
        out += product

    def planes(self, coefficients: NDArray[Any]) -> list[Floats]:
        """Probabilities of the grid's planes perpendicular to each axis."""
        density = self.transform(coefficients).reshape(self.grid.shape) ** 2
        # two passes over the last axis and its sums are enough for all three
        rows = density.sum(axis=2, dtype=np.float64)
        return [rows.sum(axis=1), rows.sum(axis=0), density.sum(axis=(0, 1), dtype=np.float64)]


def _prolong(state: ElectronState, vector: NDArray[Any], h: _Hamiltonian) -> NDArray[Any]:
    """Sine coefficients on another grid of a wave function given on the grid of `state`."""
    old, new = state.grid, h.grid
    matrices = []
    for k in range(3):
        x = new.axis(k) - old.origin[k] + old.spacing
        length = old.lengths[k]
        waves = np.pi / length * np.arange(1, old.shape[k] + 1)
        values = np.sin(np.outer(x, waves)) * math.sqrt(2.0 / length * new.spacing)
        values[(x <= 0.0) | (x >= length)] = 0.0
        matrices.append((sine_matrix(new.shape[k]) @ values).astype(h.workspace.dtype))
    size = int(np.prod(np.maximum(old.shape, new.shape)))
    buffers = (np.empty(size, h.workspace.dtype), np.empty(size, h.workspace.dtype))
    return _cycle(tuple(matrices), vector.astype(h.workspace.dtype, copy=False), buffers)


class ElectronSolver:
    """Solver for the excess electron; keeps its memory between calls (not thread-safe).

    accuracy : error of E_0 allowed (Hartree), 1e-7 to 1e-2; chooses spacing, walls and residual
    spacing : of the grid (Bohr), instead of the one from the accuracy
    margin : from the outermost atom to the walls (Bohr), the same on all sides, instead of walls
        found from the accuracy
    residual : norm of H psi - E psi at which to stop (Hartree)
    precision : "double", or "single" for molecular dynamics (E_0 to 3e-6 Hartree, 2-3 times faster)
    max_applications : products H psi after which to give up

    Raises ConfigError for a setting outside its range.
    """

    def __init__(
        self,
        accuracy: float = 1e-4,
        spacing: float | None = None,
        margin: float | None = None,
        residual: float | None = None,
        *,
        precision: Literal["double", "single"] = "double",
        max_applications: int = 400,
    ) -> None:
        """See the class."""
        if not 1e-7 <= accuracy <= 1e-2:
            raise ConfigError(f"accuracy {accuracy} Hartree is outside the range 1e-7 to 1e-2")
        if spacing is not None and not 0.2 <= spacing <= 3.0:
            raise ConfigError(f"spacing {spacing} Bohr is outside the range 0.2 to 3")
        if margin is not None and not 0.0 < margin <= LARGEST_MARGIN:
            raise ConfigError(f"margin {margin} Bohr is outside the range 0 to {LARGEST_MARGIN}")
        if residual is not None and not 0.0 < residual <= 0.1:
            raise ConfigError(f"residual {residual} Hartree is outside the range 0 to 0.1")
        if precision not in ("double", "single"):
            raise ConfigError(f"precision is '{precision}'; expected 'double' or 'single'")
        self.accuracy = float(accuracy)
        if spacing is None:
            spacing = next(
                (h for h, error in SPACING_ERRORS if error <= 0.55 * accuracy),
                SPACING_ERRORS[-1][0],
            )
        self.spacing = float(spacing)
        self.margin = margin
        self.residual = min(3e-5, 2.0 * accuracy) if residual is None else float(residual)
        self.max_applications = int(max_applications)
        self._fast = precision == "single" or accuracy >= 1e-5
        self._workspace = Workspace(np.float32 if precision == "single" else np.float64)
        self._search_workspace = Workspace(np.float32)

    def solve(
        self,
        positions: ArrayLike,
        *,
        guess: ElectronState | None = None,
        forces: bool = True,
        gap: bool = False,
        confinement: tuple[float, float] | None = None,
        fixed_grid: bool = False,
    ) -> ElectronState:
        """Ground state for `positions` (3N, 3) in Bohr, atoms O H H O H H ...

        guess : state of a nearby geometry, to start from
        forces : compute the Hellmann-Feynman forces (exact on a fixed grid)
        gap : solve for the first excited state too (one above the vacuum is a level of the box)
        confinement : (strength, radius) adds strength * max(0, |r - c| - radius) to V, c being the
            centroid of the atoms (Hartree/Bohr, Bohr), to hold an electron inside a young cavity
        fixed_grid : stay on the grid of `guess` as long as its walls do not disturb the state
            (with `margin` given: as long as the atoms keep 0.7 of it)

        Raises StructureError for positions that are not (3N, 3), not finite, or too far spread for
        the largest grid; ConvergenceError when the residual is not reached, or the state is bound
        too weakly for the largest box. An electron that is not bound at all is not an error:
        `bound` is False.
        """
        x = as_water_positions(positions)
        if guess is not None:
            guess = replace(guess, applications=0)
        if guess is not None and fixed_grid and self._keeps(guess.grid, x):
            state = self._on_grid(x, guess.grid, guess, gap, confinement)
            if state.boundary_error <= self.accuracy or self.margin is not None:
                return self._finish(state, x, forces, confinement)
            guess = state
        if self.margin is not None:
            low, high = x.min(axis=0) - self.margin, x.max(axis=0) + self.margin
            state = self._on_grid(x, _grid(low, high, self.spacing), guess, gap, confinement)
            return self._finish(state, x, forces, confinement)
        state = self._search(x, guess, confinement)
        whole = gap or (guess is None and not (state.gap and state.gap > SAFE_GAP))
        margin, spacing = LARGEST_MARGIN, self.spacing
        for attempt in range(8):
            if not state.bound and confinement is None:
                return self._finish(state, x, forces, confinement)
            if attempt == 4:
                if -state.energy > WEAK or self.accuracy < 1e-5:
                    break
                margin, spacing = WEAK_MARGIN, max(self.spacing, WEAK_SPACING)
            low, high = self._walls(state, x, whole, margin)
            grid = _grid(low, high, spacing)
            state = self._on_grid(x, grid, state, gap, confinement)
            if state.boundary_error <= 0.5 * self.accuracy:
                return self._finish(state, x, forces, confinement)
        raise ConvergenceError(
            f"the electron is bound by only {-state.energy:.2g} Hartree, too weakly for an "
            f"accuracy of {self.accuracy:g} Hartree in the largest box; take a larger cluster or a "
            "lower accuracy"
        )

    def density(self, state: ElectronState) -> tuple[Floats, float, Floats]:
        """Grid origin (3,), spacing (Bohr) and density (nx, ny, nz) in Bohr^-3 of a state."""
        matrices = tuple(sine_matrix(n) for n in state.grid.shape)
        buffers = (np.empty(state.coefficients.size), np.empty(state.coefficients.size))
        values = _cycle(matrices, state.coefficients.astype(np.float64), buffers)
        return (
            state.grid.origin.copy(),
            state.grid.spacing,
            (values**2 / state.grid.spacing**3).reshape(state.grid.shape),
        )

    def _keeps(self, grid: Grid, x: Floats) -> bool:
        """Whether a grid of a given margin still surrounds the atoms."""
        return self.margin is None or bool(
            min((x - grid.walls[0]).min(), (grid.walls[1] - x).min()) > 0.7 * self.margin
        )

    def _search(
        self, x: Floats, guess: ElectronState | None, confinement: tuple[float, float] | None
    ) -> ElectronState:
        """First state, on a coarse grid in a box that grows until the electron is clearly bound."""
        if guess is not None and guess.bound and guess.boundary_error < 1e-3:
            return guess
        state = guess
        for margin in SEARCH_MARGINS:
            grid = _grid(x.min(axis=0) - margin, x.max(axis=0) + margin, SEARCH_SPACING)
            state = self._on_grid(x, grid, state, True, confinement, search=True)
            # a box error that is not small against the energy says nothing about the decay
            if confinement is not None or (
                state.bound and state.boundary_error < max(-0.1 * state.energy, self.accuracy)
            ):
                break
        assert state is not None
        return state

    def _walls(
        self, state: ElectronState, x: Floats, whole: bool, margin: float
    ) -> tuple[Floats, Floats]:
        """Low and high walls (3,) that together raise E_0 by a fifth of the accuracy.

        `whole`: they stay outside the cluster. `margin`: at most so far (Bohr).
        """
        h = _Hamiltonian(state.grid, Workspace(state.coefficients.dtype))
        walls = state.grid.walls
        for k, planes in enumerate(h.planes(state.coefficients)):
            for side, sign in ((0, 1), (1, -1)):
                walls[side, k] += sign * _inset(
                    planes[::sign],
                    state.grid.spacing,
                    _decay(state.energy),
                    0.2 * self.accuracy / 6.0,
                )
        low, high = x.min(axis=0), x.max(axis=0)
        if whole:
            walls[0] = np.minimum(walls[0], low - LEAST_MARGIN)
            walls[1] = np.maximum(walls[1], high + LEAST_MARGIN)
        return np.maximum(walls[0], low - margin), np.minimum(walls[1], high + margin)

    def _on_grid(
        self,
        x: Floats,
        grid: Grid,
        guess: ElectronState | None,
        gap: bool,
        confinement: tuple[float, float] | None,
        search: bool = False,
    ) -> ElectronState:
        """Solve on one grid; the state has neither moments nor forces yet."""
        h = _Hamiltonian(grid, self._search_workspace if search else self._workspace)
        V = h.potential
        far = self._search_workspace.array("potential", grid.shape)
        potential(V, grid.origin, grid.spacing, x, fast=self._fast, far=far)
        if confinement is not None:
            V += confinement[0] * np.maximum(0.0, _distance(grid, x.mean(axis=0)) - confinement[1])
        start = self._start_vectors(h, guess, gap)
        if search:  # the second level only tells whether the first is safely the lowest
            tolerances = [max(self.residual, min(2.0 * self.accuracy, 2e-4)), 0.5 * SAFE_GAP]
        else:
            tolerances = [self.residual, 10.0 * self.residual]
        roots = lowest(
            h.apply,
            h.kinetic.reshape(-1),
            start,
            tolerances=tolerances[: 1 + gap],
            workspace=h.workspace,
            max_applications=self.max_applications,
        )
        if not roots.converged:
            raise ConvergenceError(
                f"the electron's ground state reached a residual of {roots.residuals.max():.2g} "
                f"Hartree after {roots.applications} products with H, not {tolerances[0]:.2g}; "
                "allow more (max_applications) or ask for less accuracy"
            )
        energy = float(roots.values[0])
        vectors = roots.vectors.reshape(-1, *grid.shape)
        return ElectronState(
            energy=energy,
            forces=None,
            centre=np.zeros(3),
            gyration_radius=0.0,
            gap=float(roots.values[1] - energy) if gap else None,
            converged=roots.converged,
            bound=energy < 0.0,
            residual=float(roots.residuals[0]),
            boundary_error=_boundary_error(h.planes(vectors[0]), grid.spacing, _decay(energy)),
            applications=roots.applications + (0 if guess is None else guess.applications),
            grid=grid,
            coefficients=vectors[0],
            excited=vectors[1] if gap else None,
        )

    def _finish(
        self, state: ElectronState, x: Floats, forces: bool, confinement: tuple[float, float] | None
    ) -> ElectronState:
        """Add the moments of the density, and the forces."""
        h = _Hamiltonian(state.grid, Workspace(state.coefficients.dtype))
        density = h.transform(state.coefficients).reshape(state.grid.shape)
        np.multiply(density, density, out=density)
        square = 0.0
        for k in range(3):
            others = tuple(a for a in range(3) if a != k)
            weight = density.sum(axis=others, dtype=np.float64)
            axis = state.grid.axis(k)
            state.centre[k] = weight @ axis / weight.sum()
            square += weight @ (axis - state.centre[k]) ** 2 / weight.sum()
        state.gyration_radius = math.sqrt(square)
        if forces:
            f = forces_of_density(
                density, state.grid.origin, state.grid.spacing, x, fast=self._fast
            )
            if confinement is not None:
                f += _confinement_force(state.grid, density, x.mean(axis=0), *confinement) / len(x)
            state.forces = f
        return state

    def _start_vectors(
        self, h: _Hamiltonian, guess: ElectronState | None, gap: bool
    ) -> list[NDArray[Any]]:
        """The states of the guess on the grid of `h`, and where one is lacking made-up ones."""
        if guess is None:
            return _made_up(h, gap)
        start: list[NDArray[Any]] = []
        old, new = guess.grid, h.grid
        same = old.shape == new.shape and np.array_equal(old.origin, new.origin)
        for vector in (guess.coefficients, guess.excited)[: 1 + gap]:
            if vector is None:
                start += _made_up(h, gap)
            elif same:
                start.append(vector.reshape(-1).astype(h.workspace.dtype, copy=False))
            else:
                start.append(_prolong(guess, vector, h))
        return start


def _made_up(h: _Hamiltonian, gap: bool) -> list[NDArray[Any]]:
    """Where the potential is low, smoothed by two Green's functions (and p-like ones)."""
    V = h.potential
    weight = np.exp(-20.0 * (V - V.min()))
    b = h.transform(weight).copy()
    t = h.kinetic.reshape(-1)
    start = [b / (t + 0.05) ** 2, b / (t + 0.02)]
    if gap:
        for k in range(3):
            shape = [1, 1, 1]
            shape[k] = -1
            axis = (np.arange(h.grid.shape[k]) * h.grid.spacing).astype(V.dtype).reshape(shape)
            mean = float((weight * axis).sum() / weight.sum())
            start.append(h.transform(weight * (axis - V.dtype.type(mean))) / (t + 0.05) ** 2)
    return start


def _decay(energy: float) -> float:
    """Decay constant kappa (1/Bohr) of a state outside the cluster."""
    return math.sqrt(2.0 * max(-energy, 1e-3))


def _grid(low: Floats, high: Floats, spacing: float) -> Grid:
    """Smallest grid with walls at or outside `low` and `high` (3,), centred between them."""
    n = np.maximum(np.ceil((high - low) / spacing - 1e-9).astype(int) - 1, 4)
    if float(np.prod(n.astype(float))) > MOST_POINTS:
        raise StructureError(
            f"the cluster needs a grid of {n[0]} x {n[1]} x {n[2]} points, more than "
            f"{MOST_POINTS}; has a molecule left it?"
        )
    origin = 0.5 * (low + high) - 0.5 * spacing * (n - 1)
    return Grid(origin, spacing, (int(n[0]), int(n[1]), int(n[2])))


def _boundary_error(planes: list[Floats], spacing: float, kappa: float) -> float:
    """Estimate of how much (Hartree) the six walls together raise E_0."""
    ends = (side for p in planes for side in (p, p[::-1]))
    beyond = math.exp(-2.0 * kappa * spacing)
    return float(sum(beyond * _wall_costs(p[:1], spacing, kappa)[0] for p in ends))


def _wall_costs(planes: Floats, spacing: float, kappa: float) -> Floats:
    """Rise of E_0 (Hartree) that a wall in each grid plane would cause.

    `planes` are the probabilities of the planes, the first one next to the present wall, which
    presses the tail down by the factor (1 - exp(-2 kappa x))^2 at the distance x.
    """
    x = spacing * np.arange(1, len(planes) + 1)
    return kappa * planes / spacing / (1.0 - np.exp(-2.0 * kappa * x)) ** 2


def _inset(planes: Floats, spacing: float, kappa: float, allowed: float) -> float:
    """How far (Bohr) a wall may move in, or must move out (negative), to cost `allowed` Hartree."""
    cost = _wall_costs(planes, spacing, kappa)
    if cost[0] > allowed:
        return spacing - math.log(cost[0] / allowed) / (2.0 * kappa)
    # for a pure tail all that is beyond the wall adds as much again, for a second maximum more
    cost += 2.0 * kappa**2 * np.cumsum(planes)
    return spacing * max(int(np.argmax(cost > allowed)), 1)


def _distance(grid: Grid, centre: Floats) -> Floats:
    dx, dy, dz = (grid.axis(k) - centre[k] for k in range(3))
    return np.sqrt(dx[:, None, None] ** 2 + dy[:, None] ** 2 + dz**2)


def _confinement_force(
    grid: Grid, density: NDArray[Any], centre: Floats, strength: float, radius: float
) -> Floats:
    """Force (3,) on the centroid, to be shared by the atoms."""
    r = _distance(grid, centre)
    pull = np.where(r > radius, strength / np.maximum(r, 1e-12), 0.0) * density
    return np.array(
        [
            np.tensordot(
                pull.sum(axis=tuple(a for a in range(3) if a != k)), grid.axis(k) - centre[k], 1
            )
            for k in range(3)
        ]
    )
