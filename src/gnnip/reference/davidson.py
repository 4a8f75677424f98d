"""Lowest eigenvectors of H = T + V by Davidson's method in the basis where T is diagonal.

Davidson, J. Comput. Phys. 17, 87 (1975); correction of Olsen et al., Chem. Phys. Lett. 169, 463
(1990); thick restart that keeps the Ritz vectors and the previous iterate, as in Stathopoulos and
Saad, Electron. Trans. Numer. Anal. 7, 163 (1998).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Workspace:
    """Reusable memory: fresh pages would cost more than the iteration itself."""

    def __init__(self, dtype: Any) -> None:
        """Start empty; `dtype` is float64 or float32."""
        self.dtype = np.dtype(dtype)
        self._memory: dict[str, NDArray[Any]] = {}

    def array(self, name: str, shape: tuple[int, ...]) -> NDArray[Any]:
        """Return an uninitialised array of that shape that lives until the name is asked again."""
        size = int(np.prod(shape))
        memory = self._memory.get(name)
        if memory is None or memory.size < size:
            memory = np.empty(int(1.1 * size) + 1, self.dtype)
            self._memory[name] = memory
        return memory[:size].reshape(shape)


class Roots(NamedTuple):
    """Eigenvalues (k,), eigenvectors (k, n), residual norms (k,), products with H, success."""

    values: Floats
    vectors: NDArray[Any]
    residuals: Floats
    applications: int
    converged: bool


class _Basis:
    """Orthonormal vectors, their products with H, and H between them."""

    def __init__(
        self,
        apply: Callable[[NDArray[Any], NDArray[Any]], None],
        n: int,
        size: int,
        workspace: Workspace,
    ) -> None:
        self.apply, self.size, self.workspace = apply, size, workspace
        self.vectors = workspace.array("basis", (size, n))
        self.products = workspace.array("products", (size, n))
        self.small = np.zeros((size, size))
        self.count = self.applications = 0
        self._work = workspace.array("work", (n,))

    def extend(self, vector: NDArray[Any]) -> int:
        """Orthonormalise a vector against the basis and take it in; return 1 unless dependent."""
        k = self.count
        u = self.vectors[k]
        u[:] = vector
        norm = np.sqrt(np.dot(u, u))
        if not norm > 0.0:
            return 0
        u /= norm
        total = norm = 1.0
        while k:
            np.dot(self.vectors[:k] @ u, self.vectors[:k], out=self._work)
            u -= self._work
            norm = np.sqrt(np.dot(u, u))
            u /= max(norm, 1e-30)
            total *= norm
            if total < 1e-5:
                return 0
            if norm > 0.5:  # otherwise cancellation calls for another pass
                break
        self.apply(u, self.products[k])
        self.applications += 1
        self.small[k, : k + 1] = self.products[: k + 1] @ u
        self.small[: k + 1, k] = self.small[k, : k + 1]
        self.count += 1
        return 1

    def keep(self, rows: Floats, Y: NDArray[Any], values: NDArray[Any]) -> None:
        """Replace the basis by combinations `rows` (m, count); Y and values diagonalise `small`."""
        m, n = len(rows), self.vectors.shape[1]
        for array in (self.vectors, self.products):
            new = self.workspace.array("kept", (m, n))
            np.dot(rows.astype(array.dtype), array[: self.count], out=new)
            array[:m] = new
        self.small[:m, :m] = (rows @ Y) @ np.diag(values) @ (rows @ Y).T
        self.count = m


def lowest(
    apply: Callable[[NDArray[Any], NDArray[Any]], None],
    kinetic: NDArray[Any],
    start: Sequence[NDArray[Any]],
    *,
    tolerances: Sequence[float],
    workspace: Workspace,
    max_applications: int,
    size: int = 14,
) -> Roots:
    """Lowest eigenpairs, one for each of `tolerances` (residual norms).

    apply : writes H x of its first argument (n,) into its second
    kinetic : (n,) diagonal of T, not negative, in the units of the eigenvalues
    start : vectors (n,) to begin with, at least as many as roots
    size : most basis vectors held
    """
    n, roots = kinetic.size, len(tolerances)
    basis = _Basis(apply, n, max(size, 3 * roots + len(start) + 1), workspace)
    X = workspace.array("ritz", (roots, n))
    R = workspace.array("residual", (roots, n))
    work = workspace.array("work", (n,))
    for vector in start:
        basis.extend(vector)
    previous = np.zeros((0, 0))
    while True:
        k, scalar = basis.count, basis.vectors.dtype.type
        values, Y = np.linalg.eigh(basis.small[:k, :k])
        ritz = np.ascontiguousarray(Y[:, :roots].T)
        np.dot(ritz.astype(scalar), basis.vectors[:k], out=X)
        np.dot(ritz.astype(scalar), basis.products[:k], out=R)
        for root in range(roots):
            np.multiply(X[root], scalar(values[root]), out=work)
            R[root] -= work
        residuals = np.sqrt([float(np.dot(row, row)) for row in R])
        pending = [root for root in range(roots) if not residuals[root] < tolerances[root]]
        applications = basis.applications
        if not pending or applications >= max_applications:
            return Roots(values[:roots], X.copy(), residuals, applications, not pending)
        if k + len(pending) > basis.size:
            older = np.zeros((len(previous), k))
            older[:, : previous.shape[1]] = previous
            basis.keep(_orthonormal(np.concatenate([Y[:, : 2 * roots + 1].T, older])), Y, values)
            ritz = np.eye(roots, basis.count)
        previous = ritz
        d = workspace.array("correction", (n,))
        grown = 0
        for root in pending:
            _correction(kinetic, float(values[root]), X[root], R[root], d, work)
            grown += basis.extend(d)
        if not grown:  # rounding: the basis holds all that the corrections could add
            return Roots(values[:roots], X.copy(), residuals, applications, False)


def _correction(
    kinetic: NDArray[Any],
    value: float,
    x: NDArray[Any],
    residual: NDArray[Any],
    out: NDArray[Any],
    work: NDArray[Any],
) -> None:
    """Write the step of Olsen et al. for one root into `out` (n,)."""
    np.add(kinetic, out.dtype.type(max(-value, 0.02)), out=work)
    np.divide(residual, work, out=out)
    np.divide(x, work, out=work)
    work *= np.dot(x, out) / np.dot(x, work)
    out -= work


def _orthonormal(rows: Floats) -> Floats:
    """Orthonormal rows spanning the same space, dependent ones dropped, the order kept."""
    out: list[Floats] = []
    for row in rows:
        v = row.copy()
        for _ in range(2):
            for u in out:
                v -= (u @ v) * u
        norm = np.linalg.norm(v)
        if norm > 1e-6:
            out.append(v / norm)
    return np.array(out)
