"""The one unit system of the project (eV, Angstrom, fs, amu) and the factors used at its borders.

The length and energy factors are those of ``ase.units`` (CODATA 2014), so that a structure that went
through ASE converts back without loss.
"""

from __future__ import annotations

from ase import units as _ase

BOHR = float(_ase.Bohr)  #: Angstrom per Bohr
HARTREE = float(_ase.Hartree)  #: eV per Hartree
HARTREE_PER_BOHR = HARTREE / BOHR  #: eV/Angstrom per Hartree/Bohr
KB = float(_ase.kB)  #: eV per kelvin
KB_HARTREE = KB / HARTREE  #: Hartree per kelvin
FS_ATOMIC = 41.341373335  #: atomic units of time per femtosecond
AMU_ELECTRON_MASSES = 1822.888486209  #: electron masses per atomic mass unit
COULOMB_CONSTANT = 14.399645  #: eV Angstrom / e^2
#: eV per amu (Angstrom/fs)^2: kinetic energy m v^2 / 2 in the project's units
AMU_A2_PER_FS2 = 1.0 / (float(_ase.fs) ** 2)
