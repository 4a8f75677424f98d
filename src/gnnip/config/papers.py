"""Where papers are: folders with a card.yaml, ours under papers/ and a user's own anywhere."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

from gnnip import files
from gnnip.config.schema import Card, Config
from gnnip.errors import ConfigError, DataError
from gnnip.strict import validate

FOLDER = Path("papers")
CARD = "card.yaml"


def folders(own: str | Path | None = None, folder: str | Path = FOLDER) -> dict[str, Path]:
    """Return the folder of each paper by name: those under `folder`, and those of the user.

    `own` is a folder of papers or that of a single one; ConfigError where it holds no card, or a
    paper whose name is taken.
    """
    found = {path.parent.name: path.parent for path in sorted(Path(folder).glob(f"*/{CARD}"))}
    if own is None:
        return found
    place = Path(own)
    places = [place] if (place / CARD).exists() else [p.parent for p in place.glob(f"*/{CARD}")]
    if not places:
        raise ConfigError(f"cards: {own} holds no {CARD}, and no folder in it does.")
    for each in sorted(path.resolve() for path in places):
        if each.name in found and found[each.name].resolve() != each:
            raise ConfigError(f"cards: there is a paper '{each.name}' already; rename {each}.")
        found.setdefault(each.name, each)
    return found


def find(name: str, own: str | Path | None = None, folder: str | Path = FOLDER) -> Path:
    """Return the folder of a paper; ConfigError for an unknown one."""
    known = folders(own, folder)
    if name not in known:
        raise ConfigError(
            f"There is no card '{name}' in {folder}; the cards are {', '.join(known) or 'none'}."
        )
    return known[name]


def make_importable(folder: Path) -> None:
    """Let the Python files of a paper be imported as <name>.tables, here and in child processes."""
    root = str(folder.resolve().parent)
    if root not in sys.path:
        sys.path.append(root)
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if root not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join([*filter(None, paths), root])
    spec = importlib.util.find_spec(folder.name)
    places = list(spec.submodule_search_locations or []) if spec else []
    if str(folder.resolve()) not in places:
        raise ConfigError(f"{folder} has the name of a Python package; rename the folder.")


def module(folder: Path, part: str) -> str | None:
    """Return the name to import tables, claims or figures of a paper by, None if it has none."""
    return f"{folder.name}.{part}" if (folder / f"{part}.py").exists() else None


def load_card(folder: Path) -> Card:
    """Read and validate the card of a paper as it is written, without any tier worked in."""
    path = folder / CARD
    card = validate(Card, read_yaml(path), str(path))
    if card.id != folder.name:
        raise ConfigError(f"{path}: id is '{card.id}'; it must be the folder's, '{folder.name}'.")
    return card


def load_config(path: str | Path = "config.yaml") -> Config:
    """Read and validate `config.yaml`; its defaults where there is none."""
    return validate(Config, read_yaml(Path(path)) if Path(path).exists() else {}, str(path))


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the keys of a YAML file; ConfigError for one that cannot be read as `read_yaml` of
    `gnnip.files` does."""
    try:
        content: dict[str, Any] = files.read_yaml(path)
    except DataError as error:
        raise ConfigError(str(error)) from None
    return content
