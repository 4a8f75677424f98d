"""Checkpoints beside a job's outputs: kept across a kill, never across a change of plan."""

from __future__ import annotations

import os
from typing import Any

from gnnip.files import make_folder, read_json, write_json

_IDENTITY = "checkpoint-of.json"


def keep_only_if_same(folder: str | os.PathLike[str], identity: dict[str, Any]) -> bool:
    """Keep the checkpoints in `folder` only if they were made for the same `identity`.

    Args:
        folder: the folder of one job; it is made when missing. Checkpoints are the files named
            checkpoint.*.
        identity: all that determines the result, as JSON values: plan, seed, hash of the code.

    Returns:
        True when there is a checkpoint to continue from.
    """
    folder = make_folder(folder)
    record = folder / _IDENTITY
    checkpoints = list(folder.glob("checkpoint.*"))
    same = record.exists() and read_json(record) == identity
    if not same:
        for checkpoint in checkpoints:
            checkpoint.unlink()
        write_json(record, identity)
    return same and bool(checkpoints)
