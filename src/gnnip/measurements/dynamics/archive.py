"""Registered trajectories: taken in place of a run, and added to the registry."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from gnnip.errors import DataError
from gnnip.files import atomic_path
from gnnip.measurements.dynamics.motion import Motion, motion_of_reference


def take_archived(
    name: str,
    output: str | os.PathLike[str],
    *,
    motion: Mapping[str, Any],
    own: Mapping[str, Any] | None = None,
    reference: str,
    registry: str | os.PathLike[str] | None = None,
) -> None:
    """Copy the registered trajectory `name` to `output`, as if `run_dynamics` had just made it.

    DataError unless its checksum is the registered one, it was moved by `reference` at the
    temperature of `motion`, and the file records whatever else `own` states. What `own` leaves out
    (duration, time step, starts, ...) may differ from `motion`.
    """
    from gnnip.datasets.registry import check_archive
    from gnnip.md import read_facts

    archive = check_archive(name, registry, kind="trajectory")
    facts = read_facts(archive)
    has = {"reference": facts.get("potential"), **facts.get("motion", {})}
    wanted = asdict(Motion.read(motion_of_reference(motion, own)))
    wanted = {key: wanted[key] for key in ("temperature", *(own or {}))} | {"reference": reference}
    for key, value in wanted.items():
        # through JSON, as the file's own words came
        if json.loads(json.dumps(value)) != has.get(key):
            raise DataError(
                f"The trajectory '{name}' has {key} {has.get(key)!r}, the card states {value!r}: "
                f"change the card, or make it anew with sources={{{name}: generate}}."
            )
    with atomic_path(output) as temporary:
        shutil.copyfile(archive, temporary)


def register_trajectory(
    name: str,
    archive: str | os.PathLike[str],
    *,
    title: str,
    reference: str,
    licence: str,
    made: Mapping[str, Any],
    path: str | os.PathLike[str] | None = None,
) -> dict[str, Any]:
    """Add or replace the registry's entry of a trajectory of `run_dynamics`, and return it.

    The file, best packed by `gnnip.md.pack_trajectory`, lies beside the registry. Arguments are
    those of `gnnip.datasets.registry.register`; `made` is joined by what moved the atoms, and how,
    as the file itself records it. A card names it as `reference_archive`.

    Raises DataError for a file that is not in the registry's folder, is no trajectory, or does not
    say how it was moved.
    """
    from gnnip.datasets.registry import add_entry, check_place
    from gnnip.md import read_facts, read_trajectory

    check_place(archive, path)
    replicas, facts = read_trajectory(archive), read_facts(archive)
    if "motion" not in facts:
        raise DataError(
            f"{archive} does not say how its atoms were moved: register what run_dynamics wrote."
        )
    counts = {
        "kind": "trajectory",
        "n_replicas": len(replicas),
        "n_frames": sum(len(t.time_fs) for t in replicas),
        "n_atoms": sum(len(t.time_fs) * len(t.atomic_numbers) for t in replicas),
    }
    said = {"title": title, "reference": reference, "licence": licence, "made": made}
    return add_entry(name, archive, said, counts, facts, path)
