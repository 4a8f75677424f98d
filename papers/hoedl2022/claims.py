"""Claims of hoedl2022 that no kind of claim expresses; thresholds were fixed before any run."""

from __future__ import annotations

import numpy as np

from gnnip.verdicts.claims import ClaimResult, Metrics, mean, reads

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


@reads("as_coded_broken")
def breaks_bonds(metrics: Metrics) -> ClaimResult:
    """The share of bonds broken at the end of hot dynamics is the reference's to a factor of 2."""
    table = metrics["dissociation"]
    ours, exact = (mean(table, f"{who}_broken") for who in ("as_coded", "reference"))
    if np.isnan(ours) or np.isnan(exact):
        return ClaimResult(None, "", "the dynamics were not run")
    told = f"{ours:.1%} of the bonds against {exact:.1%} by the reference"
    if not exact:
        return ClaimResult(None, told, "no bond broke by the reference")
    holds = exact / BONDS_FACTOR <= ours <= exact * BONDS_FACTOR
    return ClaimResult(holds, told, f"a factor of {BONDS_FACTOR:g} is let pass")
