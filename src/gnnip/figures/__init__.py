"""Figures from tidy tables: a module per card, a function per artefact; torch is not imported."""
