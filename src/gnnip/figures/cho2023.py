"""Figures of cho2023: one function per artefact, from its tidy table."""

from gnnip.figures.reference_data import reference_data

__all__ = ["reference_data"]
