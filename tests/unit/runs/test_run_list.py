"""runs.yaml: what may stand in it, and the table of it."""

from __future__ import annotations

import pytest

from gnnip.__main__ import main
from gnnip.errors import ConfigError
from gnnip.runs.entries import load_runs
from gnnip.runs.project import Status
from gnnip.runs.table import table


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"comand": "true"}, r"^runs\.yaml: a: unknown key 'comand', did you mean 'command'\?$"),
        ({}, "a: it lacks command; add that"),
        ({"command": "true", "commit": "main"}, r"a\.commit: string should match .* found 'main'"),
        ({"command": "true", "estimate": 0}, r"a\.estimate: input should be greater than 0"),
        ({"command": "true", "brings": ["../x"]}, r"brings: \.\./x is not inside the project"),
        ({"command": "true", "brings": []}, "it lacks brings"),
        ({"planned": "code", "after": ["b"]}, "'a' comes after 'b', which is no entry above it"),
    ],
)
def test_mistakes_are_named(repository, entry, message):
    repository.write_runs(a=entry, b={"planned": "code"})
    with pytest.raises(ConfigError, match=message):
        load_runs(repository.root)


def test_the_list_of_the_project_is_valid_and_its_commits_are_there(root):
    from gnnip.runs.clone import find_commit

    runs = load_runs(root)
    if not (root / ".git").exists():
        pytest.skip("no repository")
    for run in runs.values():
        if not run.planned:
            assert find_commit(root, run.commit).startswith(run.commit)


def test_the_table_says_state_and_hours_of_each_entry(repository, capsys):
    head = repository.git("rev-parse", "HEAD")
    repository.write_runs(
        new={"command": "true", "estimate": 2.5, "feeds": ["fig1", "fig2"]},
        stopped={"command": "true", "estimate": 3},
        broken={"command": "true"},
        ready={"command": "true"},
        edited={"command": "false"},
        later={"planned": "the code for it", "estimate": 10},
    )
    hour = {"commit": head, "command": "true", "core_seconds": 3600.0}
    for name, more in {
        "stopped": {},
        "broken": {"state": "failed", "reason": "Its command ended."},
        "ready": {"state": "finished"},
        "edited": {"state": "finished"},
    }.items():
        repository.project.write(name, Status(**hour, **more))
    assert main(["runs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[:7]] == [
        ["name", "state", "estimate", "measured", "left", "feeds"],
        ["new", "waiting", "2.5", "2.5", "fig1,", "fig2"],
        ["stopped", "waiting", "3", "1.00", "2.0"],
        ["broken", "failed", "1", "1.00", "0.0"],
        ["ready", "finished", "1", "1.00", "0.0"],
        # finished is what is in runs.yaml now, not what was there once
        ["edited", "waiting", "1", "1.00", "0.0"],
        ["later", "planned", "10", "10.0"],
    ]
    assert lines[7] == "14.5 core-hours left, 10.0 of them planned only."
    assert "broken: Its command ended." in lines[8:]
    assert "later: waits for the code for it" in lines[8:]
    assert table(repository.project).splitlines() == lines
