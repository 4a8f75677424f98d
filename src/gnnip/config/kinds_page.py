"""The page of docs that lists every kind and its options, made from the kinds themselves."""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from collections.abc import Iterator, Mapping

from gnnip.artefacts import kinds as artefacts
from gnnip.kinds import Kind
from gnnip.measurements import kinds as measurements
from gnnip.verdicts import kinds as claims

_HEAD = """# Kinds

What a card may name as `kind`, with its options. `python -m gnnip schema` writes this page.
"""
_PARTS: tuple[tuple[str, Mapping[str, type[Kind]]], ...] = (
    ("Measurements", measurements.KINDS),
    ("Artefacts", artefacts.KINDS),
    ("Claims", claims.KINDS),
)


def kinds_page() -> str:
    """Return the page as Markdown."""
    lines = [_HEAD]
    for title, listing in _PARTS:
        lines.append(f"## {title}\n")
        for name, kind in listing.items():
            lines += [f"### {name}\n", *_described(kind)]
    return "\n".join(lines).rstrip() + "\n"


def _described(kind: type[Kind]) -> Iterator[str]:
    """Yield what a kind does, its options with types and defaults, and what they mean."""
    first, _, rest = (inspect.getdoc(kind) or "").partition("\n\n")
    yield f"{first}\n"
    options = [_option(kind, field) for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    if options:
        yield f"Options: {', '.join(options)}.\n"
    bases = [base for base in kind.__mro__[1:] if dataclasses.is_dataclass(base)]
    inherited = [(inspect.getdoc(base) or "").partition("\n\n")[2] for base in bases]
    for paragraph in filter(None, "\n\n".join(map(str.strip, [rest, *inherited])).split("\n\n")):
        # "name : meaning", several on a line after a full stop
        entries = re.split(r"(?:^|\n|\.  )(?=\w[\w, ]* : )", paragraph)
        meant = [re.match(r"(\w[\w, ]*) : (.*)", entry, re.DOTALL) for entry in entries]
        listed = [f"- `{m[1]}`: {' '.join(m[2].split()).rstrip('.')}." for m in meant if m]
        yield "\n".join(listed or [paragraph]) + "\n"


def _option(kind: type[Kind], field: dataclasses.Field[object]) -> str:
    """Return name, type and default of an option."""
    hint = typing.get_type_hints(kind)[field.name]
    text = hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)
    for old, new in (("typing.", ""), ("NoneType", "null"), ("None", "null"), (", ...", "")):
        text = text.replace(old, new)
    if field.default_factory is not dataclasses.MISSING:
        return f"`{field.name}` ({text})"
    if field.default is dataclasses.MISSING:
        return f"`{field.name}` ({text}, needed)"
    default = "null" if field.default is None else field.default
    default = list(default) if isinstance(default, tuple) else default
    return f"`{field.name}` ({text}, {default!s})"
