"""The code behind a result as a hash: as long as it stays, the result stands.

The imports are read from the source, nothing is executed. Not covered are comments and docstrings,
so that wording never costs a training, and modules that only list what there is, which say so by
`LISTING = True`: a new entry changes no result.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from gnnip.errors import ConfigError

_PACKAGE = "gnnip"
_HOME = Path(__file__).parents[1]
#: none of them can change a number, and nearly everything imports them
_IGNORED = {_PACKAGE} | {f"{_PACKAGE}.{name}" for name in ("errors", "jobs", "receipts", "threads")}
#: the packages installed there are not a stranger's own code
_INSTALLED = ("site-packages", "dist-packages")
_FILE_NAME = re.compile(r"[\w-][\w./-]*\.\w+")


class _Module(NamedTuple):
    name: str
    path: Path
    home: Path  # the folder that its absolute imports are looked up in


class _Import(NamedTuple):
    level: int  # number of leading dots
    base: str
    names: tuple[str, ...] = ()


class _Source(NamedTuple):
    text: str  # without comments and docstrings
    imports: tuple[_Import, ...]
    data: tuple[Path, ...]  # files beside it that it names
    lists: bool  # it only lists what there is


def code_hash(modules: Iterable[str], home: Path | None = None) -> str:
    """Return a hash of the modules named, of all that they import and of the data files they use.

    Followed are imports from this library and, for a module from elsewhere, from its own package
    and folder. In a package's `__init__` only imports at module level are followed: those inside
    functions are lazy, and following them would tie every model to every other. A data file (C++
    source, table) is found by its name, which stands as a string in a module of its folder.

    Args:
        modules: full names, e.g. `gnnip.training` (a package stands for its `__init__`) or
            `package.module` anywhere on Python's path, or paths of Python files.
        home: the folder that holds the package gnnip; by default that of this one.

    Returns:
        16 hexadecimal digits.

    Raises:
        ConfigError: there is no such module.
    """
    digest = hashlib.sha256()
    for name, path in sorted(_closure(modules, home or _HOME)):
        digest.update(f"{name}\0".encode() + _content(path) + b"\0")
    return digest.hexdigest()[:16]


def module_hashes(modules: Iterable[str], home: Path | None = None) -> dict[str, str]:
    """Return a hash of each module and file that :func:`code_hash` covers, by its name."""
    covered = sorted(_closure(modules, home or _HOME))
    return {name: hashlib.sha256(_content(path)).hexdigest()[:16] for name, path in covered}


def _content(path: Path) -> bytes:
    """Return what of a file counts."""
    return _read(path).text.encode() if path.suffix == ".py" else path.read_bytes()


def code_closure(modules: Iterable[str], home: Path | None = None) -> list[str]:
    """Return the sorted names of all that :func:`code_hash` covers, files as `package/file`."""
    return sorted(name for name, _ in _closure(modules, home or _HOME))


def _closure(modules: Iterable[str], home: Path) -> set[tuple[str, Path]]:
    """Return names and paths of the modules and data files that are covered."""
    pending = [_named(name, home) for name in modules]
    seen: set[_Module] = set()
    covered: set[tuple[str, Path]] = set()
    while pending:
        module = pending.pop()
        if module in seen or module.name in _IGNORED or _read(module.path).lists:
            continue
        seen.add(module)
        covered.add((module.name, module.path))
        folder = _package(module).replace(".", "/")
        covered.update((f"{folder}/{path.name}", path) for path in _read(module.path).data)
        pending += _imported(module, home)
    return covered


def _named(name: str, home: Path) -> _Module:
    """Return a module that the caller names, by its name or its path."""
    if name.endswith(".py"):
        path = Path(name)
        if not path.is_file():
            raise ConfigError(f"There is no file '{name}'.")
        return _Module(path.stem, path, path.parent)
    own = name.split(".")[0] == _PACKAGE
    for folder in [home] if own else map(Path, sys.path):
        found = _find(name, folder)
        if found is not None:
            return found
    where = "There is no library module" if own else "On Python's path there is no module"
    raise ConfigError(f"{where} '{name}'.")


@functools.cache
def _find(name: str, home: Path) -> _Module | None:
    """Return the module `name` of the folder `home`, None where there is none."""
    base = home.joinpath(*name.split("."))
    for path in (base / "__init__.py", base.with_suffix(".py")):
        if path.is_file():
            return _Module(name, path, home)
    return None


def _package(module: _Module) -> str:
    return module.name if module.path.name == "__init__.py" else module.name.rpartition(".")[0]


def _imported(module: _Module, home: Path) -> Iterator[_Module]:
    """Yield the packages that a module is in, and those of its imports that are followed."""
    names = [module.name.rpartition(".")[0]]
    package = _package(module).split(".")
    for level, base, members in _read(module.path).imports:
        if level:
            base = ".".join([*package[: len(package) - level + 1], base]).strip(".")
        names += [base, *(f"{base}.{member}".strip(".") for member in members)]
    for name in filter(None, names):
        top = name.split(".")[0]
        if top == _PACKAGE:
            found = _find(name, home)
        elif top == module.name.split(".")[0] or module.home.name not in _INSTALLED:
            found = _find(name, module.home)
        else:
            continue
        if found is not None:
            yield found


@functools.cache
def _read(path: Path) -> _Source:
    """Read a Python file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imports = tuple(_imports(tree.body, inside_functions=path.name != "__init__.py"))
    data = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [item for item in node.body if not _is_text(item)] or [ast.Pass()]
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and _FILE_NAME.fullmatch(node.value)
            and not node.value.endswith(".py")
            and (path.parent / node.value).is_file()
        ):
            data.add(path.parent / node.value)
    text = ast.unparse(tree)
    constants = (ast.unparse(node) for node in tree.body if isinstance(node, ast.Assign))
    lists = "LISTING = True" in constants
    return _Source(text, imports, tuple(sorted(data)), lists)


def _is_text(node: ast.stmt) -> bool:
    """Tell a docstring (or any other string standing alone)."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _imports(body: Iterable[ast.AST], inside_functions: bool) -> Iterator[_Import]:
    """Yield the imports of a list of statements and of the blocks inside them."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from (_Import(0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names = tuple(alias.name for alias in node.names)
            yield _Import(node.level, node.module or "", names)
        elif not _is_skipped(node, inside_functions):
            for block in ("body", "orelse", "handlers", "finalbody"):
                inner = getattr(node, block, None)
                if isinstance(inner, list):
                    yield from _imports(inner, inside_functions)


def _is_skipped(node: ast.AST, inside_functions: bool) -> bool:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return not inside_functions
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
