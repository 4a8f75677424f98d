"""Runs a measurement, by the function of its kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gnnip import kinds
from gnnip.measurements.kinds import KINDS
from gnnip.measurements.sources import Sources

if TYPE_CHECKING:
    import pandas as pd


def measure(measurement: Mapping[str, Any], device: str = "cpu", threads: int = 1) -> pd.DataFrame:
    """Return the table of a measurement, described as `gnnip.config.pipeline` does.

    Args:
        measurement: its kind, the options, and the data sets and trainings that it reads.
        device: auto, cpu or cuda; a kind that takes the CPU alone has no say in it.
        threads: of torch.
    """
    import torch

    from gnnip.models.contract import choose_device

    kind, stated = measurement["kind"], measurement["options"]
    options = kinds.read(kind, KINDS, "kind of measurement", stated, "options")
    torch.set_num_threads(threads)
    chosen = str(choose_device(device)) if options.on_gpu else "cpu"
    sources = Sources.read(measurement, chosen, threads)
    table: pd.DataFrame = kinds.work(options.function)(sources, options)
    return table
