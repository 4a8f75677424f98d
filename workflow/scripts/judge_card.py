"""Join the published values of a card with its metrics."""

from pathlib import Path

from gnnip.config.cards import ResolvedCard
from gnnip.files import write_json, write_text
from gnnip.logs import job_log
from gnnip.verdicts import judge as verdicts

with job_log(snakemake.log[0]):
    card = ResolvedCard.model_validate(snakemake.params.card)
    folder = Path(snakemake.output.csv).parent / "artefacts"
    rows = verdicts.judge(card, verdicts.read_metrics(folder, list(card.artefacts)))
    write_text(snakemake.output.csv, verdicts.to_frame(rows).to_csv(index=False))
    write_json(snakemake.output.json, verdicts.to_json(rows))
    print(verdicts.count(rows))
