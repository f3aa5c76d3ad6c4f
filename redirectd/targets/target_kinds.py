"""All kinds of targets by name, with the configuration keys of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePath
from types import MappingProxyType

from redirectd.errors import ConfigError, RedirectdError
from redirectd.plan.target import Target, TargetOptions
from redirectd.targets.asterisk_aor_table import SQL as AORS
from redirectd.targets.asterisk_aor_table import AsteriskAorTable
from redirectd.targets.asterisk_astdb import AsteriskAstdb
from redirectd.targets.asterisk_dialplan import AsteriskDialplan
from redirectd.targets.asterisk_odbc import SQL as DIALLED
from redirectd.targets.asterisk_odbc import AsteriskOdbc
from redirectd.targets.asterisk_pjsip_aor import AsteriskPjsipAor
from redirectd.targets.kamailio_alias_db import SQL as ALIASES
from redirectd.targets.kamailio_alias_db import KamailioAliasDb, KamailioAliasSql
from redirectd.targets.kamailio_dialplan import KamailioDialplan
from redirectd.targets.kamailio_dispatcher import KamailioDispatcher
from redirectd.targets.kamailio_gateway_table import SQL as GATEWAYS
from redirectd.targets.kamailio_gateway_table import gateway_table
from redirectd.targets.kamailio_htable import SQL as HTABLE
from redirectd.targets.kamailio_htable import KamailioHtable
from redirectd.targets.listing import CsvListing, JsonListing
from redirectd.targets.sqltable import SqlTable
from redirectd.targets.template import ESCAPES, Template

MATCHES = ("request-uri", "incoming")


@dataclass(frozen=True, slots=True)
class _Option:
    meaning: str
    type: type


@dataclass(frozen=True, slots=True)
class _Kind:
    build: Callable[..., Target]
    options: Mapping[str, _Option]
    takes_match: bool = True
    needs_base: bool = False
    sql: SqlTable | None = None
    """Its table in a database; None for a kind of files alone."""
    build_sql: Callable[..., Target] | None = None
    """What builds it where it is kept in a database, with the table as `sql`; None where `build` does."""
    needs_database: bool = False
    usual_base: str = ""
    """The operator's own table beside it."""


_LEGACY = _Option("keep rows of earlier versions, by user@host, that are installed (default true)", bool)
_LEGACY_USER = _Option("keep rows of earlier versions, by plain user, that are installed (default true)", bool)
_USER = _Option(
    '"user": allows entries that move their user at every host, port and transport; without it, no new ones', str
)
_HOSTS = _Option("the old hosts, host or host:port, whose users are written (default: all)", list)
_USER_AT_HOST = _Option('"user@host": allows entries that move every port and transport; without it, no new ones', str)

_PROGRAMS = {
    "check": _Option("a program, as a list, that refuses the staged file by its exit code; {file} is its path", list),
    "verify": _Option("a program, as a list, that proves what is in service; {token} names the content", list),
}

_KINDS: dict[str, _Kind] = {
    "kamailio-dispatcher": _Kind(
        KamailioDispatcher,
        {
            "base": _Option(
                "path of your own dispatcher list, or with database the name of your own table (default dispatcher)",
                str,
            ),
            "mode": _Option(
                'with database: "view" joins your rows with the moves (default), "in-place" writes your rows', str
            ),
        },
        takes_match=False,
        needs_base=True,
        sql=GATEWAYS,
        build_sql=gateway_table,
        usual_base="dispatcher",
    ),
    "kamailio-htable": _Kind(
        KamailioHtable,
        {
            "htable": _Option("name of the htable in kamailio.cfg (default redir)", str),
            "table": _Option("with path: the same as htable, as earlier versions named it", str),
            "live": _Option("up to this many changes are put in one by one, without a reload (default 0)", int),
            "legacy_keys": _LEGACY,
        },
        sql=HTABLE,
    ),
    "kamailio-dialplan": _Kind(
        KamailioDialplan,
        {"dpid": _Option("dialplan id of the rules (default 1)", int), "legacy_keys": _LEGACY},
    ),
    "kamailio-alias_db": _Kind(KamailioAliasDb, {"width": _USER_AT_HOST}, sql=ALIASES, build_sql=KamailioAliasSql),
    "asterisk-dialplan": _Kind(
        AsteriskDialplan,
        {
            "prefix": _Option("beginning of the contexts' names (default redirectd-map)", str),
            "hosts": _HOSTS,
            "width": _USER,
            "legacy_keys": _LEGACY_USER,
        },
    ),
    "asterisk-astdb": _Kind(
        AsteriskAstdb,
        {
            "family": _Option("AstDB family of the entries (default redirectd)", str),
            "hosts": _HOSTS,
            "width": _USER,
            "legacy_keys": _LEGACY_USER,
        },
    ),
    "asterisk-odbc": _Kind(
        AsteriskOdbc,
        {
            "function": _Option("name of the section of func_odbc.conf, in capitals (default REDIRECTD)", str),
            "hosts": _HOSTS,
            "width": _USER,
        },
        sql=DIALLED,
        needs_database=True,
    ),
    "asterisk-pjsip-aor": _Kind(
        AsteriskPjsipAor,
        {
            "base": _Option(
                "path of your own file of type=aor sections, from which this file is made, or with database the name "
                "of your own table (default ps_aors)",
                str,
            ),
            "width": _Option(
                '"gateway": an entry may move all users of an address however it is spelt; without it no new ones',
                str,
            ),
        },
        takes_match=False,
        needs_base=True,
        sql=AORS,
        build_sql=AsteriskAorTable,
        usual_base="ps_aors",
    ),
    "template": _Kind(
        Template,
        {
            "base": _Option("path of your Jinja2 template", str),
            "entry": _Option("regular expression with the groups old and new, for one entry of the result", str),
            "width": _USER_AT_HOST,
            "escape": _Option(f"how old and new are escaped in it: {', '.join(ESCAPES)} (default none)", str),
            **_PROGRAMS,
        },
        needs_base=True,
    ),
    "csv": _Kind(CsvListing, _PROGRAMS),
    "json": _Kind(JsonListing, _PROGRAMS),
}


