"""Write down the commit, versions, hardware, settings and cost of a card's run."""

from pathlib import Path

from gnnip.config.resolve import ResolvedCard
from gnnip.files import write_json
from gnnip.jobs import job
from gnnip.provenance import describe_run

with job(snakemake):
    card = ResolvedCard.model_validate(snakemake.params.card)
    summaries = card.summaries(Path(snakemake.output.json).parent)
    run = describe_run(
        snakemake.params.card,
        snakemake.params.config,
        [snakemake.params.benchmarks, snakemake.params.data_benchmarks],
        [path for path in summaries if path.exists()],
        snakemake.params.data,
        snakemake.params.code,
    )
    write_json(snakemake.output.json, run)
