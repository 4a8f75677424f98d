"""The checkpoint of a simulation: one atomic file of arrays and JSON, no pickle."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gnnip.errors import CheckpointError
from gnnip.files import atomic_path
from gnnip.md.state import Layout, State

FORMAT = "gnnip dynamics checkpoint"
FORMAT_VERSION = 1
#: what a run starts from; forces and energy follow from it
_START = ("positions", "velocities", "masses", "atomic_numbers", "cell", "pbc", "temperature")


def write_checkpoint(path: Path, values: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Write JSON `values` and `arrays` to `path` atomically."""
    text = json.dumps({"format": FORMAT, "format_version": FORMAT_VERSION, **values})
    content = dict(arrays)
    content["json"] = np.frombuffer(text.encode(), dtype=np.uint8)
    with atomic_path(path) as temporary, open(temporary, "wb") as stream:
        np.savez(stream, **content)  # type: ignore[arg-type]


def read_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read what `write_checkpoint` wrote; CheckpointError if damaged, of another kind or newer."""
    try:
        with np.load(path, allow_pickle=False) as content:
            arrays = {name: content[name] for name in content.files}
        values = json.loads(arrays.pop("json").tobytes())
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise CheckpointError(
            f"{path} is damaged; delete its folder to start the run anew."
        ) from error
    if values.get("format") != FORMAT or values.get("format_version", 0) > FORMAT_VERSION:
        raise CheckpointError(
            f"{path} holds '{values.get('format')}' version {values.get('format_version')}, "
            f"expected '{FORMAT}' up to version {FORMAT_VERSION}."
        )
    return values, arrays


def state_arrays(prefix: str, state: State) -> dict[str, np.ndarray]:
    """Return the tensors and the layout of a state as arrays."""
    arrays = {f"{prefix}/{name}": tensor.cpu().numpy() for name, tensor in state.tensors().items()}
    for field in dataclasses.fields(Layout):
        arrays[f"{prefix}/layout/{field.name}"] = np.array(
            getattr(state.layout, field.name), dtype=np.int64
        )
    return arrays


def state_from_arrays(prefix: str, arrays: dict[str, np.ndarray], device: torch.device) -> State:
    """Return the state that `state_arrays` wrote under `prefix`."""
    layout = {
        field.name: tuple(arrays[f"{prefix}/layout/{field.name}"].tolist())
        for field in dataclasses.fields(Layout)
    }
    tensors = {
        field.name: torch.as_tensor(arrays[f"{prefix}/{field.name}"], device=device)
        for field in dataclasses.fields(State)
        if field.name != "layout"
    }
    return State(layout=Layout(**layout), **tensors)


def _with_names(value: Any) -> Any:
    """Return settings whose keys are texts, as JSON has them: limits are by pairs of elements."""
    if isinstance(value, dict):
        return {str(key): _with_names(part) for key, part in value.items()}
    return [_with_names(part) for part in value] if isinstance(value, list | tuple) else value


def fingerprint(state: State, settings: dict[str, Any]) -> str:
    """Return a hash of the start of a run and of its settings, by which a checkpoint is known."""
    plain = _with_names(settings)
    text = json.dumps(plain, sort_keys=True, default=lambda value: np.asarray(value).tolist())
    digest = hashlib.sha256(text.encode())
    for name in _START:
        digest.update(np.ascontiguousarray(getattr(state, name).cpu().numpy()).tobytes())
    digest.update(json.dumps(dataclasses.asdict(state.layout)).encode())
    return digest.hexdigest()
