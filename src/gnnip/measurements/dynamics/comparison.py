"""What the dynamics of trained potentials and of their reference have in common, and what not.

`compare_dynamics` turns the trajectories of `run_dynamics` into one tidy table.
Columns potential, record, name, replica, x, value, text. By record:

run : one number per replica; `name` ends in its unit, or is
    failed (1 or 0, `text` the reason), simulated_fs (until the failure or the end).
    failed_by_{criterion} (1 or 0) and failed_by_{criterion}_fs, by limits, which are those of the
    run, energy, structure and any; see `Comparison.window` and `gnnip.measurements.dynamics.drift`.
    energy_limit_mev_per_atom, beyond which a mean has left the reference's.
drift : of each window, x its end (fs): energy_mev_per_atom, its mean less the reference's, and
    structure, the largest distance of a radial distribution over what is allowed, that of the
    elements in `text`.
autopsy : of each replica that failed, x the time (fs). kind (`text`: collapse, explosion,
    melting, non-finite or refused; value: the time in fs); of the pair closest in units of
    covalent radii, whose elements are the `text`, pair_distance_a, pair_ratio (over the sum of
    the radii) and pair_share (over the shortest distance of such a pair in frames of the data
    set); environment_distance, of the last good frame from those frames' environments, as
    `gnnip.md.EnvironmentLibrary` measures it, for the atom of the pair that is further away,
    whose element is the `text`; frames (`text`: the file with the last good and the first bad
    frame, from the folder of the measurement's dynamics).
frame : atoms of a structure of a replica (see `Comparison.snapshots`), `name` the element, x
    the atom, `text` its place (Angstrom), wrapped into the cell, in whose middle lies the
    closest pair of a failure.
closest : shortest distance (Angstrom) of each pair of elements in the first bad frame, and of
    the potential "dataset", where any replica failed, in frames of the data set.
survival : share of replicas alive at time x (fs), with `survival_low` and `survival_high`.
survival_by_{criterion} : the same by each criterion.
score : area_{criterion} under the survival curve, over time as a share of the run, and graded:
    means over replicas, as `gnnip.measurements.dynamics.drift` defines them.
series : time series, x in fs.
rdf : g(r) of the elements in `name`, x in Angstrom; for open systems the probability density of
    the distance, 1/Angstrom.  rdf_error : percent, as `gnnip.md.rdf_errors` defines it.
adf : probability density of the angle at the middle of the three elements in `name`, 1/degree,
    x in degrees.  adf_error : percent, as `gnnip.md.adf_errors` defines it.
    adf_distance : Wasserstein distance of it from the reference's, degrees.
profile : atoms of the element in `name` per Angstrom at the distance x (Angstrom) from the
    centre of mass; open systems only.  profile_error : percent of the atoms that lie elsewhere.
vdos : vibrational density of states, 1/THz, x in THz.  vdos_error : percent, as
    `gnnip.md.vdos_error` defines it.  vdos_distance : Wasserstein distance of it from the
    reference's, THz.
relabel : what the reference says of frames along the trajectory, x in fs: force_rmse_ev_per_a
    and energy_error_ev of the potential, and the observables asked for; NaN and the reason
    where it says nothing.
relabel_error : size of the difference between the mean observable on the paths and on the
    reference's, in the observable's unit.
speed : seconds_per_step of one replica, measured in turn in one process on one core:
    `alone` and, for models, `batched` with all replicas; `text` is the processor and its load.

The potential "noise_floor" has the errors of the reference's own halves. The reference may have
been moved for another time, by another step and from other starts than the potentials: spectra
are then of pieces as long as the shortest run, everything else is averaged as it is.
"""

from __future__ import annotations

from dataclasses import asdict

import pandas as pd

from gnnip.datasets.store import load_arrays
from gnnip.md import read_facts, read_trajectory
from gnnip.measurements.dynamics.autopsy import autopsies, snapshots
from gnnip.measurements.dynamics.drift import drifts, ensembles
from gnnip.measurements.dynamics.motion import COLUMNS, REFERENCE, Motion, motion_of_reference
from gnnip.measurements.dynamics.options import Comparison
from gnnip.measurements.dynamics.relabel import observable_errors, relabelled
from gnnip.measurements.dynamics.replicas import single_runs
from gnnip.measurements.dynamics.rows import Row
from gnnip.measurements.dynamics.spectra import spectra
from gnnip.measurements.dynamics.speed import time_steps
from gnnip.measurements.dynamics.structure import structure
from gnnip.measurements.kinds import Dynamics
from gnnip.measurements.sources import Sources
from gnnip.measurements.timing import in_one_thread


def compare_dynamics(sources: Sources, options: Dynamics) -> pd.DataFrame:
    """Return the tidy table described above of what the replicas of all potentials did.

    The trajectory of the reference, if it was run, has the name "reference"; what its file says of
    its motion, as that of an archive does, comes before the options. Without it the frames of the
    data set that the starts were selected from stand in for it.
    """
    (dataset,), trajectories = sources.datasets.values(), sources.trajectories
    models = {training.name: training.model for training in sources.trainings}
    motion, reference = options.motion, options.reference
    moved, wanted = Motion.read(motion), Comparison.read(options.comparison)
    arrays = load_arrays(dataset)
    runs = {name: read_trajectory(path) for name, path in trajectories.items()}
    own = Motion.read(motion_of_reference(motion, options.reference_motion))
    if REFERENCE in runs:
        own = Motion.read(read_facts(trajectories[REFERENCE]).get("motion", asdict(own)))
    rows: list[Row] = []
    for name, replicas in runs.items():
        rows += single_runs(name, replicas, own if name == REFERENCE else moved, wanted)
    alike = {name: ensembles(arrays, moved, wanted.ensemble) for name in runs}
    alike[REFERENCE] = ensembles(arrays, own, wanted.ensemble) if wanted.ensemble else []
    rows += drifts(runs, wanted, moved.duration, alike if wanted.ensemble else None)
    rows += autopsies(runs, trajectories, arrays, wanted)
    if wanted.snapshots:
        for name, replicas in runs.items():
            rows += snapshots(name, replicas)
    rows += structure(runs, arrays, own, wanted)
    rows += spectra(runs, own, wanted)
    if reference is not None and wanted.relabel:
        for name, replicas in runs.items():
            rows += relabelled(name, replicas, models.get(name), reference, wanted)
        rows += observable_errors(rows, own, wanted)
    if wanted.timed_steps:
        timed = reference if wanted.time_reference else None
        rows += in_one_thread(time_steps, dataset, models, timed, moved, own, wanted)
    return pd.DataFrame(rows, columns=list(COLUMNS))
