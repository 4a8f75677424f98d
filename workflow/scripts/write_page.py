"""Write the page of results of a tier: all cards that were run, also those not chosen now."""

from pathlib import Path

from gnnip.jobs import job
from gnnip.page import write_page
from gnnip.page.sources import finished

with job(snakemake):
    root = Path(snakemake.output.html).parents[1]
    found = finished(root, snakemake.wildcards.tier, snakemake.params.cards)
    write_page(found, snakemake.output.html)
