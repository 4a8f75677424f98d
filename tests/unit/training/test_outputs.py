"""A finished training is one whose files are whole; any other is made again, and not read."""

import json
import shutil

import pytest
from tiny_trainings import run

from gnnip.errors import DataError
from gnnip.files import sha256
from gnnip.training.outputs import RESULTS, are_whole, read_history, read_predictions


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    run(folder, "pair")
    return folder


@pytest.fixture
def folder(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "copy")
    return tmp_path / "copy"


def cut(path, lines=0, characters=0):
    text = path.read_text(encoding="utf-8")
    text = "".join(text.splitlines(keepends=True)[: -lines or None])
    path.write_text(text[: -characters or None], encoding="utf-8")


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes), encoding="utf-8")


DAMAGE = {
    "weights cut": lambda f: (f / "model.safetensors").write_bytes(b"\0" * 700),
    "weights of another length": lambda f: (f / "model.safetensors").open("ab").write(b"x"),
    "description of other weights": lambda f: edit(f / "model.json", weights_sha256="0" * 64),
    "description without its sum": lambda f: edit(f / "model.json", weights_sha256=None),
    "description of another kind": lambda f: (f / "model.json").write_text("[]"),
    "description no JSON": lambda f: (f / "model.json").write_bytes(b"\xff"),
    "no predictions": lambda f: (f / "predictions.csv").write_text(""),
    "predictions cut at a line end": lambda f: cut(f / "predictions.csv", lines=1),
    "predictions cut within a number": lambda f: cut(f / "predictions.csv", characters=2),
    "predictions twice": lambda f: (f / "predictions.csv").write_text(
        (f / "predictions.csv").read_text() * 2
    ),
    "history cut at a line end": lambda f: cut(f / "history.csv", lines=1),
    "history of a header": lambda f: (f / "history.csv").write_text("epoch\n"),
    "summary of another kind": lambda f: (f / "summary.json").write_text("[]"),
    "summary half": lambda f: cut(f / "summary.json", characters=20),
    "folder in place of a file": lambda f: (
        (f / "history.csv").unlink(),
        (f / "history.csv").mkdir(),
    ),
    **{f"{name} gone": lambda f, name=name: (f / name).unlink() for name in RESULTS},
}


def test_what_is_whole_is_left_as_it_is(folder):
    assert are_whole(folder)
    assert len(read_predictions(folder)) == 12
    before = [(folder / name).stat().st_mtime_ns for name in RESULTS]
    run(folder, "pair")
    assert [(folder / name).stat().st_mtime_ns for name in RESULTS] == before


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_not_whole_is_none(folder, damage):
    DAMAGE[damage](folder)
    assert not are_whole(folder)


def test_it_is_trained_again_to_the_same_weights(folder, finished):
    DAMAGE["weights cut"](folder)
    DAMAGE["predictions cut at a line end"](folder)
    run(folder, "pair")
    assert are_whole(folder)
    assert sha256(folder / "model.safetensors") == sha256(finished / "model.safetensors")


def test_readers_see_what_is_missing(folder):
    cut(folder / "predictions.csv", lines=1)
    cut(folder / "history.csv", lines=1)
    for read, name in ((read_predictions, "predictions.csv"), (read_history, "history.csv")):
        with pytest.raises(DataError, match=f"{name} is cut off or not of this run"):
            read(folder)
