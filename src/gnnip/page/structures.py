"""Structures to turn: a frame of each data set, and of each dynamics that failed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from ase import Atoms

from gnnip.datasets.registry import load_registry, registry_path
from gnnip.datasets.store import load_arrays
from gnnip.page.sources import Paper

_DECIMALS = 3


def viewer_data(paper: Paper) -> dict[str, Any] | None:
    """Return a paper's structures in chemiscope's form (chemiscope.org/docs); None without any."""
    chosen = [*_of_datasets(paper), *_of_failures(paper)]
    if not chosen:
        return None
    return {
        "meta": {"name": paper.best.card.title},
        "structures": [_structure(atoms) for _, atoms in chosen],
        "properties": {
            "shows": {"target": "structure", "values": [title for title, _ in chosen]},
        },
        "settings": {"structure": [{"unitCell": True, "spaceFilling": False}]},
    }


def _structure(atoms: Atoms) -> dict[str, Any]:
    positions = atoms.positions.round(_DECIMALS)
    form: dict[str, Any] = {
        "size": len(atoms),
        "names": atoms.get_chemical_symbols(),
        **{axis: positions[:, i].tolist() for i, axis in enumerate("xyz")},
    }
    if atoms.pbc.any():
        form["cell"] = atoms.cell.array.round(_DECIMALS).ravel().tolist()
    return form


def _of_datasets(paper: Paper) -> Iterator[tuple[str, Atoms]]:
    registry, folder = load_registry(), registry_path().parent
    names = (n for source in paper.sources for n in source.card.used_datasets())
    for name in dict.fromkeys(names):
        if name in registry and (folder / registry[name]["file"]).exists():
            frames = load_arrays(folder / registry[name]["file"])
            positions, numbers, cell, pbc = frames.structure(0)
            yield f"{name}: first frame", Atoms(numbers, positions, cell=cell, pbc=pbc)


def _of_failures(paper: Paper) -> Iterable[tuple[str, Atoms]]:
    """Return the first bad frame of one replica of each potential whose dynamics failed."""
    found: dict[str, Atoms] = {}
    for source in paper.sources:
        for atoms in chain.from_iterable(source.last_frames.values()):
            if atoms.info["frame"] == "first_bad":
                found.setdefault(str(atoms.info["potential"]), atoms)
    for potential, atoms in found.items():
        yield f"{potential}: failed at step {atoms.info['step']} ({atoms.info['reason']})", atoms
