"""Read published frames, or those of the user's folder, and write them as a data set."""

from pathlib import Path

from gnnip.datasets.imports.folder import import_folder
from gnnip.datasets.imports.settings import FolderSource
from gnnip.datasets.published import import_published
from gnnip.files import read_json, write_json, write_text
from gnnip.jobs import job

with job(snakemake):
    source, output = snakemake.params.source, snakemake.output
    if "folder" in source:
        found = import_folder(FolderSource.model_validate(source["folder"]), output.archive)
    else:
        files = [Path(path) for path in read_json(snakemake.input.frames[0])]
        found = import_published(source["published"], output.archive, files=files)
    sentences = "\n".join(found.sentences())
    print(sentences)
    write_json(output.findings, found.to_json())
    write_text(output.report, sentences + "\n")
