"""Copy the small files of a run to where they are committed."""

from pathlib import Path

from gnnip.files import write_json
from gnnip.logs import job_log
from gnnip.provenance import record_files

with job_log(snakemake.log[0]):
    manifest = record_files([Path(path) for path in snakemake.input], snakemake.params.folder)
    write_json(snakemake.output.manifest, manifest)
