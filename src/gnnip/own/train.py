"""From frames and a model's name to a finished run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gnnip.datasets.imports.settings import FolderSource
from gnnip.errors import ConfigError
from gnnip.files import make_folder, read_yaml, write_text
from gnnip.own.card import FRAMES, Choices, Known, make_card, name_of
from gnnip.own.frames import source_of
from gnnip.own.run import DESCRIPTION, Run, Say, import_frames
from gnnip.strict import validate

_HEAD = """\
# A training on frames of one's own, and all that is measured of it. `gnnip train` with this file
# does the same again. It is a card of shared kinds: as papers/{name}/card.yaml it is run by the
# workflow, and takes published values and claims (docs/add_a_paper.md).
"""


def describe(
    frames: str, read: Mapping[str, Any], choices: Choices, folder: Path, say: Say = print
) -> Run:
    """Import frames into a folder and describe the run there; return it.

    Args:
        frames: a file, a folder of files, or a pattern of them.
        read: settings of the import that the user states.
        choices: what is trained.
        folder: of the run.
        say: gets what there is to say, line by line.

    Raises:
        ConfigError: a folder that holds another run, options that are none.
        DataError: frames that cannot be read, or are refused.
    """
    source = source_of(frames, read)
    known = read_yaml(folder / DESCRIPTION) if (folder / DESCRIPTION).exists() else None
    if known is not None and known.get("datasets", {}).get(FRAMES, {}).get("folder") != source:
        raise _another(folder)
    make_folder(folder)
    archive = import_frames(folder, FRAMES, validate(FolderSource, source, "frames"), say)
    card = make_card(name_of(folder.resolve().name), source, choices, _what_is_known(archive))
    if known is not None and known != card:
        raise _another(folder)
    _write(folder, card)
    return Run.read(folder)


def repeat(description: Path, folder: Path) -> Run:
    """Return the run that a `train.yaml` describes, to be done in `folder`; ConfigError for one
    that holds another run."""
    card = read_yaml(description)
    place = folder / DESCRIPTION
    if place.exists() and read_yaml(place) != card:
        raise _another(folder)
    make_folder(folder)
    if not place.exists():
        _write(folder, card)
    return Run.read(folder)


def _another(folder: Path) -> ConfigError:
    return ConfigError(
        f"{folder} holds another run; choose another --output, continue it with "
        f"'gnnip train {folder}', or delete it."
    )


def _write(folder: Path, card: Mapping[str, Any]) -> None:
    import yaml

    text = yaml.safe_dump(dict(card), sort_keys=False, allow_unicode=True, width=100)
    write_text(folder / DESCRIPTION, _HEAD.format(name=card["id"]) + text)


def _what_is_known(archive: Path) -> Known:
    """Return what an archive has; trajectories are held out where there are four or more, fewer
    than frames."""
    from gnnip.datasets.store import load_arrays

    arrays = load_arrays(archive)
    trajectories = len(np.unique(arrays.metadata["trajectory"]))
    crystals = arrays.pbc is not None and bool(arrays.pbc.all())
    return Known(
        frames=arrays.n_frames,
        elements=[int(z) for z in np.unique(arrays.numbers)],
        forces=bool(arrays.forces),
        stress=bool(arrays.stresses) and crystals,
        trajectories=4 <= trajectories < arrays.n_frames,
    )
