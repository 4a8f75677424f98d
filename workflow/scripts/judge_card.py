"""Join the published values of a card with its metrics, and test its claims."""

from pathlib import Path

from gnnip.config.resolve import ResolvedCard
from gnnip.jobs import job
from gnnip.verdicts import judge, show

with job(snakemake):
    card = ResolvedCard.model_validate(snakemake.params.card)
    folder = Path(snakemake.output.csv).parent
    rows, claims = judge.judge_folder(card, folder / "artefacts", snakemake.params.claims)
    judge.write_verdicts(folder, rows, claims)
    print(show.count(rows))
