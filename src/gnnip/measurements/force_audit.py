"""Errors of the forces of trained potentials, by element and kind of frame, and of one term alone.

A force field of two terms, a large and a small one, looks good when it has learned the large one.
How much of the small term's force F_t it resolves is asked here of its total force f and the
reference F:

    resolved = 1 - sum |f - F|^2 / sum |F_t|^2

It is 1 for the exact force and 0 for somebody who knows the rest exactly and nothing of the term.
Correlating f - (F - F_t) with F_t instead would mislead: in equilibrium the rest balances the term
on average, so that even no force at all, f = 0, has a slope of about 1 against F_t.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gnnip.measurements.selection import terms_of

if TYPE_CHECKING:
    from gnnip.datasets.arrays import FrameArrays
    from gnnip.measurements.kinds import ForceAudit
    from gnnip.measurements.sources import Sources

#: groups of atoms, by how large the term's force on them is, of a curve
_BINS = 10


def audit_forces(sources: Sources, options: ForceAudit) -> pd.DataFrame:
    """Return force errors of trained potentials on their test frames.

    Columns group, (dataset,) model, target, other values of the group's matrix, seed, predictor,
    record, name, x, n_frames, n_atoms, and the errors. Predictor is network, zero (no force), or
    without_term (the exact forces without the term, where the target has it). Record `error`: over
    the components of the atoms of `name`: all, an element's symbol, column=value, or O-O<1.6 and
    no O-O<1.6, where there are such atoms. Record `curve`: atoms in ten groups of equal number by
    the size of the term's force x (eV/Angstrom, the group's mean).

    DataError for predictions without test frames and for frames without forces.
    """
    import torch

    from gnnip.models import predict

    rows = []
    for one in sources.potentials(options.max_frames):
        with torch.no_grad():
            found = predict(one.model, one.store, batch_size=options.batch_size, forces=True)
        record = one.model.training_record
        about = {key: value for key, value in one.about.items() if key not in ("cell", "seed")}
        about |= {"model": str(record["model"]), "target": str(record["term"])}
        about |= {**one.training.keys, "seed": one.training.seed}
        measured = measure(
            one.test,
            about["target"],
            found["forces"],
            options.term,
            options.columns,
            options.close,
        )
        rows += [{**about, **row} for row in measured]
    return pd.DataFrame(rows)


def measure(
    frames: FrameArrays,
    target: str,
    forces: np.ndarray,
    term: str | None = None,
    columns: Sequence[str] = (),
    close: Mapping[str, float] | None = None,
) -> list[dict[str, Any]]:
    """Return the rows of one potential, from its forces (n, 3) in eV/Angstrom; see audit_forces."""
    terms = terms_of(frames, target)
    true = np.sum([frames.force(t) for t in terms], axis=0)
    part = frames.force(term) if term is not None and term in terms else None
    predictors = {"network": forces, "zero": np.zeros_like(true)}
    if part is not None and len(terms) > 1:
        predictors["without_term"] = true - part
    selections = [*_selections(frames, columns), *_close_pairs(frames, close or {})]
    rows = []
    for predictor, guess in predictors.items():
        for name, chosen in selections:
            errors = force_errors(
                true[chosen], guess[chosen], None if part is None else part[chosen]
            )
            owners = np.repeat(np.arange(frames.n_frames), frames.n_atoms)[chosen]
            counts = {"n_frames": len(np.unique(owners)), "n_atoms": int(chosen.sum())}
            about = {"predictor": predictor, "record": "error", "name": name, "x": np.nan}
            rows.append({**about, **counts, **errors})
        if part is not None:
            rows += [{"predictor": predictor, **row} for row in _curve(true, guess, part)]
    return rows


def force_errors(
    true: np.ndarray, guess: np.ndarray, part: np.ndarray | None = None
) -> dict[str, float]:
    """Return the errors of forces (n, 3), and how much of the term `part` of them is resolved.

    R2 is 1 - sum |f - F|^2 / sum |F|^2: forces have no mean to be predicted.
    """
    error = guess - true
    square, power = float(np.square(error).sum()), float(np.square(true).sum())
    found = {
        "force_rmse_ev_per_a": float(np.sqrt(square / error.size)),
        "force_mae_ev_per_a": float(np.abs(error).mean()),
        "force_r2": 1.0 - square / power if power > 0 else np.nan,
        "force_rms_reference_ev_per_a": float(np.sqrt(power / true.size)),
    }
    size = np.nan if part is None else float(np.square(part).sum())
    return {
        **found,
        "term_rms_ev_per_a": float(np.sqrt(size / error.size)),
        "resolved": 1.0 - square / size if size > 0 else np.nan,
    }


def _selections(frames: FrameArrays, columns: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
    from ase.data import chemical_symbols

    yield "all", np.ones(len(frames.numbers), dtype=bool)
    for z in np.unique(frames.numbers):
        yield str(chemical_symbols[int(z)]), frames.numbers == z
    for column in columns:
        values = frames.column(column)
        for value in np.unique(values):
            yield f"{column}={value}", np.repeat(values == value, frames.n_atoms)


def _close_pairs(
    frames: FrameArrays, close: Mapping[str, float]
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the atoms with a neighbour closer than each pair's distance, and those without."""
    for pair, distance in close.items():
        near = close_atoms(frames, pair, distance)
        for name, chosen in ((f"{pair}<{distance:g}", near), (f"no {pair}<{distance:g}", ~near)):
            if chosen.any():
                yield name, chosen


def close_atoms(frames: FrameArrays, pair: str, distance: float) -> np.ndarray:
    """Return whether each atom (n,) has a neighbour closer than a distance (Angstrom) with which it
    makes a pair of elements, e.g. O-O."""
    from ase.data import atomic_numbers

    from gnnip.graphs.neighbours import neighbour_list

    wanted = sorted(atomic_numbers[symbol] for symbol in pair.split("-"))
    found = np.zeros(len(frames.numbers), dtype=bool)
    for frame in range(frames.n_frames):
        positions, numbers, cell, pbc = frames.structure(frame)
        edges = neighbour_list(positions, distance, cell, pbc)[0]
        alike = (np.sort(numbers[edges], axis=0) == np.array(wanted)[:, None]).all(0)
        found[frames.offsets[frame] + edges[1, alike]] = True
    return found


def _curve(true: np.ndarray, guess: np.ndarray, part: np.ndarray) -> Iterator[dict[str, Any]]:
    size = np.linalg.norm(part, axis=1)
    order = np.argsort(size, kind="stable")
    for group in np.array_split(order, min(_BINS, len(order))):
        yield {
            "record": "curve",
            "name": "term",
            "x": float(size[group].mean()),
            "n_frames": np.nan,
            "n_atoms": len(group),
            **force_errors(true[group], guess[group], part[group]),
        }
