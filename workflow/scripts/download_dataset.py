"""Fetch the files of a published data set and list where they are."""

from gnnip.datasets.published import fetch_published, find_published
from gnnip.files import write_json
from gnnip.jobs import job

with job(snakemake):
    files = fetch_published(find_published(snakemake.params.published["name"]))
    write_json(snakemake.output.files, [str(path) for path in files])
