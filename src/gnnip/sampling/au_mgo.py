"""A gold dimer on MgO(001) and on Al-doped MgO: kang2024's second system, labelled by the stand-in.

The slab has six layers of 3 x 3 cells of the (001) surface at their places in the crystal, 54 Mg
and 54 O; doped, three Mg on a diagonal of the last layer but one are Al. The dimer stands on an O
atom (non-wetting) or lies flat over two Mg atoms (wetting). The slab is held; height and length of
the dimer are relaxed in the stand-in for each support, and the path of a configuration is the
dimer of that length at heights around the relaxed one.

Frames of the purposes `train` and `test` are places on a path with random displacements, of the
slab and, larger, of the gold; a pass from one end of the path to the other is a trajectory. Those
of `fig2b` are the relaxed structures, whose energies differ by the cost of wetting; those of
`fig2c` the upright dimer at distances from the O atom below it, on the slab at its ideal places.
Every pass has a random stream of its own, so that it does not depend on what else is drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnip.errors import ConfigError, ConvergenceError
from gnnip.reference import charge_equilibration
from gnnip.reference.charge_equilibration import Solution, shipped_parameters
from gnnip.sampling.displacements import around_path
from gnnip.sampling.frames import Frame
from gnnip.sampling.plans import check_plan

OXYGEN, MAGNESIUM, ALUMINIUM, GOLD = 8, 12, 13, 79
SUPPORTS = ("undoped", "doped")
CONFIGURATIONS = ("non_wetting", "wetting")
PURPOSES = ("train", "test", "fig2b", "fig2c")

LATTICE_CONSTANT = 4.265  #: Angstrom, of MgO in the published calculations
CELLS, LAYERS = 3, 6
HEIGHT = 26.46  #: of the box, Angstrom
BOTTOM = 3.0  #: of the slab, above the floor of the box, Angstrom
#: where a relaxation begins: height above the last layer and length of the dimer, Angstrom
START = {"non_wetting": (2.25, 2.55), "wetting": (2.9, 2.55)}

TITLE = "Au2 on MgO and on Al-doped MgO: displaced, wetting and non-wetting, stand-in labels"
TERM = "total"
UNITS = {
    "positions": "Angstrom",
    "energies": "eV",
    "forces": "eV/Angstrom",
    "path_a": "Angstrom",
    "gold_oxygen_a": "Angstrom",
    "gold_charge_e": "e",
}
#: eV; two sums over reciprocal vectors, one of them longer, differ by less
LABEL_ACCURACY_EV = 1e-6
FINER = 1e-14  #: accuracy of the sum that labels are verified with


@dataclass(frozen=True)
class Plan:
    """What is drawn; the deviations are the published ones.

    passes, test_passes : of the path, for each support and configuration.  points : places per
    pass.  path : its ends, in Angstrom of height from the relaxed dimer.  slab_deviation,
    gold_deviation : of the normal displacement of each coordinate, Angstrom.  curve : shortest and
    longest Au-O distance of Fig. 2c, Angstrom.  curve_points : so many of them.
    """

    passes: int = 12
    test_passes: int = 2
    points: int = 8
    path: tuple[float, float] = (-0.25, 0.35)
    slab_deviation: float = 0.02
    gold_deviation: float = 0.1
    curve: tuple[float, float] = (2.0, 2.6)
    curve_points: int = 21
    seed: int = 1

    def __post_init__(self) -> None:
        """Raise ConfigError for numbers that describe no structure."""
        deviations = ("slab_deviation", "gold_deviation")
        check_plan(self, "passes", not_negative=("test_passes", "curve_points", *deviations))
        if self.points < 2:
            raise ConfigError(f"Au on MgO: points is {self.points}; a path has two ends.")
        for name in ("path", "curve"):
            ends = getattr(self, name)
            if len(ends) != 2 or not ends[0] < ends[1]:
                raise ConfigError(f"Au on MgO: {name} is {list(ends)}; give two ends, lower first.")


def slab(support: str, layers: int = LAYERS, cells: int = CELLS) -> Any:
    """Return the ideal slab (`ase.Atoms`, periodic), its surface towards +z: 18 atoms a layer, or
    so many surface cells along each edge. A thicker one has its box as much higher."""
    from ase import Atoms

    side = LATTICE_CONSTANT / np.sqrt(2.0)
    numbers, positions = [], []
    for layer in range(layers):  # the first one carries the dimer
        z = BOTTOM + 0.5 * LATTICE_CONSTANT * (layers - 1 - layer)
        for i in range(cells):
            for j in range(cells):
                # the elements alternate from layer to layer
                corner, middle = (MAGNESIUM, OXYGEN) if layer % 2 == 0 else (OXYGEN, MAGNESIUM)
                if support == "doped" and layer == layers - 2 and i == j:
                    corner = ALUMINIUM
                numbers += [corner, middle]
                positions += [[i * side, j * side, z], [(i + 0.5) * side, (j + 0.5) * side, z]]
    edge, above = cells * side, 0.5 * LATTICE_CONSTANT * (layers - LAYERS)
    return Atoms(numbers, positions=positions, cell=[edge, edge, HEIGHT + above], pbc=True)


def with_dimer(
    support: str,
    configuration: str,
    height: float,
    length: float,
    layers: int = LAYERS,
    cells: int = CELLS,
) -> Any:
    """Return the slab with a gold dimer, its lowest atom `height` Angstrom above the last layer.

    Non-wetting: upright on the O atom at (1/2, 1/2) of the surface cell. Wetting: flat, its middle
    between two Mg atoms at (1, 2) and (2, 2).
    """
    from ase import Atoms

    support_atoms = slab(support, layers, cells)
    side = LATTICE_CONSTANT / np.sqrt(2.0)
    z = support_atoms.positions[:, 2].max() + height
    if configuration == "non_wetting":
        places = [[0.5 * side, 0.5 * side, z], [0.5 * side, 0.5 * side, z + length]]
    else:
        places = [[1.5 * side + off, 2.0 * side, z] for off in (-0.5 * length, 0.5 * length)]
    return support_atoms + Atoms([GOLD, GOLD], positions=places)


def relax(
    dimer: Callable[[float, float], Any],
    forces: Callable[[Any], tuple[float, NDArray[np.float64]]],
    configuration: str,
    begin: tuple[float, float],
    residual: float = 1e-4,
    stiffness: float = 1.0,
) -> tuple[float, float]:
    """Return height and length (Angstrom) of the dimer at its lowest energy on a held slab.

    Symmetry leaves these two free. `dimer` makes the structure of a height and a length, `forces`
    its energy (eV) and forces (n, 3) (eV/Angstrom), which end below `residual`. `stiffness`
    (eV/Angstrom^2) sizes the first step. Raises ConvergenceError when no minimum is found.
    """
    from scipy.optimize import minimize

    def energy(variables: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        found, on_atoms = forces(dimer(*variables))
        first, second = on_atoms[-2:]
        upright = configuration == "non_wetting"
        stretch = second[2] if upright else 0.5 * (second[0] - first[0])
        return found, -np.array([first[2] + second[2], stretch])

    options = {"gtol": residual, "hess_inv0": np.eye(2) / stiffness}
    result = minimize(energy, begin, jac=True, method="BFGS", options=options)
    if not np.abs(result.jac).max() < 10 * residual:
        raise ConvergenceError(
            f"The {configuration} dimer does not relax ({result.message}); look at what gives its "
            "energy."
        )
    return float(result.x[0]), float(result.x[1])


@cache
def relaxed(support: str, configuration: str) -> tuple[float, float]:
    """Return height and length (Angstrom) of the dimer at its lowest energy in the stand-in.

    Raises ConvergenceError when no minimum is found.
    """

    def forces(atoms: Any) -> tuple[float, NDArray[np.float64]]:
        found = _solve(atoms.positions, atoms.numbers, atoms.cell)
        return found.energy, found.forces

    dimer = partial(with_dimer, support, configuration)
    return relax(dimer, forces, configuration, START[configuration])


def _solve(positions: Any, numbers: Any, cell: Any, accuracy: float | None = None) -> Solution:
    chosen = charge_equilibration.ACCURACY if accuracy is None else accuracy
    return charge_equilibration.evaluate(
        shipped_parameters(), numbers, positions, np.asarray(cell), accuracy=chosen
    )


def structures(plan: Plan) -> Iterator[Frame]:
    """Yield all that is drawn.

    Columns: support, configuration, purpose, trajectory (a name shared by the frames of one pass,
    of the relaxed structures, or of one curve), path_a (height above the relaxed one) and
    gold_oxygen_a (shortest Au-O distance).
    """
    for s, support in enumerate(SUPPORTS):
        for c, configuration in enumerate(CONFIGURATIONS):
            height, length = relaxed(support, configuration)
            ends = [with_dimer(support, configuration, height + x, length) for x in plan.path]
            widths = np.where(ends[0].numbers == GOLD, plan.gold_deviation, plan.slab_deviation)
            for p, count in ((0, plan.passes), (1, plan.test_passes)):
                for draw in range(count):
                    rng = np.random.default_rng([plan.seed, s, c, p, draw])
                    name = f"{support}-{configuration}-{PURPOSES[p]}-{draw}"
                    for place, atoms in around_path(ends, plan.points, widths, rng):
                        along = plan.path[0] + place * (plan.path[1] - plan.path[0])
                        yield describe(atoms, support, configuration, PURPOSES[p], name, along)
    for support in SUPPORTS:
        for configuration in CONFIGURATIONS:
            atoms = with_dimer(support, configuration, *relaxed(support, configuration))
            yield describe(atoms, support, configuration, "fig2b", "relaxed", 0.0)
    for support in SUPPORTS:
        height, length = relaxed(support, "non_wetting")
        for distance in np.linspace(*plan.curve, plan.curve_points):
            atoms = with_dimer(support, "non_wetting", distance, length)
            yield describe(
                atoms, support, "non_wetting", "fig2c", f"{support}-curve", distance - height
            )


def describe(
    atoms: Any, support: str, configuration: str, purpose: str, trajectory: str, along: float
) -> Frame:
    """Return a structure with the columns of `structures`."""
    gold, oxygen = (np.flatnonzero(atoms.numbers == z) for z in (GOLD, OXYGEN))
    shortest = min(atoms.get_distances(g, oxygen, mic=True).min() for g in gold)
    return Frame(
        atoms.numbers,
        atoms.positions,
        np.array(atoms.cell),
        {
            "support": support,
            "configuration": configuration,
            "purpose": purpose,
            "trajectory": trajectory,
            "path_a": float(along),
            "gold_oxygen_a": float(shortest),
        },
    )


def label(
    positions: NDArray[np.float64],
    numbers: NDArray[np.integer[Any]],
    cell: NDArray[np.float64],
    *,
    accuracy: float | None = None,
) -> dict[str, float | NDArray[np.float64]]:
    """Return energy_total (eV), forces_total (n, 3) (eV/Angstrom) and gold_charge_e, the sum of the
    charges of both gold atoms."""
    found = _solve(positions, numbers, cell, accuracy)
    return {
        f"energy_{TERM}": found.energy,
        f"forces_{TERM}": found.forces,
        "gold_charge_e": float(found.charges[np.asarray(numbers) == GOLD].sum()),
    }


def label_again(
    positions: NDArray[np.float64], numbers: NDArray[np.integer[Any]], cell: NDArray[np.float64]
) -> dict[str, float | NDArray[np.float64]]:
    """Return what `label` returns, with a longer sum over reciprocal vectors."""
    return label(positions, numbers, cell, accuracy=FINER)
