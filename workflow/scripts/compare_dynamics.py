"""Compare the trajectories of all potentials of a step with the reference's."""

from gnnip.files import write_text
from gnnip.logs import job_log

# steps are timed in a process of its own, which imports this file again
if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        from gnnip.measurements.dynamics.comparison import compare_dynamics

        names, options = snakemake.params.names, snakemake.params.options
        table = compare_dynamics(
            snakemake.input.dataset,
            dict(zip(names, snakemake.input.trajectories, strict=True)),
            models=dict(zip(names, snakemake.input.models, strict=False)),
            **options,
        )
        write_text(snakemake.output.table, table.to_csv(index=False))
