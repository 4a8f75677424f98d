"""The copy of a run that is committed: all of it, or some artefacts added to what is there."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gnnip.provenance import record_files
from gnnip.verdicts.judge import judge_folder
from gnnip.verdicts.trainings import FILE, read_trainings
from gnnip.verdicts.verdict import JudgedCard


def record(
    files: Sequence[Path],
    folder: str | Path,
    card: JudgedCard,
    claims: str | None,
    chosen: Sequence[str] | None,
) -> dict[str, Any]:
    """Record the files of a run and return their manifest.

    Without `chosen` the folder becomes a copy of the run. With `chosen`, the artefacts of a run of
    these alone, their tables and figures join what is recorded, the provenance goes beside them
    under their names, and `card` (with all of its artefacts) is judged again on all that is there,
    by the tests of `claims`, the module of the paper's claims.
    """
    if chosen is None:
        return record_files(files, folder)
    target = Path(folder)
    own = [a for a in card.artefacts if a in chosen]
    names = {f"{a}{suffix}" for a in own for suffix in (".csv", ".metrics.csv", ".png", ".svg")}
    with TemporaryDirectory() as place:
        parts = [path for path in files if path.name in names]
        provenance = Path(place) / f"{'+'.join(own)}.provenance.json"
        shutil.copyfile(next(p for p in files if p.name == "provenance.json"), provenance)
        manifest = record_files([*parts, provenance], target, keep_others=True)
    rejudge(target, card, claims)
    return manifest


def rejudge(folder: str | Path, card: JudgedCard, claims: str | None) -> None:
    """Write the verdicts of a recorded run anew, from its tables alone."""
    judge_folder(card, folder, claims, read_trainings(Path(folder) / FILE)).write(folder)
