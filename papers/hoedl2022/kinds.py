"""Measurements and artefacts of hoedl2022 that no other paper needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from gnnip.artefacts.kinds import Scan
from gnnip.measurements.kinds import MeasurementKind

LISTING = True  # names and options only


@dataclass(frozen=True)
class _OfPaper(MeasurementKind):
    on_gpu: ClassVar[bool] = False

    @classmethod
    def modules(cls) -> list[str]:
        """Return the modules behind the measurement."""
        return [*super().modules(), "hoedl2022.ion_pair", "hoedl2022.hot"]


@dataclass(frozen=True)
class IonPair(_OfPaper):
    """Energy of one ion pair along N-H and N...O, by potentials and references.

    reference : what labels the training frames, e.g. `xtb method=GFN1-xTB`.
    """

    function: ClassVar[str] = "hoedl2022.measurements:measure_ion_pair"

    reference: str = "xtb method=GFN1-xTB"

    def references(self) -> list[str]:
        """Return what is measured besides the potentials."""
        return [self.reference]


@dataclass(frozen=True)
class HotBonds(_OfPaper):
    """Bonds that break in hot dynamics of two ion pairs, counted as in the reference's own run.

    duration : fs, at most that of the reference's run.
    """

    function: ClassVar[str] = "hoedl2022.measurements:count_broken_bonds"

    duration: float = 200.0


@dataclass(frozen=True)
class TrainingSpeed(_OfPaper):
    """Seconds that a step of a training and an evaluation take, per configuration, in turn.

    batch_size : configurations in a step.  repeats : measurements of each.  forces : whether they
    are trained on and evaluated.  gpu : on a GPU, without which nothing is measured.
    jat : hyper-parameters of JAT in place of the trained ones, whose times at a reduced tier would
        be those of another network; weights do not matter to a time.
    """

    function: ClassVar[str] = "hoedl2022.measurements:measure_training_speed"
    clock: ClassVar[bool] = True

    batch_size: int = 8
    repeats: int = 5
    forces: bool = True
    gpu: bool = False
    jat: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Attention(_OfPaper):
    """Attention weights of one test frame against the distance, trained and untrained.

    bin_width : Angstrom.
    """

    function: ClassVar[str] = "hoedl2022.measurements:tabulate_attention"

    bin_width: float = 0.25


@dataclass(frozen=True)
class Features(_OfPaper):
    """Change of the energy when what should not matter is changed, in double precision.

    frames : test frames, drawn evenly.
    """

    function: ClassVar[str] = "hoedl2022.measurements:audit_features"

    frames: int = 4


@dataclass(frozen=True)
class AuthorsNetwork(_OfPaper):
    """Errors of the authors' trained network on frames of its own reference.

    weights : archive of its arrays, as `python -m gnnip.models.jat.published` reads it; without the
    file nothing is measured.
    """

    function: ClassVar[str] = "hoedl2022.measurements:measure_authors_network"

    weights: str = "data/folders/ean_dft/jat_ean.npz"


@dataclass(frozen=True)
class DataEfficiency(Scan):
    """A scan over the number of published frames, beside the authors' network on the test frames.

    Of training groups and a measurement of the kind `AuthorsNetwork`. Metrics beside the scan's:
    authors_force_rmse and authors_force_r2.
    """

    function: ClassVar[str] = "hoedl2022.tables:data_efficiency"
    figure: ClassVar[str] = "hoedl2022.figures:data_efficiency"
