"""Draw one artefact from its tidy table."""

from importlib import import_module

import pandas as pd

from gnnip.artefacts import style
from gnnip.logs import job_log

with job_log(snakemake.log[0]):
    figures = import_module(f"gnnip.figures.{snakemake.wildcards.card}")
    draw = getattr(figures, snakemake.wildcards.artefact)
    figure = draw(pd.read_csv(snakemake.input.tidy), snakemake.params.info)
    style.save(figure, snakemake.output.png, snakemake.output.svg)
