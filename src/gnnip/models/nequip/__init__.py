"""NequIP in the project's own form: dense torch operations, and fused kernels on a CPU."""

from gnnip.models.nequip.network import NequIP, NequIPHyperparameters
from gnnip.models.nequip.sevennet import load_sevennet_state

__all__ = ["NequIP", "NequIPHyperparameters", "load_sevennet_state"]
