"""Potentials behind one contract: build, evaluate, save and load."""

from gnnip.models.contract import Potential, evaluate, predict
from gnnip.models.files import load, save
from gnnip.models.registry import build, names

__all__ = ["Potential", "build", "evaluate", "load", "names", "predict", "save"]
