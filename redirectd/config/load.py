"""Finding and reading the configuration file; all its faults are reported at once, each with its place."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from redirectd import ownership
from redirectd.config.model import Config
from redirectd.config.secrets import in_capitals
from redirectd.config.target_sections import WAYS_TO_KEEP, TargetSection
from redirectd.config.values import Section
from redirectd.errors import ConfigError

Place = tuple[str | int, ...]

_HEADER = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?")
_KEY = re.compile(r"""\s*((?:[A-Za-z0-9_\-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_\-]+|"[^"]*"|'[^']*'))*)\s*=""")


def line_of(text: str, place: Place) -> int | None:
    """The line (from 1) of a key, else of the nearest thing around it that has one, else None."""
    lines = _lines(text)
    for length in range(len(place), 0, -1):
        if place[:length] in lines:
            return lines[place[:length]]
    return None


def _lines(text: str) -> dict[Place, int]:
    found: dict[Place, int] = {}
    counts: dict[str, int] = {}
    table: Place = ()
    for number, line in enumerate(text.splitlines(), 1):
        header = _HEADER.fullmatch(line)
        if header is not None:
            names = _split(header[2])
            if header[1] == "[[":
                index = counts.get(names[0], 0)
                counts[names[0]] = index + 1
                table = (names[0], index)
            elif names[0] in counts:
                table = (names[0], counts[names[0]] - 1, *names[1:])
            else:
                table = names
            found.setdefault(table, number)
            continue
        key = _KEY.match(line)
        if key is not None:
            found.setdefault(table + _split(key[1]), number)
    return found


def _split(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))


def show_place(place: Place) -> str:
    """A key's whole name: `target[2].path`."""
    shown = ""
    for part in place:
        if isinstance(part, int):
            shown += f"[{part}]"
        else:
            shown += f".{part}" if shown else part
    return shown


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
    yield from _same_secret(targets)
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
            place = (_database_place(table["database"]), _table_name(table))
            other = first.setdefault(place, table.get("name"))
            if other != table.get("name"):
                what_to_do = "give each target a table of its own"
                yield ConfigFault(("target", index, "database"), f'the target "{other}" writes this table', what_to_do)


_PORTS = {"mysql": 3306, "postgresql": 5432}


def _database_place(url: object) -> object:
    """Give what a database is, however its URL is written; a faulty URL as it is.

    A user of PostgreSQL may have tables of his own there, and what follows the ``?`` may name a schema or socket.
    """
    try:
        parts = urlsplit(str(url))
        kind = parts.scheme.partition("+")[0].replace("mariadb", "mysql")
        user = None if kind == "mysql" else parts.username
        return kind, user, parts.hostname, parts.port or _PORTS.get(kind), parts.path, parts.query
    except ValueError:
        return url


def _table_name(table: Mapping[str, object]) -> object:
    from redirectd.targets import target_kinds  # most commands need no target

    kind = table.get("kind")
    usual = (
        target_kinds.sql_table(kind) if kind in target_kinds.kinds_of_databases() and isinstance(kind, str) else None
    )
    return table.get("table", usual.name if usual else kind)


def _same_secret(tables: list[tuple[int, Mapping[str, object]]]) -> Iterator[ConfigFault]:
    """The password of a target's database has the name that another target's password for its server would have."""
    kept = {
        in_capitals(f"{table.get('name')}-database"): table.get("name") for _, table in tables if "database" in table
    }
    for index, table in tables:
        other = kept.get(in_capitals(str(table.get("name"))))
        if other is not None:
            why = f'its password and that for the database of "{other}" are looked for by one name'
            yield ConfigFault(("target", index, "name"), why, 'choose a name that does not end in "-database"')


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

    yield from _node_faults(place, target)
    if "database" not in target:
        if target.get("mode") in WAYS_TO_KEEP:
            yield ConfigFault((*place, "mode"), "only a target with database takes this mode", 'use such as "0640"')
        if target_kinds.needs_database(kind):
            yield ConfigFault(
                (*place, "database"),
                f'a target of the kind "{kind}" is a table of a database',
                'add database, such as "mysql+pymysql://redirectd@db.example.net/asterisk"',
            )
        elif "path" not in target:
            yield ConfigFault((*place, "path"), "this key is needed, and it is not there", "add path, or database")
        return
    if target_kinds.sql_table(kind) is None:
        known = ", ".join(target_kinds.kinds_of_databases())
        yield ConfigFault(
            (*place, "database"),
            f'a target of the kind "{kind}" is a file',
            f"write path in its place; kept in a database are {known}",
        )
    for key in sorted(_OF_FILES & target.keys() - ({"mode"} if _is_way(kind, target) else set())):
        yield ConfigFault((*place, key), "only a target that is a file takes this key", "remove it, or database")
    name = target.get("table")
    if name is not None and not (isinstance(name, str) and _TABLE.fullmatch(name)):
        yield ConfigFault(
            (*place, "table"),
            "it must be a name of a table: small letters, digits and _, 63 at most",
            'write it without a schema, such as "redirectd_htable"',
        )


def _node_faults(place: Place, target: Mapping[str, object]) -> Iterator[ConfigFault]:
    """Several servers of one table."""
    if "nodes" not in target:
        return
    if "reload" in target:
        yield ConfigFault((*place, "nodes"), "a target has either nodes or reload", "name each server in nodes alone")
    nodes = target["nodes"]
    if isinstance(nodes, list) and len(set(map(str, nodes))) < len(nodes):
        yield ConfigFault((*place, "nodes"), "it names a server twice", "name each once")
    if "database" not in target:
        why = "only a target with database has several servers: each host has its own file"
        yield ConfigFault((*place, "nodes"), why, "write reload, and run redirectd on each host")


