"""Sum what the jobs of a tier took, by card and rule, from their benchmark files."""

from pathlib import Path

import pandas as pd

from gnnip.files import write_text
from gnnip.jobs import job
from gnnip.provenance import cost_rows, read_benchmarks

with job(snakemake):
    # those of cards that this run did not choose too, and of the data sets, which cards share
    folders = sorted(Path(snakemake.output.csv).parent.glob("*/benchmarks"))
    rows = [
        {"card": folder.parent.name, **row}
        for folder in folders
        for row in cost_rows(read_benchmarks([folder]))
    ]
    table = pd.DataFrame(rows).round(5)
    write_text(snakemake.output.csv, table.to_csv(index=False))
    head = '<!doctype html><meta charset="utf-8"><title>Cost</title>\n'
    write_text(snakemake.output.html, head + table.to_html(index=False, border=0, na_rep=""))
