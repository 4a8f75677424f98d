"""Write down the commit, versions, hardware, settings and cost of a card's run."""

from gnnip.files import write_json
from gnnip.jobs import job
from gnnip.provenance import describe_run

with job(snakemake):
    run = describe_run(
        snakemake.params.card,
        snakemake.params.config,
        [snakemake.params.benchmarks, snakemake.params.data_benchmarks],
        list(snakemake.input.summaries),
    )
    write_json(snakemake.output.json, run)
