"""The house: data flows one way through its folders, functions fit on a screen."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

#: the data's way; a folder imports from those before it only
FOLDERS = (
    *("reference", "sampling", "datasets", "graphs", "models", "training"),
    *("md", "measurements", "artefacts", "verdicts", "config", "page", "own", "engines"),
    "runs",
    "testing",
)


@pytest.fixture(scope="module")
def sources(root: Path) -> dict[Path, ast.Module]:
    home = root / "src/gnnip"
    return {
        path.relative_to(home): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(home.rglob("*.py"))
    }


def imported(tree: ast.AST, types: bool = True) -> Iterator[str]:
    """Yield what a module imports, inside functions too; optionally not what only types need."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif types or not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)):
            yield from imported(node, types)


def test_arrows_point_one_way(root, sources):
    folders = {path.name for path in (root / "src/gnnip").iterdir() if path.is_dir()}
    assert folders - {"__pycache__"} == set(FOLDERS)
    wrong = [
        f"{path} imports {name}"
        for path, tree in sources.items()
        if path.parts[0] in FOLDERS
        for name in imported(tree)
        if name.startswith("gnnip.") and name.split(".")[1] in FOLDERS
        if FOLDERS.index(name.split(".")[1]) > FOLDERS.index(path.parts[0])
    ]
    assert wrong == []


def test_modules_import_each_other_in_no_circle(sources):
    names = {path: ".".join(("gnnip", *path.with_suffix("").parts)) for path in sources}
    modules = {name.removesuffix(".__init__") for name in names.values()}
    edges = {
        # a name imported from a module stands for the module; a package is no part of itself
        names[path].removesuffix(".__init__"): {
            name if name in modules else name.rpartition(".")[0]
            for name in imported(tree, types=False)
            if name.startswith("gnnip.")
        }
        for path, tree in sources.items()
        if path.name != "__init__.py"
    }
    for name in edges:
        seen, pending = set(), list(edges[name])
        while pending:
            other = pending.pop()
            assert other != name, f"{name} imports itself through {sorted(seen)}"
            if other in edges and other not in seen:
                seen.add(other)
                pending += edges[other]


def test_functions_fit_on_a_screen(sources):
    long = [
        f"{path}: {node.name} has {length} lines"
        for path, tree in sources.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        if (length := (node.end_lineno or 0) - node.lineno + 1) > 60
    ]
    assert long == []


def test_the_library_names_no_paper(root, sources):
    papers = {path.parent.name for path in (root / "papers").glob("*/card.yaml")}
    for path in sources:
        if path != Path("config/schema.py"):  # the default of config.yaml
            text = (root / "src/gnnip" / path).read_text(encoding="utf-8")
            code = "\n".join(line for line in text.splitlines() if "import" in line)
            assert not [paper for paper in papers if paper in code], path


def test_the_rules_are_short(root):
    for path in (root / "workflow/rules").glob("*.smk"):
        assert len(path.read_text(encoding="utf-8").splitlines()) < 200, path.name
