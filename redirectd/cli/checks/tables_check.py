"""Whether the table of a target in a database is there, holds what is written, and may be written; changes nothing."""

from __future__ import annotations

from collections.abc import Iterator

from redirectd.apply.sql_rows import GatewayRows, SqlRows
from redirectd.cli.checks.finding import Finding, Level, fault, good
from redirectd.errors import InstallError
from redirectd.targets.kamailio_gateway_table import VERSION

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
                found.append(Finding(where, Level.FAULT, f"redirectd can't {what} its rows: {why}", what_to_do))
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
