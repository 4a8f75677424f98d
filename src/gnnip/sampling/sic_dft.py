"""Silicon carbide labelled by density functional theory (CP2K, PBE), 1500 to 3500 K.

As in the set `sic`, GFN1-xTB moves the atoms: a step of it costs a hundredth of a label, so that
frames can lie 12 fs apart, a third of a vibration. The crystal has the lattice constant of PBE.
"""

from __future__ import annotations

from dataclasses import replace

from gnnip.sampling import sic

TITLE = "SiC, zincblende, 1500 to 3500 K, PBE"
LATTICE = 4.38  #: Angstrom, of PBE
ENGINE = "cp2k basis=DZVP-MOLOPT-SR-GTH cutoff=300 convergence=5e-6"

SYSTEM = replace(
    sic.SYSTEM,
    name="sic_dft",
    paper={**sic.SYSTEM.paper, "lattice": LATTICE, "label_engine": ENGINE, "stride_fs": 12.0},
)
paper_plan, smoke_plan = SYSTEM.paper_plan, SYSTEM.smoke_plan
run_trajectory = SYSTEM.run_trajectory
