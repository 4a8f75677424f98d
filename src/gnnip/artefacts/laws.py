"""What a force or an energy is held against: laws of unit charges, or what a measurement knows."""

from __future__ import annotations

from typing import NamedTuple

from gnnip.artefacts.kinds import ForceAgainstDistance


class Law(NamedTuple):
    """k/d^power of two unit charges d apart: its column in tables, its name, that of its share."""

    power: int
    column: str
    name: str
    share: str


LAWS = {
    "coulomb_force": Law(2, "coulomb_force_ev_per_a", r"exact, $k/d^2$", r"share of $k/d^2$"),
    "coulomb_energy": Law(1, "coulomb_energy_ev", r"pair energy $k/d$", r"share of $k/d$"),
}
UNITS = {"eV/A": "ev_per_a", "eV": "ev"}


def value_column(options: ForceAgainstDistance) -> str:
    """Return the column of the value, with its unit."""
    return f"{options.quantity}_{UNITS[options.unit]}"


def exact_column(options: ForceAgainstDistance) -> str:
    """Return the column of what is exact."""
    return LAWS[options.exact].column if options.exact in LAWS else options.exact
