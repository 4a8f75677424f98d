"""Figures from tidy tables: one module per card, one function per artefact; no torch is imported."""
