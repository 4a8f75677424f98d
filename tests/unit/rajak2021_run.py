"""A finished run of rajak2021, made up from a rule instead of trained potentials."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from made_up_run import ROOT, Error, Run, make_run
from made_up_tables import (
    REPLICAS,
    Failures,
    calibration_table,
    conservation_table,
    dynamics_table,
    local_forces_table,
    warnings_table,
)

from gnnip.artefacts.arms import divide

PAIRS = {"sic": ("Si-Si", "Si-C", "C-C"), "gese2": ("Se-Se", "Se-Ge", "Ge-Ge")}


@dataclass(frozen=True)
class Rule:
    """What every potential of the made-up run does.

    error : energy RMSE (meV/atom) of an arm on test frames; forces are off by a tenth in eV/Å.
    local_force : directed local force (eV/Å) of an ordered pair of elements at a distance (Å).
    failures : those of the replicas of a training group.
    nearest : distance (Å) of the closest pairs that local forces are known of.
    duration : of the dynamics, fs.
    left_out : a training group that nothing measured.
    """

    error: Callable[[str], float]
    local_force: Callable[[str, str, float], float]
    failures: Callable[[str], Failures]
    nearest: float = 1.5
    duration: float = 15000.0
    left_out: str = ""


def rajak_run(root: Path, rule: Rule) -> Run:
    """Write a run of the card at tier paper in which every potential follows `rule`."""

    def error(training):
        off = rule.error(divide(training.group, PAIRS)[1])
        return Error(per_atom=off, force=0.1 * off)

    archives = {name: ROOT / "data" / f"{name}.h5" for name in PAIRS}
    run = make_run(root, "rajak2021", archives, error)
    for name, stated in run.card.measurements.items():
        kind, material = name.rsplit("_", 1)
        groups = [group for group in stated.trainings if group != rule.left_out]
        potentials = [f"{group}/all/seed-0" for group in groups]
        if kind == "calibration":
            table = calibration_table([(group, "split-random") for group in groups])
        elif kind == "warnings":
            failures = {p: rule.failures(g) for p, g in zip(potentials, groups, strict=True)}
            table = warnings_table(failures, rule.duration)
        elif kind == "local_forces":
            elements = ("Si", "C") if material == "sic" else ("Se", "Ge")
            table = local_forces_table(
                groups, elements, lambda _, *about: rule.local_force(*about), rule.nearest
            )
        elif kind == "dynamics":
            failures = {p: rule.failures(g) for p, g in zip(potentials, groups, strict=True)}
            triplets = stated.options["comparison"]["adf_triplets"]
            frames = run.frames[material]
            table = dynamics_table(frames, failures, PAIRS[material], triplets, rule.duration)
        else:  # order 2 with an envelope, 1 without
            smooth = ("_smooth/", "_nequip/")
            orders = {p: 2.0 if any(s in p for s in smooth) else 1.0 for p in potentials}
            table = conservation_table(orders, stated.options["order"]["time_steps"])
        run.write(name, table)
    return run


def _described(centre: str, neighbour: str, r: float) -> float:
    """Return the local force that the paper describes, eV/Å."""
    if centre == neighbour == "Se":
        return 0.8 if r < 2.0 else -0.5 if r < 3.0 else 0.3 * np.exp(3.0 - r)
    repulsion = 2.0 * np.exp(-2.0 * (r - 1.5))
    well = 4.0 * np.exp(-(((r - 2.0) / 0.3) ** 2))
    return float(repulsion if centre == neighbour else repulsion - well)


def _collapses(group: str) -> Failures:
    many = Failures([800.0 + 300.0 * k for k in range(REPLICAS - 2)], "Se-Se")
    return many if group in ("gese2_gnn", "gese2_nn2_gnn") else Failures()


#: every claim of the paper holds
AS_TOLD = Rule(
    error=lambda arm: {"gnn": 4.0, "decomposed": 2.0}.get(arm, 3.0),
    local_force=_described,
    failures=_collapses,
)
#: none does
OPPOSITE = Rule(
    error=lambda arm: {"gnn": 2.0, "decomposed": 4.0}.get(arm, 3.0),
    local_force=lambda *about: -_described(*about),
    failures=lambda group: Failures(
        *{
            "sic_gnn": ([500.0 + 10.0 * k for k in range(REPLICAS)], "Si-C"),
            "gese2_decomposed": ([500.0 + 10.0 * k for k in range(REPLICAS)], "Ge-Ge"),
        }.get(group, ())
    ),
)
#: none can be decided: short dynamics without failures, no near pairs, no graph network of SiC
UNDECIDED = Rule(
    error=AS_TOLD.error,
    local_force=_described,
    failures=lambda group: Failures(),
    nearest=2.2,
    duration=2000.0,
    left_out="sic_gnn",
)
