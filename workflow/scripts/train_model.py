"""Train one network; a checkpoint beside the outputs lets a killed job continue."""

from pathlib import Path

from gnnip.checkpoints import keep_only_if_same
from gnnip.logs import job_log

with job_log(snakemake.log[0]):
    from gnnip.jobs import run_training

    folder = Path(snakemake.output.model).parent
    plan, seed = snakemake.params.plan, int(snakemake.wildcards.seed)
    keep_only_if_same(folder, {"plan": plan, "seed": seed, "code": snakemake.params.code})
    run_training(plan, snakemake.input.dataset, folder, seed=seed, device=snakemake.params.device)
