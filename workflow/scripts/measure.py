"""Measure on data sets and trained potentials, by the function of the measurement's kind."""

from gnnip.files import write_text
from gnnip.jobs import job

# a clock runs in a process of its own, which imports this file again
if __name__ == "__main__":
    with job(snakemake):
        from gnnip.measurements.run import measure

        table = measure(
            snakemake.params.measurement, snakemake.config.get("device", "auto"), snakemake.threads
        )
        write_text(snakemake.output.table, table.to_csv(index=False))
