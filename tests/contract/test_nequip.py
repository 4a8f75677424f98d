"""NequIP under the contract: with and without parity, both cutoff functions, both
self-connections."""

from gnnip.models import build

from .base import PotentialContract


def contract_class(name, **options):
    given = {
        "species": (1, 8),
        "cutoff": 4.0,
        "channels": 4,
        "layers": 2,
        "radial_hidden": (8,),
        "denominator": 8.0,
    }

    def make_model(self):
        return build("nequip", **(given | options))

    return type(name, (PotentialContract,), {"make_model": make_model})


TestParity = contract_class("TestParity", lmax=2, layers=3)
TestEvenOnly = contract_class("TestEvenOnly", lmax=2, parity=False, self_connection="linear")
TestXplor = contract_class("TestXplor", lmax=1, cutoff_function="xplor", cutoff_onset=3.0)
