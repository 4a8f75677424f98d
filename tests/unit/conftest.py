"""A made-up run of a paper, for all that reads finished runs."""

from __future__ import annotations

import pytest
from gijon2023_run import anion_run
from made_up_run import Run


@pytest.fixture(scope="session")
def made_up_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a made-up run of gijon2023 at the paper tier."""
    return anion_run(tmp_path_factory.mktemp("results"))
