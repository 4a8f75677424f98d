"""Learning curves of tens of thousands of epochs, thinned for their table."""

from __future__ import annotations

import pandas as pd

from gnnip.artefacts.inputs import Inputs
from gnnip.artefacts.kinds import LearningCurve
from gnnip.artefacts.learning_curve import learning_curve
from gnnip.artefacts.tables import Result

#: epochs of a curve that are kept
MOST = 1000


def thinned_curve(inputs: Inputs, how: LearningCurve) -> Result:
    """Return the learning curves, of long ones medians over as many epochs as leave `MOST` rows.

    Tidy and metrics as of the kind learning_curve, whose metrics are those of all epochs. A row
    stands for the epochs up to its own.
    """
    tidy, metrics = learning_curve(inputs, how)
    errors = [name for name in map(str, tidy) if name.startswith(("train_", "validation_"))]
    keys = [name for name in map(str, tidy) if name not in (*errors, "epoch")]
    parts = []
    for _, run in tidy.groupby(keys, sort=False, dropna=False):
        together = -(-len(run) // MOST)
        smooth = run[errors].rolling(together, min_periods=1).median()
        parts.append(run.assign(**smooth).iloc[together - 1 :: together])
    return pd.concat(parts, ignore_index=True), metrics
