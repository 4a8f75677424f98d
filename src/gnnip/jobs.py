"""What every job of the pipeline does besides its work: a log, and a receipt of what it made."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from gnnip.logs import job_log
from gnnip.receipts import write_receipt


@contextlib.contextmanager
def job(snakemake: Any) -> Iterator[None]:
    """Send what the block prints to the job's log; when it succeeds, write the job's receipt.

    Errors end the process as in :func:`gnnip.logs.job_log`.

    Args:
        snakemake: the object that Snakemake gives to a script, for its log, input and output.
    """
    with job_log(snakemake.log[0]):
        yield
        write_receipt(snakemake.output, snakemake.input)
