"""Claims of hoedl2022 that no kind of claim expresses; thresholds were fixed before any run."""

from __future__ import annotations

import numpy as np
import pandas as pd

from gnnip.verdicts.claims import ClaimResult, Metrics, mean, reads

#: meV/atom: what rounding in double precision may change, and what moved atoms have to
SAME, FELT = 1e-3, 1e-2
HEADS = "; of several heads each reads the distances of another edge, of one head all is well"
#: broken bonds of the reference that a share takes
FEWEST_BONDS = 10
#: the dissociation energy is predicted to this factor, the share of broken bonds to that one
ENERGY_FACTOR, BONDS_FACTOR = 1.5, 2.0


@reads("as_coded_dissociation_energy")
def dissociates(metrics: Metrics) -> ClaimResult:
    """The energy of the separated ions is the reference's to a factor of 1.5."""
    table = metrics["dissociation"]
    ours, exact = (mean(table, f"{who}_dissociation_energy") for who in ("as_coded", "reference"))
    if np.isnan(ours) or np.isnan(exact):
        return ClaimResult(None, "", "JAT as coded was not run")
    ratio = ours / exact
    told = f"{ours:.2f} eV against {exact:.2f} eV of the reference"
    holds = 1.0 / ENERGY_FACTOR <= ratio <= ENERGY_FACTOR
    return ClaimResult(holds, told, f"a factor of {ENERGY_FACTOR:g} is let pass")


@reads("as_coded_(broken|failed)|reference_broken(_bonds)?")
def breaks_bonds(metrics: Metrics) -> ClaimResult:
    """The share of bonds broken at the end of hot dynamics is the reference's to a factor of 2, and
    no replica failed."""
    table = metrics["dissociation"]
    ours, exact = (mean(table, f"{who}_broken") for who in ("as_coded", "reference"))
    if np.isnan(ours) or np.isnan(exact):
        return ClaimResult(None, "", "the dynamics were not run")
    bonds, failed = (mean(table, name) for name in ("reference_broken_bonds", "as_coded_failed"))
    told = f"{ours:.1%} of the bonds against {exact:.1%} by the reference, {bonds:.3g} bonds"
    if failed:
        return ClaimResult(False, told, f"{failed:.0%} of the replicas failed")
    if not bonds >= FEWEST_BONDS:
        reason = f"fewer than {FEWEST_BONDS} broken bonds of the reference make no share"
        return ClaimResult(None, told, reason)
    holds = exact / BONDS_FACTOR <= ours <= exact * BONDS_FACTOR
    return ClaimResult(holds, told, f"a factor of {BONDS_FACTOR:g} is let pass")


def _same(metrics: Metrics, *features: str, remark: str = "") -> ClaimResult:
    """Judge whether networks change with none of the features, though with their structures."""
    table = metrics["features"]

    def of(*names: str) -> pd.Series:
        rows = table[table["quantity"].str.fullmatch(f".*_({'|'.join(names)})")]
        return rows.set_index("quantity")["value"]

    changes, moved = of(*features), of("displacement")
    if changes.empty or moved.empty:
        return ClaimResult(None, "", "not measured in this run")
    told = f"changes of up to {changes.max():.1e} meV/atom"
    if changes.max() <= SAME and moved.min() < FELT:
        reason = f"moving all atoms changes {moved.min():.1e} meV/atom: the network knows nothing"
        return ClaimResult(None, told, reason)
    reason = f"threshold: {SAME:g} meV/atom, in double precision" + remark.format_map(
        of("reach", "ghost").rename(lambda name: name.rpartition("_")[2]).groupby(level=0).max()
    )
    return ClaimResult(bool(changes.max() <= SAME), told, reason)


def invariant(metrics: Metrics) -> ClaimResult:
    """Neither rotation nor translation changes an energy."""
    return _same(metrics, "rotation", "translation")


def invariant_as_coded(metrics: Metrics) -> ClaimResult:
    """The same of the network as coded, without the atoms that the code fills molecules up with."""
    ghost = (
        "; the atoms at the origin that the public code fills molecules up with are left out, "
        "beside one of them a translation changes {ghost:.0f} meV/atom"
    )
    return _same(metrics, "rotation", "translation", remark=ghost)


def permutation(metrics: Metrics) -> ClaimResult:
    """The order of the atoms does not change an energy."""
    return _same(metrics, "permutation")


def permutation_as_coded(metrics: Metrics) -> ClaimResult:
    """The same of the network as coded, with one head and with several."""
    return _same(metrics, "permutation", remark=HEADS)


def periodic(metrics: Metrics) -> ClaimResult:
    """A cell that is doubled has twice the energy."""
    return _same(metrics, "periodicity")


def additive(metrics: Metrics) -> ClaimResult:
    """Two molecules far apart have the sum of their energies."""
    return _same(metrics, "additivity")


def additive_as_coded(metrics: Metrics) -> ClaimResult:
    """The same of the network as coded."""
    return _same(metrics, "additivity", remark=HEADS)


REACH = "; an atom feels others up to {reach:g} Å away, layers times cutoff"


def local(metrics: Metrics) -> ClaimResult:
    """No atomic energy changes with a molecule that no chain of edges leads to."""
    return _same(metrics, "locality", remark=REACH)


def local_as_coded(metrics: Metrics) -> ClaimResult:
    """The same of the network as coded."""
    return _same(metrics, "locality", remark=REACH + HEADS)
