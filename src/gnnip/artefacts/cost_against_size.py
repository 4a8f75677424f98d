"""Seconds of several methods against the size, the powers that fit them, and their ratios."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd

from gnnip.artefacts.inputs import Inputs
from gnnip.artefacts.kinds import CostAgainstSize
from gnnip.artefacts.tables import Result, metric_row, metric_table
from gnnip.errors import DataError
from gnnip.machine import load_of
from gnnip.measurements.metrics import power_law

#: sizes that a fit takes at least
FEWEST_SIZES = 3


def cost_against_size(inputs: Inputs, how: CostAgainstSize) -> Result:
    """Return the measured seconds with the fits beside them, and the metrics of each method.

    Tidy: the measurement, and of each method t = prefactor_s size^exponent with the ends of the
    95 % interval, exponent_low and exponent_high. DataError when nothing was measured.
    """
    (name,) = inputs.measurements()
    measured = inputs.measurement(name)
    add = partial(metric_row, inputs, remark=load_of(measured.get("hardware", ())))
    rows, parts, medians = [], [], {}
    for method, prefix in how.methods.items():
        part = measured[measured["method"] == method]
        if part.empty:
            continue
        medians[method] = seconds = part.groupby(how.size)["seconds"].median()
        scale, unit = (1.0, "s") if method == how.against else (1e3, "ms")
        rows.append(add(f"{prefix}_time", unit, scale * _geometric_mean(seconds)))
        if len(seconds) >= FEWEST_SIZES:
            fit = power_law(seconds.index.to_numpy(), seconds.to_numpy())
            found = {"exponent": fit.exponent, "exponent_low": fit.low, "exponent_high": fit.high}
            part = part.assign(**found, prefactor_s=fit.prefactor)
            found["exponent_standard_error"] = fit.standard_error
            rows += [add(f"{prefix}_{k}", "", v) for k, v in found.items()]
        parts.append(part)
    if not parts:
        raise DataError(f"The measurement {name} holds none of the methods; run it again.")
    for method, quantity in how.ratios.items():
        if {method, how.against} <= medians.keys():
            ratio = (medians[how.against] / medians[method]).dropna()
            rows.append(add(quantity, "", _geometric_mean(ratio)))
    return pd.concat(parts, ignore_index=True), metric_table(rows)


def _geometric_mean(values: pd.Series) -> float:
    return float(np.exp(np.log(values).mean()))
