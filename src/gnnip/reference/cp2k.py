"""Density functional theory of periodic cells by CP2K: Gaussians and plane waves, Gamma point.

CP2K is no Python package: it is found on the PATH and talked to through its shell mode (ASE's
calculator), which stays alive from frame to frame. The first frame costs ten times a later one of
the same trajectory, whose wave function it starts from: label consecutive frames.

Orbitals are found by orbital transformation, which needs a gap: no metals.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from gnnip.reference.engines import Engine, EngineError, check_positive, one_thread

#: programs by preference; those named psmp and popt are started by mpirun
PROGRAMS = ("cp2k.psmp", "cp2k.popt", "cp2k.ssmp", "cp2k.sopt")
#: where packages put the basis sets, when CP2K_DATA_DIR does not say it
_DATA = ("/usr/share/cp2k", "/usr/share/cp2k-data")


@dataclass(frozen=True)
class Cp2k(Engine):
    """CP2K Quickstep with GTH pseudopotentials.

    cutoff, relative_cutoff : of the grids, Rydberg.  convergence : of the orbitals' gradient.
    ranks : MPI processes; they do not change the labels.
    """

    name: ClassVar[str] = "cp2k"
    reference: ClassVar[str] = "dft"
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
    max_iterations: int = 50
    charge: int = 0
    multiplicity: int = 1
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
            "ranks",
        )

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
            return Cp2kCalculator(folder, self._command(program), self._input(), self)
        except Exception as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise EngineError(
                f"{program} does not start ({error or type(error).__name__}); try "
                f"'{self._command(program)}' by hand."
            ) from error

    def _command(self, program: str) -> str:
        parallel = program.endswith((".psmp", ".popt"))
        launcher = shutil.which("mpirun") if parallel else None
        if launcher is None:
            if self.ranks > 1:
                raise EngineError(
                    f"The engine 'cp2k' is to use {self.ranks} ranks, but mpirun is not on the "
                    "PATH or the program is not parallel; install openmpi-bin or set ranks=1."
                )
            return f"{program} -s"
        # the last two let root start it, as in a container; elsewhere they mean nothing
        environment = "env OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1"
        return f"{environment} {launcher} --bind-to none -np {self.ranks} {program} -s"

    def _input(self) -> str:
        """Return the part of the input that ASE has no words for."""
        return f"""
&FORCE_EVAL
  &DFT
    &MGRID
      NGRIDS 4
      REL_CUTOFF {self.relative_cutoff:g}
    &END MGRID
    &QS
      EPS_DEFAULT 1.0E-10
      EXTRAPOLATION ASPC
      EXTRAPOLATION_ORDER 3
    &END QS
    &SCF
      SCF_GUESS ATOMIC
      EPS_SCF {self.convergence:.1E}
      &OT
        MINIMIZER DIIS
        PRECONDITIONER FULL_KINETIC
        ENERGY_GAP 0.1
      &END OT
      &OUTER_SCF
        EPS_SCF {self.convergence:.1E}
        MAX_SCF 4
      &END OUTER_SCF
      &PRINT
        &RESTART OFF
        &END RESTART
      &END PRINT
    &END SCF
  &END DFT
&END FORCE_EVAL
"""


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
