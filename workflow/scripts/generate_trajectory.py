"""Sample one trajectory; a checkpoint beside the output lets a killed job continue."""

from importlib import import_module
from pathlib import Path

from gnnip.checkpoints import keep_only_if_same
from gnnip.files import sha256
from gnnip.jobs import job
from gnnip.sampling.plans import make_plan

with job(snakemake):
    dataset, size, replica = (snakemake.wildcards[key] for key in ("dataset", "size", "replica"))
    folder = Path(snakemake.output.frames).parent
    plan = make_plan(dataset, int(size), int(replica), snakemake.params.plan)
    identity, more = {"plan": str(plan), "code": snakemake.params.code}, {}
    for path in snakemake.input.starts:
        # loaded here alone, so that other data sets do not depend on how frames are read
        more["starts"] = import_module("gnnip.datasets.gathering").read_starts(path)
        identity["starts"] = sha256(path)
    keep_only_if_same(folder, identity)
    import_module(f"gnnip.sampling.{dataset}").run_trajectory(plan, folder, **more)
