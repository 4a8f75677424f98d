"""Move the replicas of the reference; checkpoints beside the output let a killed job continue."""

from gnnip.logs import job_log

with job_log(snakemake.log[0]):
    from gnnip.evaluation.dynamics import REFERENCE, run_dynamics

    run_dynamics(
        snakemake.input.dataset,
        snakemake.output.trajectory,
        name=REFERENCE,
        motion=snakemake.params.motion,
        reference=snakemake.params.reference,
        code=snakemake.params.code,
        threads=snakemake.threads,
    )
