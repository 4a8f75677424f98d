"""Ask trained potentials for the force on the +1e with and without the -1e."""

from gnnip.files import write_text
from gnnip.logs import job_log

with job_log(snakemake.log[0]):
    from gnnip.measurements.charge_probe import probe_charges
    from gnnip.models.contract import choose_device

    table = probe_charges(
        snakemake.input.dataset,
        list(snakemake.input.models),
        list(snakemake.input.predictions),
        device=str(choose_device(snakemake.params.device)),
        **snakemake.params.options,
    )
    write_text(snakemake.output.table, table.to_csv(index=False))
