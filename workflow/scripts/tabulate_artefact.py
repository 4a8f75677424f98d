"""Turn predictions and measurements into the tidy table and the metrics of one artefact."""

from pathlib import Path

from gnnip.artefacts.inputs import Inputs
from gnnip.artefacts.make import tabulate
from gnnip.files import write_text
from gnnip.jobs import job

with job(snakemake):
    root = Path("results") / snakemake.wildcards.tier / snakemake.wildcards.card
    tidy, metrics = tabulate(Inputs(root, snakemake.params.facts))
    write_text(snakemake.output.tidy, tidy.to_csv(index=False))
    write_text(snakemake.output.metrics, metrics.to_csv(index=False))
