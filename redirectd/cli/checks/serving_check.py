"""Whether a server routes by what is in place, looks up what its target writes and no more (R41), has the table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from redirectd.apply.control import Channel
from redirectd.apply.foresight import MOST_NOTICES, Ping, Versions, unreachable
from redirectd.apply.install import Installer
from redirectd.apply.operator_rows import GatewayRows
from redirectd.apply.servers import judged
from redirectd.apply.sql_rows import SqlRows
from redirectd.cli.checks.as_user import Finding, Level, fault, good
from redirectd.cli.snippets.fitted import kamailio_main, read_cfg
from redirectd.errors import InstallError, RedirectdError
from redirectd.plan.planning import understood
from redirectd.plan.route import Route
from redirectd.plan.target import Answering, Command, Conditional, LookedUp, Question, Rendered, token_of
from redirectd.plan.target_spec import TargetSpec
from redirectd.sip.text import printable
from redirectd.targets.kamailio_gateway_table import VERSION
from redirectd.targets.sockets import ASKS, ways_of
from redirectd.targets.sqltable import InDatabase
from redirectd.targets.target_kinds import accepted_options

ASKED = 20
"""Questions at most for a target; its sentinel or whole table is among the first."""

_MEND = (
    "'redirectd status' shows whether it waits for its server; if not, see that the server's own configuration loads "
    "this file (docs/targets.md), then 'redirectd apply'"
)


def check_conditions(channel: Channel, spec: TargetSpec) -> Iterator[Finding]:
    """Asks the server whether it is configured to keep the table; where it is not, every apply is refused."""
    for each in spec.target.conditions() if isinstance(spec.target, Conditional) else ():
        try:
            doubt = judged(channel, each.question)
        except RedirectdError:
            return  # its own check reports it
        if doubt is not None:
            yield Finding(f"target {spec.name}", Level.FAULT, f"every apply is refused: {doubt}", each.what_to_do)


def check_serving(channel: Channel, spec: TargetSpec, installer: Installer) -> Iterator[Finding]:
    """Asks the server for what is in the file or table; says nothing of one that holds nothing or can't be read.

    The questions are those after a reload, which only read.
    """
    try:
        entries, why = understood(spec.target, installer.read(spec.path))
    except InstallError:
        return  # its own check reports it
    target, questions = spec.target, list[Question]()
    if isinstance(target, InDatabase) and target.sql is not None and (source := target.source()) is not None:
        questions.append(source)
    if not why and entries:
        questions += target.questions(Rendered(b"", entries, token=token_of(entries)), ())
    where = f"target {spec.name}, in service"
    for question in questions[:ASKED]:
        try:
            doubt = judged(channel, question)
        except RedirectdError as error:
            yield Finding(where, Level.WARNING, f"the server can't be asked: {error.why}", error.what_to_do)
            return
        if doubt is not None:
            yield Finding(where, Level.WARNING, f"the server does not hold {spec.path}: {doubt}", _MEND)
            return
    if questions:
        yield good(where, f"the server holds {spec.path}")


def check_reach(
    channel: Channel, spec: TargetSpec, routes: Sequence[Route], versions: Versions, ping: Ping | None
) -> Iterator[Finding]:
    """Asks the server for its sockets, and says of approved moves where calls to their new URIs would fail."""
    target = spec.target
    if not isinstance(target, Answering):
        return
    try:
        held = ways_of(channel.ask(ASKS[spec.kind.partition("-")[0]])) or None
    except (RedirectdError, KeyError):
        held = None
    found = unreachable((route for route in routes if route.kind == target.moves), held, versions, ping)
    for each in found[:MOST_NOTICES]:
        yield Finding(
            f"target {spec.name}, reach",
            Level.WARNING,
            str(each),
            "see whether the new URI is right ('redirectd show ID'); add the socket to the server, or revoke the remap",
        )
    if found[MOST_NOTICES:]:
        more = f"{len(found) - MOST_NOTICES} more new hosts can't be reached"
        yield Finding(f"target {spec.name}, reach", Level.WARNING, more, "see 'redirectd list --json' for all new URIs")


def check_list_source(channel: Channel, spec: TargetSpec) -> Iterator[Finding]:
    """Asks Kamailio which configuration it was started with, and sees that its dispatcher reads a file.

    The usual one is looked at by `check_servers`.
    """
    if spec.kind != "kamailio-dispatcher" or spec.database is not None:
        return
    try:
        reply = channel.ask(Command("core.arg"))
    except RedirectdError:
        return
    started = [str(each) for each in reply] if isinstance(reply, list) else str(reply).split()
    main = next((after for word, after in pairwise(started) if word == "-f"), "")
    url = read_cfg(main).value("dispatcher", "db_url") if main and main != kamailio_main() else None
    if url is not None:
        yield Finding(
            f"target {spec.name}, {url.place}",
            Level.FAULT,
            "every apply is rolled back: Kamailio reads its dispatcher list from a database (db_url), and no file",
            "take db_url out and name the target's path in list_file, or keep the gateways in that database alone",
        )


_COLUMNS = (
    "SELECT column_name, character_maximum_length, is_nullable, column_default, collation_name "
    "FROM information_schema.columns WHERE table_name = :name AND table_schema = "
)
_KINDS = "SELECT table_type, {engine} FROM information_schema.tables WHERE table_name = :name AND table_schema = "


def check_table(rows: SqlRows, name: str) -> Iterator[Finding]:
    """Looks at one table's columns and rights as an apply needs them."""
    where = f"target {name}, {rows.where}"
    try:
        found = list(_structure(where, rows, name))
        if not found:
            what_to_do = f"give the rights that 'redirectd db-target sql {name}' prints"
            for what, why in rows.missing_rights():
                found.append(Finding(where, Level.FAULT, f"redirectd can't {what}: {why}", what_to_do))
    except InstallError as error:
        yield from fault(error)
        return
    yield from found or [good(where, "its columns and redirectd's rights are as an apply needs them")]


