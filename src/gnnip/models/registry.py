"""The known potentials by name."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from gnnip.errors import ConfigError, nearest
from gnnip.models.contract import Potential
from gnnip.models.hyperparameters import read_options

#: name -> module and class; imported when first built
_POTENTIALS = {
    "composition": ("gnnip.models.null_models", "Composition"),
    "constant": ("gnnip.models.null_models", "Constant"),
    "coulomb": ("gnnip.models.coulomb", "CoulombPotential"),
    "graph_network": ("gnnip.models.graph_network", "GraphNetwork"),
    "nequip": ("gnnip.models.nequip.network", "NequIP"),
    "pair": ("gnnip.models.pair", "PairPotential"),
    "pair_network": ("gnnip.models.pair_network", "PairNetwork"),
    "spektral": ("gnnip.models.cluster_network", "ClusterNetwork"),
    "sum": ("gnnip.models.sum", "SumPotential"),
    "triplet_network": ("gnnip.models.triplet_network", "TripletNetwork"),
    "zbl": ("gnnip.models.zbl", "ZBLPotential"),
}


def names() -> list[str]:
    """Return the names of all potentials."""
    return sorted(_POTENTIALS)


def architecture(name: str) -> type[Potential]:
    """Return the class of a potential; ConfigError for an unknown name."""
    if name not in _POTENTIALS:
        raise ConfigError(f"There is no potential '{name}'{nearest(name, names())}")
    module, cls = _POTENTIALS[name]
    return getattr(import_module(module), cls)


def build(name: str, **hyperparameters: Any) -> Potential:
    """Return an untrained potential.

    Raises ConfigError for an unknown name, an unknown hyper-parameter (naming the nearest) or a
    value that cannot be.
    """
    cls = architecture(name)
    return cls(read_options(cls.Hyperparameters, hyperparameters, f"The potential '{name}'"))
