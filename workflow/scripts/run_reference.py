"""Move the replicas of the reference, or take their trajectories from the archive that the step
names; checkpoints beside the output let a killed job continue."""

from pathlib import Path

from gnnip.jobs import job

with job(snakemake):
    from gnnip.measurements.dynamics import (
        REFERENCE,
        motion_of_reference,
        run_dynamics,
        take_archived,
    )

    options = snakemake.params.options
    motion, own = options.get("motion", {}), options.get("reference_motion")
    if options.get("reference_archive"):
        Path(snakemake.output.failures).mkdir(parents=True, exist_ok=True)
        take_archived(
            options["reference_archive"],
            snakemake.output.trajectory,
            motion=motion,
            own=own,
            reference=options["reference"],
        )
    else:
        run_dynamics(
            snakemake.input.dataset,
            snakemake.output.trajectory,
            name=REFERENCE,
            motion=motion_of_reference(motion, own),
            reference=options["reference"],
            failures=snakemake.output.failures,
            code=snakemake.params.code,
            threads=snakemake.threads,
        )
