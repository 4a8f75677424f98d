"""Germanium diselenide labelled by density functional theory (CP2K, PBE), 1100 to 1800 K.

GFN1-xTB moves the atoms, as in the set `gese2`. Two of five trajectories are of the layered phase,
at its measured cell: one heated, one molten.
"""

from __future__ import annotations

from dataclasses import replace

from gnnip.sampling import gese2

TITLE = "GeSe2: layers, network and melts, 1100 to 1800 K, PBE"
ENGINE = "cp2k basis=DZVP-MOLOPT-SR-GTH cutoff=300 convergence=5e-6"

SYSTEM = replace(
    gese2.SYSTEM,
    name="gese2_dft",
    paper={**gese2.SYSTEM.paper, "label_engine": ENGINE, "frames": 14, "stride_fs": 15.0},
    in_turn=(
        {"phase": "layered", "temperatures": gese2.LADDER},
        {**gese2.MELT, "phase": "layered_melt"},
        {"phase": "crystal", "temperatures": gese2.LADDER},
        gese2.NETWORK,
        gese2.MELT,
    ),
)
paper_plan, smoke_plan = SYSTEM.paper_plan, SYSTEM.smoke_plan
run_trajectory = SYSTEM.run_trajectory
