"""What models there are, read from their source: no torch is imported to check a card.

A model is named as for `gnnip.models.build`: by its name in the library, or `package.module:Class`.
"""

from __future__ import annotations

import ast
import functools
import itertools
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Annotated, Any, Literal

from gnnip.errors import ConfigError, nearest
from gnnip.models.hyperparameters import Limits, fit_value, refuse_too_large

_LIBRARY = Path(__file__).parent


@functools.cache
def _listed() -> dict[str, tuple[str, str]]:
    """Return name -> (module, class), as `gnnip.models.listing` has them."""
    listing = _parse(_LIBRARY / "models" / "listing.py").body
    (table,) = (node.value for node in listing if isinstance(node, ast.AnnAssign))
    assert table is not None
    entries: dict[str, tuple[str, str]] = ast.literal_eval(table)
    return entries


def names() -> list[str]:
    """Return the names of the models of the library, as `gnnip.models.names()` does."""
    return sorted(_listed())


def summaries() -> dict[str, str]:
    """Return what each model of the library is: the first sentence of its class."""
    found = {}
    for name in names():
        module, cls = _place(name)
        classes = [n for n in _parse(module_file(module)).body if isinstance(n, ast.ClassDef)]
        text = next(ast.get_docstring(node) or "" for node in classes if node.name == cls)
        found[name] = " ".join(text.split("\n\n")[0].split())
    return found


def _place(name: str) -> tuple[str, str]:
    """Return the module and the class of a model; ConfigError for an unknown name."""
    if name in _listed():
        return _listed()[name]
    module, colon, cls = name.partition(":")
    if not colon:
        raise ConfigError(f"there is no model '{name}'{nearest(name, names())}")
    return module, cls


def model_module(name: str) -> str:
    """Return the module that defines a model; ConfigError where there is none."""
    module, _ = _place(name)
    module_file(module)
    return module


def module_file(module: str) -> Path:
    """Return the source file of a module on `sys.path`, which is not imported for that.

    ConfigError for a module that is not there or not written in Python.
    """
    places: Sequence[str] | None = [str(_LIBRARY.parent), *sys.path]
    spec = None
    for name in itertools.accumulate(module.split("."), "{}.{}".format):
        spec = None if places is None else PathFinder.find_spec(name, places)
        places = None if spec is None else spec.submodule_search_locations
    if spec is None or not (spec.origin or "").endswith(".py"):
        raise ConfigError(
            f"there is no module '{module}' for a model; install it or add its folder to PYTHONPATH"
        )
    return Path(str(spec.origin))


def _terms(values: Mapping[str, object]) -> Iterator[tuple[str, Mapping[str, object]]]:
    """Yield the models and hyper-parameters of the terms of a sum."""
    terms = values.get("terms")
    for term in terms if isinstance(terms, list) else []:
        if isinstance(term, Mapping) and isinstance(term.get("model"), str):
            yield term["model"], term.get("hyperparameters") or {}


def model_modules(name: str, values: Mapping[str, object]) -> list[str]:
    """Return the modules that define a model and, for a sum, those of its terms."""
    modules = {model_module(name)}
    for term, options in _terms(values):
        modules.update(model_modules(term, options))
    return sorted(modules)


def hyperparameters(name: str) -> dict[str, tuple[object, ...]]:
    """Return the hyper-parameters of a model and, where their type lists them, the allowed values.

    They are the annotated fields of the class that the model calls `Hyperparameters`: a class
    inside it, one of its module assigned to that name, or the module's `...Hyperparameters`.

    Raises ConfigError for a missing module or class, or a class that is not derived from another.
    """
    return {key: _choices(annotation) for key, annotation in _fields(name).items()}


def _fields(name: str) -> dict[str, ast.expr]:
    """Return the annotations of the hyper-parameters of a model."""
    module, cls = _place(name)
    path = module_file(module)
    classes = {node.name: node for node in _parse(path).body if isinstance(node, ast.ClassDef)}
    if cls not in classes:
        raise ConfigError(f"{path.name} defines no class '{cls}'{nearest(cls, classes)}")
    if not classes[cls].bases:
        raise ConfigError(f"the class '{cls}' of {path.name} is not derived from Potential")
    return {
        item.target.id: item.annotation
        for item in _options_class(classes[cls], classes, path).body
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
    }


@functools.cache
def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _options_class(
    model: ast.ClassDef, classes: Mapping[str, ast.ClassDef], path: Path
) -> ast.ClassDef:
    """Return the dataclass of the hyper-parameters of a model."""
    for node in model.body:
        if isinstance(node, ast.ClassDef) and node.name == "Hyperparameters":
            return node
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "Hyperparameters":
            named = classes.get(ast.unparse(node.value))
            if named is not None:
                return named
    for found in classes.values():
        if found.name.endswith("Hyperparameters"):
            return found
    raise ConfigError(f"{path.name} defines no class Hyperparameters for '{model.name}'")


def _choices(annotation: ast.expr) -> tuple[object, ...]:
    """Return the values of `Literal[...]`, nothing for any other type."""
    if not (isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) == "Literal"):
        return ()
    values = ast.literal_eval(annotation.slice)
    return values if isinstance(values, tuple) else (values,)


def _hint(annotation: ast.expr) -> Any:
    """Return an annotation as a type; None where it takes more than Python's own types."""
    known = {"Literal": Literal, "Annotated": Annotated, "Any": Any, "Limits": Limits}
    try:
        return eval(compile(ast.Expression(annotation), "", "eval"), dict(known))
    except NameError:
        return None


def check_hyperparameters(name: str, values: Mapping[str, object]) -> None:
    """Raise ConfigError for a hyper-parameter that the model does not know, and for a value that it
    does not list, of another type, negative where numbers are counted, or too large."""
    known = _fields(name)
    for key, value in values.items():
        if key not in known:
            raise ConfigError(f"the model '{name}' has no '{key}'{nearest(key, known)}")
        hint = _hint(known[key])
        if hint is not None:
            fit_value(value, hint, key)
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, int) and number < 0:
                raise ConfigError(f"{key} is {number}, and no size or number is below 0")
    refuse_too_large(values, f"the model '{name}'")
    for term, options in _terms(values):
        check_hyperparameters(term, options)
