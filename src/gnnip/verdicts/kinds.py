"""The kinds of claims that compare metrics: written in the card, with their threshold.

Each class is what a card may write under `test` of a claim, besides `kind`. Quantities are those of
the metrics of the artefacts that the claim names, as means over seeds. Sentences may hold the
metrics in braces, e.g. ``{speed_ratio:.3g} times faster``. A kind of your own is a subclass of
`ClaimKind` anywhere on the path; a test that no kind expresses is a function of the claim's name in
the paper's claims.py.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from gnnip import kinds
from gnnip.errors import ConfigError
from gnnip.kinds import Kind

if TYPE_CHECKING:
    from gnnip.verdicts.claims import ClaimResult, Metrics

NAN = float("nan")


@dataclass(frozen=True)
class ClaimKind(Kind):
    """Base of the kinds of claims."""

    def test(self, metrics: Metrics) -> ClaimResult:
        """Return whether the claim holds of these metrics, and by how much."""
        raise NotImplementedError

    def reads(self) -> str:
        """Return a regular expression of the quantities that the test reads."""
        return ".*"


def _means(metrics: Metrics) -> defaultdict[str, float]:
    """Return the mean over seeds of every quantity, see `mean`; NaN for one not measured."""
    from gnnip.verdicts.claims import mean

    found: defaultdict[str, float] = defaultdict(lambda: NAN)
    for table in metrics.values():
        found.update({str(name): mean(table, str(name)) for name in table["quantity"].unique()})
    return found


def _floors(metrics: Metrics) -> dict[str, float]:
    """Return the noise floor of every quantity that has one."""
    from gnnip.artefacts.tables import FLOOR

    found: dict[str, float] = {}
    for table in metrics.values():
        if FLOOR in table:
            highest = table.groupby("quantity")[FLOOR].max().dropna()
            found.update({str(name): float(value) for name, value in highest.items()})
    return found


def _below_noise(what: str, size: float, floors: Mapping[str, float], *names: str) -> str:
    """Return why a bound on quantities, or a difference of theirs, of this size is not judged;
    empty where none of them has a noise floor above it."""
    floor = max((floors.get(name, -math.inf) for name in names), default=-math.inf)
    if abs(size) >= floor:
        return ""
    return f"{what} {abs(size):.3g} is below the noise floor of the reference, {floor:.3g}"


def _result(holds: bool | None, told: str, reason: str, margin: float = NAN) -> ClaimResult:
    from gnnip.verdicts.claims import ClaimResult

    return ClaimResult(holds, told, reason, None if math.isnan(margin) else margin)


@dataclass(frozen=True)
class Within(ClaimKind):
    """A quantity, or each of those that a pattern matches, lies between two bounds.

    quantity : its name, or a regular expression that matches several names in full.
    at_least, at_most : the bounds; null for none.  size : compare absolute values.
    told, reason : sentences; {smallest} and {largest} stand for the extremes of the values.
    missing : what is said when nothing was measured.
    """

    quantity: str
    at_least: float | None = None
    at_most: float | None = None
    size: bool = False
    told: str = "{smallest:.3g} to {largest:.3g}"
    reason: str = ""
    missing: str = "not measured in this run"

    def check(self) -> None:
        """Raise ConfigError when there is no bound."""
        if self.at_least is None and self.at_most is None:
            raise ConfigError("a claim of the kind within needs at_least or at_most")

    def test(self, metrics: Metrics) -> ClaimResult:
        """Return whether all values lie within the bounds."""
        means = _means(metrics)
        each = (_means({artefact: table}) for artefact, table in metrics.items())
        found = [pair for of in each for pair in of.items()]  # of all artefacts, of like names too
        values = [v for name, v in found if re.fullmatch(self.quantity, name)]
        values = [abs(v) if self.size else v for v in values if not math.isnan(v)]
        if not values:
            return _result(None, "", self.missing)
        means.update(smallest=min(values), largest=max(values))
        margins = []
        if self.at_least is not None:
            margins.append(min(values) / self.at_least - 1.0 if self.at_least else min(values))
        if self.at_most is not None:
            margins.append(1.0 - max(values) / self.at_most if self.at_most else -max(values))
        told, reason = (text.format_map(means) for text in (self.told, self.reason))
        floors = _floors(metrics)
        names = [name for name, _ in found if re.fullmatch(self.quantity, name)]
        for bound in (self.at_least, self.at_most):
            if bound is not None and (noise := _below_noise("the bound", bound, floors, *names)):
                return _result(None, told, noise)
        holds = (self.at_least is None or min(values) >= self.at_least) and (
            self.at_most is None or max(values) <= self.at_most
        )
        return _result(holds, told, reason, min(margins))

    def reads(self) -> str:
        """Return a regular expression of the quantities that the test reads."""
        return self.quantity


@dataclass(frozen=True)
class Lower(ClaimKind):
    """Each error is lower than another one, by more than two standard errors, and lower than a
    trivial predictor's; else nothing is decided.

    quantities, than : names, pair by pair.  labels : what each pair is called in the answer.
    """

    quantities: tuple[str, ...]
    than: tuple[str, ...]
    labels: tuple[str, ...] = ()
    reason: str = ""
    missing: str = "not measured in this run"

    def check(self) -> None:
        """Raise ConfigError for lists of different lengths."""
        if len(self.quantities) != len(self.than) or not self.quantities:
            raise ConfigError("a claim of the kind lower needs as many quantities as than")
        if self.labels and len(self.labels) != len(self.than):
            raise ConfigError("a claim of the kind lower needs as many labels as quantities")

    def test(self, metrics: Metrics) -> ClaimResult:
        """Return whether all are lower; the margin is that of the worst pair."""
        from gnnip.verdicts.claims import hidden

        means, units, floors = _means(metrics), _units(metrics), _floors(metrics)
        told, margins, noise = [], [], ""
        for low, high, label in zip(
            self.quantities, self.than, self.labels or self.quantities, strict=True
        ):
            if math.isnan(means[low]) or math.isnan(means[high]):
                return _result(None, "", self.missing)
            told.append(f"{label} {means[high]:.3g} to {means[low]:.3g} {units[low]}".strip())
            margins.append(1.0 - means[low] / means[high] if means[high] else -1.0)
            difference = means[high] - means[low]
            noise = noise or _below_noise("a difference of", difference, floors, low, high)
            noise = noise or hidden(metrics, low, high)
        if noise:
            return _result(None, "; ".join(told), noise)
        return _result(min(margins) > 0.0, "; ".join(told), self.reason, min(margins))

    def reads(self) -> str:
        """Return a regular expression of the quantities that the test reads."""
        return "|".join(map(re.escape, (*self.quantities, *self.than)))


@dataclass(frozen=True)
class Ordering(ClaimKind):
    """Errors rise in the order in which they are written, each step by more than two standard
    errors, and all but the last are lower than a trivial predictor's; else nothing is decided.

    quantities : names, the lowest first.
    """

    quantities: tuple[str, ...]
    reason: str = ""
    missing: str = "not measured in this run"

    def check(self) -> None:
        """Raise ConfigError for fewer than two."""
        if len(self.quantities) < 2:
            raise ConfigError("a claim of the kind ordering needs at least two quantities")

    def test(self, metrics: Metrics) -> ClaimResult:
        """Return whether each is lower than the next; the margin is that of the closest two."""
        from gnnip.verdicts.claims import hidden

        means = _means(metrics)
        values = [means[name] for name in self.quantities]
        if any(math.isnan(value) for value in values):
            return _result(None, "", self.missing)
        told = ", ".join(f"{n} {v:.3g}" for n, v in zip(self.quantities, values, strict=True))
        floors = _floors(metrics)
        for a, b in itertools.pairwise(self.quantities):
            noise = _below_noise("a difference of", means[b] - means[a], floors, a, b)
            if noise := noise or hidden(metrics, a, b):
                return _result(None, told, noise)
        margin = min(1.0 - a / b for a, b in itertools.pairwise(values))
        return _result(margin > 0.0, told, self.reason, margin)

    def reads(self) -> str:
        """Return a regular expression of the quantities that the test reads."""
        return "|".join(map(re.escape, self.quantities))


@dataclass(frozen=True)
class Exponent(ClaimKind):
    """A fitted exponent is near a number.

    prefix : of {prefix}_exponent and its interval, {prefix}_exponent_low and _high.
    near, width : the number, and how far from it is still near.
    remark : added to the reason, `when` the claim fails, or always where its metrics are there.
    """

    prefix: str
    near: float
    width: float = 0.3
    remark: str = ""
    when: Literal["fails", "measured"] = "fails"

    def test(self, metrics: Metrics) -> ClaimResult:
        """Return whether the exponent is near; undecided where the interval is too wide."""
        means = _means(metrics)
        value, low, high = (means[f"{self.prefix}_exponent{end}"] for end in ("", "_low", "_high"))
        if math.isnan(value):
            return self._said(means, None, "", "an exponent needs at least three sizes")
        told = f"exponent {value:.2f}, 95 % interval {low:.2f} to {high:.2f}"
        if high - low > 4 * self.width:
            return self._said(means, None, told, "the interval is too wide to decide")
        holds = abs(value - self.near) <= self.width
        reason = f"within {self.width} of {self.near:g}" if holds else f"not {self.near:g}"
        margin = 1.0 - abs(value - self.near) / self.width
        return self._said(means, holds, told, reason, margin)

    def reads(self) -> str:
        """Return a regular expression of the quantities that the test reads."""
        return f"{re.escape(self.prefix)}_.*"

    def _said(
        self,
        means: Mapping[str, float],
        holds: bool | None,
        told: str,
        reason: str,
        margin: float = NAN,
    ) -> ClaimResult:
        remark = self.remark.format_map(means)
        wanted = holds is False if self.when == "fails" else "nan" not in remark
        return _result(holds, told, reason + (f"; {remark}" if remark and wanted else ""), margin)


@dataclass(frozen=True)
class NoFailures(ClaimKind):
    """No replica of a potential fails within a time.

    prefix : of {prefix}_replicas, _failed, _shortest_run, _longest_run and _first_failure (fs).
    duration : ps that every replica must have been run for.
    """

    prefix: str
    duration: float

    def test(self, metrics: Metrics) -> ClaimResult:
        """Return whether every replica lived."""
        means = _means(metrics)
        names = ("replicas", "failed", "shortest_run", "longest_run", "first_failure")
        replicas, failed, shortest, longest, first = (means[f"{self.prefix}_{n}"] for n in names)
        if math.isnan(replicas):
            return _result(None, "", f"no dynamics of the arm '{self.prefix}' were run")
        told = f"{failed:.0f} of {replicas:.0f} replicas failed in {longest / 1000:g} ps"
        margin = -failed / replicas
        if failed:
            reason = f"first failure after {first / 1000:.3g} ps"
            return _result(False, told, reason, margin)
        if shortest < 1000 * self.duration:
            return _result(None, told, f"the runs are shorter than {self.duration:g} ps")
        return _result(True, told, "no replica failed", margin)

    def reads(self) -> str:
        """Return a regular expression of the quantities that the test reads."""
        return f"{re.escape(self.prefix)}_.*"


def _units(metrics: Metrics) -> dict[str, str]:
    """Return the unit of each quantity as it is printed."""
    found: dict[str, str] = {}
    for table in metrics.values():
        found.update(zip(table["quantity"], table["unit"].fillna("").astype(str), strict=True))
    return {name: unit.replace("/A", "/Å") for name, unit in found.items()}


KINDS: Mapping[str, type[ClaimKind]] = {
    "exponent": Exponent,
    "lower": Lower,
    "no_failures": NoFailures,
    "ordering": Ordering,
    "within": Within,
}


def read(test: Mapping[str, Any], where: str) -> ClaimKind:
    """Return the test that a card writes, filled and checked; ConfigError names what is wrong."""
    options = dict(test)
    kind = options.pop("kind", None)
    if not isinstance(kind, str):
        raise ConfigError(f"{where}.test states no kind; the kinds are {', '.join(KINDS)}")
    found: ClaimKind = kinds.read(kind, KINDS, "kind of claim", options, where)
    return found
