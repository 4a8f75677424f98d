"""Typed settings that a user writes: unknown keys are refused by name, mistakes are one sentence.

Needs pydantic only. The fields' docstrings become descriptions in the JSON schemas.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import textwrap
import typing
from collections.abc import Collection, Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, model_validator

from gnnip.errors import ConfigError, nearest

_Model = TypeVar("_Model", bound=BaseModel)


class Strict(BaseModel):
    """A model that names the nearest valid key when it meets an unknown one."""

    # strict: true is no number; whole numbers are taken for others all the same
    model_config = ConfigDict(
        extra="forbid", use_attribute_docstrings=True, strict=True, allow_inf_nan=False
    )

    @model_validator(mode="before")
    @classmethod
    def _name_unknown_keys(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            for key in data:
                if key not in cls.model_fields:
                    raise ValueError(f"unknown key '{key}'{nearest(key, cls.model_fields)}")
        return data


def model_of(
    options: type[Any], leave_out: Collection[str] = (), name: str | None = None
) -> type[Strict]:
    """Return the model of a dataclass whose fields have docstrings and perhaps `Limits`, those of
    `gnnip.models.hyperparameters`.

    Args:
        options: the dataclass: its fields, defaults, choices, limits and descriptions are taken.
        leave_out: fields that a user must not state here.
        name: of the model; that of the dataclass when absent.
    """
    hints = typing.get_type_hints(options, include_extras=True)
    described = _field_docstrings(options)
    found: dict[str, Any] = {}
    for field in dataclasses.fields(options):
        if field.name in leave_out:
            continue
        hint = hints[field.name]
        about: dict[str, Any] = {"description": described.get(field.name)}
        if typing.get_origin(hint) is Annotated:
            about |= dataclasses.asdict(hint.__metadata__[0])
            hint = hint.__origin__
        for kind in ("default", "default_factory"):
            if getattr(field, kind) is not dataclasses.MISSING:
                about[kind] = getattr(field, kind)
        found[field.name] = (hint, Field(**about))
    return create_model(
        name or options.__name__, __base__=Strict, __doc__=inspect.getdoc(options), **found
    )


def _field_docstrings(cls: type[Any]) -> dict[str, str]:
    """Return the string below each field of a class, read from its source."""
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(node, ast.ClassDef)
    return {
        ast.unparse(field.target): inspect.cleandoc(ast.literal_eval(below.value))
        for field, below in itertools.pairwise(node.body)
        if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr)
    }


def validate(model: type[_Model], raw: Any, where: str) -> _Model:
    """Return `raw` as a `model`; a ConfigError says what is wrong with it and `where` it is."""
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise explain(error, where) from None


def explain(error: ValidationError, where: str) -> ConfigError:
    """Turn the first complaint of pydantic into one sentence."""
    first = error.errors()[0]
    parts = [str(part) for part in first["loc"]]
    # the tag of a choice between types is no key of the user's
    place = ".".join(part for part in parts if part != "__root__" and not part.startswith("("))
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] not in ("value_error", "missing", "extra_forbidden"):
        message = f"{message[0].lower()}{message[1:]}, found {first['input']!r}"
    more = error.error_count() - 1
    tail = f" (and {more} more)" if more else ""
    sentence = ": ".join(part for part in (where, place, message) if part) + tail
    return ConfigError(full_stop(sentence))


def full_stop(sentence: str) -> str:
    """Return the sentence with a full stop, unless it has an end."""
    return sentence if sentence.endswith((".", "?")) else f"{sentence}."
