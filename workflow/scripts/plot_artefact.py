"""Draw one artefact from its tidy table."""

import pandas as pd

from gnnip.artefacts import style
from gnnip.artefacts.make import draw
from gnnip.jobs import job

with job(snakemake):
    figure = draw(pd.read_csv(snakemake.input.tidy), snakemake.params.info)
    style.save(figure, snakemake.output.png, snakemake.output.svg)
