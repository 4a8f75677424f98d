"""JAT: graph attention in torch operations, and fused kernels on a CPU."""

from gnnip.models.jat.network import JAT, JATHyperparameters

__all__ = ["JAT", "JATHyperparameters"]
