"""Tables of cho2023: one function per artefact, from the files of a finished run."""

from __future__ import annotations

from gnnip.evaluation import reference_data as data
from gnnip.evaluation.inputs import Inputs
from gnnip.evaluation.tables import Result


def reference_data(inputs: Inputs) -> Result:
    """What the potentials learn from, as `gnnip.evaluation.reference_data` tabulates it."""
    return data.reference_data(inputs, ["hfo2"])
