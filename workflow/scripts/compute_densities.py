"""Solve the excess electron of the frames that figure 1 shows."""

from gnnip.files import write_text
from gnnip.logs import job_log
from gnnip.measurements.electron_density import compute_densities

with job_log(snakemake.log[0]):
    table = compute_densities(snakemake.input.dataset, **snakemake.params.options)
    write_text(snakemake.output.table, table.to_csv(index=False))
