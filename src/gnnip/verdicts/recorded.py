"""A recorded run read back: its weights, histories and last frames, wherever they are kept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gnnip.errors import DataError, nearest
from gnnip.files import read_json
from gnnip.provenance import fingerprint

if TYPE_CHECKING:
    import pandas as pd
    from ase import Atoms

    from gnnip.models.contract import Potential

#: the list of what is kept outside git
MANIFEST = "kept.json"
#: plain, or compressed where they are many
HISTORIES = ("histories.csv", "histories.csv.gz")
LAST_FRAMES = "last_frames/{}.xyz.gz"
#: the columns that name a training
TRAINING = ("group", "cell", "seed")
#: the files of a saved potential
WEIGHTS = ("model.safetensors", "model.json")


#: how the table of an artefact is called that verdicts are made of, after its name
METRICS = ".metrics.csv"


def artefacts_of(folder: str | Path) -> list[str]:
    """Return the names of the artefacts whose metrics are in a folder of a run."""
    return sorted(path.name.removesuffix(METRICS) for path in Path(folder).glob(f"*{METRICS}"))


def join_histories(paths: Iterable[Path]) -> pd.DataFrame | None:
    """Return the history.csv of trainings, .../{group}/{cell}/seed-{seed}/history.csv, as one table
    with these columns too; None without any."""
    import pandas as pd

    tables = []
    for path in paths:
        group, cell, seed = path.parts[-4:-1]
        own = pd.read_csv(path, float_precision="round_trip")
        own[list(TRAINING)] = group, cell, int(seed.removeprefix("seed-"))
        tables.append(own)
    return pd.concat(tables) if tables else None


@dataclass(frozen=True)
class RecordedRun:
    """What is recorded of a card at a tier: `folder` is committed, `kept` is outside git."""

    folder: Path
    kept: Path

    @classmethod
    def of(cls, tier: str, card: str, results: Path = Path("results")) -> RecordedRun:
        """Return the record of a card below the folder of all results."""
        return cls(results / "recorded" / tier / card, results / "kept" / tier / card)

    def manifest(self) -> dict[str, dict[str, Any]]:
        """Return bytes and sha256 of the files that are kept outside git, by name."""
        path = self.folder / MANIFEST
        found: dict[str, dict[str, Any]] = read_json(path, dict) if path.exists() else {}
        return found

    def has(self, name: str) -> bool:
        """Tell whether a file was recorded, though it may be kept elsewhere."""
        return (self.folder / name).exists() or name in self.manifest()

    def file(self, name: str) -> Path:
        """Return where a recorded file is.

        DataError for one that was not recorded, or is kept outside git and is not here or not what
        was recorded.
        """
        if not self.has(name):
            committed = (path for path in self.folder.rglob("*") if path.is_file())
            known = [*self.manifest(), *(str(path.relative_to(self.folder)) for path in committed)]
            hint = nearest(name, known) if known else "; record a run first."
            raise DataError(f"{self.folder} has no {name}{hint}")
        if (self.folder / name).exists():
            return self.folder / name
        if fault := self._fault(name, self.manifest()[name]):
            raise DataError(fault)
        return self.kept / name

    def faults(self) -> list[str]:
        """Return a sentence for each file kept outside git that is missing or was changed."""
        checked = (self._fault(name, entry) for name, entry in self.manifest().items())
        return [fault for fault in checked if fault]

    def _fault(self, name: str, recorded: dict[str, Any]) -> str:
        path = self.kept / name
        if not path.exists():
            return f"{path} is missing; copy it from where the run was recorded."
        if fingerprint(path) != recorded:
            return f"{path} is not the file that was recorded; copy it again, or record anew."
        return ""

    def load(self, group: str, cell: str, seed: int, device: str = "cpu") -> Potential:
        """Return the potential of a training; DataError as for `file`."""
        from gnnip.models import load

        weights, _ = (self.file(f"weights/{group}/{cell}/seed-{seed}/{n}") for n in WEIGHTS)
        return load(weights, device)

    def histories(self) -> pd.DataFrame:
        """Return a row for each epoch of each training: group, cell, seed, and the columns of its
        history.csv."""
        import pandas as pd

        path = self.file(HISTORIES[self.has(HISTORIES[1])])
        return pd.read_csv(path, float_precision="round_trip")

    def last_frames(self, measurement: str) -> list[Atoms]:
        """Return how the replicas of a dynamics ended, as `gnnip.md.last_frames` does; `info` has
        the `potential` too: group/cell/seed-n, or reference."""
        from ase.io import iread

        return list(iread(self.file(LAST_FRAMES.format(measurement)), format="extxyz"))
