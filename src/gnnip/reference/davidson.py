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

    values: NDArray[np.float64]
    vectors: NDArray[Any]
    residuals: NDArray[np.float64]
    applications: int
    converged: bool


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

    Parameters
    ----------
    apply : writes H x of its first argument (n,) into its second
    kinetic : (n,) diagonal of T, not negative, in the units of the eigenvalues
    start : vectors (n,) to begin with, at least as many as roots
    size : most basis vectors held
    """
    n, roots = kinetic.size, len(tolerances)
    size = max(size, 3 * roots + len(start) + 1)
    U = workspace.array("basis", (size, n))
    HU = workspace.array("products", (size, n))
    X = workspace.array("ritz", (roots, n))
    R = workspace.array("residual", (roots, n))
    d = workspace.array("correction", (n,))
    work = workspace.array("work", (n,))
    small = np.zeros((size, size))
    k = applications = 0

    def extend(vector: NDArray[Any]) -> int:
        """Orthonormalise a vector against the basis and take it in; return 1 unless dependent."""
        nonlocal k, applications
        u = U[k]
        u[:] = vector
        norm = np.sqrt(np.dot(u, u))
        if not norm > 0.0:
            return 0
        u /= norm
        total = norm = 1.0
        while k:
            np.dot(U[:k] @ u, U[:k], out=work)
            u -= work
            norm = np.sqrt(np.dot(u, u))
            u /= max(norm, 1e-30)
            total *= norm
            if total < 1e-5:
                return 0
            if norm > 0.5:  # otherwise cancellation calls for another pass
                break
        apply(u, HU[k])
        applications += 1
        small[k, : k + 1] = HU[: k + 1] @ u
        small[: k + 1, k] = small[k, : k + 1]
        k += 1
        return 1

    for vector in start:
        extend(vector)
    previous = np.zeros((0, 0))
    while True:
        values, Y = np.linalg.eigh(small[:k, :k])
        ritz = np.ascontiguousarray(Y[:, :roots].T)
        np.dot(ritz.astype(U.dtype), U[:k], out=X)
        np.dot(ritz.astype(U.dtype), HU[:k], out=R)
        for root in range(roots):
            np.multiply(X[root], U.dtype.type(values[root]), out=work)
            R[root] -= work
        residuals = np.sqrt([float(np.dot(row, row)) for row in R])
        pending = [root for root in range(roots) if not residuals[root] < tolerances[root]]
        if not pending or applications >= max_applications:
            return Roots(values[:roots], X.copy(), residuals, applications, not pending)
        if k + len(pending) > size:
            older = np.zeros((len(previous), k))
            older[:, : previous.shape[1]] = previous
            kept = _orthonormal(np.concatenate([Y[:, : 2 * roots + 1].T, older]))
            m = len(kept)
            for array in (U, HU):
                new = workspace.array("kept", (m, n))
                np.dot(kept.astype(U.dtype), array[:k], out=new)
                array[:m] = new
            small[:m, :m] = (kept @ Y) @ np.diag(values) @ (kept @ Y).T
            k, ritz = m, np.eye(roots, m)
        previous = ritz
        grown = 0
        for root in pending:
            np.add(kinetic, U.dtype.type(max(-float(values[root]), 0.02)), out=work)
            np.divide(R[root], work, out=d)
            np.divide(X[root], work, out=work)
            work *= np.dot(X[root], d) / np.dot(X[root], work)
            d -= work
            grown += extend(d)
        if not grown:  # rounding: the basis holds all that the corrections could add
            return Roots(values[:roots], X.copy(), residuals, applications, False)


def _orthonormal(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Orthonormal rows spanning the same space, dependent ones dropped, the order kept."""
    out: list[NDArray[np.float64]] = []
    for row in rows:
        v = row.copy()
        for _ in range(2):
            for u in out:
                v -= (u @ v) * u
        norm = np.linalg.norm(v)
        if norm > 1e-6:
            out.append(v / norm)
    return np.array(out)
