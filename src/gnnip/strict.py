"""Typed settings that a user writes: unknown keys are refused by name, mistakes are one sentence.

Needs pydantic only. The fields' docstrings become descriptions in the JSON schemas.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from gnnip.errors import ConfigError, nearest

_Model = TypeVar("_Model", bound=BaseModel)


class Strict(BaseModel):
    """A model that names the nearest valid key when it meets an unknown one."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _name_unknown_keys(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            for key in data:
                if key not in cls.model_fields:
                    raise ValueError(f"unknown key '{key}'{nearest(key, cls.model_fields)}")
        return data


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
