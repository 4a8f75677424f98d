"""Move the test frames of trained networks and ask again."""

from gnnip.files import write_text
from gnnip.logs import job_log

with job_log(snakemake.log[0]):
    from gnnip.measurements.symmetry_audit import symmetry_audit
    from gnnip.models.contract import choose_device

    table = symmetry_audit(
        snakemake.input.dataset,
        list(snakemake.input.models),
        list(snakemake.input.predictions),
        device=str(choose_device(snakemake.params.device)),
        **snakemake.params.options,
    )
    write_text(snakemake.output.table, table.to_csv(index=False))
