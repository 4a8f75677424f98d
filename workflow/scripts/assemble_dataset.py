"""Label the frames of all trajectories and write them as one archive."""

from gnnip.datasets import assembly
from gnnip.logs import job_log

with job_log(snakemake.log[0]):
    assemble = getattr(assembly, f"assemble_{snakemake.wildcards.dataset}")
    assemble(
        list(snakemake.input.trajectories),
        snakemake.output.archive,
        workers=snakemake.threads,
    )
