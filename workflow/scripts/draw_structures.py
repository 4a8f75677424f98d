"""Draw and label independent structures and write them as one data set."""

from gnnip.jobs import job

with job(snakemake):
    from gnnip.datasets.assembly import draw_structures

    draw_structures(snakemake.wildcards.dataset, snakemake.params.plan, snakemake.output.archive)
