"""One trainer for every potential of every card."""

from gnnip.training.settings import Settings
from gnnip.training.trainer import train

__all__ = ["Settings", "train"]
