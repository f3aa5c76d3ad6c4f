"""Faults in how the keys of a file go together.

They are looked for in the raw values, so that they are found along with faults of single keys and not after them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from redirectd.config.target_sections import TargetSection
from redirectd.config.toml_lines import Place
from redirectd.errors import ConfigError

_NEEDED_BY_KIND = {"file": "path", "hep": "listen"}
_KIND_OF_KEY = {
    "path": "file",
    "units": "journal",
    "matches": "journal",
    "listen": "hep",
    "allowed_senders": "hep",
}
_OF_FILES = {"path", "mode", "owner", "group"}
_TABLE = re.compile(r"[a-z_][a-z0-9_]{0,62}")


@dataclass(frozen=True, slots=True)
class ConfigFault:
    """One fault: where in the file's values, why, and what to do."""

    place: Place
    why: str
    what_to_do: str


def misspelt(key: str, known: Collection[str]) -> str:
    """What to do about a key nobody knows, with the nearest known one."""
    from difflib import get_close_matches

    near = get_close_matches(key, known, n=1, cutoff=0.5)
    hint = f'did you mean "{near[0]}"? ' if near else ""
    return f"{hint}known here: {', '.join(sorted(known))}"


def raw_faults(data: Mapping[str, object]) -> Iterator[ConfigFault]:
    """All faults of the file's values that concern more than one key."""
    sources, targets = _tables(data, "source"), _tables(data, "target")
    yield from _twice("source", "name", sources, "give each source a name of its own")
    yield from _twice("target", "name", targets, "give each target a name of its own")
    yield from _twice("notify", "name", _tables(data, "notify"), "give each notify a name of its own")
    yield from _twice("target", "path", targets, "give each target a file of its own")
    yield from _same_table(targets)
    for index, source in sources:
        yield from _source_faults(("source", index), source)
    for index, target in targets:
        yield from _target_faults(("target", index), target)


def _tables(data: Mapping[str, object], name: str) -> list[tuple[int, Mapping[str, object]]]:
    tables = data.get(name)
    if not isinstance(tables, list):
        return []
    return [(index, table) for index, table in enumerate(tables) if isinstance(table, dict)]


def _twice(
    name: str, key: str, tables: list[tuple[int, Mapping[str, object]]], what_to_do: str
) -> Iterator[ConfigFault]:
    counts = Counter(table[key] for _, table in tables if isinstance(table.get(key), str))
    for index, table in tables:
        value = table.get(key)
        if isinstance(value, str) and counts[value] > 1:
            yield ConfigFault((name, index, key), f'{counts[value]} {name}s have the {key} "{value}"', what_to_do)


def _same_table(tables: list[tuple[int, Mapping[str, object]]]) -> Iterator[ConfigFault]:
    """Two targets of one table would each take out what the other has put in."""
    first: dict[tuple[object, object], object] = {}
    for index, table in tables:
        if "database" in table:
            place = (table["database"], table.get("table", table.get("kind")))
            other = first.setdefault(place, table.get("name"))
            if other != table.get("name"):
                what_to_do = "give each target a table of its own"
                yield ConfigFault(("target", index, "database"), f'the target "{other}" writes this table', what_to_do)


def _source_faults(place: Place, source: Mapping[str, object]) -> Iterator[ConfigFault]:
    kind = source.get("kind", "file")
    if kind not in {"file", "journal", "hep"}:
        return  # reported as a fault of that key
    need = _NEEDED_BY_KIND.get(str(kind))
    if need is not None and need not in source:
        yield ConfigFault(
            (*place, need), f'a source of the kind "{kind}" needs this key, and it is not there', f"add {need}"
        )
    if kind == "journal" and not source.get("units") and not source.get("matches"):
        yield ConfigFault(
            (*place, "units"),
            'a source of the kind "journal" needs units or matches, and neither is there',
            'name what to read, such as units = ["kamailio.service"]',
        )
    for key, owner in _KIND_OF_KEY.items():
        if key in source and owner != kind:
            yield ConfigFault(
                (*place, key),
                f'only a source of the kind "{owner}" takes this key, this one is of the kind "{kind}"',
                f'remove it, or write kind = "{owner}"',
            )


def _target_faults(place: Place, target: Mapping[str, object]) -> Iterator[ConfigFault]:
    from redirectd.targets import target_kinds  # most commands need no target

    kind = target.get("kind")
    if not isinstance(kind, str):
        return  # reported as a fault of that key
    try:
        options = target_kinds.accepted_options(kind)
    except KeyError:
        yield ConfigFault(
            (*place, "kind"), f'there is no target of the kind "{kind}"', misspelt(kind, target_kinds.kinds())
        )
        return
    others = {"base"} if "database" in target else {"base", "table"}
    common = set(TargetSection.model_fields) - (others - set(options))
    for key in target.keys() - common - set(options):
        yield ConfigFault(
            (*place, key), f'a target of the kind "{kind}" takes no such key', misspelt(key, common | set(options))
        )
    yield from _place_faults(place, kind, target)
    yield from _option_faults(place, kind, target, options)


def _place_faults(place: Place, kind: str, target: Mapping[str, object]) -> Iterator[ConfigFault]:
    """A target is a file or a table."""
    from redirectd.targets import target_kinds

    if "database" not in target:
        if "path" not in target:
            yield ConfigFault((*place, "path"), "this key is needed, and it is not there", "add path, or database")
        return
    if target_kinds.sql_table(kind) is None:
        known = ", ".join(target_kinds.kinds_of_databases())
        yield ConfigFault(
            (*place, "database"),
            f'a target of the kind "{kind}" is a file',
            f"write path in its place; kept in a database are {known}",
        )
    for key in sorted(_OF_FILES & target.keys()):
        yield ConfigFault((*place, key), "only a target that is a file takes this key", "remove it, or database")
    name = target.get("table")
    if name is not None and not (isinstance(name, str) and _TABLE.fullmatch(name)):
        yield ConfigFault(
            (*place, "table"),
            "it must be a name of a table: small letters, digits and _, 63 at most",
            'write it without a schema, such as "redirectd_htable"',
        )


def _option_faults(
    place: Place, kind: str, target: Mapping[str, object], options: Mapping[str, str]
) -> Iterator[ConfigFault]:
    """What the kind itself says to its own keys."""
    from redirectd.plan.target import TargetOptions
    from redirectd.targets import target_kinds

    known = {key: target[key] for key in options if key in target and (key != "table" or "database" not in target)}
    match = target.get("match", "request-uri")
    try:
        options_of = TargetOptions("", match if isinstance(match, str) else "request-uri", known)
        target_kinds.build(kind, options_of, "kept" if "database" in target else None)
    except ConfigError as error:
        for fault in error.faults or (error,):
            key = fault.where.rpartition(", ")[2]
            inner = (*place, key) if key in {*options, "match"} else place
            yield ConfigFault(inner, fault.why, fault.what_to_do)
