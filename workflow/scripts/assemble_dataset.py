"""Label the frames of all trajectories and write them as one archive."""

from gnnip.jobs import job

# labels are computed in processes of their own, which import this file again
if __name__ == "__main__":
    with job(snakemake):
        from gnnip.datasets.assembly import assemble

        assemble(
            snakemake.wildcards.dataset,
            list(snakemake.input.trajectories),
            snakemake.output.archive,
            workers=snakemake.threads,
        )
