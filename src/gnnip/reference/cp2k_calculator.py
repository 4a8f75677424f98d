"""The ASE calculator of the engine `cp2k`; imports ASE."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ase.calculators.calculator import all_changes
from ase.calculators.cp2k import CP2K
from ase.units import Rydberg

from gnnip.errors import ConvergenceError

if TYPE_CHECKING:
    from gnnip.reference.cp2k import Cp2k

_NOT_CONVERGED = "SCF run NOT converged"


class Cp2kCalculator(CP2K):
    """ASE's calculator, which notices a field that did not converge and cleans up.

    folder : for the program's files, removed by `close`.  command : that starts it.
    """

    def __init__(self, folder: str, command: str, settings: Cp2k) -> None:
        """Start the program."""
        self._folder, self._settings = folder, settings
        super().__init__(
            command=command,
            label=str(Path(folder, "run")),
            xc=settings.functional,
            basis_set=None,
            basis_set_file=None,
            pseudo_potential=None,
            potential_file="GTH_POTENTIALS",
            cutoff=settings.cutoff * Rydberg,
            max_scf=settings.max_iterations,
            charge=settings.charge,
            multiplicity=settings.multiplicity,
            uks=settings.multiplicity > 1,
            stress_tensor=True,
            print_level="LOW",
        )

    def calculate(
        self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes
    ) -> None:
        """Compute energy, forces and stress; ConvergenceError when the field fails."""
        output = Path(self._folder, "run.out")
        if "cell" in system_changes and self._force_env_id is not None:
            # grids and orbitals belong to the cell that they were made in
            self._release_force_env()
            output.unlink(missing_ok=True)
        before = output.stat().st_size if output.exists() else 0
        super().calculate(atoms, properties, system_changes)
        with open(output, encoding="utf-8", errors="replace") as stream:
            stream.seek(before)
            if _NOT_CONVERGED in stream.read():
                raise ConvergenceError("the field of CP2K is not self-consistent")

    def _generate_input(self) -> str:
        self.parameters.inp = self._settings.input(set(self.atoms.symbols))
        return str(super()._generate_input())

    def close(self) -> None:
        """End the program and remove its files."""
        shell, self._shell, self._force_env_id = self._shell, None, None
        child = None if shell is None else shell._child
        if child is not None and not shell.isready:
            # in the middle of something: mpirun passes the signal on to its processes
            child.terminate()
            try:
                child.wait(timeout=10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            child.stdin.close()
            child.stdout.close()
            shell._child = None
            shell.isready = False
        elif child is not None:
            shell.close()
        shutil.rmtree(self._folder, ignore_errors=True)
