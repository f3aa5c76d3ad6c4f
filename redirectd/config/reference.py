"""The configuration reference and the commented file of `redirectd init`, both made from the model's own words."""

from __future__ import annotations

import inspect
import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from enum import Enum
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from redirectd.config.model import Config
from redirectd.config.target_sections import TargetSection
from redirectd.config.values import Section, show_duration
from redirectd.targets import target_kinds


class _Absent(Enum):
    ABSENT = 0


Values = Mapping[str, object]


def toml(value: object) -> str:
    """A value as TOML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"{value:g}" if isinstance(value, float) else str(value)
    if isinstance(value, timedelta):
        return f'"{show_duration(value)}"'
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(toml(item) for item in value) + "]"
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def default_of(field: FieldInfo) -> object:
    """A key's default; `_Absent` where it has none or the default is to leave it out."""
    value = field.default
    if field.default_factory is not None:
        value = field.default_factory()  # type: ignore[call-arg]  # ours take no data
    return _Absent.ABSENT if value is None or value is PydanticUndefined else value


def sample(name: str, field: FieldInfo) -> str:
    """A line of the file that sets the key: to its example, else to its default."""
    value = field.examples[0] if field.examples else default_of(field)
    return f"{name} = {toml('...' if value is _Absent.ABSENT else value)}"


def template(values: Values) -> str:
    """A whole commented file. `values` (as in the file) are set, every other key is a comment."""
    lines = [*_comment(Config.__doc__), ""]
    lines += _keys(Config, values)
    for name, field in Config.model_fields.items():
        section = section_of(field)
        if section is None:
            continue
        given = values.get(name)
        tables: list[Values] = given if isinstance(given, list) else [given if isinstance(given, Mapping) else {}]
        for table in tables:
            is_absent = is_list(field) or field.default is None
            lines += ["", *_comment(section.__doc__)]
            lines += _table(name, section, table, is_list=is_list(field), is_absent=is_absent)
    return "\n".join(lines) + "\n"


def _table(name: str, section: type[Section], values: Values, *, is_list: bool, is_absent: bool) -> Iterator[str]:
    # A list without entries and an optional table must not come into being by its header.
    mark = "#" if not values and is_absent else ""
    yield f"{mark}[[{name}]]" if is_list else f"{mark}[{name}]"
    yield from _keys(section, values)
    for key, value in values.items():
        if key not in section.model_fields:
            yield f"{key} = {toml(value)}"
    for key, field in section.model_fields.items():
        inner = section_of(field)
        if inner is not None:
            given = values.get(key)
            yield ""
            yield from _comment(inner.__doc__)
            yield from _table(
                f"{name}.{key}", inner, given if isinstance(given, Mapping) else {}, is_list=False, is_absent=True
            )


def _keys(section: type[Section], values: Values) -> Iterator[str]:
    for key, field in section.model_fields.items():
        if section_of(field) is not None:
            continue
        yield from _comment(field.description)
        if key in values:
            yield f"{key} = {toml(values[key])}"
        else:
            default = default_of(field)
            long = isinstance(default, list) and len(default) > 8
            shown = sample(key, field) if default in (_Absent.ABSENT, [], "") or long else f"{key} = {toml(default)}"
            yield f"#{shown}"


def reference() -> str:
    """The reference of all keys, in Markdown: what each means, what it takes, and its default."""
    lines = [f"# {(Config.__doc__ or '').strip()}", ""]
    lines += _rows(Config)
    for name, field in Config.model_fields.items():
        lines += _reference_section(name, field)
    return "\n".join(lines) + "\n"


def _reference_section(name: str, field: FieldInfo) -> Iterator[str]:
    section = section_of(field)
    if section is None:
        return
    yield from ("", f"## `[[{name}]]`" if is_list(field) else f"## `[{name}]`", "")
    yield from (inspect.cleandoc(section.__doc__ or ""), "")
    yield from _rows(section)
    if section is TargetSection:
        yield from _kinds()
    for key, inner in section.model_fields.items():
        yield from _reference_section(f"{name}.{key}", inner)


def _kinds() -> Iterator[str]:
    yield from ("", "Keys of single kinds:", "")
    for kind in target_kinds.kinds():
        own = target_kinds.accepted_options(kind)
        yield f"- `{kind}`: {'; '.join(f'`{key}`, {text}' for key, text in own.items()) or 'none'}."


def _rows(section: type[Section]) -> Iterator[str]:
    for key, field in section.model_fields.items():
        if section_of(field) is not None:
            continue
        yield f"- `{key}`: {field.description} {fallback(key, field)}"
        if field.examples:
            yield f"  Example: `{sample(key, field)}`"


def fallback(key: str, field: FieldInfo) -> str:
    """What a key is where the file doesn't set it, as a sentence."""
    if field.is_required():
        return "Needed."
    if key == "node":  # the model's default is this very host's
        return "Default: the host name."
    default = default_of(field)
    return "Default: absent." if default is _Absent.ABSENT else f"Default: `{toml(default)}`."


def section_of(field: FieldInfo) -> type[Section] | None:
    """The section a key holds, or None for a plain value."""
    return _section_in(field.annotation)


def _section_in(annotation: Any) -> type[Section] | None:  # noqa: ANN401 - an annotation can be anything
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    if get_origin(annotation) in {list, Union, UnionType}:
        return next((found for part in get_args(annotation) if (found := _section_in(part))), None)
    return None


def is_list(field: FieldInfo) -> bool:
    """Say if a key holds several sections, each in double brackets."""
    return get_origin(field.annotation) is list


def _comment(text: str | None) -> Iterator[str]:
    for paragraph in textwrap.dedent(text or "").strip().split("\n\n"):
        for line in textwrap.wrap(" ".join(paragraph.split()), 100):
            yield f"# {line}"
