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


@dataclass(frozen=True)
class ArtefactKind(Kind):
    """Base of the kinds of artefacts."""

    #: package.module:function that draws the figure
    figure: ClassVar[str]
    #: whether its numbers are about what potentials have learned
    learned: ClassVar[bool] = True

    @classmethod
    def figure_modules(cls) -> list[str]:
        """Return the modules behind the figure."""
        return [cls.figure.partition(":")[0], cls.__module__]


@dataclass(frozen=True)
class OfArms(ArtefactKind):
    """Base of the kinds about the arms of an ablation.

    materials : data sets whose training groups are called {data set}_{arm}, and their names in
        figures, e.g. {sic: SiC}. Tables then have the columns material and arm, and names of
        metrics begin with {arm}, of an artefact of several materials with {data set}_{arm}. Without
        it they begin with the name of the group.
    """

    materials: dict[str, str] = field(default_factory=dict)


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
        training frames of the same one, where it has any, else the line. Where the division of the
        frames has both sides of a trajectory, `trajectory_mean` and `trajectory_ensemble_mean` are
        told, too; the best of all is the baseline.
    words : what figures call things: labels, symbols and colours, see `Words`.
    note : added to the small print of the figure.
    """

    unit: Literal["eV", "Ha", "meV/atom"] = "eV"
    size: str = "n_atoms"
    ensemble: tuple[str, ...] = ()
    words: Words = field(default_factory=Words)
    note: str = ""


@dataclass(frozen=True)
class Autopsy(OfArms):
    """Energies along the replicas that changed most, by the reference against the potential.

    Of measurements of the kind autopsy. Metrics of each arm: {arm}_labelled replicas, _holes and
    _relaxations among them, _change of the energy of the one that changed most and
    _change_by_reference (meV/atom), and _force_rmse_on_path (eV/A).
    """

    function: ClassVar[str] = "gnnip.artefacts.autopsy:autopsy"
    figure: ClassVar[str] = "gnnip.artefacts.autopsy_figure:autopsy"


@dataclass(frozen=True)
class Calibration(ArtefactKind):
    """Error against spread of ensembles, of measurements of the kind calibration.

    Metrics of the names energy and forces: {group}_{name}_ratio, rms error over rms spread, 1 for a
    calibrated ensemble; _rank, Spearman's correlation of spread and error, beside 0; and _covered,
    the share of errors within twice the spread times the ratio, 0.95 for normal errors of energies.

    materials : data sets whose training groups are called {data set}_{arm}, and their names in
        figures, which have a row for each.
    """

    function: ClassVar[str] = "gnnip.artefacts.calibration:calibration"
    figure: ClassVar[str] = "gnnip.artefacts.calibration_figure:calibration"

    materials: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Conservation(OfArms):
    """Energy fluctuation at constant energy against the time step, one panel a measurement.

    Of measurements of the kind conservation. Metrics: {arm}_exponent, 2 for a smooth potential, and
    {arm}_drift at the shortest time step.
    """

    function: ClassVar[str] = "gnnip.artefacts.conservation:conservation"
    figure: ClassVar[str] = "gnnip.artefacts.dynamics_figure:conservation"


@dataclass(frozen=True)
class CostAgainstSize(ArtefactKind):
    """Seconds of several methods against the size, fitted by powers, and their ratios.

    The artefact reads one measurement with the columns method, seconds and that of the size, e.g.
    of the kind timing. Metrics of each method: {prefix}_time (geometric mean over sizes), and from
    three sizes on {prefix}_exponent with its interval, _low and _high, and its _standard_error.

    methods : the prefix of each method's metrics, in drawing order.
    against : the method that the others are compared with; told in s, the others in ms.
    ratios : name of the metric that says how many times faster than `against` a method is.
    size : column of the size.
    words : labels and colours of the methods, and the label of the size.
    bands : published scales, a decade from a number of seconds on: what is written there.
    published_ratio : drawn into the panel of ratios.
    titles : of both panels.
    """

    function: ClassVar[str] = "gnnip.artefacts.cost_against_size:cost_against_size"
    figure: ClassVar[str] = "gnnip.artefacts.cost_against_size_figure:cost_against_size"
    learned: ClassVar[bool] = False

    methods: dict[str, str]
    against: str
    ratios: dict[str, str] = field(default_factory=dict)
    size: str = "n_molecules"
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
class Dynamics(OfArms):
    """Replicas of several potentials, beside the reference, from measurements of the kind dynamics.

    view : what is shown.
        energy: the potential energy of every replica against time, a panel for each arm that is
        shown; where one is shown, also a structure at its end.
        collapse: the first bad frame of the first arm that is shown, and the closest pairs of all
        failures.
        survival: the share of replicas alive against time by each criterion of failure, and the
        closest pairs of all failures.
        structure: distances, angles and vibrations beside the reference's.
        warning: the spread over seeds along every replica, and how long before failures it left
        what frames that were not learned from have; of measurements of the kind warnings.
    show : arms that are drawn in the first two views, all when empty.
    trivial : an arm that has learned nothing, e.g. of the model composition, which has no forces:
        it is not shown, and what is told of its replicas are the baselines of the others.

    Metrics of the view warning: {arm}_warned, the share of failures with a warning before,
    _warning_time (fs, median), _false_alarms, the share of surviving replicas with a warning.
    Metrics of the first three: {arm}_replicas, _failed by any criterion, of which _failed_limits,
    _failed_energy and _failed_structure, _shortest_run, _longest_run, _first_failure,
    _median_failure, _survival_area, _graded_survival and _failed_by_{pair}; of the last one
    {arm}_rdf_{pair}_error, _adf_{triplet}_error and _vdos_error (%), and _adf_{triplet}_distance
    (degree) and _vdos_distance (THz), beside the noise floor of the reference, below which nothing
    is judged.
    """

    function: ClassVar[str] = "gnnip.artefacts.dynamics:dynamics"
    figure: ClassVar[str] = "gnnip.artefacts.dynamics_figure:dynamics"

    view: Literal["energy", "collapse", "survival", "structure", "warning"] = "survival"
    show: tuple[str, ...] = ()
    trivial: str = ""


@dataclass(frozen=True)
class ElectronStates(ArtefactKind):
    """A surface and an interior state of an excess electron, from a measurement of the kind
    electron_density.

    Metrics: {state}_energy and {state}_gyration_radius.
    """

    function: ClassVar[str] = "gnnip.artefacts.electron_states:electron_states"
    figure: ClassVar[str] = "gnnip.artefacts.electron_states_figure:electron_states"
    learned: ClassVar[bool] = False


@dataclass(frozen=True)
class Errors(OfArms):
    """Errors of training groups in energies and forces, beside trivial predictors and the paper's.

    Metrics: {group}_{subset}_{measure}, of cells of a matrix {group}_{key}_{value}_{subset}_..., of
    the measures energy_rmse, energy_mae (meV/atom), energy_r2, force_mae, force_rmse (eV/A) and
    force_r2. The
    baseline of the energies is the best null model that the division of the frames allows; that of
    the forces is no force at all. Published numbers of the artefact that have such names are drawn
    beside ours.

    measures : what is drawn, a panel each.
    rows : a row for each group, in which training frames are hollow, or one for each subset.
    train : whether errors on the training frames are given too.
    ensemble : columns of the data set; the mean energy of training frames with the same values is
        then told, too.
    by_split : tell in the column `split` how the frames were divided; where a group was trained on
        divisions by trajectory besides others, its numbers of these are the variant by_trajectory.
    left : millimetres for the names of the rows.  per : what the energies are divided by the
        number of, in words.
    """

    function: ClassVar[str] = "gnnip.artefacts.errors:errors"
    figure: ClassVar[str] = "gnnip.artefacts.errors_figure:errors"

    measures: tuple[Literal["energy_rmse", "energy_mae", "force_mae", "force_rmse"], ...] = (
        "energy_rmse",
        "force_rmse",
    )
    rows: Literal["group", "subset"] = "group"
    train: bool = True
    ensemble: tuple[str, ...] = ()
    by_split: bool = False
    left: float = 60.0
    per: str = "atoms"


@dataclass(frozen=True)
class ForceAgainstDistance(ArtefactKind):
    """A force, or the energy of an atom, against a distance, beside what is exact.

    Of one measurement whose table has the columns group, cell and seed, and that of the distance.
    Metrics per distance d: {quantity}_d{d} over structures, _spread_d{d} and _share_d{d} of what is
    exact, beside no force; with `share` also _rmse_unseen over distances that were not trained on,
    which are those that split.train_where does not list.

    value, unit : column of the measurement, eV/A or eV.
    quantity : its name in tables and metrics.
    difference : [column, first, second]: the value where the column is `first` minus that where it
        is `second`, all other columns of `per` alike; nothing is subtracted when empty.
    distance : column of the distance, Angstrom.
    per : columns that tell structures of one training and distance apart.
    columns : those that the table keeps.
    exact : coulomb_force, k/d^2, or coulomb_energy, k/d, of unit charges, or a column of the
        measurement.
    share : whether the share of what is exact is drawn below, else the values on their own scale.
    models : names of training groups in tables, metrics and figures, which have a column `model`
        then, and the errors of all test structures among the metrics; the artefact's one group has
        none.
    axis, label, title : words on the axes and above them; {label} is that of the group.
    over : what `per` tells apart, in words.
    """

    function: ClassVar[str] = "gnnip.artefacts.force_against_distance:force_against_distance"
    figure: ClassVar[str] = "gnnip.artefacts.force_against_distance_figure:force_against_distance"

    value: str
    quantity: str
    exact: str
    unit: Literal["eV/A", "eV"] = "eV/A"
    difference: tuple[str, ...] = ()
    distance: str = "distance_a"
    per: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    share: bool = True
    models: dict[str, str] = field(default_factory=dict)
    axis: str = "distance $d$ (Å)"
    label: str = "force (eV/Å)"
    title: str = "{label}"
    over: str = "structures"

    def check(self) -> None:
        """Raise ConfigError for a difference that is none."""
        if len(self.difference) not in (0, 3):
            raise ConfigError("difference is a list of a column and two of its values")


@dataclass(frozen=True, kw_only=True)
class LearningCurve(EnergyErrors):
    """Training and validation error against the epoch, and when it has come to rest.

    Metrics of each training, from the smoothed validation error: {quantity}_converged_epoch, the
    first epoch within 10 % of the end of the run; _late_gain, by how much (%) it still fell after
    two thirds of the run; _epochs, the length of the run; _share_of_baseline, its lowest one; and
    with the measure mse _final_mse, the level at the end. Several groups have a panel each.

    quantity : what metrics are named by, with keys of the matrix in braces: {layer}_{target}.
    series : key whose values have a curve each; `group` where groups have no matrix.
    shaded : first and last epoch of a range that is shaded.
    measure : mae, or mse for trainings whose loss is the mean square error of total energies in eV.
    """

    function: ClassVar[str] = "gnnip.artefacts.learning_curve:learning_curve"
    figure: ClassVar[str] = "gnnip.artefacts.learning_curve_figure:learning_curve"

    quantity: str
    series: str
    shaded: tuple[float, ...] = ()
    measure: Literal["mae", "mse"] = "mae"

    def check(self) -> None:
        """Raise ConfigError for errors per atom, which histories do not have, or half a range."""
        if self.unit == "meV/atom":
            raise ConfigError("a learning_curve is told in eV or Ha: histories have total energies")
        if self.measure == "mse" and self.unit != "eV":
            raise ConfigError("a learning_curve of mean squares is told in eV, as losses are")
        if len(self.shaded) not in (0, 2):
            raise ConfigError("learning_curve: shaded is the first and the last epoch of a range")


@dataclass(frozen=True)
class LocalForces(OfArms):
    """How potentials divide forces among neighbours, against the distance, a panel per pair.

    Of a measurement of the kind local_forces. Metrics of every arm and ordered pair of elements, of
    the bins with pairs of atoms enough: {arm}_{pair}_lowest_force, _lowest_force_at,
    _lowest_force_inside (1 where the bins on both sides have pairs too, else it is no minimum),
    _highest_force, and the means _force_below_2, _force_2_to_3 and _force_3_to_4 (Angstrom).
    """

    function: ClassVar[str] = "gnnip.artefacts.local_forces:local_forces"
    figure: ClassVar[str] = "gnnip.artefacts.local_forces_figure:local_forces"


@dataclass(frozen=True)
class OtherFrames(Errors):
    """Errors on frames that no potential was trained on, from a measurement of the kind
    other_frames.

    Metrics: {group}_{data set}_energy_rmse (meV/atom), about the mean of the frames of each
    composition, since zeros of energy differ between references, beside what that mean alone gets;
    and {group}_{data set}_force_rmse (eV/A), beside no force. Each has the reference of its data
    set. Options are those of the figure of the kind errors.
    """

    function: ClassVar[str] = "gnnip.artefacts.other_frames:other_frames"

    train: bool = False
    rows: Literal["group", "subset"] = "subset"


@dataclass(frozen=True)
class Parity(ArtefactKind):
    """Predictions against the reference, from measurements of the kind evaluation.

    Metrics: {group}_{name}_rmse of the names energy (meV/atom), forces, forces_{element} (eV/A) and
    stress (eV/A^3), beside the fit of the test energies to the composition, no force at all, and
    the mean stress.
    """

    function: ClassVar[str] = "gnnip.artefacts.parity:parity"
    figure: ClassVar[str] = "gnnip.artefacts.parity_figure:parity"


@dataclass(frozen=True)
class ReferenceData(ArtefactKind):
    """Bonds, energies and forces of the frames of the data sets that the artefact states."""

    function: ClassVar[str] = "gnnip.artefacts.reference_data:reference_data"
    figure: ClassVar[str] = "gnnip.artefacts.reference_data_figure:reference_data"
    learned: ClassVar[bool] = False


@dataclass(frozen=True, kw_only=True)
class Scan(EnergyErrors):
    """Test errors against one or two keys of the matrix of training groups.

    Numbers along x are drawn as a curve, words as columns of marks with the trivial predictors as
    bars, and two keys as a map. Besides keys of the matrix, x may be n_train, the number of
    training frames, for groups that differ in it.

    quantity : what metrics are named by, with keys of the matrix in braces: cutoff_{cutoff:g}. The
        measure is added, as in cutoff_6_mae. With several groups `group` is one of the keys.
    x : key along the axis.  y : key of the rows of a map.
    series : key whose values are drawn in colours.
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
    "autopsy": Autopsy,
    "calibration": Calibration,
    "conservation": Conservation,
    "cost_against_size": CostAgainstSize,
    "dynamics": Dynamics,
    "electron_states": ElectronStates,
    "errors": Errors,
    "force_against_distance": ForceAgainstDistance,
    "learning_curve": LearningCurve,
    "local_forces": LocalForces,
    "other_frames": OtherFrames,
    "parity": Parity,
    "reference_data": ReferenceData,
    "scan": Scan,
}
