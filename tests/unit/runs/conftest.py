from __future__ import annotations

import os
from pathlib import Path

import pytest
from made_up_repository import Repository


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """A repository with one commit, as the current folder."""
    for name in [name for name in os.environ if name.startswith(("GIT_", "GNNIP_RUNS"))]:
        monkeypatch.delenv(name)
    made = Repository(tmp_path / "paper")
    made.root.mkdir()
    made.git("init", "--quiet", "--initial-branch=main")
    made.commit({"README.md": "made up"})
    monkeypatch.chdir(made.root)
    return made
