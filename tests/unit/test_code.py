"""The hash of the code behind a result: what changes it, and what does not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import gnnip
from gnnip import catalogue, code
from gnnip.errors import ConfigError
from gnnip.reference import calculator_module

LIBRARY = Path(gnnip.__file__).parent
ENGINES = ("xtb", "pyscf", "cp2k", "ase:emt", "water_anion", "au_mgo")

SOURCES = {
    "__init__.py": "__version__ = '1'",
    "errors.py": "class E(Exception): ...",
    "files.py": "def write(): return 1",
    "models/__init__.py": "from gnnip.models.listing import build",
    "models/listing.py": (
        "from importlib import import_module\nimport gnnip.figures\n"
        "LISTING = True\n"
        "_POTENTIALS = {'x': ('gnnip.models.x', 'X'), 'y': ('gnnip.models.y', 'Y')}\n"
        "def build(name): return import_module(_POTENTIALS[name][0])\n"
    ),
    "models/x.py": "from gnnip.models.shared import f\nSOURCE = 'x.cpp'\nclass X: ...",
    "models/x.cpp": "a + b",
    "models/y.py": "'Not x.cpp.'\nimport gnnip.files\nclass Y: ...",
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
JOBS = {
    "train x": ("gnnip.training", "gnnip.models.x"),
    "train y": ("gnnip.training", "gnnip.models.y"),
    "plot": ("gnnip.figures",),
    "data": ("gnnip.datasets",),
}


class Sources:
    """Source files that a test may edit, and the jobs that follow from them."""

    def __init__(self, home: Path, jobs: dict[str, tuple[str, ...]]) -> None:
        self.home, self.jobs = home, jobs

    def write(self, name: str, text: str) -> None:
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def edit(self, name: str, old: str, new: str) -> None:
        text = (self.home / name).read_text(encoding="utf-8")
        assert old in text
        self.write(name, text.replace(old, new, 1))

    def hashes(self) -> dict[str, str]:
        # in real use no source changes while a process lives
        for function in (code._find, code._read):
            function.cache_clear()
        return {job: code.code_hash(modules, self.home) for job, modules in self.jobs.items()}


@pytest.fixture
def small(tmp_path):
    """A package of the library's shape."""
    sources = Sources(tmp_path, JOBS)
    for name, text in SOURCES.items():
        sources.write(f"gnnip/{name}", text)
    sources.hashes()
    return sources


@pytest.mark.parametrize(
    ("name", "text", "redone"),
    [
        ("models/x.py", "from gnnip.models.shared import f\nclass X:\n    a = 1", {"train x"}),
        ("models/x.cpp", "a - b", {"train x"}),
        ("models/y.py", "import gnnip.files\nclass Y:\n    a = 1", {"train y"}),
        ("models/shared.py", "def f():\n    return 2", {"train x"}),
        ("models/listing.py", "LISTING = True\n_POTENTIALS = {}", set()),
        ("training/trainer.py", "def train(): return 2", {"train x", "train y"}),
        ("files.py", "def write(): return 2", {"train x", "train y"}),
        ("figures/__init__.py", "COLOUR = 'blue'", {"plot"}),
        ("datasets.py", "N = 2", {"data"}),
        ("models/shared.py", "# note\ndef f():\n    'Say 1.'\n    return 1", set()),
        ("errors.py", "class E(ValueError): ...", set()),
        ("__init__.py", "__version__ = '2'", set()),
    ],
)
def test_an_edit_redoes_what_depends_on_it_and_nothing_else(small, name, text, redone):
    before = small.hashes()
    small.write(f"gnnip/{name}", text)
    after = small.hashes()
    assert {job for job in before if before[job] != after[job]} == redone


def test_closure_follows_every_form_of_import(small):
    modules = ["gnnip.training", "gnnip.models.y", "gnnip.models.x"]
    assert code.code_closure(modules, small.home) == [
        "gnnip.files",
        "gnnip.models",
        "gnnip.models.shared",
        "gnnip.models.x",
        "gnnip.models.y",
        "gnnip.training",
        "gnnip.training.trainer",
        "gnnip/models/x.cpp",
    ]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("gnnip.modells", r"There is no library module 'gnnip\.modells'\."),
        ("nowhere.model", r"On Python's path there is no module 'nowhere\.model'\."),
        ("papers/none/tables.py", r"There is no file 'papers/none/tables\.py'\."),
    ],
)
def test_unknown_module(name, sentence):
    with pytest.raises(ConfigError, match=sentence):
        code.code_hash([name])


