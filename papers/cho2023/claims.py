"""Claims of cho2023 that no kind of claim expresses; thresholds were fixed before any run."""

from __future__ import annotations

import re

import pandas as pd

from gnnip.training.soundness import COLLAPSED
from gnnip.verdicts.claims import ClaimResult, Metrics, mean, reads

#: the paper calls 0.37 comparable to 0.10: errors within this factor of each other
COMPARABLE = 3.7
#: "not a large impact", "by much": means within this factor
ALIKE = 1.5
#: "a similar number of epochs": within this factor
SIMILAR_EPOCHS = 2.0
#: "exploded": the error at the end over that of predicting the mean
EXPLODED = 10.0
FRAMES_MSE = "frames_(.*)_final_mse"


def _means(table: pd.DataFrame, pattern: str) -> dict[str, float]:
    """Return the means over seeds of the quantities that a pattern matches, as described."""
    own = table[(table["variant"] == "as_described") & table["quantity"].str.fullmatch(pattern)]
    found = own.groupby("quantity", sort=False)["value"].mean()
    return {re.fullmatch(pattern, str(k)).group(1): float(v) for k, v in found.items()}  # type: ignore[union-attr]


def _share_of_the_mean(table: pd.DataFrame, pattern: str) -> float:
    """Return the largest error at the end over that of predicting the mean, means over seeds."""
    own = table[(table["variant"] == "as_described") & table["quantity"].str.fullmatch(pattern)]
    means = own.groupby("quantity")[["value", "baseline"]].mean()
    return float((means["value"] / means["baseline"]).max())


def _nothing_learned(told: str, share: float) -> ClaimResult | None:
    """Return that a claim fails of networks with this `share` of the error of predicting the mean;
    None of those that have learned something."""
    if share <= COLLAPSED:
        return None
    reason = f"{share:.2f} times the error of predicting the mean: nothing was learned"
    return ClaimResult(False, told, reason, 1.0 - share / COLLAPSED)


def _alike(
    found: dict[str, float], factor: float, unit: str, what: str, share: float
) -> ClaimResult:
    """Judge whether numbers are alike, of networks whose errors are at most this `share` of that of
    predicting the mean: those that learn nothing are alike in everything."""
    if len(found) < 2:
        return ClaimResult(None, "", f"fewer than two {what} were run")
    told = ", ".join(f"{name}: {value:.3g} {unit}".strip() for name, value in found.items())
    if nothing := _nothing_learned(told, share):
        return nothing
    ratio = max(found.values()) / min(found.values())
    reason = f"largest over smallest {ratio:.2f}, threshold {factor:g}"
    return ClaimResult(ratio <= factor, told, reason, 1.0 - ratio / factor)


@reads("mse|slow_final_mse")
def comparable_to_linear(metrics: Metrics) -> ClaimResult:
    """The network's error is within a factor of 3.7 of the linear fit's, as the paper's is, and
    below that of predicting the mean."""
    network = mean(metrics["fig3"], "slow_final_mse")
    linear = mean(metrics["linear_fit"], "mse")
    if pd.isna(network) or pd.isna(linear):
        return ClaimResult(None, "", "not measured in this run")
    ratio = network / linear
    told = f"network {network:.3g} eV², linear {linear:.3g} eV²"
    share = _share_of_the_mean(metrics["fig3"], "slow_final_mse")
    if nothing := _nothing_learned(told, share):
        return nothing
    reason = f"{ratio:.2f} times as large, the paper's own are 3.7, threshold {COMPARABLE:g}"
    return ClaimResult(ratio <= COMPARABLE, told, reason, 1.0 - ratio / COMPARABLE)


@reads(FRAMES_MSE)
def training_size_matters_little(metrics: Metrics) -> ClaimResult:
    """Errors at the end are alike for all numbers of training frames."""
    found = _means(metrics["fig4"], FRAMES_MSE)
    share = _share_of_the_mean(metrics["fig4"], FRAMES_MSE)
    return _alike(found, ALIKE, "eV²", "numbers of frames", share)


@reads("frames_.*_(converged_epoch|final_mse)")
def converges_in_similar_epochs(metrics: Metrics) -> ClaimResult:
    """Trainings on different numbers of frames come to rest after a similar number of epochs."""
    found = _means(metrics["fig4"], "frames_(.*)_converged_epoch")
    share = _share_of_the_mean(metrics["fig4"], FRAMES_MSE)
    return _alike(found, SIMILAR_EPOCHS, "epochs", "numbers of frames", share)


@reads(".*_final_mse")
def activation_matters_little(metrics: Metrics) -> ClaimResult:
    """Errors at the end are alike for all activations."""
    found = _means(metrics["fig5"], "(.*)_final_mse")
    share = _share_of_the_mean(metrics["fig5"], ".*_final_mse")
    return _alike(found, ALIKE, "eV²", "activations", share)


@reads(".*_converged_epoch")
def tanh_has_longer_tail(metrics: Metrics) -> ClaimResult:
    """tanh comes to rest later than both ReLU and leaky ReLU."""
    found = _means(metrics["fig5"], "(.*)_converged_epoch")
    others = [value for name, value in found.items() if name != "tanh"]
    if "tanh" not in found or len(others) < 2:
        return ClaimResult(None, "", "an activation was not run")
    told = ", ".join(f"{name} after {value:.0f} epochs" for name, value in found.items())
    margin = 1.0 - max(others) / found["tanh"]
    return ClaimResult(margin > 0.0, told, "the first epoch within 10 % of the end", margin)


@reads("one_hot_final_mse|slow_final_mse")
def one_hot_matters_little(metrics: Metrics) -> ClaimResult:
    """The kind of the atom as a one-hot vector changes little of the error."""
    found = {
        "with": mean(metrics["variants"], "one_hot_final_mse"),
        "without": mean(metrics["fig3"], "slow_final_mse"),
    }
    if any(pd.isna(value) for value in found.values()):
        return ClaimResult(None, "", "not measured in this run")
    share = max(
        _share_of_the_mean(metrics["variants"], "one_hot_final_mse"),
        _share_of_the_mean(metrics["fig3"], "slow_final_mse"),
    )
    return _alike(found, ALIKE, "eV²", "descriptors", share)


@reads("unnormalised_.*")
def explodes_without_normalisation(metrics: Metrics) -> ClaimResult:
    """Without the degrees and the periodic images the error ends far above the mean's."""
    return _explodes(metrics["variants"], "unnormalised")


def normalised_explodes(metrics: Metrics) -> ClaimResult:
    """The control: the same with both."""
    return _explodes(metrics["fig3"], "slow")


def _explodes(table: pd.DataFrame, name: str) -> ClaimResult:
    own = table[(table["quantity"] == f"{name}_final_mse") & (table["variant"] == "as_described")]
    if own.empty or own["baseline"].isna().all():
        return ClaimResult(None, "", "not measured in this run")
    share = float((own["value"] / own["baseline"]).mean())
    told = f"{share:.3g} times the error of the mean at the end"
    return ClaimResult(share > EXPLODED, told, f"threshold: {EXPLODED:g}", share / EXPLODED - 1.0)
