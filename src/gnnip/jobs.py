"""What every job of the pipeline does besides its work: a log."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from gnnip.logs import job_log


@contextlib.contextmanager
def job(snakemake: Any) -> Iterator[None]:
    """Send what the block prints to the job's log."""
    with job_log(snakemake.log[0]):
        yield
