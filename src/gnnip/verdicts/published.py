"""What a paper published: numbers with their tolerances, and claims in words."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from gnnip.datasets.imports.settings import Reference
from gnnip.strict import Strict

#: trainings with different seeds that a mean and its standard error take
FEWEST_SEEDS = 3


class Tolerance(Strict):
    """How far from the published value still counts as reproduced: exactly one of the three."""

    factor: float | None = Field(default=None, ge=1)
    """Published / factor to published * factor."""
    relative: float | None = Field(default=None, gt=0)
    """Fraction of the published value, to both sides."""
    absolute: float | None = Field(default=None, gt=0)
    """In the value's own unit, to both sides."""
    because: str = ""
    """Where it comes from: rounding, words of the paper, or a judgement, which says so."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Tolerance:
        if sum(v is not None for v in (self.factor, self.relative, self.absolute)) != 1:
            raise ValueError("a tolerance is exactly one of factor, relative and absolute")
        return self

    def bounds(self, published: float) -> tuple[float, float]:
        """Return the lowest and highest value that still agree with `published`."""
        if self.factor is not None:
            ends = (published / self.factor, published * self.factor)
        elif self.relative is not None:
            ends = (published * (1 - self.relative), published * (1 + self.relative))
        else:
            assert self.absolute is not None
            ends = (published - self.absolute, published + self.absolute)
        return min(ends), max(ends)

    def times(self, multiple: float) -> Tolerance:
        """Return one that is `multiple` times as wide, a factor in its logarithm."""
        return Tolerance(
            factor=None if self.factor is None else self.factor**multiple,
            relative=None if self.relative is None else self.relative * multiple,
            absolute=None if self.absolute is None else self.absolute * multiple,
            because=self.because,
        )

    def __str__(self) -> str:
        """Return it as a table shows it, e.g. `factor 1.5` or `±0.3`."""
        if self.factor is not None:
            return f"factor {self.factor:g}"
        if self.relative is not None:
            return f"±{100 * self.relative:g} %"
        return f"±{self.absolute:g}"


class Published(Strict):
    """Published numbers of one artefact that share a unit and a tolerance."""

    artefact: str
    """The artefact that measures them."""
    unit: str
    """Unit of the values, empty for pure numbers."""
    tolerance: Tolerance
    """Fixed before any run."""
    better: Literal["lower", "higher", "neither"] = "lower"
    """Which side of the tolerance is an improvement."""
    reference: Reference | None = None
    """What labelled the paper's data: numbers of another reference are not comparable; null where
    none is behind them."""
    comparable: bool = True
    """False when something else than the reference makes absolute values not comparable."""
    note: str = ""
    """Why they are not comparable, or what to bear in mind; ends up in the reason."""
    ideal: bool = False
    """True for values of a formula that the paper's points were read off as: no numbers of it."""
    values: dict[str, float] = Field(min_length=1)
    """Quantity: published value."""


class Claim(Strict):
    """A statement of the paper that a written test judges."""

    text: str
    """The claim, paraphrased in one line."""
    where: str
    """Where the paper says it."""
    artefacts: list[str] = Field(min_length=1)
    """The artefacts whose metrics the test reads."""
    test: dict[str, Any] | None = None
    """A kind of `gnnip.verdicts.kinds` and its options; null takes the function of the claim's name
    in the paper's claims.py."""
    variant: str | None = None
    """The variant whose numbers decide; null takes those as described, else as coded."""
    learned: bool = True
    """False where the test asks whether anything was learned: trainings that have collapsed decide
    it, too."""
    seeds: int = Field(default=FEWEST_SEEDS, ge=1)
    """Trainings with different seeds that the sentence takes; fewer where it is about one network
    by its nature, or where many replicas of one stand for them."""
    trivial: str | dict[str, float] = Field(default_factory=dict)
    """What a predictor that has learned nothing gets where the metrics have no baseline, by regular
    expressions of quantities; or why there is no such predictor, e.g. of a measured time."""
    control: str | dict[str, Any] | None = None
    """The test of a control, a kind and its options or a function of claims.py: where it comes out
    as the claim's own, the claim is not decided."""
