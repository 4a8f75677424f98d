"""Sample one trajectory; a checkpoint beside the output lets a killed job continue."""

from importlib import import_module
from pathlib import Path

from gnnip.checkpoints import keep_only_if_same
from gnnip.jobs import job
from gnnip.sampling.plans import make_plan

with job(snakemake):
    dataset, size, replica = (snakemake.wildcards[key] for key in ("dataset", "size", "replica"))
    folder = Path(snakemake.output.frames).parent
    plan = make_plan(dataset, int(size), int(replica), snakemake.params.plan)
    keep_only_if_same(folder, {"plan": str(plan), "code": snakemake.params.code})
    import_module(f"gnnip.sampling.{dataset}").run_trajectory(plan, folder)
