"""Density functional theory of periodic cells by CP2K: Gaussians and plane waves, Gamma point.

CP2K is no Python package: it is found on the PATH and talked to through its shell mode (ASE's
calculator), which stays alive from frame to frame. The first frame costs ten times a later one of
the same trajectory, whose wave function it starts from: label consecutive frames.

Orbitals are found by diagonalisation and Broyden's mixing of densities, which takes a third of the
steps of orbital transformation from nothing (docs/references.md) and needs no gap when levels are
filled at an electronic temperature.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from gnnip.errors import ConfigError
from gnnip.reference.engines import Engine, EngineError, check_positive, one_thread

#: programs by preference; those named psmp and popt are started by mpirun
PROGRAMS = ("cp2k.psmp", "cp2k.popt", "cp2k.ssmp", "cp2k.sopt")
#: where packages put the basis sets, when CP2K_DATA_DIR does not say it
_DATA = ("/usr/share/cp2k", "/usr/share/cp2k-data")
#: levels above the filled ones, for electrons at a temperature
_MORE_LEVELS = 60


@dataclass(frozen=True)
class Cp2k(Engine):
    """CP2K Quickstep with GTH pseudopotentials.

    cutoff, relative_cutoff : of the grids, Rydberg.  convergence : of the density.  electronic
    temperature : kelvin, 0 for whole levels; above it an odd number of electrons needs no spin, and
    the energy is the free one, whose derivatives the forces are.  kpoints : so many along each
    reciprocal axis.  valence : elements whose pseudopotential is not the usual one, with their
    electrons, e.g. Mg2 (basis sets of BASIS_MOLOPT_UCL).  ranks : MPI processes; they do not change
    the labels.
    """

    name: ClassVar[str] = "cp2k"
    reference: ClassVar[str] = "dft"
    revision: ClassVar[int] = 2
    consecutive: ClassVar[bool] = True
    from_pip: ClassVar[bool] = False
    energy_tolerance: ClassVar[float] = 1e-5
    force_tolerance: ClassVar[float] = 1e-2
    execution: ClassVar[tuple[str, ...]] = ("ranks",)

    functional: str = "PBE"
    basis: str = "DZVP-MOLOPT-SR-GTH"
    cutoff: float = 300.0
    relative_cutoff: float = 40.0
    convergence: float = 1e-6
    max_iterations: int = 60
    charge: int = 0
    multiplicity: int = 1
    electronic_temperature: float = 0.0
    kpoints: int = 1
    valence: str = ""
    ranks: int = 1

    def __post_init__(self) -> None:
        """Raise ConfigError for a number out of its range."""
        check_positive(
            self,
            "cutoff",
            "relative_cutoff",
            "convergence",
            "max_iterations",
            "multiplicity",
            "kpoints",
            "ranks",
        )
        if not self.electronic_temperature >= 0:
            raise ConfigError(
                f"The engine 'cp2k' cannot use electronic_temperature="
                f"{self.electronic_temperature}; give >= 0."
            )
        self.electrons()

    def electrons(self) -> dict[str, int]:
        """Return the electrons of the elements that `valence` names; ConfigError for another
        text."""
        words = self.valence.split(",") if self.valence else []
        found = [re.fullmatch(r"([A-Z][a-z]?)(\d+)", word) for word in words]
        if not all(found):
            raise ConfigError(
                f"The engine 'cp2k' cannot use valence={self.valence}; write elements and "
                "electrons, e.g. Mg2,Au11."
            )
        return {match[1]: int(match[2]) for match in found if match}

    def version(self) -> str:
        """Return the version of the program on the PATH; EngineError when there is none."""
        return _version(_program())

    def again(self) -> Cp2k:
        """Return the same, converged three times further."""
        return replace(self, convergence=self.convergence / 3.0)

    def calculator(self) -> Any:
        """Start CP2K in a folder of its own, which `close` removes."""
        program = _program()
        one_thread()
        from gnnip.reference.cp2k_calculator import Cp2kCalculator

        if "CP2K_DATA_DIR" not in os.environ:
            found = next((p for p in _DATA if Path(p, "BASIS_MOLOPT").exists()), None)
            if found is not None:
                os.environ["CP2K_DATA_DIR"] = found
        folder = tempfile.mkdtemp(prefix="cp2k-")
        try:
            return Cp2kCalculator(folder, self._command(program), self)
        except Exception as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise EngineError(
                f"{program} does not start ({error or type(error).__name__}); try "
                f"'{self._command(program)}' by hand."
            ) from error

    def _command(self, program: str) -> str:
        parallel = program.endswith((".psmp", ".popt"))
        if self.ranks == 1:
            # mpirun hands long lines of a hundred atoms on too slowly, and one rank needs none
            return f"{program} -s"
        launcher = shutil.which("mpirun") if parallel else None
        if launcher is None:
            raise EngineError(
                f"The engine 'cp2k' is to use {self.ranks} ranks, but mpirun is not on the "
                "PATH or the program is not parallel; install openmpi-bin or set ranks=1."
            )
        # the last two let root start it, as in a container; elsewhere they mean nothing
        environment = "env OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1"
        return f"{environment} {launcher} --bind-to none -np {self.ranks} {program} -s"

    def input(self, elements: Iterable[str]) -> str:
        """Return the part of the input that ASE has no words for, for atoms of these elements."""
        mesh = " ".join([str(self.kpoints)] * 3)
        many = f"&KPOINTS\n SCHEME MONKHORST-PACK {mesh}\n&END KPOINTS" if self.kpoints > 1 else ""
        # with k-points there is nothing to extrapolate
        start = "USE_GUESS" if many else "ASPC\n EXTRAPOLATION_ORDER 3"
        smearing = (
            f"""
      ADDED_MOS {_MORE_LEVELS}
      &SMEAR ON
        METHOD FERMI_DIRAC
        ELECTRONIC_TEMPERATURE [K] {self.electronic_temperature:g}
      &END SMEAR"""
            if self.electronic_temperature
            else ""
        )
        return f"""
