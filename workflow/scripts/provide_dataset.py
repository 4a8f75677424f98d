"""Copy a data set into the tier's results; an archive must have its registered checksum."""

import shutil

from gnnip.datasets.registry import check_archive
from gnnip.files import atomic_path
from gnnip.jobs import job

with job(snakemake):
    source = snakemake.input[0]
    if snakemake.params.origin["source"] == "archive":
        source = check_archive(snakemake.wildcards.dataset)
    with atomic_path(snakemake.output.archive) as temporary:
        shutil.copyfile(source, temporary)
