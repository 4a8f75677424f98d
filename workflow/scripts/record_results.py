"""Copy what is worth keeping of a run to where it is committed, or kept outside git."""

from pathlib import Path

from gnnip.files import write_json
from gnnip.jobs import job

with job(snakemake):
    from gnnip.config.resolve import ResolvedCard
    from gnnip.verdicts.record import record

    manifest = record(
        [Path(path) for path in snakemake.input],
        ResolvedCard.model_validate(snakemake.params.card),
        snakemake.params.claims,
        snakemake.params.chosen,
        snakemake.params.every,
    )
    write_json(snakemake.output.manifest, manifest)
