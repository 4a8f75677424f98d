"""Figures of cho2023: one function per artefact, from its tidy table."""

from gnnip.artefacts.reference_data_figure import reference_data

__all__ = ["reference_data"]
