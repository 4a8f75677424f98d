"""Ask trained potentials for the forces on their test frames."""

from gnnip.files import write_text
from gnnip.logs import job_log

with job_log(snakemake.log[0]):
    from gnnip.measurements.force_audit import audit_forces
    from gnnip.models.contract import choose_device

    table = audit_forces(
        snakemake.input.dataset,
        list(snakemake.input.models),
        list(snakemake.input.predictions),
        device=str(choose_device(snakemake.params.device)),
        **snakemake.params.options,
    )
    write_text(snakemake.output.table, table.to_csv(index=False))