def test_a_strangers_model_is_hashed_with_its_own_package_and_folder(small, tmp_path, monkeypatch):
    theirs = Sources(tmp_path / "theirs", {})
    theirs.write("lab/models/mine.py", "import numpy\nfrom . import parts\nimport helper, other")
    theirs.write("lab/models/parts.py", "from gnnip.models.shared import f\nWEIGHTS = 'table.dat'")
    theirs.write("lab/models/table.dat", "1 2 3")
    theirs.write("helper.py", "import lab.tools")
    theirs.write("lab/tools.py", "N = 1")
    theirs.write("lab/unused.py", "N = 1")
    monkeypatch.setattr(sys, "path", [*sys.path, str(theirs.home)])
    expected = [
        "gnnip.models",
        "gnnip.models.shared",
        "helper",
        "lab.models.mine",
        "lab.models.parts",
        "lab.tools",
        "lab/models/table.dat",
    ]
    assert code.code_closure(["lab.models.mine"], small.home) == expected
    # beside installed packages only its own package counts
    installed = theirs.home.rename(tmp_path / "site-packages")
    monkeypatch.setattr(sys, "path", [str(installed)])
    code._find.cache_clear()
    expected = [name for name in expected if name not in ("helper", "lab.tools")]
    assert code.code_closure(["lab.models.mine"], small.home) == expected


def test_a_file_is_hashed_with_what_it_imports_wherever_it_lies(small, tmp_path):
    hashes = set()
    for folder in ("here", "there"):
        Sources(tmp_path, {}).write(f"{folder}/tables.py", "import gnnip.files\nimport helper")
        Sources(tmp_path, {}).write(f"{folder}/helper.py", "N = 1")
        modules = [str(tmp_path / folder / "tables.py")]
        assert code.code_closure(modules, small.home) == ["gnnip.files", "helper", "tables"]
        hashes.add(code.code_hash(modules, small.home))
    assert len(hashes) == 1


def test_every_data_file_of_the_package_belongs_to_a_module():
    modules = [
        ".".join(path.relative_to(LIBRARY.parent).with_suffix("").parts).removesuffix(".__init__")
        for path in LIBRARY.rglob("*.py")
    ]
    data = {
        str(path.relative_to(LIBRARY.parent))
        for path in LIBRARY.rglob("*.*")
        if path.suffix not in (".py", ".pyc", ".nbi", ".nbc", ".typed")
    }
    assert "gnnip/models/nequip/kernels.cpp" in data
    assert not data - set(code.code_closure(modules))


@pytest.mark.parametrize("name", catalogue.names())
def test_a_training_depends_on_its_own_model(name):
    module = catalogue.model_module(name)
    closure = code.code_closure(["gnnip.training.run", module])
    assert module in closure
    assert not [m for m in closure if m.startswith(("gnnip.artefacts", "gnnip.verdicts"))]
    others = {catalogue.model_module(other) for other in catalogue.names()} - {module}
    assert not others & set(closure)
    for owner in ("jat", "nequip"):
        assert (f"gnnip/models/{owner}/kernels.cpp" in closure) == (name == owner)


@pytest.mark.parametrize("name", ENGINES)
def test_dynamics_depend_on_their_own_engine(name):
    module = calculator_module(name)
    closure = code.code_closure(["gnnip.measurements.dynamics", module])
    assert module in closure
    others = {calculator_module(other) for other in ("xtb", "pyscf", "cp2k")} - {module}
    assert not others & set(closure)


def test_figures_do_not_depend_on_potentials_or_trainings():
    closure = code.code_closure(["gnnip.artefacts.make", "gnnip.artefacts.reference_data_figure"])
    # what reads typed options is no potential
    light = {"gnnip.models", "gnnip.models.hyperparameters"}
    heavy = ("gnnip.models", "gnnip.training", "gnnip.graphs", "gnnip.md")
    assert not [m for m in set(closure) - light if m.startswith(heavy)]