def _structure(where: str, rows: SqlRows, name: str) -> Iterator[Finding]:
    schema, is_mysql = ("DATABASE()", True) if rows.is_mysql else ("current_schema()", False)
    kinds = rows.ask(_KINDS.format(engine="engine" if is_mysql else "''") + schema, name=rows.form.name)
    remake = f"compare it with 'redirectd db-target sql {name}'"
    if not kinds:
        why = f"there is no table {rows.form.name} in this database"
        yield Finding(where, Level.FAULT, why, f"redirectd db-target create {name}")
        return
    if kinds[0][0] != "BASE TABLE":
        yield Finding(where, Level.FAULT, f"it is not a table but a {kinds[0][0]}", remake)
    if is_mysql and kinds[0][1] != "InnoDB":
        why = f"its engine {kinds[0][1]} has no transactions: a server could read half of an apply"
        yield Finding(where, Level.FAULT, why, f"ALTER TABLE {rows.quote(rows.form.name)} ENGINE=InnoDB")
    columns = {column: rest for column, *rest in rows.ask(_COLUMNS + schema, name=rows.form.name)}
    for column in sorted({"id", *rows.form.columns} - columns.keys()):
        yield Finding(where, Level.FAULT, f"it has no column {column}", remake)
    for column, (_, nullable, default, _) in columns.items():
        if column not in {"id", *rows.form.columns} and nullable == "NO" and default is None:
            why = f"its column {column} must be given a value that redirectd does not know"
            yield Finding(where, Level.FAULT, why, "give it a default, or remove it")
    for column, needed in rows.form.lengths.items():
        length, _, _, collation = columns.get(column, (None, "", None, None))
        if length is not None and int(length) < needed:
            why = f"its column {column} holds {length} characters, and up to {needed} are written"
            yield Finding(where, Level.FAULT, why, remake)
        if is_mysql and column in rows.form.key and column in columns and not str(collation).endswith("nopad_bin"):
            why = f"the collation {collation} of its column {column} takes bob, BOB or 'bob ' for one text"
            yield Finding(where, Level.FAULT, why, remake)


