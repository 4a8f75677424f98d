"""The kinds of artefacts: from finished trainings and measurements to a table and its figure.

Each class is what a card may write under `options` of an artefact. `function` takes
`gnnip.artefacts.inputs.Inputs` and the filled class and returns the tidy table and the metrics;
`figure` takes the tidy table, what is written on figures, and the filled class, and returns the
figure, without torch. A kind of your own is a subclass of `ArtefactKind` anywhere on the path:
``kind: package.module:Class``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from gnnip.kinds import Kind

LISTING = True  # names and options only: what an artefact is made by is in its functions' modules


@dataclass(frozen=True)
class ArtefactKind(Kind):
    """Base of the kinds of artefacts."""

    #: package.module:function that draws the figure
    figure: ClassVar[str]

    @classmethod
    def figure_modules(cls) -> list[str]:
        """Return the modules behind the figure."""
        return [cls.figure.partition(":")[0], cls.__module__]


@dataclass(frozen=True)
class ReferenceData(ArtefactKind):
    """Bonds, energies and forces of the frames of the data sets that the artefact states."""

    function: ClassVar[str] = "gnnip.artefacts.reference_data:reference_data"
    figure: ClassVar[str] = "gnnip.artefacts.reference_data_figure:reference_data"


KINDS: Mapping[str, type[ArtefactKind]] = {
    "reference_data": ReferenceData,
}