&FORCE_EVAL
  &SUBSYS
{self._kinds(elements)}
  &END SUBSYS
  &DFT
    BASIS_SET_FILE_NAME BASIS_MOLOPT
    BASIS_SET_FILE_NAME BASIS_MOLOPT_UCL
    {many}
    &MGRID
      NGRIDS 4
      REL_CUTOFF {self.relative_cutoff:g}
    &END MGRID
    &QS
      EPS_DEFAULT 1.0E-10
      EXTRAPOLATION {start}
    &END QS
    &SCF
      SCF_GUESS ATOMIC
      EPS_SCF {self.convergence:.1E}{smearing}
      &DIAGONALIZATION
        ALGORITHM STANDARD
      &END DIAGONALIZATION
      &MIXING
        METHOD BROYDEN_MIXING
        ALPHA 0.4
        NBROYDEN 8
      &END MIXING
      &PRINT
        &RESTART OFF
        &END RESTART
      &END PRINT
    &END SCF
  &END DFT
&END FORCE_EVAL
"""

    def _kinds(self, elements: Iterable[str]) -> str:
        electrons, lines = self.electrons(), []
        for element in sorted(elements):
            suffix = f"-q{electrons[element]}" if element in electrons else ""
            lines += [
                f"    &KIND {element}",
                f"      BASIS_SET {self.basis}{suffix}",
                f"      POTENTIAL GTH-{self.functional.upper()}{suffix}",
                "    &END KIND",
            ]
        return "\n".join(lines)


def _program() -> str:
    for name in PROGRAMS:
        found = shutil.which(name)
        if found:
            return found
    raise EngineError(
        f"The engine 'cp2k' needs the program {PROGRAMS[0]}, which is not on the PATH; install it "
        "with 'apt-get install cp2k' (Debian, Ubuntu) or 'conda install -c conda-forge cp2k'."
    )


@functools.cache
def _version(program: str) -> str:
    environment = {
        **os.environ,
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    }
    answer = subprocess.run(
        [program, "--version"], capture_output=True, text=True, check=False, env=environment
    )
    found = re.search(r"CP2K version (\S+)", answer.stdout)
    if not found:
        raise EngineError(
            f"{program} does not state its version (exit status {answer.returncode}); install CP2K "
            "again."
        )
    return found[1]
