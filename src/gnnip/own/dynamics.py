"""A dynamics by a saved potential, which says where its seeds no longer agree."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ase
import numpy as np

from gnnip.errors import DataError
from gnnip.files import read_csv
from gnnip.md import straight_line
from gnnip.models.calculator import EnsembleCalculator, PotentialCalculator
from gnnip.models.structure_files import keep_labels
from gnnip.own.card import CALIBRATION


@dataclass(frozen=True)
class Moves:
    """How atoms are moved.

    ps : duration.  temperature : K, of the velocities at the start and of the thermostat.
    time_step : fs.  thermostat : whether there is one (Langevin); else the energy is constant.
    every : fs between stored frames.  stop : end at the first warning.
    """

    ps: float
    temperature: float
    time_step: float = 1.0
    thermostat: bool = False
    every: float = 50.0
    stop: bool = False


@dataclass
class Outcome:
    """What a dynamics did: its frames, total energies (eV) at `times` (ps), and when (ps) it first
    warned, NaN where it did not."""

    frames: list[ase.Atoms] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    energies: list[float] = field(default_factory=list)
    warned: float = math.nan

    def drift(self) -> float:
        """Return the drift of the total energy, meV/atom/ps, of a straight line."""
        if len(self.times) < 3:
            return math.nan
        slope, _ = straight_line(np.array(self.times), np.array(self.energies))
        return 1000.0 * slope / len(self.frames[0])


def spread_limit(folder: str | Path) -> float:
    """Return the largest spread of a force (eV/A) that the frames show which no seed of a run
    learned from; DataError for a run that has not measured it."""
    path = Path(folder) / f"measurements/{CALIBRATION}.csv"
    if not path.exists():
        raise DataError(
            f"{path} does not exist: the run has no calibration; train it with --seeds 3 on frames "
            "with forces, or give --limit."
        )
    table = read_csv(path)
    return float(table.loc[table["name"] == "forces_limit", "value"].iloc[0])


def move(
    atoms: ase.Atoms,
    calculator: PotentialCalculator,
    moves: Moves,
    limit: float,
    say: Callable[[str], object] = print,
) -> Outcome:
    """Move atoms; every step of an ensemble is held against the limit of the spread (eV/A).

    Frames have `time_ps` and, of an ensemble, forces_spread as an array, and `warning` where the
    spread on an atom is above the limit.
    """
    from ase import units
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.md.langevin import Langevin
    from ase.md.velocitydistribution import MaxwellBoltzmannDistribution, Stationary
    from ase.md.verlet import VelocityVerlet

    rng = np.random.default_rng(0)
    keep_labels(atoms)
    atoms = atoms.copy()
    atoms.calc = calculator
    MaxwellBoltzmannDistribution(atoms, temperature_K=moves.temperature, rng=rng)
    Stationary(atoms)
    step = moves.time_step * units.fs
    dynamics: Any = VelocityVerlet(atoms, step)
    if moves.thermostat:
        friction = 0.01 / units.fs
        dynamics = Langevin(
            atoms, step, temperature_K=moves.temperature, friction=friction, rng=rng
        )
    found = Outcome()
    steps, every = (max(1, round(t / moves.time_step)) for t in (1000.0 * moves.ps, moves.every))
    for k in range(steps + 1):
        if k:
            dynamics.run(1)
        time = k * moves.time_step / 1000.0
        atoms.get_potential_energy()
        spread = calculator.results.get("forces_spread")
        warning = spread is not None and not float(np.max(spread)) <= limit
        if warning and math.isnan(found.warned):
            found.warned = time
            say(f"at {time:.4g} ps the seeds differ by {np.max(spread):.3g} eV/A on an atom")
        if k % every == 0 or k == steps or (warning and moves.stop):
            frame = atoms.copy()
            names = ("energy", "forces", "stress")
            results = {n: calculator.results[n] for n in names if n in calculator.results}
            frame.calc = SinglePointCalculator(frame, **results)
            frame.info |= {"time_ps": time, "warning": warning}
            if spread is not None:
                frame.set_array("forces_spread", spread)
            found.frames.append(frame)
            found.times.append(time)
            found.energies.append(float(atoms.get_total_energy()))
        if warning and moves.stop:
            break
    return found


def is_ensemble(calculator: PotentialCalculator) -> bool:
    """Tell whether a calculator knows a spread."""
    return isinstance(calculator, EnsembleCalculator)
