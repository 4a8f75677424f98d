"""The kinds of measurements: from data sets and trained potentials to one tidy table.

Each class is what a card may write under `options` of a measurement; the function it names takes
`gnnip.measurements.sources.Sources` and the filled class, and returns the table. A kind of your own
is a subclass of `MeasurementKind` anywhere on the path: ``kind: package.module:Class``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from gnnip.kinds import Kind

LISTING = True  # names and options only: what a measurement does is in the module of its function


@dataclass(frozen=True)
class MeasurementKind(Kind):
    """Base of the kinds of measurements."""

    #: whether the work may be done on a GPU
    on_gpu: ClassVar[bool] = True
    #: takes all cores, so that no other job disturbs the clock
    clock: ClassVar[bool] = False
    #: of a training group, below which there is nothing to measure
    least_seeds: ClassVar[int] = 1
    #: longest time of a job in minutes and its memory in MB, for a cluster
    runtime: ClassVar[int] = 60
    memory: ClassVar[int] = 3000

    def references(self) -> list[str]:
        """Return the texts of the references that the measurement runs, whose code matters too."""
        return []


@dataclass(frozen=True)
class SymmetryAudit(MeasurementKind):
    """Change of the energy when test frames are rotated, shifted or mirrored.

    shift : Angstrom.  seed : of rotations and directions.  batch_size : frames at once.
    """

    function: ClassVar[str] = "gnnip.measurements.symmetry_audit:audit_symmetry"

    shift: float = 10.0
    seed: int = 0
    batch_size: int = 32


@dataclass(frozen=True)
class Timing(MeasurementKind):
    """Seconds of one energy against the size, by the networks and by what labels the frames.

    size : column of the data set, such as n_molecules, or n_atoms.
    sizes : its values to time; all of the data set when null.
    frames_per_size, repeats : frames drawn evenly from each size, and measurements of each.
    batch_size : copies evaluated at once by the method `network_batched`.
    reference : what labels the frames, timed too unless null, e.g. `xtb method=GFN1-xTB`.
    """

    function: ClassVar[str] = "gnnip.measurements.timing:measure_timing"
    on_gpu: ClassVar[bool] = False
    clock: ClassVar[bool] = True

    size: str = "n_atoms"
    sizes: tuple[int, ...] | None = None
    frames_per_size: int = 3
    repeats: int = 5
    batch_size: int = 16
    reference: str | None = None

    def references(self) -> list[str]:
        """Return what is timed besides the networks."""
        return [self.reference] if self.reference else []


@dataclass(frozen=True)
class ElectronDensity(MeasurementKind):
    """The excess electron of a typical surface and a typical interior state, as a surface in space.

    accuracy : of the solver, Hartree.  enclosed : share of the electron inside the surface.
    size : number of molecules that is preferred.
    """

    function: ClassVar[str] = "gnnip.measurements.electron_density:compute_densities"
    on_gpu: ClassVar[bool] = False
    runtime: ClassVar[int] = 30

    accuracy: float = 1e-4
    enclosed: float = 0.5
    size: int = 76


@dataclass(frozen=True)
class ForceAudit(MeasurementKind):
    """Errors of forces by element and kind of frame, and of one small term of them.

    term : the small term of the energy that has to be resolved; null for none.
    columns : metadata by whose values errors are given as well, e.g. [state].
    close : Angstrom by pair of elements, e.g. {O-O: 1.6}: errors are given as well of the atoms
        that have such a neighbour closer than that, and of those that have none.
    max_frames : test frames that are used, evenly spread; null for all.
    """

    function: ClassVar[str] = "gnnip.measurements.force_audit:audit_forces"

    term: str | None = None
    columns: tuple[str, ...] = ()
    close: dict[str, float] = field(default_factory=dict)
    max_frames: int | None = None
    batch_size: int = 16


@dataclass(frozen=True)
class LocalForces(MeasurementKind):
    """How potentials divide the force on an atom among its neighbours, binned by distance.

    max_frames : most test frames of a potential, drawn evenly.  bin_width : Angstrom.
    """

    function: ClassVar[str] = "gnnip.measurements.local_forces:tabulate_local_forces"

    max_frames: int = 20
    bin_width: float = 0.1


@dataclass(frozen=True)
class Calibration(MeasurementKind):
    """How far the seeds of a training are apart, beside how far they are from the reference.

    On frames that none of the seeds learned from. The measurement states `seeds: all`. Where each
    seed has a split of its own there are few such frames; `split: {seed: 0}` is one for all.

    max_frames : frames that are used, drawn evenly.  batch_size : frames at once.
    points : most points of each quantity that are kept, in the order of the spread.
    """

    function: ClassVar[str] = "gnnip.measurements.ensembles:calibrate"
    least_seeds: ClassVar[int] = 2

    max_frames: int = 200
    batch_size: int = 16
    points: int = 1000


@dataclass(frozen=True)
class ChargeProbe(MeasurementKind):
    """Force on a unit charge, its atomic energy, and the edges between it and the other one."""

    function: ClassVar[str] = "gnnip.measurements.charge_probe:probe_charges"

    batch_size: int = 16


@dataclass(frozen=True)
class Conservation(MeasurementKind):
    """Energy error at constant energy against the time step.

    motion : fields of `gnnip.measurements.dynamics.Motion`; its duration is not used.
    order : fields of `gnnip.measurements.conservation.Order`.
    reference : what labels the frames, where it is to be measured too.
    """

    function: ClassVar[str] = "gnnip.measurements.conservation:measure_conservation"
    on_gpu: ClassVar[bool] = False
    runtime: ClassVar[int] = 240

    motion: dict[str, Any] = field(default_factory=dict)
    order: dict[str, Any] = field(default_factory=dict)
    reference: str | None = None

    def check(self) -> None:
        """Raise ConfigError for options of the motion or of the order that are none."""
        from gnnip.measurements.conservation import Order
        from gnnip.measurements.dynamics.motion import Motion

        Motion.read(self.motion)
        Order.read(self.order)

    def references(self) -> list[str]:
        """Return what moves atoms besides the potentials."""
        return [self.reference] if self.reference else []


@dataclass(frozen=True)
class Dynamics(MeasurementKind):
    """Dynamics of every potential, and of a reference, from the same starts, compared.

    The replicas of each potential are a job of their own; this one compares them. The last good and
    the first bad frame of replica 3 are in `failures/replica-0003.xyz` under
    `results/<tier>/<card>/dynamics/<measurement>/<potential>/`. A reference is run in place of its
    archive with `--config 'sources={gese2_md: generate}'`; such a run becomes the archive by
    `python -m gnnip register gese2_md FILE`.

    motion : fields of `gnnip.measurements.dynamics.Motion`.
    reference : what labels the frames; without it frames of the data set stand in for it.
    reference_archive : a registered trajectory of the reference; without it the reference is run.
    reference_motion : what differs for the reference, whose steps may be dearer.
    comparison : fields of `gnnip.measurements.dynamics.options.Comparison`.
    """

    function: ClassVar[str] = "gnnip.measurements.dynamics.comparison:compare_dynamics"
    on_gpu: ClassVar[bool] = False
    clock: ClassVar[bool] = True
    runtime: ClassVar[int] = 120

    motion: dict[str, Any] = field(default_factory=dict)
    reference: str | None = None
    reference_archive: str | None = None
    reference_motion: dict[str, Any] | None = None
    comparison: dict[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        """Raise ConfigError for options of the motion or of the comparison that are none."""
        from gnnip.errors import ConfigError
        from gnnip.measurements.dynamics.motion import Motion
        from gnnip.measurements.dynamics.options import Comparison

        Motion.read({**self.motion, **(self.reference_motion or {})})
        Motion.read(self.motion)
        Comparison.read(self.comparison)
        if self.reference_archive and not self.reference:
            raise ConfigError(
                "it has a reference_archive but no reference; write what moved its atoms"
            )


@dataclass(frozen=True)
class Evaluation(MeasurementKind):
    """Errors in energies, forces by element and stress on test frames, and the worst of these.

    batch_size : frames at once.
    points : most pairs of reference and prediction of each quantity that are kept, drawn evenly.
    worst : frames that are named.
    """

    function: ClassVar[str] = "gnnip.measurements.evaluation:evaluate_trainings"

    batch_size: int = 16
    points: int = 2000
    worst: int = 5


@dataclass(frozen=True)
class OtherFrames(MeasurementKind):
    """Energies and forces of frames that no potential was trained on, of any reference."""

    function: ClassVar[str] = "gnnip.measurements.other_frames:predict_other_frames"

    batch_size: int = 8


@dataclass(frozen=True)
class Warnings(MeasurementKind):
    """Whether the spread over the seeds of a potential warns before its replicas fail.

    The trajectories of another measurement are replayed through all seeds of the potential that
    moved the atoms; see `gnnip.measurements.warnings`. The measurement states `seeds: all`.

    dynamics : name of the measurement of dynamics, which has the same trainings.
    frames : of each replica, drawn evenly.
    max_frames : that no seed learned from, whose largest spread is the limit.
    """

    function: ClassVar[str] = "gnnip.measurements.warnings:replay"
    least_seeds: ClassVar[int] = 2

    dynamics: str
    frames: int = 50
    max_frames: int = 200


KINDS: Mapping[str, type[MeasurementKind]] = {
    "calibration": Calibration,
    "charge_probe": ChargeProbe,
    "conservation": Conservation,
    "dynamics": Dynamics,
    "electron_density": ElectronDensity,
    "evaluation": Evaluation,
    "force_audit": ForceAudit,
    "local_forces": LocalForces,
    "other_frames": OtherFrames,
    "symmetry_audit": SymmetryAudit,
    "timing": Timing,
    "warnings": Warnings,
}
