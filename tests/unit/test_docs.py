"""The prose stays true: links, commands, dependencies; what it shows is run in test_examples.py."""

import ast
import re
import sys
import tomllib
from importlib import metadata

import pytest

DOCUMENTS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")


@pytest.fixture(scope="module")
def pages(root):
    paths = [root / name for name in DOCUMENTS] + sorted((root / "docs").glob("*.md"))
    return {path: path.read_text(encoding="utf-8") for path in paths}


def test_links_lead_somewhere(pages):
    for path, text in pages.items():
        for target in re.findall(r"(?<!!)\[[^\]]*\]\(([^)#]+)", text):
            if not target.startswith("http"):
                assert (path.parent / target).exists(), f"{path.name} links to {target}"


def test_make_targets_exist(root, pages):
    makefile = (root / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))
    for path, text in pages.items():
        code = re.findall(r"`([^`\n]+)`", text) + re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
        for target in re.findall(r"(?:^|\s)make ([a-z-]+)\b", "\n".join(code)):
            assert target in targets, f"{path.name} says make {target}"


def test_folders_and_files_that_are_named_exist(root, pages):
    for path, text in pages.items():
        for name in re.findall(
            r"`((?:src|docs|tests|workflow|profiles|papers|data)/[\w./-]+)`", text
        ):
            if "<" not in name:
                assert (root / name).exists(), f"{path.name} names {name}"


def test_every_dependency_is_explained(root, pages):
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["engines"]]
    names = [re.split(r"[<>=\[ ]", item)[0] for item in wanted]
    explained = re.findall(
        r"^\| ([\w-]+) \|", pages[root / "docs" / "dependencies.md"], re.MULTILINE
    )
    assert sorted(explained) == sorted([*names, *["---", "package"] * 2])


def test_the_readme_is_one_screen(root):
    assert len((root / "README.md").read_text(encoding="utf-8").splitlines()) <= 80


def test_documented_measures_are_those_of_the_tables(pages, root):
    from gijon2023.tables import SCORES

    named = set(re.findall(r"^\| `(\w+)` \|", pages[root / "docs" / "metrics.md"], re.MULTILINE))
    assert set(SCORES) <= named


def test_verdicts_are_all_documented(pages, root):
    from gnnip.verdicts.verdict import VERDICTS

    text = pages[root / "docs" / "metrics.md"]
    for verdict in VERDICTS:
        assert f"| `{verdict}` |" in text


def test_benchmarks_import_what_the_requirements_have(root):
    """A comparison with another program, imported where it is made, may lack it."""
    locked = set()
    for name in ("requirements.txt", "requirements-engines.txt"):
        for line in (root / name).read_text(encoding="utf-8").splitlines():
            locked.add(re.split(r"[=<>\[ ]", line)[0].lower().replace("_", "-"))
    known = set(sys.stdlib_module_names) | {"gnnip"}
    known |= {path.stem for path in (root / "benchmarks").glob("*.py")}
    for module, packages in metadata.packages_distributions().items():
        if {name.lower().replace("_", "-") for name in packages} & locked:
            known.add(module)
    for path in sorted((root / "benchmarks").glob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [str(node.module)]
            assert {name.split(".")[0] for name in names} <= known, path.name
