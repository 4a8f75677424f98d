from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gnnip.datasets import engine_sets
from gnnip.sampling import aimd, sic


@pytest.fixture(scope="session")
def cold_crystal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Archive sic.h5 of three frames at 30 K and three at 60 K, labelled by a toy potential."""
    folder = tmp_path_factory.mktemp("sic")
    plan = replace(
        sic.smoke_plan(64),
        engine="ase:lj sigma=1.68 epsilon=0.01 rc=3.0",
        label_engine="",
        temperatures=(30.0, 60.0),
        boost=1.0,
    )
    path = aimd.run(plan, folder / "t", sic.start, str)
    return engine_sets.assemble("sic", [path], folder / "sic.h5", progress=str)
