"""Join the published values of a card with its metrics, and test its claims."""

from pathlib import Path

from gnnip.config.resolve import ResolvedCard
from gnnip.files import write_json, write_text
from gnnip.jobs import job
from gnnip.verdicts import judge, show

with job(snakemake):
    card = ResolvedCard.model_validate(snakemake.params.card)
    folder = Path(snakemake.output.csv).parent / "artefacts"
    metrics = judge.read_metrics(folder, list(card.artefacts))
    tests = judge.tests_of(card.claims, snakemake.params.claims)
    rows = judge.judge(card, metrics, tests)
    write_text(snakemake.output.csv, judge.to_frame(rows).to_csv(index=False))
    write_json(snakemake.output.json, judge.to_json(rows))
    claims = judge.claims_table(card, metrics, tests)
    write_text(snakemake.output.claims, claims.to_csv(index=False))
    print(show.count(rows))
