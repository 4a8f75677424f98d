"""What models the library offers, read from its source: no torch is imported to check a card."""

from __future__ import annotations

import ast
import functools
from collections.abc import Mapping
from pathlib import Path

from gnnip.errors import ConfigError, nearest

_MODELS = Path(__file__).parent / "models"


@functools.cache
def _modules() -> dict[str, tuple[str, str]]:
    """Return name -> (module, class), as `gnnip.models.registry` lists them."""
    tree = ast.parse((_MODELS / "registry.py").read_text(encoding="utf-8"))
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(t, ast.Name) and t.id == "_POTENTIALS" for t in targets):
            value = getattr(node, "value", None)
            if isinstance(value, ast.expr):
                entries: dict[str, tuple[str, str]] = ast.literal_eval(value)
                return entries
    raise ConfigError("gnnip/models/registry.py lists no potentials under _POTENTIALS.")


def names() -> list[str]:
    """Return the names of all models, as `gnnip.models.names()` does."""
    return sorted(_modules())


def model_module(name: str) -> str:
    """Return the module that defines a model; ConfigError for an unknown name."""
    modules = _modules()
    if name not in modules:
        raise ConfigError(f"there is no model '{name}'{nearest(name, modules)}")
    return modules[name][0]


def model_modules(name: str, values: Mapping[str, object]) -> list[str]:
    """Return the modules that define a model and, for a sum, those of its terms."""
    modules = {model_module(name)}
    terms = values.get("terms")
    for term in terms if isinstance(terms, list) else []:
        if isinstance(term, Mapping) and isinstance(term.get("model"), str):
            modules.update(model_modules(term["model"], term.get("hyperparameters") or {}))
    return sorted(modules)


@functools.cache
def hyperparameters(name: str) -> dict[str, tuple[object, ...]]:
    """Return the hyper-parameters of a model and, where their type lists them, the allowed values.

    They are the annotated fields of the class `...Hyperparameters` in the model's module.
    """
    path = _MODELS.parent.joinpath(*model_module(name).split(".")[1:])
    source = path.with_suffix(".py") if path.with_suffix(".py").exists() else path / "__init__.py"
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef) and node.name.endswith("Hyperparameters"):
            return {
                item.target.id: _choices(item.annotation)
                for item in node.body
                if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
            }
    raise ConfigError(f"{source.name} defines no class Hyperparameters.")


def _choices(annotation: ast.expr) -> tuple[object, ...]:
    """Return the values of `Literal[...]`, nothing for any other type."""
    if not (isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) == "Literal"):
        return ()
    values = ast.literal_eval(annotation.slice)
    return values if isinstance(values, tuple) else (values,)


def check_hyperparameters(name: str, values: Mapping[str, object]) -> None:
    """Raise ConfigError for a hyper-parameter or a listed value that the model does not know."""
    known = hyperparameters(name)
    for key, value in values.items():
        if key not in known:
            raise ConfigError(f"the model '{name}' has no '{key}'{nearest(key, known)}")
        if known[key] and value not in known[key]:
            choices = map(str, known[key])
            raise ConfigError(f"{key} is '{value}'{nearest(str(value), choices)}")
    terms = values.get("terms")
    for term in terms if isinstance(terms, list) else []:
        if isinstance(term, Mapping) and isinstance(term.get("model"), str):
            check_hyperparameters(term["model"], term.get("hyperparameters") or {})
