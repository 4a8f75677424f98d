"""Tables of hoedl2022: one function per artefact, from the files of a finished run."""

from gnnip.artefacts.reference_data import reference_data

__all__ = ["reference_data"]
