"""Bin the local forces of trained potentials by distance."""

from gnnip.files import write_text
from gnnip.logs import job_log

with job_log(snakemake.log[0]):
    import torch

    from gnnip.measurements.local_forces import tabulate_local_forces
    from gnnip.models.contract import choose_device

    torch.set_num_threads(snakemake.threads)
    table = tabulate_local_forces(
        snakemake.input.dataset,
        list(snakemake.input.models),
        list(snakemake.input.predictions),
        device=str(choose_device(snakemake.params.device)),
        **snakemake.params.options,
    )
    write_text(snakemake.output.table, table.to_csv(index=False))