def _is_way(kind: str, target: Mapping[str, object]) -> bool:
    from redirectd.targets import target_kinds

    return "mode" in target_kinds.accepted_options(kind) and target.get("mode") in WAYS_TO_KEEP


def _option_faults(
    place: Place, kind: str, target: Mapping[str, object], options: Mapping[str, str]
) -> Iterator[ConfigFault]:
    """What the kind itself says to its own keys."""
    from redirectd.plan.target import TargetOptions
    from redirectd.targets import target_kinds

    left = {"table"} if "database" in target else {"mode"}  # common keys, or of the other way to keep it
    known = {key: target[key] for key in options if key in target and key not in left}
    match = target.get("match", "request-uri")
    try:
        options_of = TargetOptions("", match if isinstance(match, str) else "request-uri", known)
        target_kinds.build(kind, options_of, "kept" if "database" in target else None)
    except ConfigError as error:
        for fault in error.faults or (error,):
            key = fault.where.rpartition(", ")[2]
            inner = (*place, key) if key in {*options, "match"} else place
            yield ConfigFault(inner, fault.why, fault.what_to_do)


DEFAULT_FILES = (Path("/etc/redirectd/redirectd.toml"), Path("redirectd.toml"))


def find(path: Path | None) -> Path | None:
    """The file to read: the one asked for, else the first of DEFAULT_FILES that exists or is hidden, else None."""
    if path is not None:
        return path
    return next((file for file in DEFAULT_FILES if ownership.may_be_there(file)), None)


def load(path: Path | None = None) -> Config:
    """The configuration of `path`, else of the default files, else the built-in defaults.

    Raises ConfigError for a file that can't be read, and one with all `faults` for a file that is wrong.
    """
    file = find(path)
    if file is None:
        return Config()
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(
            str(file),
            f"the configuration can't be read: {error.strerror}",
            "name an existing file that this user may read with --config, or write one with 'redirectd init'",
        ) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(f"{file}:{line}", "the file is not UTF-8, as TOML must be", "save it as UTF-8") from error
    return parse(text, file)


def parse(text: str, file: Path) -> Config:
    """The configuration in `text`; `file` is named in faults and is where relative paths start. Raises ConfigError."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(error, file) from error
    faults = list(raw_faults(data))
    config = None
    try:
        config = Config.model_validate(data)
    except ValidationError as error:
        faults += _field_faults(error)
    if config is None or faults:
        raise _config_error(faults, text, file)
    return config.of_file(file)


def _syntax_error(error: tomllib.TOMLDecodeError, file: Path) -> ConfigError:
    why, _, position = str(error).partition(" (at ")
    line = position.removeprefix("line ").partition(",")[0] if position.startswith("line ") else ""
    return ConfigError(
        f"{file}:{line}" if line else str(file),
        f"this is not TOML: {why}",
        "fix that line; texts are in quotes, tables in [brackets], repeated tables in [[double brackets]]",
    )


def _config_error(faults: list[ConfigFault], text: str, file: Path) -> ConfigError:
    placed = []
    for fault in faults:
        line = line_of(text, fault.place)
        where = f"{file}:{line}: {show_place(fault.place)}" if line else f"{file}: {show_place(fault.place)}"
        placed.append((line or 0, ConfigError(where, fault.why, fault.what_to_do)))
    placed.sort(key=lambda item: item[0])
    errors = tuple(error for _, error in placed)
    if len(errors) == 1:
        return ConfigError(errors[0].where, errors[0].why, errors[0].what_to_do, errors)
    return ConfigError(str(file), f"{len(errors)} faults", "fix each of them", errors)


def _field_faults(error: ValidationError) -> Iterator[ConfigFault]:
    for item in error.errors(include_url=False):
        place: Place = item["loc"]
        why, what_to_do = _words(item["type"], item["msg"], place, item.get("ctx") or {})
        yield ConfigFault(place, why, what_to_do)


def _words(kind: str, message: str, place: Place, context: dict[str, Any]) -> tuple[str, str]:
    name = str(place[-1])
    if kind == "extra_forbidden":
        return "there is no such key", misspelt(name, _keys_at(place[:-1]))
    if kind == "missing":
        return "missing required key", _advice(place)
    if kind == "value_error":
        return str(context["error"]), _advice(place)
    if kind == "model_type":
        return "it is a table, not a single value", f"write {_header(place)} and its keys below"
    if kind == "list_type" and len(place) == 1:
        return "it is one table, and there can be several", f"write [[{name}]] in double brackets"
    return message[:1].lower() + message[1:], _advice(place)


def _header(place: Place) -> str:
    """The line that a table begins with, as in `[policy.auto_approve]` and `[[source]]`."""
    name = ".".join(part for part in place if isinstance(part, str))
    return f"[[{name}]]" if isinstance(place[-1], int) else f"[{name}]"


def _advice(place: Place) -> str:
    """The description of a key and how it looks."""
    from redirectd.config.reference import sample, section_of

    keys = [part for part in place if isinstance(part, str)]
    model: type[Section] = Config
    for key in keys[:-1]:
        model = section_of(model.model_fields[key]) or model
    field = model.model_fields.get(keys[-1]) if keys else None
    if field is None:
        return "see 'redirectd init --reference'"
    return f"{field.description} For example: {sample(keys[-1], field)}"


def _keys_at(place: Place) -> set[str]:
    from redirectd.config.reference import section_of

    model: type[Section] = Config
    for part in place:
        if isinstance(part, str):
            model = section_of(model.model_fields[part]) or model
    return set(model.model_fields)
