"""No potential escapes the contract."""

import importlib
import pkgutil

from gnnip.models import names

from .base import PotentialContract


def test_every_registered_potential_is_under_contract():
    package = importlib.import_module(__package__)
    tested = set()
    for module in pkgutil.iter_modules(package.__path__):
        if module.name.startswith("test_"):
            for cls in vars(importlib.import_module(f"{__package__}.{module.name}")).values():
                if isinstance(cls, type) and cls.__bases__ == (PotentialContract,):
                    tested.add(cls().make_model().architecture)
    assert tested == set(names())