def check_view(rows: GatewayRows, name: str) -> Iterator[Finding]:
    """The view that Kamailio reads: each of the operator's rows once, and the version it needs to start."""
    where = f"target {name}, view {rows.target.view}"
    try:
        found = rows.ask("SELECT table_version FROM version WHERE table_name = :name", name=rows.target.view)
        twice = rows.doubled()
    except InstallError as error:
        yield from fault(error)
        return
    if [version for (version,) in found] != [VERSION]:
        shown = ", ".join(str(version) for (version,) in found) or "none"
        why = f"the table version must have one row for it, {VERSION}, and has {shown}: Kamailio would not start"
        yield Finding(where, Level.FAULT, why, f"redirectd db-target create {name}")
    elif twice:
        why = "it does not have each row of your table once: it is not the view that redirectd makes"
        yield Finding(where, Level.FAULT, why, f"compare it with 'redirectd db-target sql {name}'")
    else:
        yield good(where, f"it has each row of {rows.target.base} once, and its version row")


CONFIGURATIONS = {
    "kamailio": ("/etc/kamailio", "/usr/local/etc/kamailio", ".cfg"),
    "asterisk": ("/etc/asterisk", ".conf"),
}
"""Where a server's configuration is, and how its files' names end."""

_MOST_FILES = 500
_MOST_BYTES = 2 * 1024 * 1024


def check_width(spec: TargetSpec) -> Iterator[Finding]:
    """A target that moves more than route keys and does not say so in its configuration takes nothing new."""
    target = spec.target
    if isinstance(target, Answering) and target.WIDTH and not target.width:
        yield Finding(
            f"target {spec.name}, width",
            Level.WARNING,
            "it is missing, so that nothing new goes into this target: its server can't match on a whole URI",
            f'add width = "{target.WIDTH}" to it, see docs/targets.md for what an entry then moves',
        )


def check_lines(channel: Channel, spec: TargetSpec) -> Iterator[Finding]:
    """Asks the running server whether it has the lookup that goes with the target."""
    lines = spec.target.lines() if isinstance(spec.target, LookedUp) else None
    if lines is None or lines.asks is None:
        return
    where = f"target {spec.name}, lookup"
    try:
        doubt = judged(channel, lines.asks)
    except RedirectdError:
        return  # the server can't be asked, which its own check says
    if doubt is None:
        yield good(where, "the server has the lookup of this version")
    else:
        yield Finding(where, Level.WARNING, f"{doubt}: approved moves are not found", _add(spec))


def check_configuration(spec: TargetSpec, folders: Sequence[str] = ()) -> Iterator[Finding]:
    """Seeks lines of an earlier version in the server's configuration, where it is on this host and can be read."""
    if not isinstance(spec.target, LookedUp):
        return
    *usual, ending = CONFIGURATIONS[spec.kind.partition("-")[0]]
    old = spec.target.lines().old
    for file in _files(folders or usual, ending):
        try:
            text = file.read_bytes()[:_MOST_BYTES].decode("utf-8", "replace")
        except OSError:
            continue
        if found := old.search(text):
            number = text.count("\n", 0, found.start()) + 1
            line = printable(found[0].strip(), 120)
            yield Finding(
                f"target {spec.name}, {file}, line {number}", Level.WARNING, f"an old lookup: {line}", _change(spec)
            )


def _files(folders: Sequence[str], ending: str) -> list[Path]:
    found: list[Path] = []
    for folder in folders:
        try:
            found += sorted(file for file in Path(folder).rglob(f"*{ending}") if file.is_file())[:_MOST_FILES]
        except OSError:
            continue
    return found


def _add(spec: TargetSpec) -> str:
    server = spec.kind.partition("-")[0]
    ends = f"; after an upgrade, {_change(spec)}" if "legacy_keys" in accepted_options(spec.kind) else ""
    return f"add what 'redirectd snippet {server}' prints and reload or restart{ends}"


def _change(spec: TargetSpec) -> str:
    server = spec.kind.partition("-")[0]
    ends = ", then set legacy_keys = false" if "legacy_keys" in accepted_options(spec.kind) else ""
    return f"put the lookup of 'redirectd snippet {server}' in place of the old lines and reload or restart{ends}"
