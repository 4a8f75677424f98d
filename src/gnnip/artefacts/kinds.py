"""The kinds of artefacts: from finished trainings and measurements to a table and its figure.

Each class is what a card may write under `options` of an artefact. `function` takes
`gnnip.artefacts.inputs.Inputs` and the filled class and returns the tidy table and the metrics;
`figure` takes the tidy table, what is written on figures, and the filled class, and returns the
figure, without torch. A kind of your own is a subclass of `ArtefactKind` anywhere on the path:
``kind: package.module:Class``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from gnnip.errors import ConfigError
from gnnip.kinds import Kind

LISTING = True  # names and options only: what an artefact is made by is in its functions' modules


class ArtefactKind(Kind):
    """Base of the kinds of artefacts."""

    #: package.module:function that draws the figure
    figure: ClassVar[str]

    @classmethod
    def figure_modules(cls) -> list[str]:
        """Return the modules behind the figure."""
        return [cls.figure.partition(":")[0]]


@dataclass(frozen=True)
class Words:
    """What keys and values of a matrix, and predictors, are called in figures.

    labels : words for a key (along its axis), a value, a term or a predictor; `network` is what was
        trained, `constant`, `n_linear` and `ensemble_mean` are the trivial predictors.
    symbols : the energy of a term in short, e.g. {electronic: $E_0$}.
    colours : of values and predictors, names of `gnnip.artefacts.style`; others take turns.
    """

    labels: dict[str, str] = field(default_factory=dict)
    symbols: dict[str, str] = field(default_factory=dict)
    colours: dict[str, str] = field(default_factory=dict)

    def label(self, name: Any, default: str | None = None) -> str:
        """Return the words for a key, a value, a term or a predictor."""
        return _of(self.labels, name, str(name) if default is None else default)

    def symbol(self, term: str) -> str:
        """Return the energy of a term in short."""
        return _of(self.symbols, term, "the energy")

    def colour(self, name: Any, default: str) -> str:
        """Return the name of the colour of a value or a predictor."""
        return _of(self.colours, name, default)


def _of(words: Mapping[Any, str], name: Any, default: str) -> str:
    # a card has numbers where a table may have text
    return {str(key): word for key, word in words.items()}.get(str(name), default)


@dataclass(frozen=True, kw_only=True)
class EnergyErrors(ArtefactKind):
    """Base of the kinds about errors of energies, with those of predictors that know no geometry.

    unit : of energies: eV and Ha are total energies, meV/atom is divided by the number of atoms.
    size : column of the data set that tells how large a structure is; `n_linear` is a line in it.
    ensemble : columns that, with the size, make an ensemble; `ensemble_mean` is the mean of the
        training frames of the same one, where it has any, else the line.
    baseline : the predictor beside every metric: constant, n_linear or ensemble_mean.
    panels : key whose values have a panel each.
    words : how things are called.  note : added to the small print of the figure.
    """

    unit: Literal["eV", "Ha", "meV/atom"] = "eV"
    size: str = "n_atoms"
    ensemble: tuple[str, ...] = ()
    baseline: Literal["constant", "n_linear", "ensemble_mean"] = "ensemble_mean"
    panels: str = "target"
    words: Words = field(default_factory=Words)
    note: str = ""


@dataclass(frozen=True)
class CostAgainstSize(ArtefactKind):
    """Seconds of several methods against the size, fitted by powers, and their ratios.

    The artefact reads one measurement with the columns method, seconds and that of the size, e.g.
    of the kind timing. Metrics of each method: {prefix}_time (geometric mean over sizes), and from
    three sizes on {prefix}_exponent with its interval, _low and _high, and its _standard_error.

    methods : the prefix of each method's metrics, in drawing order.
    against : the method that the others are compared with; told in s, the others in ms.
    ratios : name of the metric that says how many times faster than `against` a method is.
    size : column of the size.  symbol : the size in short.
    words : labels and colours of the methods, and the label of the size.
    bands : published scales, a decade from a number of seconds on: what is written there.
    published_ratio : drawn into the panel of ratios.
    titles : of both panels.
    """

    function: ClassVar[str] = "gnnip.artefacts.cost_against_size:cost_against_size"
    figure: ClassVar[str] = "gnnip.artefacts.cost_against_size_figure:cost_against_size"

    methods: dict[str, str]
    against: str
    ratios: dict[str, str] = field(default_factory=dict)
    size: str = "n_molecules"
    symbol: str = "$N$"
    words: Words = field(default_factory=Words)
    bands: dict[str, float] = field(default_factory=dict)
    published_ratio: float | None = None
    titles: tuple[str, ...] = ("time of one evaluation", "ratio of times")

    def check(self) -> None:
        """Raise ConfigError for methods that are not listed, or titles of no panel."""
        for name in (self.against, *self.ratios):
            if name not in self.methods:
                raise ConfigError(f"cost_against_size: '{name}' is not among the methods")
        if len(self.titles) != 2:
            raise ConfigError("cost_against_size has two panels and needs two titles")


@dataclass(frozen=True)
class ElectronStates(ArtefactKind):
    """A surface and an interior state of an excess electron, from a measurement of the kind
    electron_density.

    Metrics: {state}_energy and {state}_gyration_radius.
    """

    function: ClassVar[str] = "gnnip.artefacts.electron_states:electron_states"
    figure: ClassVar[str] = "gnnip.artefacts.electron_states_figure:electron_states"


@dataclass(frozen=True, kw_only=True)
class LearningCurve(EnergyErrors):
    """Training and validation error against the epoch, and when it has come to rest.

    Metrics of each training, from the smoothed validation error: {quantity}_converged_epoch, the
    first epoch within 10 % of the end of the run; _late_gain, by how much (%) it still fell after
    two thirds of the run; _epochs, the length of the run.

    quantity : what metrics are named by, with keys of the matrix in braces: {layer}_{target}.
    series : key whose values have a curve each.
    measure : what is followed: mae of the energy, or force_rmse.
    shaded : first and last epoch of a range that is shaded.
    """

    function: ClassVar[str] = "gnnip.artefacts.learning_curve:learning_curve"
    figure: ClassVar[str] = "gnnip.artefacts.learning_curve_figure:learning_curve"

    quantity: str
    series: str
    measure: Literal["mae", "force_rmse"] = "mae"
    shaded: tuple[float, ...] = ()

    def check(self) -> None:
        """Raise ConfigError for errors per atom, which histories do not have, or half a range."""
        if self.unit == "meV/atom":
            raise ConfigError("a learning_curve is told in eV or Ha: histories have total energies")
        if len(self.shaded) not in (0, 2):
            raise ConfigError("learning_curve: shaded is the first and the last epoch of a range")


@dataclass(frozen=True)
class ReferenceData(ArtefactKind):
    """Bonds, energies and forces of the frames of the data sets that the artefact states."""

    function: ClassVar[str] = "gnnip.artefacts.reference_data:reference_data"
    figure: ClassVar[str] = "gnnip.artefacts.reference_data_figure:reference_data"


@dataclass(frozen=True, kw_only=True)
class Scan(EnergyErrors):
    """Test errors against one or two keys of the matrix of training groups.

    Numbers along x are drawn as a curve, words as columns of marks with the trivial predictors as
    bars, and two keys as a map. Besides keys of the matrix, x may be n_train, the number of
    training frames, for groups that differ in it.

    quantity : what metrics are named by, with keys of the matrix in braces: cutoff_{cutoff:g}. The
        measure is added, as in cutoff_6_mae. With several groups `group` is one of the keys.
    x : key along the axis.  y : key of the rows of a map.
    series : key whose values are drawn in colours; groups have their own labels and colours.
    chosen : value of x, or of x and y, that the paper chose: marked, and in a map the measure of
        the others.
    log : logarithmic axes of a curve.
    measures : those that are told: mae, mse, rmse, mape, r2, r2_within, force_rmse, force_r2.
    measure : the one that is drawn.
    neighbours : x is a cutoff in this unit: neighbours per atom are drawn along the top, and told
        as mean_neighbours and mean_pairs_per_atom within the chosen one.
    """

    function: ClassVar[str] = "gnnip.artefacts.scan:scan"
    figure: ClassVar[str] = "gnnip.artefacts.scan_figure:scan"

    quantity: str
    x: str
    y: str | None = None
    series: str | None = None
    chosen: tuple[float, ...] = ()
    log: bool = False
    measures: tuple[str, ...] = ("mae", "mape")
    measure: Literal["mae", "rmse", "mape", "force_rmse"] = "mae"
    neighbours: Literal["Angstrom", "Bohr"] | None = None

    def check(self) -> None:
        """Raise ConfigError for choices that do not fit together."""
        if self.y and self.series:
            raise ConfigError("a scan has a key y, for a map, or a key of series, not both")
        if self.chosen and len(self.chosen) != (2 if self.y else 1):
            raise ConfigError("a scan has as many chosen values as keys: one, or two with y")
        if self.neighbours and not self.chosen:
            raise ConfigError("a scan that counts neighbours needs the chosen cutoff")


KINDS: Mapping[str, type[ArtefactKind]] = {
    "cost_against_size": CostAgainstSize,
    "electron_states": ElectronStates,
    "learning_curve": LearningCurve,
    "reference_data": ReferenceData,
    "scan": Scan,
}
