"""Judge the trainings of a card, its published values and its claims."""

from pathlib import Path

from gnnip.config.resolve import ResolvedCard
from gnnip.files import write_text
from gnnip.jobs import job
from gnnip.verdicts import judge, show
from gnnip.verdicts.trainings import training_table

with job(snakemake):
    card = ResolvedCard.model_validate(snakemake.params.card)
    folder = Path(snakemake.output.csv).parent
    trainings = training_table(path for path in card.summaries(folder) if path.exists())
    write_text(snakemake.output.trainings, trainings.to_csv(index=False))
    found = judge.judge_folder(card, folder / "artefacts", snakemake.params.claims, trainings)
    found.write(folder)
    print(f"{trainings['sound'].sum()} of {len(trainings)} trainings may judge")
    print(show.count(found.verdicts))
