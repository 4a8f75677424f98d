"""Move the replicas of one model; checkpoints beside the output let a killed job continue."""

from gnnip.jobs import job

with job(snakemake):
    from gnnip.measurements.dynamics import run_dynamics

    run_dynamics(
        snakemake.input.dataset,
        snakemake.output.trajectory,
        name=snakemake.wildcards.potential,
        motion=snakemake.params.motion,
        model=snakemake.input.model,
        failures=snakemake.output.failures,
        code=snakemake.params.code,
        device=snakemake.config.get("device", "auto"),
        threads=snakemake.threads,
    )
