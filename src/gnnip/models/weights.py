"""Weights in the safetensors format: a length, a JSON header, raw little-endian numbers.

Written out here because the format is three lines long and machines with torch alone lack the
library; a test reads each with the other.
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gnnip.errors import CheckpointError
from gnnip.files import atomic_path, parse_json

_DTYPES = {
    "F64": (torch.float64, "<f8"),
    "F32": (torch.float32, "<f4"),
    "I64": (torch.int64, "<i8"),
    "I32": (torch.int32, "<i4"),
    "BOOL": (torch.bool, "?"),
}
_NAMES = {dtype: name for name, (dtype, _) in _DTYPES.items()}
_HEADER_LIMIT = 100_000_000


def write_weights(path: str | os.PathLike[str], tensors: Mapping[str, Tensor]) -> None:
    """Write named tensors atomically; types float64, float32, int64, int32 and bool."""
    header: dict[str, dict[str, object]] = {}
    parts = []
    position = 0
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        code = _NAMES[value.dtype]
        data = value.numpy().astype(_DTYPES[code][1]).tobytes()
        header[name] = {
            "dtype": code,
            "shape": list(value.shape),
            "data_offsets": [position, position + len(data)],
        }
        parts.append(data)
        position += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with atomic_path(path) as temporary, open(temporary, "wb") as stream:
        stream.write(struct.pack("<Q", len(text)))
        stream.write(text)
        for data in parts:
            stream.write(data)


def read_weights(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Read named tensors; CheckpointError for a pickle, another format or a damaged file."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise CheckpointError(f"The weights {path} cannot be read: {error.strerror}.") from error
    start = content[:2] in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
    # the length of a header of safetensors may begin with the same two bytes
    if start and content[8:9] != b"{":
        raise CheckpointError(
            f"{path} is a pickle, which can run code when it is opened; gnnip loads weights in the "
            "safetensors format only."
        )
    damaged = (
        f"The weights {path} are damaged or not in the safetensors format; "
        "copy or train them again."
    )
    length = struct.unpack("<Q", content[:8])[0] if len(content) >= 8 else _HEADER_LIMIT
    if length >= min(_HEADER_LIMIT, max(len(content) - 7, 0)):
        raise CheckpointError(damaged)
    body = memoryview(content)[8 + length :]
    tensors = {}
    try:
        header = parse_json(content[8 : 8 + length], str(path), dict)
        header.pop("__metadata__", None)
        for name, entry in header.items():
            dtype, code = _DTYPES[entry["dtype"]]
            begin, end = entry["data_offsets"]
            shape = tuple(entry["shape"])
            if not 0 <= begin <= end <= len(body):
                raise ValueError("data outside the file")
            if end - begin != math.prod(shape) * np.dtype(code).itemsize:
                raise ValueError("size does not fit shape")
            values = np.frombuffer(body[begin:end], dtype=code).reshape(shape)
            tensors[name] = torch.from_numpy(values.copy()).to(dtype)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(damaged) from error
    return tensors
