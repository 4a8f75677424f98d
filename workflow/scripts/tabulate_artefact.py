"""Turn predictions and measurements into the tidy table and the metrics of one artefact."""

from importlib import import_module
from pathlib import Path

from gnnip.artefacts.inputs import Inputs
from gnnip.files import write_text
from gnnip.logs import job_log

with job_log(snakemake.log[0]):
    names = snakemake.wildcards
    inputs = Inputs(Path("results") / names.tier / names.card, snakemake.params.card, names.tier)
    artefacts = import_module(f"gnnip.evaluation.{names.card}")
    tidy, metrics = getattr(artefacts, names.artefact)(inputs)
    write_text(snakemake.output.tidy, tidy.to_csv(index=False))
    write_text(snakemake.output.metrics, metrics.to_csv(index=False))
