"""The readers, by format."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from gnnip.datasets.imports import ani, archives, neuralil, runner, structures, vasp
from gnnip.datasets.imports.batch import Batch, Skipped
from gnnip.datasets.imports.settings import ImportSettings

READERS: dict[str, Callable[[Path, ImportSettings], Iterator[Batch | Skipped]]] = {
    "extxyz": structures.read,
    "vasp": vasp.read,
    "runner": runner.read,
    "neuralil": neuralil.read,
    "ani": ani.read,
    "ase": structures.read_any,
    "gnnip": archives.read,
}
