"""The list of long runs, runs.yaml, as a user writes it."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import Field, RootModel, model_validator

from gnnip.config.papers import read_yaml
from gnnip.errors import nearest
from gnnip.strict import Strict, validate

FILE = "runs.yaml"


class Run(Strict):
    """A computation that takes hours: a command, and what comes back of it."""

    what: str
    """What is computed, in one line."""
    command: str = ""
    """Run by bash in a clone of the repository; $CORES is the number of cores it may use."""
    commit: str = Field(default="", pattern="^([0-9a-f]{7,40})?$")
    """Hash of the commit that it is run at."""
    planned: str = ""
    """What it waits for, where it cannot run yet."""
    estimate: float = Field(gt=0)
    """Core-hours that it is expected to take."""
    brings: list[str] = []
    """Files and folders that come back to the project, relative to it; * stands for any name."""
    feeds: list[str] = []
    """Artefacts, archives or verdicts that hang on it."""
    after: list[str] = []
    """Earlier entries that must be finished first."""
    needs: list[str] = []
    """Programs that must be on the PATH."""

    @model_validator(mode="after")
    def _can_run(self) -> Run:
        missing = [key for key in ("command", "commit", "brings") if not getattr(self, key)]
        if missing and not self.planned:
            raise ValueError(
                f"it lacks {' and '.join(missing)}; add that, or say what it waits for (planned)"
            )
        for pattern in map(PurePosixPath, self.brings):
            if pattern.is_absolute() or ".." in pattern.parts:
                raise ValueError(
                    f"brings: {pattern} is not inside the project; write it from there"
                )
        return self


class Runs(RootModel[dict[Annotated[str, Field(pattern="^[a-z][a-z0-9_]*$")], Run]]):
    """Long runs by name, in the order in which they are worked off."""

    @model_validator(mode="after")
    def _in_order(self) -> Runs:
        earlier: list[str] = []
        for name, run in self.root.items():
            for other in run.after:
                if other not in earlier:
                    raise ValueError(
                        f"'{name}' comes after '{other}', which is no entry above it"
                        f"{nearest(other, earlier or ['none'])}"
                    )
            earlier.append(name)
        return self


def load_runs(root: Path) -> dict[str, Run]:
    """Return the entries of a project by name; ConfigError says what is wrong with one."""
    path = root / FILE
    return validate(Runs, read_yaml(path), FILE).root
