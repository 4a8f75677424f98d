"""What a finished run made comes back whole, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from gnnip.__main__ import main
from gnnip.files import read_json, sha256

FOLDER = "results/recorded/long/toy"
#: a card's recorded run is made anew: one table changes, one is new, one is gone
COMMAND = f"cd {FOLDER}; echo 2 > a.csv; echo 3 > new.csv; rm old.csv"


@pytest.fixture
def finished(repository) -> Path:
    """A project whose run has finished; its clone."""
    names = ("a.csv", "old.csv", "same.csv")
    repository.commit({f"{FOLDER}/{name}": "1\n" for name in names})
    repository.write_runs(toy={"command": COMMAND, "brings": [FOLDER]}, other={"planned": "code"})
    repository.work()
    return repository.project.clone("toy")


def texts(root: Path) -> dict[str, str]:
    return {path.name: path.read_text("utf-8").strip() for path in (root / FOLDER).iterdir()}


def refused(capsys, *arguments: str) -> str:
    assert main(["bring-back", *arguments]) == 2
    return capsys.readouterr().err


def test_what_a_run_made_comes_back_and_the_entry_is_done(repository, finished, capsys):
    # the run did not touch this one: the project's newer version stays
    (repository.root / FOLDER / "same.csv").write_text("newer", encoding="utf-8")
    assert main(["bring-back"]) == 0
    assert "files 1 new, 2 replaced or removed" in capsys.readouterr().out
    assert texts(repository.root) == {"a.csv": "2", "new.csv": "3", "same.csv": "newer"}
    made = read_json(repository.root / "results/recorded/runs/toy.json")
    assert made["command"] == COMMAND
    assert made["commit"] == repository.git("rev-parse", "HEAD")
    assert made["core_hours"] > 0
    assert made["cpu"]
    assert made["packages"]["numpy"]
    assert {Path(path).name for path in made["files"]} == {"a.csv", "new.csv"}
    assert made["files"][f"{FOLDER}/a.csv"]["sha256"] == sha256(finished / FOLDER / "a.csv")
    # nothing but what is committed is needed to know it
    repository.project.status_file("toy").unlink()
    assert repository.project.state("toy", repository.runs()["toy"]) == ("done", "")
    assert "toy is left out: it is done." in repository.work()
    assert main(["bring-back"]) == 0
    assert "No finished run waits" in capsys.readouterr().out


@pytest.mark.parametrize("damage", ["missing", "not what the run made"])
def test_a_result_that_is_not_what_was_made_is_refused(repository, finished, capsys, damage):
    before, file = texts(repository.root), finished / FOLDER / "new.csv"
    file.unlink() if damage == "missing" else file.write_text("4", encoding="utf-8")
    assert f"{file} is {damage}; remove" in refused(capsys, "toy")
    assert texts(repository.root) == before
    assert not repository.project.record("toy").exists()


def test_changes_of_the_project_are_not_overwritten_unasked(repository, finished, capsys):
    for name in ("a.csv", "new.csv", "old.csv"):
        (repository.root / FOLDER / name).write_text("mine", encoding="utf-8")
    before, said = texts(repository.root), refused(capsys)
    named = ", ".join(f"{FOLDER}/{name}" for name in ("a.csv", "new.csv", "old.csv"))
    assert f"'toy' would replace {named}, which the project did not have like that" in said
    assert texts(repository.root) == before
    assert main(["bring-back", "--replace"]) == 0
    assert texts(repository.root) == {"a.csv": "2", "new.csv": "3", "same.csv": "1"}


def test_only_finished_entries_come_back(repository, finished, capsys):
    assert "runs.yaml has no entry 'toi', did you mean 'toy'?" in refused(capsys, "toi")
    assert "'other' is planned; only a finished run can" in refused(capsys, "other")


def test_an_archive_comes_with_its_registry_entry(repository, capsys):
    entry = {"title": "Drops", "sha256": "0", "bytes": 4, "n_frames": 1, "made": {"seed": 1}}
    entry |= {"reference": "exact", "licence": "CC0-1.0"}
    registry = "# comment\n" + yaml.safe_dump({"old": entry | {"file": "old.h5"}})
    write = "import sys; from pathlib import Path; Path('data/drops.h5').write_text('new!')"
    register = """
import yaml; from pathlib import Path; from gnnip.files import sha256
path = Path("data/registry.yaml"); known = yaml.safe_load(path.read_text())
entry = known["old"] | {"file": "drops.h5", "sha256": sha256("data/drops.h5")}
path.write_text(yaml.safe_dump(known | {"drops": entry}))
"""
    repository.commit({"data/registry.yaml": registry, "write.py": write, "register.py": register})
    brings = {"brings": ["data/*.h5"]}
    repository.write_runs(
        forgotten={"command": "python write.py"} | brings,
        drops={"command": "python write.py; python register.py"} | brings,
    )
    said = repository.work(failed=1)
    assert "data/drops.h5 is not in the registry of" in said
    assert "'python -m gnnip register drops ...'" in said
    # the project has another new entry meanwhile
    mine = registry + yaml.safe_dump({"mine": entry | {"file": "mine.h5"}})
    (repository.root / "data/registry.yaml").write_text(mine, encoding="utf-8")
    assert main(["bring-back"]) == 0
    text = (repository.root / "data/registry.yaml").read_text("utf-8")
    known = yaml.safe_load(text)
    assert set(known) == {"old", "mine", "drops"}
    assert known["drops"]["sha256"] == sha256(repository.root / "data/drops.h5")
    assert text.startswith("# comment\n")


def test_a_copy_that_arrives_damaged_is_not_kept(repository, finished, capsys, monkeypatch):
    def spoil(source, target):
        Path(target).write_text("half", encoding="utf-8")

    monkeypatch.setattr("gnnip.runs.bring_back.shutil.copyfile", spoil)
    before = texts(repository.root)
    assert "a.csv is damaged; bring it back again" in refused(capsys)
    assert texts(repository.root) == before
