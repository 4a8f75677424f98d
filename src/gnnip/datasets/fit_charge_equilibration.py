"""Fit the charge equilibration to published frames with energies, forces and charges.

    python -m gnnip.datasets.fit_charge_equilibration FOLDER --out parameters.yaml
    python -m gnnip.datasets.fit_charge_equilibration FOLDER --check

FOLDER holds RuNNer files (`*.data`) of Au2 on MgO, with or without aluminium. Two linear fits, one
after the other:

1. charges: for given hardness, charges are linear in the electronegativities, and so are the
   residuals against the published charges; the hardness of the elements is searched around that.
2. energies and forces: with the charges fixed, both are linear in all that is left; the change of
   the charges with the positions is in the design matrix through the adjoint.

A penalty on the coefficients decides what few frames leave open. The frames are those the
parameters were fitted to: the agreement printed is a training error, and `--leave-one-out` shows
how much worse a frame fares that was not seen.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnip.datasets.imports.runner import read
from gnnip.datasets.imports.settings import ImportSettings
from gnnip.errors import DataError
from gnnip.files import sha256
from gnnip.reference.charge_equilibration import (
    Floats,
    GaussianSum,
    Neighbours,
    Parameters,
    Solution,
    evaluate,
    neighbours,
    radial_functions,
    read_parameters,
    shipped_parameters,
    write_parameters,
)
from gnnip.terminal import answer
from gnnip.units import BOHR, HARTREE, HARTREE_PER_BOHR

GOLD, ALUMINIUM = 79, 13
CUTOFF = 6.0  #: Angstrom; gold and aluminium are 10.8 Å apart, so no pair term joins them
FIRST, SPACING = 1.8, 0.4  #: Angstrom, of the radial functions; the spacing is also their spread
#: weights of residuals in the sums of squares: 1 / e, 1 / eV, 1 / (eV/Angstrom)
CHARGE_WEIGHTS = {GOLD: 6.0, ALUMINIUM: 2.0}  #: of one charge; 1 for other elements
ENERGY_WEIGHT = 60.0
RELAXED_ENERGY_WEIGHT = 1000.0  #: the wetting energy is a difference of two of them
FORCE_WEIGHTS = {GOLD: 3.0}  #: of one component; 1 for other elements
#: penalties: on coefficients of radial functions (1 / eV), a tenth of it on electronegativities of
#: elements, and on the logarithm of the hardness against its guess
CHARGE_PENALTY = 0.01
ENERGY_PENALTY = 0.1
HARDNESS_PENALTY = 0.1
HARDNESS_GUESS = 10.0  #: eV/e^2
HARDNESS_STEPS = 100


@dataclass
class Structure:
    """One published frame, atoms (n,), in eV, Angstrom and e.

    held : the substrate was held and its forces are placeholders; only those of gold count.
    """

    source: str
    numbers: NDArray[np.int64]
    positions: Floats
    cell: Floats
    energy: float
    forces: Floats
    charges: Floats
    held: bool

    @property
    def counted(self) -> NDArray[np.bool_]:
        """Return which atoms (n,) have forces that mean something."""
        return self.numbers == GOLD if self.held else np.ones(len(self.numbers), dtype=bool)

    @property
    def doped(self) -> bool:
        """Return whether there is aluminium in it."""
        return bool((self.numbers == ALUMINIUM).any())

    @property
    def wetting(self) -> bool:
        """Return whether the gold dimer lies flat: less than 45 degrees off the surface."""
        one, two = self.positions[self.numbers == GOLD]
        step = np.abs(two - one)
        return bool(step[2] < np.hypot(step[0], step[1]))


def read_structures(folder: str | Path) -> list[Structure]:
    """Return all frames of the RuNNer files in a folder and the folders below it.

    Raises DataError when there are none, and for frames without cell, forces or a gold dimer.
    """
    found = []
    for path in sorted(Path(folder).rglob("*.data")):
        for batch in read(path, ImportSettings(format="runner")):
            if batch.cells is None or batch.forces is None or batch.charges is None:
                raise DataError(f"{path} has a frame without a cell; give periodic frames.")
            if (batch.numbers == GOLD).sum() != 2:
                raise DataError(f"{path} has a frame without a gold dimer; give Au2 on MgO.")
            forces = batch.forces[0] * HARTREE_PER_BOHR
            found.append(
                Structure(
                    source=path.name,
                    numbers=batch.numbers,
                    positions=batch.positions[0] * BOHR,
                    cell=batch.cells[0] * BOHR,
                    energy=float(batch.energies[0]) * HARTREE,
                    forces=forces,
                    charges=batch.charges[0],
                    held=not forces[batch.numbers != GOLD].any(),
                )
            )
    if not found:
        raise DataError(f"There are no RuNNer files (*.data) in {folder}; give their folder.")
    return found


class _Prepared:
    """What of a frame does not depend on the parameters; e elements, m radial functions."""

    def __init__(self, structure: Structure, parameters: Parameters) -> None:
        self.structure = structure
        self.kind = parameters.species(structure.numbers)
        n, e = len(self.kind), len(parameters.numbers)
        self.pairs: Neighbours = neighbours(structure.positions, structure.cell, parameters.cutoff)
        values, self.slopes = radial_functions(
            self.pairs.distances, parameters.centres, parameters.spread, parameters.cutoff
        )
        #: of the ordered pair of elements of each pair of atoms
        self.pair_kind = self.kind[self.pairs.i] * e + self.kind[self.pairs.j]
        coulomb = GaussianSum(structure.positions, structure.cell, parameters.width[self.kind])
        self.matrix, self.matrix_gradient = coulomb.matrix(), coulomb.matrix_gradient()
        sums = np.stack(
            [
                np.bincount(self.pairs.i * e * e + self.pair_kind, column, n * e * e)
                for column in values.T
            ],
            axis=-1,
        )
        #: one column per element, then one per ordered pair of elements and radial function (n, f)
        self.elements = np.eye(e)[self.kind]
        self.features = np.column_stack([self.elements, sums.reshape(n, -1)])
        self.weights = np.array([CHARGE_WEIGHTS.get(int(z), 1.0) for z in structure.numbers])

    def response(self, hardness: Floats) -> Floats:
        """Return P (n, n): charges are -P chi, and adjoints -P dE/dq."""
        inverse = np.linalg.inv(self.matrix + np.diag(hardness[self.kind]))
        sums = inverse.sum(axis=1)
        return inverse - np.outer(sums, sums) / sums.sum()

    def pair_gradient(self, weights: Floats, n_kinds: int) -> Floats:
        """Return the gradient of the sum over pairs of weight times radial function:
        (kinds of pairs, m, 3 n)."""
        n, m = len(self.kind), self.slopes.shape[1]
        out = np.zeros((n_kinds, m, n, 3))
        for kind in np.unique(self.pair_kind):
            part = self.pair_kind == kind
            i, j, along = self.pairs.i[part], self.pairs.j[part], self.pairs.along[part]
            for k, axis in itertools.product(range(m), range(3)):
                pull = weights[part] * self.slopes[part, k] * along[:, axis]
                out[kind, k, :, axis] = np.bincount(j, pull, n) - np.bincount(i, pull, n)
        return out.reshape(n_kinds, m, 3 * n)


def fit(structures: Sequence[Structure], hardness: Floats | None = None) -> Parameters:
    """Return the parameters that fit the frames; with `hardness` (elements,) that is not searched.

    `made` of the result holds `origin`: what each atom of an element has in the published energies
    beyond those of the model.
    """
    return _fit([_Prepared(s, _empty(structures)) for s in structures], hardness)


def _empty(structures: Sequence[Structure]) -> Parameters:
    from ase.data import covalent_radii

    numbers = np.unique(np.concatenate([s.numbers for s in structures]))
    centres = np.arange(FIRST, CUTOFF, SPACING)
    e, none = len(numbers), np.zeros(len(numbers))
    tables = np.zeros((e, e, len(centres)))
    return Parameters(
        numbers=numbers,
        energy=none,
        width=covalent_radii[numbers],
        hardness=none,
        electronegativity=none,
        potential=none,
        stiffness=none,
        pair_energy=tables,
        pair_electronegativity=tables,
        pair_potential=tables,
        centres=centres,
        spread=SPACING,
        cutoff=CUTOFF,
    )


def _fit(frames: Sequence[_Prepared], hardness: Floats | None) -> Parameters:
    parameters = _empty([frame.structure for frame in frames])
    if hardness is None:
        from scipy.optimize import minimize

        def cost(logarithms: Floats) -> float:
            off = HARDNESS_PENALTY * (logarithms - np.log(HARDNESS_GUESS))
            return _fit_charges(frames, np.exp(logarithms))[1] + float(off @ off)

        start = np.full(len(parameters.numbers), np.log(HARDNESS_GUESS))
        found = minimize(cost, start, method="Nelder-Mead", options={"maxfev": HARDNESS_STEPS})
        hardness = np.exp(found.x)
    chi, _ = _fit_charges(frames, hardness)
    e = len(parameters.numbers)
    parameters = replace(
        parameters,
        hardness=hardness,
        electronegativity=chi[:e],
        pair_electronegativity=chi[e:].reshape(e, e, -1),
    )
    return _fit_energies(frames, parameters)


def _fit_charges(frames: Sequence[_Prepared], hardness: Floats) -> tuple[Floats, float]:
    """Return the electronegativity coefficients (f,) and the cost that they minimise."""
    n_elements = len(hardness)
    rows = [-f.weights[:, None] * (f.response(hardness) @ f.features) for f in frames]
    aims = [f.weights * f.structure.charges for f in frames]
    penalty = np.full(rows[0].shape[1], CHARGE_PENALTY)
    penalty[:n_elements] *= 0.1
    matrix, aim = np.concatenate(rows), np.concatenate(aims)
    coefficients = _least_squares(matrix, aim, penalty)
    residual, price = aim - matrix @ coefficients, penalty * coefficients
    return coefficients, float(residual @ residual + price @ price)


def _least_squares(matrix: Floats, aim: Floats, penalty: Floats) -> Floats:
    """Return the minimum of |aim - matrix c|^2 + |penalty c|^2; unused columns get zero."""
    used = np.abs(matrix).max(axis=0) > 0
    stacked = np.vstack([matrix[:, used], np.diag(penalty[used])])
    result = np.zeros(matrix.shape[1])
    result[used] = np.linalg.lstsq(
        stacked, np.concatenate([aim, np.zeros(int(used.sum()))]), rcond=None
    )[0]
    return result


def _fit_energies(frames: Sequence[_Prepared], parameters: Parameters) -> Parameters:
    e, m = len(parameters.numbers), len(parameters.centres)
    triangle = np.triu_indices(e)
    counts = np.array([f.elements.sum(axis=0) for f in frames])
    energies = np.array([f.structure.energy for f in frames])
    # total DFT energies are millions of eV: take the composition off first
    origin = np.linalg.lstsq(counts, energies, rcond=None)[0]
    rows, aims = [], []
    for frame, count in zip(frames, counts, strict=True):
        fixed, matrix = _design(frame, parameters, triangle)
        s = frame.structure
        aim = np.concatenate([[s.energy - origin @ count], s.forces.reshape(-1)]) - fixed
        weight = np.array([FORCE_WEIGHTS.get(int(z), 1.0) for z in s.numbers]) * s.counted
        weights = np.concatenate(
            [[RELAXED_ENERGY_WEIGHT if s.held else ENERGY_WEIGHT], np.repeat(weight, 3)]
        )
        keep = weights > 0
        rows.append((weights[:, None] * matrix)[keep])
        aims.append((weights * aim)[keep])
    penalty = np.full(rows[0].shape[1], ENERGY_PENALTY)
    penalty[:e] *= 1e-4  # of the elements' energies: only to choose among those that do the same
    found = _least_squares(np.concatenate(rows), np.concatenate(aims), penalty)
    ends = np.cumsum([e, len(triangle[0]) * m, e, e * e * m])
    energy, pair, potential, pair_potential, stiffness = np.split(found, ends)
    table = np.zeros((e, e, m))
    table[triangle] = pair.reshape(-1, m)
    table[triangle[1], triangle[0]] = table[triangle]
    return replace(
        parameters,
        energy=energy,
        pair_energy=table,
        potential=potential,
        pair_potential=pair_potential.reshape(e, e, m),
        stiffness=stiffness,
        made={
            "origin": {int(z): float(o) for z, o in zip(parameters.numbers, origin, strict=True)}
        },
    )


def _design(
    frame: _Prepared, parameters: Parameters, triangle: tuple[NDArray[Any], ...]
) -> tuple[Floats, Floats]:
    """Return energy and forces (1 + 3 n,) of the Coulomb term and those of each coefficient
    (1 + 3 n, c): energies of elements, of pairs, potentials of elements and pairs, stiffness."""
    n, e, m = len(frame.kind), len(parameters.numbers), len(parameters.centres)
    response = frame.response(parameters.hardness)
    chi = np.concatenate(
        [parameters.electronegativity, parameters.pair_electronegativity.reshape(-1)]
    )
    q = -response @ frame.features @ chi
    # how the conditions on the charges, H q + chi, change with the positions (n, 3 n)
    i, j = frame.pairs.i, frame.pairs.j
    slope = np.einsum(
        "pm,pm->p", parameters.pair_electronegativity.reshape(e * e, m)[frame.pair_kind],
        frame.slopes,
    )  # fmt: skip
    change = np.zeros((n, n, 3))
    np.add.at(change, (i, j), slope[:, None] * frame.pairs.along)
    np.add.at(change, (i, i), -slope[:, None] * frame.pairs.along)
    pull = frame.matrix_gradient * q[None, :, None]
    change -= pull
    change[np.arange(n), np.arange(n)] += pull.sum(axis=1)
    moved = response @ change.reshape(n, 3 * n)  # minus dq/dx

    field = frame.matrix @ q
    fixed = np.concatenate(
        [[0.5 * q @ field], field @ moved - (q[:, None] * pull.sum(axis=1)).reshape(-1)]
    )
    plain = 0.5 * frame.pair_gradient(np.ones(len(i)), e * e).reshape(e, e, m, 3 * n)
    sums = 0.5 * frame.features[:, e:].sum(axis=0).reshape(e, e, m)
    one, two = triangle
    both = np.where(one == two, 0.0, 1.0)[:, None]
    pair_energy = (sums[one, two] + both * sums[two, one]).reshape(-1)
    pair_forces = -(plain[one, two] + both[:, :, None] * plain[two, one]).reshape(-1, 3 * n)
    potential_forces = frame.features.T @ moved
    potential_forces[e:] -= frame.pair_gradient(q[i], e * e).reshape(-1, 3 * n)
    charged = frame.elements * q[:, None]
    energies = [frame.elements.sum(axis=0), pair_energy, q @ frame.features, 0.5 * q @ charged]
    forces = [np.zeros((e, 3 * n)), pair_forces, potential_forces, charged.T @ moved]
    return fixed, np.vstack([np.concatenate(energies), np.concatenate(forces).T])


def predict(parameters: Parameters, structures: Sequence[Structure]) -> list[Solution]:
    """Return what the model says of each frame, energies on the scale of the published ones."""
    origin = parameters.made["origin"]
    found = []
    for s in structures:
        solution = evaluate(parameters, s.numbers, s.positions, s.cell)
        above = sum(float(origin[int(z)]) for z in s.numbers)
        found.append(solution._replace(energy=solution.energy + above))
    return found


def predict_left_out(structures: Sequence[Structure], hardness: Floats) -> list[Solution]:
    """Return what a model fitted to the other frames says of each; the hardness is kept."""
    frames = [_Prepared(s, _empty(structures)) for s in structures]
    return [
        predict(_fit([f for f in frames if f is not frame], hardness), [frame.structure])[0]
        for frame in frames
    ]


def errors(structures: Sequence[Structure], found: Sequence[Solution]) -> Any:
    """Return a table of errors: quantity, unit, of (support or element), count, published (root
    mean square of forces, standard deviation of energies and charges), rmse, correlation."""
    import pandas as pd
    from ase.data import chemical_symbols

    rows = []

    def add(quantity: str, unit: str, of: str, published: Floats, ours: Floats) -> None:
        about = 0.0 if quantity == "force" else published.mean()
        rows.append(
            {
                "quantity": quantity,
                "unit": unit,
                "of": of,
                "count": len(published),
                "published": np.sqrt(np.mean(np.square(published - about))),
                "rmse": np.sqrt(np.mean(np.square(ours - published))),
                "correlation": np.corrcoef(published, ours)[0, 1],
            }
        )

    for support, doped in (("undoped", False), ("doped", True)):
        chosen = [(s.energy, f.energy) for s, f in zip(structures, found, strict=True)
                  if s.doped == doped]  # fmt: skip
        published, ours = 1000.0 * np.array(chosen).T
        add("energy", "meV", support, published, ours)
    for z in np.unique(np.concatenate([s.numbers for s in structures])):
        for quantity, unit in (("force", "eV/Å"), ("charge", "e")):
            pairs = [
                _of_element(quantity, s, f, int(z))
                for s, f in zip(structures, found, strict=True)
                if not (quantity == "force" and s.held)  # zeros would only dilute
            ]
            published, ours = np.concatenate(pairs, axis=1)
            add(quantity, unit, chemical_symbols[z], published, ours)
    return pd.DataFrame(rows).sort_values("quantity", kind="stable", ignore_index=True)


def _of_element(quantity: str, structure: Structure, found: Solution, z: int) -> Floats:
    atoms = structure.numbers == z
    both = (
        (structure.forces, found.forces)
        if quantity == "force"
        else (structure.charges, found.charges)
    )
    return np.array([values[atoms].reshape(-1) for values in both])


def differences(structures: Sequence[Structure], found: Sequence[Solution]) -> Any:
    """Return a table of what doping does: quantity, unit, published, ours.

    Energies of wetting minus non-wetting, of the relaxed frames and of the means over the displaced
    ones; mean charges of the dimer.
    """
    import pandas as pd

    rows = []
    groups: dict[tuple[bool, bool, bool], list[tuple[float, float, float, float]]] = {}
    for s, f in zip(structures, found, strict=True):
        gold = s.numbers == GOLD
        groups.setdefault((s.doped, s.wetting, s.held), []).append(
            (s.energy, f.energy, s.charges[gold].sum(), f.charges[gold].sum())
        )
    means = {key: np.mean(values, axis=0) for key, values in groups.items()}
    kinds = list(itertools.product((True, False), (False, True)))
    for held, doped in kinds:
        if (doped, True, held) in means and (doped, False, held) in means:
            step = 1000.0 * (means[doped, True, held] - means[doped, False, held])
            what = "relaxed" if held else "mean of displaced frames"
            name = f"E(wetting) - E(non-wetting), {_support(doped)}, {what}"
            rows.append({"quantity": name, "unit": "meV", "published": step[0], "ours": step[1]})
    for doped, wetting in itertools.product((False, True), (False, True)):
        if (doped, wetting, False) in means:
            name = f"charge of Au2, {_support(doped)}, {'' if wetting else 'non-'}wetting"
            _, _, published, ours = means[doped, wetting, False]
            rows.append({"quantity": name, "unit": "e", "published": published, "ours": ours})
    return pd.DataFrame(rows)


def _support(doped: bool) -> str:
    return "doped" if doped else "undoped"


def _markdown(table: Any) -> str:
    """Return a table with four significant digits."""
    text = [[f"{v:.4g}" if isinstance(v, float) else str(v) for v in row] for row in table.values]
    lines = [list(table.columns), ["---"] * len(table.columns), *text]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit, or check the shipped parameters, and print the agreement; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m gnnip.datasets.fit_charge_equilibration",
                                     description=__doc__.split("\n")[0])  # fmt: skip
    parser.add_argument("folder", help="RuNNer files (*.data) of Au2 on MgO, energies and charges")
    parser.add_argument("--out", help="file for the parameters (YAML)")
    parser.add_argument("--check", action="store_true", help="do not fit, judge the shipped ones")
    parser.add_argument(
        "--leave-one-out", action="store_true", help="also the errors of frames left out of the fit"
    )
    options = parser.parse_args(arguments)
    return answer(lambda: _main(options), "error")


def _main(options: argparse.Namespace) -> int:
    structures = read_structures(options.folder)
    parameters = shipped_parameters() if options.check else fit(structures)
    if options.out:
        files = sorted(Path(options.folder).rglob("*.data"))
        made = {
            "command": "python -m gnnip.datasets.fit_charge_equilibration FOLDER --out FILE",
            "frames": len(structures),
            "files": {path.name: sha256(path) for path in files},
            **parameters.made,
        }
        write_parameters(options.out, replace(parameters, made=made))
        parameters = read_parameters(options.out)
    found = predict(parameters, structures)
    print(
        f"{len(structures)} frames, those of the fit:\n\n{_markdown(errors(structures, found))}\n"
    )
    print(_markdown(differences(structures, found)))
    if options.leave_one_out:
        found = predict_left_out(structures, parameters.hardness)
        print(f"\neach frame left out of the fit:\n\n{_markdown(errors(structures, found))}\n")
        print(_markdown(differences(structures, found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
