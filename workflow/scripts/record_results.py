"""Copy the small files of a run to where they are committed."""

from pathlib import Path

from gnnip.files import write_json
from gnnip.jobs import job

with job(snakemake):
    from gnnip.config.resolve import ResolvedCard
    from gnnip.verdicts.record import record

    manifest = record(
        [Path(path) for path in snakemake.input],
        snakemake.params.folder,
        ResolvedCard.model_validate(snakemake.params.card),
        snakemake.params.claims,
        snakemake.params.chosen,
    )
    write_json(snakemake.output.manifest, manifest)
