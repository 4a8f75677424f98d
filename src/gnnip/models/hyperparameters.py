"""Typed options from YAML, JSON or keywords: unknown keys and wrong types are errors by name."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from gnnip.errors import ConfigError, nearest
from gnnip.machine import memory_bytes

T = TypeVar("T")
_LARGEST = 2**63 - 1  #: of whole numbers in arrays; no length or rate comes near it


@dataclass(frozen=True)
class Limits:
    """Which numbers an option takes: `Annotated[float, Limits(gt=0)]`; None is no limit."""

    gt: float | None = None
    ge: float | None = None
    lt: float | None = None
    le: float | None = None

    def allow(self, value: float) -> bool:
        """Tell whether a number is within the limits."""
        return (
            (self.gt is None or value > self.gt)
            and (self.ge is None or value >= self.ge)
            and (self.lt is None or value < self.lt)
            and (self.le is None or value <= self.le)
        )

    def __str__(self) -> str:
        """Return what is asked of a number, in words."""
        if (self.gt, self.lt) == (0, 1):
            return "must be between 0 and 1"
        if self.ge == 0 and self.lt is self.le is None:
            return "must not be negative"
        words = {
            "positive" if self.gt == 0 else f"above {self.gt}": self.gt,
            f"at least {self.ge}": self.ge,
            f"below {self.lt}": self.lt,
            f"at most {self.le}": self.le,
        }
        return "must be " + " and ".join(w for w, limit in words.items() if limit is not None)


#: types of the fields of dataclasses, which take long to find
_HINTS: dict[type[Any], dict[str, Any]] = {}


def _hints(cls: type[Any]) -> dict[str, Any]:
    if cls not in _HINTS:
        _HINTS[cls] = typing.get_type_hints(cls, include_extras=True)
    return _HINTS[cls]


def read_options(cls: type[T], values: Mapping[str, Any], what: str) -> T:
    """Return the dataclass `cls` filled with `values`; `what` names it in messages.

    Raises ConfigError for a key that `cls` lacks (naming the nearest one), a missing key without a
    default, a value of another type and one that is not among the choices or within its `Limits`.
    Whole numbers are accepted for floats, lists for tuples.
    """
    hints = _hints(cls)
    known = [f.name for f in dataclasses.fields(cls)]  # type: ignore[arg-type]
    filled = {}
    for key, value in values.items():
        if key not in known:
            raise ConfigError(f"{what} has no option '{key}'{nearest(key, known)}")
        filled[key] = fit_value(value, hints[key], f"{what}: {key}")
    for f in dataclasses.fields(cls):  # type: ignore[arg-type]
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if required and f.name not in filled:
            raise ConfigError(f"{what} needs the option '{f.name}'.")
    return cls(**filled)


def check_options(options: Any, what: str) -> None:
    """Raise ConfigError as `read_options` does for the values that a dataclass holds."""
    for name, hint in _hints(type(options)).items():
        fit_value(getattr(options, name), hint, f"{what}: {name}")


def refuse_too_large(values: Mapping[str, Any], what: str) -> None:
    """Raise ConfigError for a whole number that no network of this machine can have as a size.

    A layer, channel or neuron takes ten kilobytes at the very least.
    """
    most = memory_bytes() // 10_000
    for key, value in values.items():
        for number in value if isinstance(value, list | tuple) else [value]:
            if isinstance(number, int) and number > most:
                raise ConfigError(
                    f"{what}: {key} is {number}, and this machine has memory for {most} at most."
                )


def require(condition: bool, message: str) -> None:
    """Raise ConfigError(message) unless `condition`."""
    if not condition:
        raise ConfigError(message)


def require_at_least(least: int, potential: str, **values: float | None) -> None:
    """Raise ConfigError, by name, for a value below `least`; None stands for a default."""
    for name, value in values.items():
        require(
            value is None or value >= least,
            f"The potential '{potential}': {name} is {value}, it must be at least {least}.",
        )


def require_cutoff(potential: str, cutoff: float | None, unit: str = "Angstrom") -> None:
    """Raise ConfigError unless the cutoff is positive and finite; None stands for a default."""
    require(
        cutoff is None or (math.isfinite(cutoff) and cutoff > 0),
        f"The potential '{potential}': the cutoff is {cutoff} {unit}, it must be positive.",
    )


def require_widths(potential: str, **lists: tuple[int, ...]) -> None:
    """Raise ConfigError, by name, for a list of layer widths that is empty or holds a 0."""
    for name, widths in lists.items():
        require(
            len(widths) > 0 and all(width >= 1 for width in widths),
            f"The potential '{potential}': {name} is {list(widths)}, but it must list at least one "
            "width, and positive ones only.",
        )


def require_denominator(potential: str, denominator: float | None) -> None:
    """Raise ConfigError unless what sums are divided by is positive; None stands for a default."""
    require(
        denominator is None or denominator > 0,
        f"The potential '{potential}': denominator is {denominator}, it must be positive.",
    )


def fit_value(value: Any, hint: Any, where: str) -> Any:
    """Return a value as the type `hint` wants it; ConfigError, naming `where`, for one that does
    not fit."""
    origin = typing.get_origin(hint)
    if origin is typing.Literal:
        choices = typing.get_args(hint)
        if value not in choices:
            raise ConfigError(f"{where} is '{value}'{nearest(value, choices)}")
        return value
    if origin in (typing.Union, types.UnionType):
        options = [o for o in typing.get_args(hint) if o is not type(None)]
        if value is None and len(options) < len(typing.get_args(hint)):
            return None
        for option in options[:-1]:
            with contextlib.suppress(ConfigError):
                return fit_value(value, option, where)
        return fit_value(value, options[-1], where)
    if dataclasses.is_dataclass(hint):
        if isinstance(value, hint):  # type: ignore[arg-type]
            return value
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where} is {value!r}, but a mapping of options is expected.")
        return read_options(hint, value, where)  # type: ignore[arg-type]
    if origin is dict:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where} is {value!r}, but a mapping is expected.")
        return dict(value)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{where} is {value!r}, but a list is expected.")
        item = typing.get_args(hint)[0]
        return tuple(fit_value(v, item, where) for v in value)
    if origin is Annotated:
        value = fit_value(value, hint.__origin__, where)
        for limits in hint.__metadata__:
            if value is not None and not limits.allow(value):
                optional = type(None) in typing.get_args(hint.__origin__)
                raise ConfigError(f"{where} {limits}{' or null' * optional}, not {value!r}.")
        return value
    if isinstance(value, int | float) and not -_LARGEST <= value <= _LARGEST:
        raise ConfigError(
            f"{where} is {value!r:.40}, but a finite number is expected, {_LARGEST:.0e} at most."
        )
    fits = isinstance(value, hint) and not (hint is not bool and isinstance(value, bool))
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not fits:
        raise ConfigError(f"{where} is {value!r}, but a value of type {hint.__name__} is expected.")
    return value
