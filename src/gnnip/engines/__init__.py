"""Potentials in other programs; none of these is needed for anything else (docs/engines.md)."""
