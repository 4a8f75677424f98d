"""Gold on two supports that differ far below it: what potentials say of it, and how far that is.

Energies are taken in double precision: what a blind potential says of the two supports must differ
by nothing but the rounding of the atoms' own energies.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from gnnip.errors import DataError
from gnnip.measurements.kinds import MeasurementKind

if TYPE_CHECKING:
    import pandas as pd

    from gnnip.datasets.arrays import FrameArrays
    from gnnip.measurements.sources import Sources
    from gnnip.models import Potential


@dataclass(frozen=True)
class Supports(MeasurementKind):
    """Energies and forces of gold on doped and undoped slabs, and the edges that join both ends.

    layers : of atoms, of the slabs with one dimer on either support.
    """

    function: ClassVar[str] = "kang2024.supports:measure_supports"

    layers: tuple[int, ...] = (6, 12, 14, 18)


class Case(NamedTuple):
    """A structure and what is known of it; energy (eV) and force (eV/Angstrom) of the reference."""

    about: dict[str, Any]
    structure: dict[str, Any]
    energy: float
    force: float


def measure_supports(sources: Sources, options: Supports) -> pd.DataFrame:
    """Evaluate trained potentials on gold on both supports.

    Records: `relaxed`, the frames of the data set that Figure 2b is made of; `curve`, those of
    Figure 2c; `slab`, the dimer at its relaxed place on the undoped support, put on both supports
    at slabs of any number of layers, labelled by the stand-in whatever labels the data set.

    Columns: group, cell, seed, record, layers, support, configuration, gold_oxygen_a, hops (edges
    on the shortest path from gold to aluminium within the potential's cutoff; NaN without
    aluminium or without a path), energy_ev, energy_reference_ev, force_z_ev_per_a and
    force_z_reference_ev_per_a (of both gold atoms together).

    DataError for frames without cells, and for data sets without frames of the two figures.
    """
    import pandas as pd

    from gnnip.graphs import GraphBatch
    from gnnip.models import evaluate, load
    from gnnip.sampling.au_mgo import GOLD

    cases = [*_of_figures(sources.arrays()), *_of_slabs(options.layers)]
    rows, hops = [], {}
    for training in sources.trainings:
        model = load(training.model, device=sources.device).double()
        for number, case in enumerate(cases):
            graph = GraphBatch.from_structures(
                [case.structure], model.cutoff, device=sources.device, dtype=model.dtype
            )
            if (key := (number, model.cutoff)) not in hops:
                hops[key] = _hops(graph, model)
            found = evaluate(model, graph, forces=True)
            gold = graph.atomic_numbers == GOLD
            rows.append(
                {
                    **training.about,
                    **case.about,
                    "hops": hops[key],
                    "energy_ev": float(found["energy"][0]),
                    "energy_reference_ev": case.energy,
                    "force_z_ev_per_a": float(found["forces"][gold, 2].sum()),
                    "force_z_reference_ev_per_a": case.force,
                }
            )
    return pd.DataFrame(rows)


def _of_figures(frames: FrameArrays) -> Iterator[Case]:
    from gnnip.sampling.au_mgo import GOLD, LAYERS

    if frames.cells is None:
        raise DataError(
            "The frames of gold on a slab have no cell, and a slab is periodic; import them with "
            "their lattice vectors."
        )
    purpose = frames.column("purpose")
    for record, name in (("relaxed", "fig2b"), ("curve", "fig2c")):
        chosen = np.flatnonzero(purpose == name)
        if not len(chosen):
            raise DataError(f"The data set has no frames of the purpose {name}; draw it again.")
        for frame in chosen:
            positions, numbers, cell, pbc = frames.structure(int(frame))
            columns = ("support", "configuration", "gold_oxygen_a")
            about = {"record": record, "layers": LAYERS}
            about |= {c: frames.column(c)[frame] for c in columns}
            force = frames.force("total")[frames.offsets[frame] : frames.offsets[frame + 1]]
            structure = {"positions": positions, "numbers": numbers, "cell": cell, "pbc": pbc}
            energy = float(frames.energy("total")[frame])
            yield Case(about, structure, energy, float(force[numbers == GOLD, 2].sum()))


def _of_slabs(layers: tuple[int, ...]) -> Iterator[Case]:
    from gnnip.sampling import au_mgo

    for count in layers:
        for support in au_mgo.SUPPORTS:
            for configuration in au_mgo.CONFIGURATIONS:
                height, length = au_mgo.relaxed("undoped", configuration)
                atoms = au_mgo.with_dimer(support, configuration, height, length, count)
                cell = np.array(atoms.cell)
                known = au_mgo.label(atoms.positions, atoms.numbers, cell)
                about = {"record": "slab", "layers": count, "support": support}
                about |= {"configuration": configuration, "gold_oxygen_a": np.nan}
                structure = {"positions": atoms.positions, "numbers": atoms.numbers}
                structure |= {"cell": cell, "pbc": (True, True, True)}
                force = np.asarray(known["forces_total"])[atoms.numbers == au_mgo.GOLD, 2].sum()
                yield Case(about, structure, float(np.asarray(known["energy_total"])), float(force))


def _hops(graph: Any, model: Potential) -> float:
    """Return the edges on the shortest path from a gold atom to an aluminium one, else NaN."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import dijkstra

    from gnnip.sampling.au_mgo import ALUMINIUM, GOLD

    numbers = graph.atomic_numbers.cpu().numpy()
    i, j = graph.edge_index.cpu().numpy()
    joined = coo_matrix((np.ones(len(i)), (i, j)), shape=(len(numbers),) * 2).tocsr()
    steps = dijkstra(joined, indices=np.flatnonzero(numbers == GOLD), unweighted=True)
    nearest = steps[:, numbers == ALUMINIUM].min(initial=np.inf)
    return float(nearest) if np.isfinite(nearest) else np.nan
