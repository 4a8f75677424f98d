"""Figures of hoedl2022: one function per artefact, from its tidy table."""

from gnnip.figures.reference_data import reference_data

__all__ = ["reference_data"]
