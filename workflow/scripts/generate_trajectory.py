"""Sample one trajectory; a checkpoint beside the output lets a killed job continue."""

from dataclasses import replace
from importlib import import_module
from pathlib import Path

from gnnip.checkpoints import keep_only_if_same
from gnnip.logs import job_log

with job_log(snakemake.log[0]):
    sampler = import_module(f"gnnip.sampling.{snakemake.wildcards.dataset}")
    folder = Path(snakemake.output.frames).parent
    plan = sampler.paper_plan(int(snakemake.wildcards.size), int(snakemake.wildcards.replica))
    plan = replace(plan, **snakemake.params.plan)
    keep_only_if_same(folder, {"plan": str(plan), "code": snakemake.params.code})
    sampler.run_trajectory(plan, folder)
