"""Train one network; a checkpoint beside the outputs lets a killed job continue."""

from pathlib import Path

from gnnip.checkpoints import keep_only_if_same
from gnnip.jobs import job

with job(snakemake):
    from gnnip.training.run import run_one

    training = dict(snakemake.params.training)
    folder = Path(snakemake.output.model).parent
    keep_only_if_same(folder, {"training": training, "code": snakemake.params.code})
    free = {"device": snakemake.config.get("device", "auto"), "threads": snakemake.threads}
    run_one(training | {"folder": str(folder), "settings": training["settings"] | free})
