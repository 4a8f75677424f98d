"""Typed hyper-parameters, under the name that the potentials import; see `gnnip.options`."""

from gnnip.options import read_options, require

__all__ = ["read_options", "require"]
