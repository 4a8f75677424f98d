"""The trainings behind a card's numbers, and which of them may judge the paper."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from gnnip.artefacts.tables import NONE
from gnnip.errors import DataError
from gnnip.files import read_csv, read_json
from gnnip.training import soundness
from gnnip.verdicts.verdict import UNRECORDED, Why

FILE = "trainings.csv"
_FACTS = (
    *("stopped", "epochs_run", "best_epoch", "validation_error", "null_model", "share_of_null"),
    *("silent_share", "lucky_epoch", "late_change", "ends_at_zero", "half_error"),
)
#: of trainings.csv: `sound` trainings judge, `reason` says why others do not
COLUMNS = ("group", "cell", "seed", *_FACTS, "sound", "reason")


def training_table(summaries: Iterable[str | Path]) -> pd.DataFrame:
    """Return one row per training, from files called .../{group}/{cell}/seed-{seed}/summary.json.

    A training under a schedule that ends at zero is flat where one of its cell gained less than 5 %
    on the same with half the epochs.
    """
    rows: list[dict[str, Any]] = []
    for path in map(Path, summaries):
        place = dict(zip(("group", "cell", "seed"), _names(path), strict=True))
        rows.append({**read_json(path, dict), **place})
    judged = [
        {**{name: row.get(name) for name in COLUMNS}, "sound": not reason, "reason": reason}
        for row, reason in zip(rows, _reasons(rows), strict=True)
    ]
    return pd.DataFrame(judged, columns=list(COLUMNS))


def _reasons(rows: Sequence[Mapping[Any, Any]]) -> list[str]:
    """Return why each training may not judge, empty where it may; rows have its summary's facts."""
    told: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row.get("half_error") is not None:
            reason = soundness.unflat(row["validation_error"], row["half_error"])
            told.setdefault((row["group"], row["cell"]), []).append(reason)
    found = []
    for row in rows:
        faults = soundness.faults(row)
        if not faults and row["stopped"] == "epochs" and row["ends_at_zero"]:
            reasons = told.get((row["group"], row["cell"]), [soundness.unflat(0.0, None)])
            faults = [reason for reason in reasons if reason][:1]
        found.append("; ".join(faults))
    return found


def _learned_or_not(trainings: pd.DataFrame) -> pd.DataFrame:
    """Return the trainings judged as if none with a record had collapsed."""
    known = trainings[trainings["share_of_null"].notna()].astype(object)
    rows = known.where(known.notna(), None).to_dict("records")
    told = trainings["reason"].fillna("")
    told[known.index] = _reasons(
        [row | {"share_of_null": None, "silent_share": 0.0} for row in rows]
    )
    return trainings.assign(reason=told, sound=told == "")


def _names(path: Path) -> tuple[str, str, int]:
    group, cell, seed = path.parts[-4:-1]
    return group, cell, int(seed.removeprefix("seed-"))


def read_trainings(path: str | Path) -> pd.DataFrame | None:
    """Read trainings.csv; None where there is none. DataError for one without its columns."""
    if not Path(path).exists():
        return None
    read_csv(path)  # says what is wrong with it
    # pandas' own way loses the last digit, and a table that is joined is written again
    table = pd.read_csv(path, float_precision="round_trip")
    missing = [name for name in COLUMNS if name not in table]
    if missing:
        raise DataError(f"{path} lacks the column {missing[0]}; delete it and run again.")
    return table


def join_trainings(recorded: str | Path, new: str | Path) -> pd.DataFrame:
    """Return the recorded table with the rows of a new run, which replace those of the same
    training."""
    tables = [t for t in map(read_trainings, (recorded, new)) if t is not None and len(t)]
    joined = pd.concat(tables) if tables else pd.DataFrame(columns=list(COLUMNS))
    return joined.drop_duplicates(["group", "cell", "seed"], keep="last")


def why_unsound(
    trainings: pd.DataFrame | None,
    names: Collection[str],
    seeds: Sequence[int],
    *,
    learned: bool = True,
) -> Why | None:
    """Return why numbers of these trainings judge nothing; None when they do, or none is behind.

    Args:
        trainings: the table of all trainings of the run; None where none was kept.
        names: groups, or group/cell.
        seeds: those that the numbers are of; all when empty.
        learned: whether one that has collapsed judges nothing.
    """
    if not names or set(names) == {NONE}:
        return None
    if trainings is None:
        return Why(UNRECORDED, "no record tells whether its trainings were flat")
    cells = trainings["group"] + "/" + trainings["cell"].astype(str)
    chosen = trainings["group"].isin(names) | cells.isin(names)
    if seeds:
        chosen &= trainings["seed"].isin(seeds)
    behind = trainings[chosen] if learned else _learned_or_not(trainings)[chosen]
    if behind.empty:
        which = ", ".join(sorted(names))
        return Why(UNRECORDED, f"no record tells whether the trainings of {which} were flat")
    unsound = behind[~behind["sound"].astype(bool)]
    if unsound.empty:
        return None
    first = unsound.iloc[0]
    fault = str(first["reason"])
    which = f"{first['group']}/{first['cell']}, seed {first['seed']}: {fault}"
    if len(behind) > 1:
        which = f"{len(unsound)} of {len(behind)} trainings judge nothing, {which}"
    return Why(soundness.kind(fault), which)
