"""A run that meets a full disk again and again ends with what one that had room gives."""

from __future__ import annotations

import re

import pytest
from project import Project

from disks import resize, small_disk
from faults.kill_the_workflow import CARD, differences

REFUSED = re.compile(r"^Could not write .*: No space left on device; free disk space, .* lost\)\.$")


@pytest.mark.slow
def test_a_run_goes_on_whenever_there_is_more_room(tmp_path):
    card = tmp_path / "cards/killed/card.yaml"
    card.parent.mkdir(parents=True)
    card.write_text(CARD, encoding="utf-8")
    call = ("--cores", "2", "--config", f"cards={tmp_path / 'cards'}", "papers=killed")
    call = (*call, "tier=smoke")
    whole, cut = (Project(tmp_path / name) for name in ("whole", "cut"))
    whole.snakemake(*call)
    files = [path for path in (whole.folder / "results").rglob("*") if path.is_file()]
    pages = sum(-(-path.stat().st_size // 4096) for path in files)
    results = cut.folder / "results"
    results.mkdir()
    try:
        with small_disk(results):
            for share in (0.2, 0.5, 0.8):
                resize(results, int(share * pages) * 4096)
                done = cut.run("snakemake", *call)
                said = (done.stdout + done.stderr).splitlines()
                assert done.returncode == 1
                assert [line for line in said if REFUSED.match(line)], said
                assert not [line for line in said if "Traceback" in line], said
            resize(results, 2 * pages * 4096)
            cut.snakemake(*call)
            assert cut.todo(*call) == {}
            assert differences(*(p.folder / "results/smoke" for p in (whole, cut))) == []
    except PermissionError as error:
        pytest.skip(f"only root can mount a small disk ({error})")
