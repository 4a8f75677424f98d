"""Weights of the published JAT code, carried over into `JAT`.

python -m gnnip.models.jat.published arrays.npz --output folder/model
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from gnnip.datasets.imports.batch import atomic_numbers
from gnnip.errors import CheckpointError, GnnipError
from gnnip.models.files import save
from gnnip.models.jat.network import JAT, READOUT, JATHyperparameters
from gnnip.terminal import answer

PREFIX = "param."
ELEMENTS = ("C", "H", "N", "O")  #: of both of its data sets, in the order of its types


def read_published(path: str | os.PathLike[str]) -> JAT:
    """Build the potential from an archive of arrays: see `jat_from_arrays`.

    Raises CheckpointError for a file that is no such archive, too.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, BadZipFile, AttributeError) as error:
        raise CheckpointError(
            f"{path} is not an archive of arrays (.npz) that can be read: {error}"
        ) from error
    try:
        return jat_from_arrays(arrays)
    except GnnipError as error:
        raise CheckpointError(f"{path}: {error}") from error


def jat_from_arrays(arrays: Mapping[str, Any]) -> JAT:
    """Return the potential, as coded, in double precision: in single, forces differ by 1e-4 eV/A.

    arrays : `param.NAME` for each weight of the code, `cutoff` (Angstrom), `max_neighbors` and,
        unless they are C H N O, `elements` (symbols, in the order of the types).

    Raises
    ------
    CheckpointError : an array is missing, has another shape than the first layer implies, or
        belongs to no layer.
    """
    left = {k.removeprefix(PREFIX): v for k, v in arrays.items() if k.startswith(PREFIX)}
    for name in ("cutoff", "max_neighbors"):
        if name not in arrays:
            raise CheckpointError(f"The array '{name}' is missing.")
    first = np.shape(left.get("core_model.jat_layers_0.DenseGeneral_0.kernel", ()))
    if len(first) != 4:
        raise CheckpointError(
            "The array 'param.core_model.jat_layers_0.DenseGeneral_0.kernel' has the shape "
            f"{first}, but four axes are expected: heads in, width in, heads out, width out."
        )
    symbols = [str(symbol) for symbol in arrays.get("elements", ELEMENTS)]
    numbered = [re.match(r"core_model\.jat_layers_(\d+)\.", name) for name in left]
    options = JATHyperparameters(
        species=tuple(atomic_numbers(symbols, "elements").tolist()),
        cutoff=float(arrays["cutoff"]),
        layers=1 + max(int(found[1]) for found in numbered if found),
        heads=int(first[2]),
        width=int(first[3]),
        variant="as_coded",
        max_neighbours=int(arrays["max_neighbors"]),
    )
    model = JAT(options).double()
    with torch.no_grad():
        for name, shape, parameter in _places(options):
            values, target = _taken(left, name, shape), model.get_parameter(parameter)
            # flax has (in, out), torch (out, in)
            turned = len(shape) == 2 and parameter.startswith("readout")
            target.copy_((values.t() if turned else values).reshape(target.shape))
    if left:
        raise CheckpointError(
            f"The array '{PREFIX}{min(left)}' belongs to none of the {options.layers} layers."
        )
    model.species = options.species
    return model


def _places(o: JATHyperparameters) -> Iterator[tuple[str, tuple[int, ...], str]]:
    """Yield name and shape of every array, and the parameter that it becomes."""
    yield "embed.embedding", (len(o.species), o.width), "embedding"
    heads = 1
    for number in range(o.layers):
        layer, own = f"core_model.jat_layers_{number}", f"layers.{number}"
        for place, name in enumerate(("query", "key")):
            matrix = (heads, o.width, o.heads, o.width)
            yield f"{layer}.DenseGeneral_{place}.kernel", matrix, f"{own}.{name}"
        yield f"{layer}.DenseGeneral_2.kernel", (o.heads, o.width + 1, o.heads, 1), f"{own}.weights"
        if number < o.layers - 1:
            yield f"{layer}.LayerNorm_0.scale", (o.width,), f"{own}.norm.weight"
            yield f"{layer}.LayerNorm_0.bias", (o.width,), f"{own}.norm.bias"
        heads = o.heads
    for number, shape in enumerate(pairwise((o.heads * o.width, *READOUT, 1))):
        yield f"core_model.Dense_{number}.kernel", shape, f"readout.{3 * number}.weight"
        if number < len(READOUT):
            norm, own = f"core_model.LayerNorm_{number}", f"readout.{3 * number + 1}"
            yield f"{norm}.scale", shape[1:], f"{own}.weight"
            yield f"{norm}.bias", shape[1:], f"{own}.bias"
    last = 3 * len(READOUT) + 2
    yield "denormalizer.kernel", (1, 1), f"readout.{last}.weight"
    yield "denormalizer.bias", (1,), f"readout.{last}.bias"


def _taken(left: dict[str, Any], name: str, shape: tuple[int, ...]) -> Tensor:
    """Take an array of this shape out of those that are left."""
    if name not in left:
        raise CheckpointError(f"The array '{PREFIX}{name}' is missing.")
    values = torch.as_tensor(np.asarray(left.pop(name)))
    if tuple(values.shape) != shape:
        raise CheckpointError(
            f"The array '{PREFIX}{name}' has the shape {tuple(values.shape)}, but {shape} follows "
            "from the first layer; take all arrays from one checkpoint."
        )
    return values


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the potential of an archive of arrays; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m gnnip.models.jat.published", description=__doc__.split("\n")[0]
    )
    parser.add_argument("arrays", help="archive of arrays (.npz): param.*, cutoff, max_neighbors")
    parser.add_argument("--output", "-o", required=True, help="potential to write: folder/model")
    options = parser.parse_args(arguments)
    return answer(lambda: _main(options), "error")


def _main(options: argparse.Namespace) -> int:
    model = read_published(options.arrays)
    weights, _ = save(model, options.output)
    print(f"{weights}: {model.n_parameters} parameters")
    return 0


if __name__ == "__main__":
    sys.exit(main())
