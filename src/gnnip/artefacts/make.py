"""Makes an artefact: by the functions of its kind, or by those of its paper."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from gnnip import kinds
from gnnip.artefacts.kinds import KINDS, ArtefactKind

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from gnnip.artefacts.inputs import Inputs
    from gnnip.artefacts.tables import Result


def tabulate(inputs: Inputs) -> Result:
    """Return the tidy table and the metrics of the artefact that `inputs` are of."""
    kind, facts = _kind(inputs.card), inputs.card
    if kind is None:
        result: Result = _own(facts, "tables")(inputs, **facts["options"])
    else:
        result = kinds.work(kind.function)(inputs, kind)
    return result


def draw(tidy: pd.DataFrame, info: Mapping[str, Any]) -> Figure:
    """Return the figure of a tidy table; `info` is what `Pipeline.figure_info` says of it."""
    kind = _kind(info)
    if kind is None:
        figure: Figure = _own(info, "figures")(tidy, info, **info["options"])
    else:
        figure = kinds.work(kind.figure)(tidy, info, kind)
    return figure


def _kind(facts: Mapping[str, Any]) -> ArtefactKind | None:
    if facts["kind"] is None:
        return None
    where = f"artefacts.{facts['artefact']}"
    kind: ArtefactKind = kinds.read(
        facts["kind"], KINDS, "kind of artefact", facts["options"], where
    )
    return kind


def _own(facts: Mapping[str, Any], part: str) -> Any:
    """Return the paper's own function."""
    return getattr(import_module(f"{facts['card']}.{part}"), facts["function"])
