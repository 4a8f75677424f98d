from __future__ import annotations

from pathlib import Path

import pytest

from gnnip import catalogue, provenance
from gnnip.errors import ConfigError

SOURCES = {
    "__init__.py": "__version__ = '1'",
    "errors.py": "class E(Exception): ...",
    "files.py": "def write(): return 1",
    "models/__init__.py": "from gnnip.models.registry import build",
    "models/registry.py": (
        "from importlib import import_module\n"
        "_POTENTIALS = {'x': ('gnnip.models.x', 'X'), 'y': ('gnnip.models.y', 'Y')}\n"
        "def build(name): return import_module(_POTENTIALS[name][0])\n"
    ),
    "models/x.py": "from gnnip.models.shared import f\nclass X: ...",
    "models/y.py": "import gnnip.files\nclass Y: ...",
    "models/shared.py": "def f():\n    'Say one.'\n    return 1",
    "training/__init__.py": (
        "from .trainer import train\ndef figures():\n    from gnnip import figures"
    ),
    "training/trainer.py": (
        "from typing import TYPE_CHECKING\n"
        "from ..files import write\n"
        "if TYPE_CHECKING:\n    import gnnip.figures\n"
        "def train():\n    from gnnip.errors import E\n    import gnnip.models\n"
    ),
    "figures/__init__.py": "COLOUR = 'red'",
    "datasets.py": "N = 1",
}


def forget() -> None:
    """Drop what was read: in real use no source changes while a process lives."""
    for function in (provenance._file, provenance._normalised, provenance._imports):
        function.cache_clear()


class Package:
    """A small copy of the library's shape, whose sources can be edited."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in SOURCES:
            self.write(name, SOURCES[name])

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        forget()

    def hashes(self) -> dict[str, str]:
        jobs = {
            "train x": ("gnnip.training", "gnnip.models.x"),
            "train y": ("gnnip.training", "gnnip.models.y"),
            "plot": ("gnnip.figures",),
            "data": ("gnnip.datasets",),
        }
        return {job: provenance.code_hash(modules) for job, modules in jobs.items()}

    def redone_after(self, name: str, text: str) -> set[str]:
        before = self.hashes()
        self.write(name, text)
        after = self.hashes()
        return {job for job in before if before[job] != after[job]}


@pytest.fixture
def package(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "_SOURCE", tmp_path)
    forget()
    yield Package(tmp_path)
    forget()


@pytest.mark.parametrize(
    ("name", "text", "redone"),
    [
        ("models/x.py", "from gnnip.models.shared import f\nclass X:\n    a = 1", {"train x"}),
        ("models/y.py", "import gnnip.files\nclass Y:\n    a = 1", {"train y"}),
        ("models/shared.py", "def f():\n    return 2", {"train x"}),
        ("training/trainer.py", "def train(): return 2", {"train x", "train y"}),
        ("files.py", "def write(): return 2", {"train x", "train y"}),
        ("figures/__init__.py", "COLOUR = 'blue'", {"plot"}),
        ("datasets.py", "N = 2", {"data"}),
        ("models/shared.py", "# note\ndef f():\n    'Say 1.'\n    return 1", set()),
        ("errors.py", "class E(ValueError): ...", set()),
        ("__init__.py", "__version__ = '2'", set()),
    ],
)
def test_an_edit_redoes_what_depends_on_it_and_nothing_else(package, name, text, redone):
    assert package.redone_after(name, text) == redone


def test_closure_follows_every_form_of_import(package):
    assert provenance.code_closure(["gnnip.training", "gnnip.models.y"]) == [
        "gnnip.files",
        "gnnip.models",
        "gnnip.models.registry",
        "gnnip.models.y",
        "gnnip.training",
        "gnnip.training.trainer",
    ]


def test_unknown_module():
    with pytest.raises(ConfigError, match=r"no library module 'gnnip\.modells'"):
        provenance.code_hash(["gnnip.modells"])


def test_the_trainings_of_the_library_depend_on_their_model_and_not_on_figures():
    for name in catalogue.names():
        module = catalogue.model_module(name)
        closure = provenance.code_closure(["gnnip.training.run", module])
        assert module in closure
        assert not [m for m in closure if m.startswith(("gnnip.figures", "gnnip.evaluation"))]
        others = {catalogue.model_module(other) for other in catalogue.names()} - {module}
        assert not others & set(closure)


def test_figures_do_not_depend_on_models_or_trainings():
    closure = provenance.code_closure(["gijon2023.figures"])
    assert not [m for m in closure if m.startswith(("gnnip.models", "gnnip.training"))]


def test_environment_names_commit_versions_and_hardware():
    found = provenance.environment()
    assert found["packages"]["numpy"]
    assert found["packages"]["torch"]
    assert found["cpu"]
    assert found["cores"] >= 1
    assert found["git_commit"] is None or len(found["git_commit"]) == 40


def test_run_sums_benchmarks_and_trainings(tmp_path):
    folder = tmp_path / "benchmarks/train_model/table1"
    folder.mkdir(parents=True)
    (folder / "a.tsv").write_text("s\tmax_rss\n10.5\t300\n", encoding="utf-8")
    (folder / "b.tsv").write_text("s\tmax_rss\n1.5\tNA\n", encoding="utf-8")
    (tmp_path / "benchmarks/judge_card.tsv").write_text("s\tmax_rss\n2\t50\n", encoding="utf-8")
    summary = tmp_path / "summary.json"
    summary.write_text('{"wall_s": 9, "peak_memory_mb": 512, "device": "cpu"}', encoding="utf-8")
    card = {"id": "x", "trainings": {"table1": {"seeds": 3}}}
    run = provenance.describe_run(card, {}, [tmp_path / "benchmarks"], [summary])
    assert run["rules"]["train_model"] == {"jobs": 2, "wall_s": 12.0, "peak_memory_mb": 300.0}
    assert run["wall_s"] == 14.0
    assert run["peak_memory_mb"] == 512
    assert run["seeds"] == {"table1": 3}
    assert run["trainings"]["devices"] == ["cpu"]


def test_record_copies_small_files_and_drops_those_of_an_earlier_run(tmp_path):
    target = tmp_path / "recorded"
    target.mkdir()
    (target / "old.csv").write_text("1", encoding="utf-8")
    (target / "README.md").write_text("kept", encoding="utf-8")
    new = tmp_path / "table1.csv"
    new.write_text("a,b\n", encoding="utf-8")
    manifest = provenance.record_files([new], target)
    assert sorted(path.name for path in target.iterdir()) == ["README.md", "table1.csv"]
    assert manifest["table1.csv"]["bytes"] == 4
    large = tmp_path / "weights.csv"
    large.write_bytes(bytes(provenance._LARGEST_RECORDED + 1))
    with pytest.raises(ConfigError, match="only files up to 5 MB"):
        provenance.record_files([large], target)
