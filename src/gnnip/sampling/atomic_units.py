"""Atomic units of the samplers, without imports: a worker machine needs numpy and numba only.

Values are CODATA 2014, those of `gnnip.units` (a test holds the two together).
"""

from __future__ import annotations

KELVIN = 1.0 / 315775.13  #: Hartree per kelvin, Boltzmann's constant
FEMTOSECOND = 41.341373335  #: atomic units of time per femtosecond
ATOMIC_MASS = 1822.888486209  #: electron masses per atomic mass unit
ANGSTROM = 1.0 / 0.5291772105638411  #: Bohr per Angstrom

MASS_OXYGEN = 15.999 * ATOMIC_MASS  #: electron masses
MASS_HYDROGEN = 1.008 * ATOMIC_MASS  #: electron masses
