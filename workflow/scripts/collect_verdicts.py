"""Write the verdicts of all cards of a tier as CSV, JSON and a page of the report."""

from pathlib import Path

from gnnip.files import write_json, write_text
from gnnip.jobs import job
from gnnip.verdicts import judge, show

with job(snakemake):
    # those of cards that this run did not choose are still those of the tier
    others = map(str, Path(snakemake.output.csv).parent.glob("*/verdicts.json"))
    paths = sorted({*snakemake.input.verdicts, *others})
    rows = [row for path in paths for row in judge.read_verdicts(path)]
    write_text(snakemake.output.csv, judge.to_frame(rows).to_csv(index=False))
    write_json(snakemake.output.json, judge.to_json(rows))
    write_text(snakemake.output.html, show.format_html(rows))
