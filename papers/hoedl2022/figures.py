"""Figures of hoedl2022: one function per artefact, from its tidy table."""

from gnnip.artefacts.reference_data_figure import reference_data

__all__ = ["reference_data"]
