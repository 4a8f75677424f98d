"""Time the reference solver and the trained networks, side by side on one core."""

from gnnip.files import write_text
from gnnip.logs import job_log

# the measurement runs in a process of its own, which imports this file again
if __name__ == "__main__":
    with job_log(snakemake.log[0]):
        from gnnip.measurements.timing import measure_timing

        table = measure_timing(
            snakemake.input.dataset,
            list(snakemake.input.models),
            **snakemake.params.options,
        )
        write_text(snakemake.output.table, table.to_csv(index=False))
