"""The judge of a simulation: holds every replica to the criteria and writes the autopsies."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import torch

from gnnip.errors import GnnipError
from gnnip.md.neighbours import largest_square
from gnnip.md.observables import mean_radial_distribution, rdf_errors
from gnnip.md.stability import REASONS, Criteria, Failure, Frame
from gnnip.md.state import State, kinetic_temperature
from gnnip.md.structures import closest_pair
from gnnip.models.elements import COVALENT_RADII

#: for each row of the batch that has failed: reasons and sentences
Verdicts = dict[int, list[tuple[str, str]]]


class Judge:
    """Applies `Criteria`; its only memory are the windows of the RDF criterion."""

    def __init__(self, criteria: Criteria, time_step: float) -> None:
        """Take the limits, and the time step in fs."""
        self.criteria = criteria
        self.time_step = time_step
        #: by replica: samples so far in this window, and the sum of their g (pairs, bins)
        self.windows: dict[int, tuple[int, np.ndarray]] = {}

    def move(self, moved: Sequence[float]) -> Verdicts:
        """Judge the largest squared displacement of each replica in one step, before the forces."""
        verdicts: Verdicts = {}
        limit = math.inf if self.criteria.displacement is None else self.criteria.displacement
        for row, square in enumerate(moved):
            if not math.isfinite(square):
                verdicts[row] = [("non-finite", "a position is not finite")]
            elif square > limit**2:
                text = f"an atom moved {math.sqrt(square):.3g} A in one step, limit {limit:g}"
                verdicts[row] = [("displacement", text)]
        return verdicts

    def whole_step(self, state: State, touching: Sequence[torch.Tensor], step: int) -> Verdicts:
        """Judge finite numbers, temperature, energy and distances after a whole step.

        `touching` are flags of pairs in contact, one per force call.
        """
        temperature = kinetic_temperature(state)
        columns = [
            largest_square(state.forces, state),
            largest_square(state.velocities, state),
            state.energy,
            temperature,
            state.temperature,
        ]
        contact = (
            torch.stack(list(touching)).any().double() if touching else temperature.new_zeros(())
        )
        host = torch.cat([*columns, contact.reshape(1)]).tolist()
        g = state.n_replicas
        force, velocity, energy, kinetic, target = (host[k * g : (k + 1) * g] for k in range(5))
        verdicts: Verdicts = {}
        factor = self.criteria.temperature_factor
        late = self._equilibrated(step) or self.criteria.equilibration_fs == 0
        for row in range(g):
            found: list[tuple[str, str]] = []
            if not math.isfinite(energy[row]):
                found.append(("non-finite", "the energy is not finite"))
            elif not (math.isfinite(force[row]) and math.isfinite(velocity[row])):
                found.append(("non-finite", "a force or velocity is not finite"))
            if factor is not None and target[row] > 0 and kinetic[row] > factor * target[row]:
                text = f"{kinetic[row]:.4g} K, more than {factor:g} x {target[row]:g} K"
                found.append(("temperature", text))
            low, high = self.criteria.energy_range(state.layout.identifiers[row])
            if late and not low <= energy[row] <= high and math.isfinite(energy[row]):
                text = f"potential energy {energy[row]:.6g} eV, outside [{low:.6g}, {high:.6g}]"
                found.append(("energy", text))
            if found:
                verdicts[row] = found
        if host[-1]:
            self._contact(state, verdicts)
        return verdicts

    def _equilibrated(self, step: int) -> bool:
        return step * self.time_step > self.criteria.equilibration_fs

    def _contact(self, state: State, verdicts: Verdicts) -> None:
        factor = self.criteria.distance_factor
        assert factor is not None
        for row in range(state.n_replicas):
            structure = state.structure(row)
            found, numbers = closest_pair(structure), structure[1]
            if found is None:
                continue
            (i, j), distance = found
            limit = factor * float(COVALENT_RADII[numbers[i]] + COVALENT_RADII[numbers[j]])
            if distance < limit:
                text = f"atoms {i} and {j} are {distance:.3f} A apart, limit {limit:.3f}"
                verdicts.setdefault(row, []).append(("min-distance", text))

    def rdf(self, state: State, step: int, verdicts: Verdicts) -> None:
        """Take a sample for the RDF criterion when it is due; add failures to `verdicts`."""
        criterion = self.criteria.rdf
        if criterion is None or not self._equilibrated(step):
            return
        stride = max(1, round(criterion.sample_fs / self.time_step))
        if step % stride:
            return
        samples = max(1, round(criterion.window_fs / (stride * self.time_step)))
        reference = criterion.reference
        for row, replica in enumerate(state.layout.identifiers):
            if row in verdicts:
                continue
            r_max, bins = float(reference.edges[-1]), len(reference.edges) - 1
            try:
                now = mean_radial_distribution([state.structure(row)], r_max=r_max, bins=bins)
            except GnnipError as error:
                verdicts[row] = [("min-distance", str(error))]
                continue
            count, summed = self.windows.get(replica, (0, np.zeros(())))
            count, summed = count + 1, summed + np.stack([now.g[pair] for pair in sorted(now.g)])
            if count < samples:
                self.windows[replica] = (count, summed)
                continue
            self.windows.pop(replica, None)
            mean = {pair: summed[k] / count for k, pair in enumerate(sorted(now.g))}
            errors = rdf_errors(dataclasses.replace(now, g=mean), reference)
            worst = max(errors, key=lambda pair: errors[pair]["integral_angstrom"])
            value = errors[worst]["integral_angstrom"]
            if value > criterion.threshold:
                text = f"RDF of Z {worst[0]}-{worst[1]} is {value:.3g} A off"
                text += f", limit {criterion.threshold:g}"
                verdicts[row] = [("rdf", text)]

    def autopsy(
        self,
        row: int,
        found: list[tuple[str, str]],
        old: State | None,
        new: State,
        step: int,
    ) -> Failure:
        """Return the story of one failed row: `new` is its first bad state, `old` its last good."""
        found = sorted(found, key=lambda entry: REASONS.index(entry[0]))
        bad = _frame(new, row, step)
        good = None if old is None else _frame(old, row, step - 1)
        _, numbers, cell, pbc = new.structure(row)
        closest = closest_pair((bad.positions, numbers, cell, pbc))
        if closest is None and good is not None:
            closest = closest_pair((good.positions, numbers, cell, pbc))
        pair, distance = (None, math.nan) if closest is None else closest
        ratio, kinds = math.nan, None
        if pair is not None:
            kinds = (int(numbers[pair[0]]), int(numbers[pair[1]]))
            ratio = distance / float(COVALENT_RADII[kinds[0]] + COVALENT_RADII[kinds[1]])
        return Failure(
            replica=new.layout.identifiers[row],
            seed=new.layout.seeds[row],
            target_temperature=float(new.temperature[row]),
            step=step,
            time_fs=step * self.time_step,
            reason=found[0][0],
            reasons=tuple(reason for reason, _ in found),
            detail="; ".join(text for _, text in found),
            pair=pair,
            pair_numbers=kinds,
            pair_distance=distance,
            pair_ratio=ratio,
            last_good=good,
            first_bad=bad,
            atomic_numbers=numbers,
            cell=cell,
            pbc=pbc,
        )


def _frame(state: State, row: int, step: int) -> Frame:
    """Return one replica of a state."""
    atoms = state.layout.atom_slice(row)
    return Frame(
        step=step,
        positions=state.positions[atoms].cpu().numpy().copy(),
        velocities=state.velocities[atoms].cpu().numpy().copy(),
        potential_energy=float(state.energy[row]),
        temperature=float(kinetic_temperature(state)[row]),
    )
