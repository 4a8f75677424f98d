"""Saved potentials: the weights in safetensors, beside them a JSON to build the model again."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from gnnip.errors import CheckpointError, ConfigError, GnnipError, nearest
from gnnip.files import check_kind, read_json, sha256, write_json
from gnnip.models.contract import Potential, choose_device, name_of
from gnnip.models.registry import architecture as find_class
from gnnip.models.registry import build, names
from gnnip.models.weights import read_weights, write_weights

FORMAT = "gnnip potential"
FORMAT_VERSION = 1
#: what the JSON must hold
_KINDS = {
    **dict.fromkeys(("architecture", "weights_sha256"), str),
    **dict.fromkeys(("hyperparameters", "training"), dict),
    "species": list,
}


@dataclass
class ModelFile:
    """The JSON beside the weights: enough to build the model again.

    architecture : as for `gnnip.models.build`.
    """

    architecture: str
    hyperparameters: dict[str, Any]
    species: list[int]
    cutoff_angstrom: float
    weights_sha256: str
    training: dict[str, Any] = field(default_factory=dict)
    format: str = FORMAT
    format_version: int = FORMAT_VERSION


def save(model: Potential, path: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Write and return `<path>.safetensors` and `<path>.json`; drops an extension of `path`."""
    weights_file, json_file = model_files(path)
    write_weights(weights_file, model.state_dict())
    record = ModelFile(
        architecture=name_of(type(model)),
        hyperparameters=asdict(model.hyperparameters),
        species=list(model.species),
        cutoff_angstrom=model.cutoff,
        weights_sha256=sha256(weights_file),
        training=model.training_record,
    )
    write_json(json_file, asdict(record))
    return weights_file, json_file


def load(
    path: str | os.PathLike[str], device: str = "cpu", architecture: str | None = None
) -> Potential:
    """Build a potential from its two files, in evaluation mode.

    A potential that is not of the library is imported from its module.

    Parameters
    ----------
    path : either file, their common stem, or a folder that holds `model.json`.
    device : "cpu", "cuda" or "auto".
    architecture : if given, a potential of any other kind is refused.

    Raises
    ------
    CheckpointError : missing or damaged files, a pickle, a newer format, another architecture, one
        whose module is missing, or weights that do not belong to the hyper-parameters.
    """
    weights_file, json_file = model_files(path)
    if Path(path).is_file() and Path(path).suffix not in (".json", ".safetensors"):
        read_weights(path)  # names a pickle for what it is
        raise CheckpointError(
            f"{path} is not a saved potential; give its .json or .safetensors file."
        )
    if not os.path.exists(json_file):
        raise CheckpointError(f"There is no saved potential at {path}: {json_file} does not exist.")
    record = _read_record(json_file)
    kind = record["architecture"]
    if architecture is not None and kind != architecture:
        raise CheckpointError(f"{json_file} holds the architecture '{kind}', not '{architecture}'.")
    try:
        model = _restore(record, weights_file, json_file)
    except CheckpointError:
        raise
    except (GnnipError, RuntimeError, KeyError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(
            f"{json_file} and its weights do not fit together: {reason}"
        ) from error
    return model.to(choose_device(device)).eval()


def model_files(path: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Return the weights file and the JSON file that `path` (see `load`) stands for."""
    stem = Path(path)
    if os.path.isdir(stem):  # no error for a name that is too long: whoever opens it says so
        stem = stem / "model"
    elif stem.suffix in (".json", ".safetensors"):
        stem = stem.with_suffix("")
    return stem.with_name(stem.name + ".safetensors"), stem.with_name(stem.name + ".json")


def find_seeds(path: str | os.PathLike[str]) -> list[Path]:
    """Return the potentials that a path stands for: itself, or where it is a folder without a
    model.json the seeds of the one training below it, in their order.

    CheckpointError where a folder holds trainings of several models, which are named.
    """
    place = Path(path)
    if not place.is_dir() or (place / "model.json").exists():
        return [place]
    found = sorted(
        (file.parent for file in place.rglob("seed-*/model.json")),
        key=lambda folder: (folder.parent, int(folder.name.removeprefix("seed-"))),
    )
    cells = list(dict.fromkeys(folder.parent for folder in found))
    if len(cells) > 1:
        shown = ", ".join(str(cell) for cell in cells[:4])
        raise CheckpointError(f"{path} holds several potentials; choose one of {shown}.")
    return found or [place]


def _read_record(json_file: Path) -> Mapping[str, Any]:
    """Return the content of a ModelFile of a known format and architecture."""
    try:
        record = read_json(json_file, dict)
    except GnnipError as error:
        raise CheckpointError(str(error)) from error
    if record.get("format") != FORMAT:
        raise CheckpointError(f"{json_file} does not describe a gnnip potential.")
    version = record.get("format_version")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise CheckpointError(
            f"{json_file} has format version {version}, this gnnip reads up to {FORMAT_VERSION}; "
            "update gnnip."
        )
    try:
        for key, wanted in _KINDS.items():
            check_kind(record.get(key), wanted, f"{json_file}: {key}")
    except GnnipError as error:
        raise CheckpointError(f"{error} Copy the potential again.") from error
    if not all(type(z) is int and 0 < z <= 118 for z in record["species"]):
        raise CheckpointError(
            f"{json_file}: species is {record['species']!r:.60}, and a list of atomic numbers is "
            "expected; copy the potential again."
        )
    kind = record["architecture"]
    if kind not in names() and ":" not in kind:
        raise CheckpointError(
            f"{json_file} holds the architecture '{kind}', which this gnnip lacks"
            f"{nearest(kind, names())}"
        )
    try:
        find_class(kind)
    except ConfigError as error:
        raise CheckpointError(f"{json_file} cannot be loaded: {error}") from error
    return record


def _restore(record: Mapping[str, Any], weights_file: Path, json_file: Path) -> Potential:
    """Return the model that a record describes, with its weights and their precision."""
    model = build(record["architecture"], **record["hyperparameters"])
    tensors = read_weights(weights_file)
    if sha256(weights_file) != record["weights_sha256"]:
        raise CheckpointError(
            f"{weights_file} is not the file that {json_file.name} was written for; copy both "
            "again."
        )
    dtype = next((t.dtype for t in tensors.values() if t.is_floating_point()), torch.float32)
    model.to(dtype).load_state_dict(tensors)
    model.species = tuple(record["species"])
    model.training_record = dict(record["training"])
    return model
