"""Draw and label independent structures and write them as one data set."""

from gnnip.logs import job_log

with job_log(snakemake.log[0]):
    from gnnip.datasets.assembly import draw_structures

    draw_structures(snakemake.wildcards.dataset, snakemake.params.plan, snakemake.output.archive)
