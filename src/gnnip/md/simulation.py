"""Dynamics of many replicas at once: one force call per step for all that are still alive.

What a replica does depends on its own start, seed and potential only. Its noise is keyed by its
seed, sums run in an order of its own, and its neighbours are sorted, so that with a potential
whose result for one structure does not depend on the others in the batch a trajectory has the same
bits alone, in company, beside a replica that fails, and after a restart (CPU). Matrix products in
BLAS may depend on the number of rows in the last bit: `replicas_per_call=1` then restores the
identity.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gnnip.errors import CheckpointError, GnnipError
from gnnip.md.checkpoint import (
    fingerprint,
    read_checkpoint,
    state_arrays,
    state_from_arrays,
    write_checkpoint,
)
from gnnip.md.integrators import Integrator
from gnnip.md.judge import Judge, Verdicts
from gnnip.md.neighbours import SkinList, largest_square
from gnnip.md.potentials import AseForceField, as_force_field, identity_of
from gnnip.md.stability import Criteria, Failure
from gnnip.md.state import State, check_whole, kinetic_energy, kinetic_temperature
from gnnip.md.trajectory import (
    Recorder,
    Trajectory,
    failure_from_record,
    failure_record,
    join_segments,
    joined_segments,
    read_trajectory,
    trajectory_of,
)

#: in the folder of a run
_CHECKPOINT, _TRAJECTORY, _SEGMENT = "checkpoint.npz", "trajectory.h5", "segments/{:06d}.h5"


@dataclass(frozen=True)
class Result:
    """A finished, or paused, simulation."""

    step: int
    time_fs: float
    finished: bool  #: False when a time limit ended it early
    failures: dict[int, Failure]  #: by replica
    final: dict[int, State]  #: by replica: its state at the end, or its last good one
    trajectories: list[Trajectory]  #: in memory, or as read back from `path`
    path: Path | None  #: trajectory file
    rebuilds: int  #: neighbour lists built in this process
    atom_steps: int  #: atoms moved, times steps, in this process
    wall_s: float


class Simulation:
    """Moves the replicas of a state; resumes by itself from the checkpoint in `folder`.

    Parameters
    ----------
    potential : of `gnnip.models` (on the device of the state), or an ASE calculator, a sequence of
        one per replica, or a function that makes one from the replica's number.
    criteria : when a replica counts as failed; default `Criteria()`.
    skin : Angstrom added to the cutoff of the neighbour lists.
    replicas_per_call : replicas per force call, all when absent; fewer need less memory, one makes
        replicas independent to the last bit with any model.
    record_every, frame_every : steps between rows of the time series, and between stored frames
        (None: no frames).
    frame_precision : of stored frames; the checkpoint is always double.
    folder : where checkpoint and trajectory go; without it everything stays in memory.
    checkpoint_every : steps.

    Raises
    ------
    ConfigError : an interval below one step, or an unknown precision.
    CheckpointError : the folder holds another run.
    """

    def __init__(
        self,
        potential: Any,
        state: State,
        integrator: Integrator,
        *,
        criteria: Criteria | None = None,
        skin: float = 1.0,
        replicas_per_call: int | None = None,
        record_every: int = 10,
        frame_every: int | None = 100,
        frame_precision: str = "float32",
        folder: str | Path | None = None,
        checkpoint_every: int = 1000,
    ) -> None:
        """Set up a run, or take up the one in `folder`."""
        self._intervals = {"record_every": record_every, "frame_every": frame_every}
        self._checkpoint_every = checkpoint_every
        for name, steps in {**self._intervals, "checkpoint_every": checkpoint_every}.items():
            if steps is not None:
                check_whole(f"{name}, in steps,", steps, 1)
        self._recorder = Recorder(frame_precision)
        self.criteria = Criteria() if criteria is None else criteria
        self.integrator = integrator
        self.step = 0
        self.failures: dict[int, Failure] = {}
        self._start = state if integrator.keeps_momentum else state.with_free_momentum()
        self._state = self._start
        self._frozen: dict[int, State] = {}
        self._force_field = as_force_field(potential)
        self._judge = Judge(self.criteria, integrator.time_step)
        self._list = SkinList(
            self._force_field.cutoff,
            skin,
            contact_factor=self.criteria.distance_factor,
            replicas_per_call=replicas_per_call,
        )
        self._folder = None if folder is None else Path(folder)
        self._segments = self._atom_steps = 0
        self._started = False
        if self._folder is not None and os.path.exists(self._file(_CHECKPOINT)):
            self._restore()

    @property
    def _settings(self) -> dict[str, Any]:
        """What drives the run, for the trajectory's attributes and to know its checkpoint by."""
        return {
            **self.integrator.settings(),
            "cutoff_angstrom": self._force_field.cutoff,
            **self._intervals,
        }

    @functools.cached_property
    def _identity(self) -> dict[str, Any]:
        """What decides the run besides its start: a checkpoint of anything else is refused."""
        first = self._start.layout.identifiers[0]
        return {
            **self._settings,
            "criteria": dataclasses.asdict(self.criteria),
            "potential": identity_of(self._force_field, first),
        }

    @property
    def time_fs(self) -> float:
        """Time reached, fs."""
        return self.step * self.integrator.time_step

    @property
    def state(self) -> State:
        """State of the replicas that are alive."""
        return self._state

    def _file(self, name: str) -> Path:
        assert self._folder is not None
        return self._folder / name

    def run(
        self,
        n_steps: int,
        *,
        progress: Callable[[str], object] | None = None,
        progress_every_s: float = 10.0,
        time_limit_s: float | None = None,
    ) -> Result:
        """Go on until step `n_steps` (counted from the start of the run, so that calling again
        after a kill only does the rest).

        `progress` gets a line every `progress_every_s` seconds and for every failure. With
        `time_limit_s` the run pauses in time (at a checkpoint, if it has a folder) and the result
        says that it is not finished. Raises the errors of the potential if it refuses the start.
        """
        check_whole("n_steps", n_steps, 0)
        began = last_line = time.monotonic()
        said = len(self.failures)
        checkpointed = self.step
        if not self._started:
            self._first_forces()
            self._started = True
        paused = False
        while self.step < n_steps and self._state.n_replicas and not paused:
            self._advance()
            now = time.monotonic()
            paused = time_limit_s is not None and now - began > time_limit_s
            if self._folder is not None and self.step - checkpointed >= self._checkpoint_every:
                self._save()
                checkpointed = self.step
            if progress is not None:
                for failure in list(self.failures.values())[said:]:
                    progress(str(failure))
                said = len(self.failures)
                if now - last_line > progress_every_s:
                    last_line = now
                    progress(self._line(n_steps, now - began))
        if progress is not None:
            progress(self._line(n_steps, time.monotonic() - began))
        finished = self.step >= n_steps or not self._state.n_replicas
        if self._folder is not None:
            self._save()
            self._join()
        return self._result(finished, began)

    def _result(self, finished: bool, began: float) -> Result:
        if self._folder is None:
            path, trajectories = None, self._trajectories(self._recorder.arrays())
        else:
            path, trajectories = self._file(_TRAJECTORY), read_trajectory(self._file(_TRAJECTORY))
        return Result(
            step=self.step,
            time_fs=self.time_fs,
            finished=finished,
            failures=dict(sorted(self.failures.items())),
            final=self._final(),
            trajectories=trajectories,
            path=path,
            rebuilds=self._list.rebuilds,
            atom_steps=self._atom_steps,
            wall_s=time.monotonic() - began,
        )

    def _first_forces(self) -> None:
        state = self._state
        _refuse_start(state, self._list.update(state, self._list.displacement(state).tolist()))
        state, refused, touching = self._forces(state)
        _refuse_start(state, refused)
        verdicts = self._judge.whole_step(state, touching, 0)
        self._state, _ = self._remove(verdicts, None, state)
        self._record()

    def _advance(self) -> None:
        old: State | None = self._state
        new = self.integrator.before_forces(self._state, self.step)
        self.step += 1
        moved = largest_square(new.positions - self._state.positions, new)
        moved, drifted = torch.stack([moved, self._list.displacement(new)]).tolist()
        verdicts = self._judge.move(moved)
        drifted = [square for row, square in enumerate(drifted) if row not in verdicts]
        new, old = self._remove(verdicts, old, new)
        if new.n_replicas:
            verdicts = _all_for("min-distance", self._list.update(new, drifted))
            new, old = self._remove(verdicts, old, new)
        if new.n_replicas:
            new, refused, touching = self._forces(new)
            new, old = self._remove(_all_for("evaluation", refused), old, new)
        if new.n_replicas:
            new = self.integrator.after_forces(new, self.step - 1)
            self._atom_steps += sum(new.layout.counts)
            verdicts = self._judge.whole_step(new, touching, self.step)
            self._judge.rdf(new, self.step, verdicts)
            new, _ = self._remove(verdicts, old, new)
        self._state = new
        self._record()

    def _forces(self, state: State) -> tuple[State, dict[int, GnnipError], list[torch.Tensor]]:
        """Return the state with new forces, the rows refused, and flags of pairs in contact."""
        energies, forces, touching = [], [], []
        refused: dict[int, GnnipError] = {}
        groups = self._list.group_rows(state.n_replicas)
        for number, rows in enumerate(groups):
            part = state if len(groups) == 1 else state.select(rows)
            edges, contact = self._list.edges(state, number, rows)
            if contact is not None:
                touching.append(contact)
            try:
                energy, force = self._force_field(part, edges)
            except GnnipError as error:
                if len(rows) == 1:
                    refused[rows[0]] = error
                else:
                    refused.update(self._find_refused(state, rows))
                    if not refused:
                        raise
                energy, force = part.energy, part.forces
            energies.append(energy)
            forces.append(force)
        if refused and len(refused) < state.n_replicas:
            # the others again, in the company that they will have from now on
            return self._forces_without(state, refused)
        return (
            state.replace(energy=torch.cat(energies), forces=torch.cat(forces)),
            refused,
            touching,
        )

    def _forces_without(
        self, state: State, refused: dict[int, GnnipError]
    ) -> tuple[State, dict[int, GnnipError], list[torch.Tensor]]:
        kept = [row for row in range(state.n_replicas) if row not in refused]
        rest, own = state.select(kept), self._list
        self._list = own.fresh(rest, own.replicas_per_call)
        try:
            rest, more, touching = self._forces(rest)
        finally:
            self._list = own
        energy, forces = state.energy.clone(), state.forces.clone()
        energy[kept] = rest.energy
        rows = torch.as_tensor(kept, device=state.device)
        forces[torch.isin(state.replica, rows)] = rest.forces
        found = {**refused, **{kept[row]: error for row, error in more.items()}}
        return state.replace(energy=energy, forces=forces), found, touching

    def _find_refused(self, state: State, rows: Sequence[int]) -> dict[int, GnnipError]:
        refused: dict[int, GnnipError] = {}
        for row in rows:
            part = state.select([row])
            try:
                self._force_field(part, self._list.fresh(part).edges(part, 0, range(1))[0])
            except GnnipError as error:
                refused[row] = error
        return refused

    def _remove(
        self, verdicts: Verdicts, old: State | None, new: State
    ) -> tuple[State, State | None]:
        """Freeze the rows of `verdicts` in their last good state; return the others of both."""
        if not verdicts:
            return new, old
        for row, found in sorted(verdicts.items()):
            replica = new.layout.identifiers[row]
            self.failures[replica] = self._judge.autopsy(row, found, old, new, self.step)
            self._frozen[replica] = (new if old is None else old).select([row])
            self._judge.windows.pop(replica, None)
        kept = [row for row in range(new.n_replicas) if row not in verdicts]
        self._list.select(new, kept)
        return new.select(kept), None if old is None else old.select(kept)

    def _record(self) -> None:
        state = self._state
        due = {name for name, every in self._intervals.items() if every and not self.step % every}
        if state.n_replicas and "record_every" in due:
            kinetic = kinetic_energy(state)
            conserved = state.energy + kinetic - state.heat
            columns = [kinetic_temperature(state), state.energy, kinetic, conserved]
            table = torch.stack(columns).T.tolist()
            for replica, row in zip(state.layout.identifiers, table, strict=True):
                self._recorder.add_row(replica, (self.time_fs, *row))
        if state.n_replicas and "frame_every" in due:
            positions, velocities = state.positions.cpu().numpy(), state.velocities.cpu().numpy()
            for row, replica in enumerate(state.layout.identifiers):
                atoms = state.layout.atom_slice(row)
                self._recorder.add_frame(replica, self.time_fs, positions[atoms], velocities[atoms])

    def _save(self) -> None:
        assert self._folder is not None
        if not self._recorder.empty():
            self._recorder.write_segment(self._file(_SEGMENT.format(self._segments)))
            self._segments += 1
        arrays = state_arrays("active", self._state)
        records = {}
        for replica, failure in self.failures.items():
            records[str(replica)], extra = failure_record(failure)
            arrays.update({f"failure/{replica}/{name}": value for name, value in extra.items()})
            arrays.update(state_arrays(f"frozen/{replica}", self._frozen[replica]))
        for replica, (_, summed) in self._judge.windows.items():
            arrays[f"window/{replica}"] = summed
        values = {
            "fingerprint": fingerprint(self._start, self._identity),
            "step": self.step,
            "segments": self._segments,
            "failures": records,
            "windows": {str(replica): count for replica, (count, _) in self._judge.windows.items()},
        }
        write_checkpoint(self._file(_CHECKPOINT), values, arrays)
        if isinstance(self._force_field, AseForceField):
            self._force_field.forget()

    def _restore(self) -> None:
        values, arrays = read_checkpoint(self._file(_CHECKPOINT))
        if values["fingerprint"] != fingerprint(self._start, self._identity):
            raise CheckpointError(
                f"{self._folder} holds a run from another start, potential or settings; "
                "delete it or choose another folder."
            )
        device = self._start.device
        self.step, self._segments = int(values["step"]), int(values["segments"])
        self._state = state_from_arrays("active", arrays, device)
        for name, record in values["failures"].items():
            prefix = f"failure/{name}/"
            extra = {key[len(prefix) :]: a for key, a in arrays.items() if key.startswith(prefix)}
            self.failures[int(name)] = failure_from_record(record, extra)
            self._frozen[int(name)] = state_from_arrays(f"frozen/{name}", arrays, device)
        for name, count in values["windows"].items():
            self._judge.windows[int(name)] = (int(count), arrays[f"window/{name}"])
        self._started = True

    def _join(self) -> None:
        done = joined_segments(self._file(_TRAJECTORY))
        segments = [self._file(_SEGMENT.format(number)) for number in range(done, self._segments)]
        facts = {name: "none" if value is None else value for name, value in self._settings.items()}
        replicas = self._trajectories({})
        join_segments(self._file(_TRAJECTORY), segments, replicas, self._segments, facts)
        for path in self._file(_SEGMENT).parent.glob("*.h5"):
            path.unlink()

    def _trajectories(self, arrays: Mapping[int, Mapping[str, np.ndarray]]) -> list[Trajectory]:
        """Return all replicas of the start with what was recorded of them."""
        result = []
        for row, replica in enumerate(self._start.layout.identifiers):
            _, numbers, cell, pbc = self._start.structure(row)
            masses = self._start.masses[self._start.layout.atom_slice(row)]
            constants = {
                "replica": replica,
                "seed": self._start.layout.seeds[row],
                "target_temperature": float(self._start.temperature[row]),
                "atomic_numbers": numbers,
                "masses": masses.cpu().numpy(),
                "cell": cell,
                "pbc": pbc,
                "failure": self.failures.get(replica),
            }
            result.append(trajectory_of(constants, arrays.get(replica, {})))
        return result

    def _final(self) -> dict[int, State]:
        alive = {
            replica: self._state.select([row])
            for row, replica in enumerate(self._state.layout.identifiers)
        }
        return dict(sorted({**self._frozen, **alive}.items()))

    def _line(self, n_steps: int, seconds: float) -> str:
        rate = self._atom_steps / max(seconds, 1e-9)
        return (
            f"step {self.step}/{n_steps}, {self.time_fs / 1000.0:.3f} ps, {self._state.n_replicas} "
            f"of {self._start.n_replicas} replicas alive, {rate:.3g} atom-steps/s"
        )


def _all_for(reason: str, refused: Mapping[int, GnnipError]) -> Verdicts:
    """Return verdicts with one reason, in the words of the errors."""
    return {row: [(reason, str(error))] for row, error in refused.items()}


def _refuse_start(state: State, refused: Mapping[int, GnnipError]) -> None:
    """Raise the first error, with the number of its replica."""
    for row, error in refused.items():
        raise type(error)(f"replica {state.layout.identifiers[row]} cannot start: {error}")
