"""The one unit system of the project (eV, Angstrom, fs, amu) and the factors used at its borders.

The factors are those of ``ase.units`` (CODATA 2014), so that a structure that went through ASE
converts back without loss; they are written out because a GPU machine may lack ASE.
"""

from __future__ import annotations

BOHR = 0.5291772105638411  #: Angstrom per Bohr
HARTREE = 27.211386024367243  #: eV per Hartree
HARTREE_PER_BOHR = HARTREE / BOHR  #: eV/Angstrom per Hartree/Bohr
KCAL_PER_MOL = 0.04336410390059322  #: eV per kcal/mol
KJ_PER_MOL = 0.010364269574711572  #: eV per kJ/mol
GPA = 0.006241509125883258  #: eV/Angstrom^3 per gigapascal
KB = 8.617330337217213e-05  #: eV per kelvin
KB_HARTREE = KB / HARTREE  #: Hartree per kelvin
FS_ATOMIC = 41.341373335  #: atomic units of time per femtosecond
AMU_ELECTRON_MASSES = 1822.888486209  #: electron masses per atomic mass unit
COULOMB_CONSTANT = 14.399645  #: eV Angstrom / e^2
#: eV per amu (Angstrom/fs)^2: kinetic energy m v^2 / 2 in the project's units
AMU_A2_PER_FS2 = 1.0 / 0.09822694788464063**2
