"""Measure how the energy error of every potential of a step falls with the time step."""

from gnnip.files import write_text
from gnnip.logs import job_log

with job_log(snakemake.log[0]):
    from gnnip.measurements.conservation import measure_conservation

    table = measure_conservation(
        snakemake.input.dataset,
        dict(zip(snakemake.params.names, snakemake.input.models, strict=False)),
        threads=snakemake.threads,
        **snakemake.params.options,
    )
    write_text(snakemake.output.table, table.to_csv(index=False))