def kinds() -> tuple[str, ...]:
    """Give the names of all kinds, in the order to show them."""
    return tuple(_KINDS)


def accepted_options(kind: str) -> Mapping[str, str]:
    """Give the configuration keys that are a kind's own, each with what it means; KeyError for an unknown kind."""
    return MappingProxyType({name: option.meaning for name, option in _KINDS[kind].options.items()})


def width_of(kind: str) -> str:
    """Give the `width` that a kind takes, empty for one that matches on whole route keys; KeyError for no kind."""
    return str(getattr(_KINDS[kind].build, "WIDTH", ""))


def sql_table(kind: str) -> SqlTable | None:
    """Give the usual table of a kind that can be kept in a database; KeyError for an unknown kind."""
    return _KINDS[kind].sql


def kinds_of_databases() -> tuple[str, ...]:
    """Give the names of the kinds that can be kept in a database."""
    return tuple(name for name, kind in _KINDS.items() if kind.sql)


def needs_database(kind: str) -> bool:
    """Say if a kind is kept in a database alone, and never in a file."""
    return _KINDS[kind].needs_database


def usual_base(kind: str) -> str:
    """Give the usual name of the operator's own table beside that of a kind; empty where there is none."""
    return _KINDS[kind].usual_base


def needs_base(kind: str) -> bool:
    """Say if a kind is rendered from a base file of the operator, which `render` then has to be given."""
    return _KINDS[kind].needs_base


def build(kind: str, options: TargetOptions, table: str | None = None) -> Target:
    """Build a target from its configuration; ConfigError lists every fault of it.

    With `table`, its name, it is kept in a database, for a kind that can be.
    """
    where = f"[[target]] {options.name}"
    known = _KINDS.get(kind)
    if known is None:
        raise ConfigError(where, f"there is no target kind {kind!r}", f"use one of: {', '.join(_KINDS)}")
    faults = _faults(where, known, options, in_database=table is not None)
    if faults:
        first = faults[0]
        raise ConfigError(first.where, first.why, first.what_to_do, faults)
    match = {"match": options.match} if known.takes_match else {}
    width = {"width": ""} if "width" in known.options else {}  # what is not written allows nothing
    kept = {} if table is None or known.sql is None else {"sql": replace(known.sql, name=table)}
    builder = (known.build_sql if kept else None) or known.build
    try:
        program = {"reload": options.program} if options.program else {}
        return builder(**{**match, **width, **options.extra, **program, **kept})
    except ValueError as error:
        raise ConfigError(where, str(error), "correct that key") from None


def _faults(where: str, kind: _Kind, options: TargetOptions, *, in_database: bool) -> tuple[RedirectdError, ...]:
    faults: list[RedirectdError] = []
    if options.match not in (MATCHES if kind.takes_match else MATCHES[:1]):
        allowed = " or ".join(MATCHES) if kind.takes_match else "request-uri only"
        faults.append(ConfigError(f"{where}, match", f"{options.match!r} is not possible here", f"use {allowed}"))
    for name, value in options.extra.items():
        option = kind.options.get(name)
        if option is None:
            known = ", ".join(sorted(kind.options)) or "no keys of its own"
            faults.append(ConfigError(f"{where}, {name}", "this kind has no such key", f"it takes {known}"))
        elif not _fits(value, option.type):
            what = _TYPES[option.type]
            faults.append(ConfigError(f"{where}, {name}", f"{value!r} is not {what}", f"{name}: {option.meaning}"))
    if kind.needs_base and not in_database and "base" not in options.extra:
        meaning = kind.options["base"].meaning
        faults.append(ConfigError(f"{where}, base", "is missing, and this kind needs it", f"base: {meaning}"))
    return tuple(faults)


_TYPES: dict[type, str] = {list: "a list of texts", str: "a text", int: "a whole number", bool: "true or false"}


def _fits(value: object, wanted: type) -> bool:
    if wanted is list:
        return isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value)
    if wanted is str:
        return isinstance(value, (str, PurePath)) and str(value) != ""
    return isinstance(value, wanted) and isinstance(value, bool) is (wanted is bool)
