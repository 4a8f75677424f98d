"""Measures of errors: their columns in tidy tables and their units."""

from __future__ import annotations

from gnnip.units import HARTREE

#: units of energies and their size, eV; those per atom are of energies divided by the atoms
UNITS = {"eV": 1.0, "Ha": HARTREE, "meV/atom": 1e-3}
#: the predictor that stands beside every error
BASELINE = "ensemble_mean"
ENERGY_MEASURES = ("mae", "mse", "mape", "rmse", "r2", "r2_within")


def columns(unit: str) -> dict[str, tuple[str, str]]:
    """Return measure -> (column of tidy tables, unit in metrics) for energies in a unit."""
    squared = "/".join(f"{part}2" for part in unit.split("/"))
    plain, square = (text.lower().replace("/", "_per_") for text in (unit, squared))
    return {
        "mae": (f"mae_{plain}", unit),
        "mse": (f"mse_{square}", squared),
        "mape": ("mape_percent", "%"),
        "rmse": (f"rmse_{plain}", unit),
        "r2": ("r2", ""),
        "r2_within": ("r2_within", ""),
        "force_rmse": ("force_rmse_ev_per_a", "eV/A"),
        "force_r2": ("force_r2", ""),
    }
