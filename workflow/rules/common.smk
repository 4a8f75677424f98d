# What all rules share: the pipeline of the validated config and cards, and one way to ask it.
import logging
import os
import shutil
import sys
from pathlib import Path

from snakemake.benchmark import benchmarked
from snakemake.dag import DAG
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake.persistence import PersistenceBase
from snakemake.script import PythonScript
from snakemake.settings.types import ExecMode

from gnnip import forkserver, locks, provenance, receipts
from gnnip.config import costs
from gnnip.config.pipeline import Pipeline
from gnnip.config.schema import Config
from gnnip.errors import GnnipError
from gnnip.strict import validate

try:
    CONFIG = validate(Config, config, "config.yaml")
    RUN = Pipeline(CONFIG, Path(workflow.current_basedir) / "../scripts")
except GnnipError as error:
    # the sentence alone, without a traceback
    raise WorkflowError(str(error)) from None

# a profile that states GPUs, or this machine, has them
HAS_GPU = "gpu" in workflow.resource_settings.resources or provenance.gpu_names()
USES_GPU = int(CONFIG.device == "cuda" or (CONFIG.device == "auto" and bool(HAS_GPU)))
DEVICE = "cuda" if USES_GPU else "cpu"
# of this machine; a cluster's profile sets the threads of its jobs itself
ALL_CORES = workflow.resource_settings.cores or 1
# a log on a disk that is full is not worth a traceback a line
logging.raiseExceptions = False
# glibc otherwise returns the pages of every large tensor and takes them anew, cleared
for name, value in {
    "MALLOC_MMAP_MAX_": 0,
    "MALLOC_TRIM_THRESHOLD_": 30_000_000_000,
    "MALLOC_TOP_PAD_": 2**28,
}.items():
    os.environ.setdefault(name, str(value))


# one run at a time, and jobs that end with it
if workflow.exec_mode == ExecMode.SUBPROCESS:
    locks.end_with_snakemake()
locks.announce_snakemake()
locks.install(PersistenceBase, WorkflowError)
receipts.install(DAG)
forkserver.quote_python(PythonScript)
# a job of a cluster is a Snakemake of its own, which has nobody to share with but its group
IN_A_GROUP = workflow.remote_exec and "--local-groupid" in sys.argv
if workflow.is_main_process or IN_A_GROUP:
    forkserver.install(PythonScript, benchmarked)


# what was damaged is out of the way before Snakemake looks at the files; what is gone is asked for
GONE = set()
if workflow.is_main_process and "--lint" not in sys.argv:
    try:
        GONE = receipts.settle(say=logger.warning)
    except GnnipError as error:  # a folder of somebody else, say
        raise WorkflowError(str(error)) from None


def ask(method):
    """Return a function of the wildcards that asks the pipeline; its errors are one sentence."""

    def answer(wildcards):
        try:
            return method(wildcards)
        except GnnipError as error:
            raise WorkflowError(str(error)) from None

    return answer


def measured(rule, what, stated, on_gpu=0):
    """Return a function of the job that says what it may take of a node, more at every attempt."""

    def answer(wildcards, attempt):
        most = ask(stated)(wildcards) if callable(stated) else stated
        return attempt * costs.needs(rule, what, most, wildcards, on_gpu)

    return answer


wildcard_constraints:
    **RUN.constraints(),
