"""How a remap is shown to people: as a table's row, and with all its evidence; and lists of them, also as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import click
from rich.cells import cell_len

from redirectd.cli.options import ids_of, no_match
from redirectd.cli.output import (
    CELL,
    GAP,
    NARROW,
    emit_json,
    emit_pieces,
    flowed,
    heading,
    is_wide,
    note,
    say,
    short_time,
    table,
    terminal_width,
    with_local_times,
    zone,
)
from redirectd.review.holds import LOOKS
from redirectd.sip.text import printable
from redirectd.store.remap import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from redirectd.cli.app import App
    from redirectd.cli.options import Filters
    from redirectd.store.audit import AuditEntry
    from redirectd.store.remap import Remap
    from redirectd.store.remaps import Evidence


def new_text(remap: Remap, limit: int = 2000) -> str:
    """The new URI, or how many Contacts wait for a choice (R15)."""
    return printable(remap.new_uri, limit) if remap.new_uri else f"({len(remap.contacts)} Contacts: choose one)"


def show_table(remaps: Sequence[Remap], *, with_state: bool) -> None:
    """A table of remaps, two lines each on a narrow terminal; with their state also where not all are pending."""
    from redirectd.review.four_eyes import approvals_text

    with_state = with_state or any(remap.state is not State.PENDING for remap in remaps)
    seen = f"last seen ({zone()})"
    columns = ["id", *(["state"] if with_state else []), "kind", "old URI", "new URI", "calls", seen, "flags"]
    rows = []
    for remap in remaps:
        flags = ", ".join([*sorted(remap.flags), *filter(None, [approvals_text(remap)])])
        state = [remap.state.value] if with_state else []
        old, new = printable(remap.old_uri, CELL), new_text(remap, CELL)
        rows.append([str(remap.id), *state, remap.kind, old, new, str(remap.calls), short_time(remap.last_seen), flags])
    width = terminal_width()
    if width is None or is_wide() or (width >= NARROW and _table_width(columns, rows) <= width):
        table(columns, rows, right=["id", "calls"])
    else:
        _two_lines(columns, rows, width)


def _table_width(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    return sum(max(map(cell_len, column)) + len(GAP) for column in zip(columns, *rows, strict=True)) - len(GAP)


def _two_lines(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> None:
    """Each remap in two lines; no URI is broken: one that is longer than a line is left to the terminal."""
    *first, _, _, _, _, _ = columns  # all but the old URI and what comes after it
    rooms = [max(cell_len(row[place]) for row in (columns, *rows)) for place in range(len(first))]
    indent = " " * (rooms[0] + len(GAP))
    for number, row in enumerate((columns, *rows)):
        *lead, old, new, calls, seen, flags = row
        padded = [lead[0].rjust(rooms[0]), *(cell.ljust(room) for cell, room in zip(lead[1:], rooms[1:], strict=True))]
        counted = calls if number == 0 else f"{calls} call{'' if calls == '1' else 's'}"
        lines = list(flowed([GAP.join(padded), old], width, indent))
        lines += flowed([f"{indent}-> {new}", counted, seen, *([flags] if flags else [])], width, f"{indent}   ")
        for line in lines:
            say(heading(line) if number == 0 else line)


def show_one(
    remap: Remap, evidence: Sequence[Evidence], entries: Sequence[AuditEntry], effects: Sequence[str], now: datetime
) -> None:
    """One remap with everything known about it; `effects` say what it does where it is in service."""
    from redirectd.review.documents import is_stale
    from redirectd.review.four_eyes import approvals_text

    lines: list[tuple[str, str]] = [
        ("old", printable(remap.old_uri)),
        ("new", new_text(remap)),
        ("state", remap.state.value + (" (stale: past its review date)" if is_stale(remap, now) else "")),
        ("kind", remap.kind),
        (
            "calls",
            f"{remap.calls}, first {short_time(remap.first_seen)}, last {short_time(remap.last_seen)} ({zone()})",
        ),
        ("peers", ", ".join(f"{printable(peer)} ({count})" for peer, count in sorted(remap.peer_calls.items()))),
        ("methods", ", ".join(printable(method) for method in remap.methods)),
        ("incoming", ", ".join(printable(uri) for uri in remap.incoming)),
        ("approved", approvals_text(remap)),
        ("replaces", f"remap {remap.replaces}" if remap.replaces else ""),
        ("expires", short_time(remap.expires_at)),
        ("note", printable(remap.note)),
    ]
    say(f"remap {remap.id}")
    for name, text in lines:
        if text:
            say(f"  {name:<9} {text}")
    _show_contacts(remap)
    for text in effects:
        say(f"  routed    {with_local_times(printable(text))}")
    for name, reason in sorted(remap.flags.items()):
        say(f"  {'look' if name in LOOKS else 'held':<9} {name}: {with_local_times(printable(reason))}")
    for name, text in sorted(remap.facts.items()):
        say(f"  fact      {name}: {printable(text)}")
    for entry in entries:
        reason = f": {printable(entry.reason)}" if entry.reason else ""
        say(f"  {short_time(entry.at)} {printable(entry.actor)}: {entry.action}{reason}")
    for one in evidence:
        say()
        say(f"  {short_time(one.seen_at)} {printable(one.source)} at byte {one.position:,}, {one.dialect}")
        for line in one.text.rstrip().splitlines():
            say(f"    | {printable(line)}")


def _show_contacts(remap: Remap) -> None:
    """The Contacts, unless the only one is the new URI unchanged."""
    if len(remap.contacts) > 1 or any(one.dropped for one in remap.contacts):
        for index, contact in enumerate(remap.contacts, 1):
            dropped = f"  (dropped: {printable(contact.dropped)})" if contact.dropped else ""
            say(f"  Contact {index} {printable(contact.uri)}  q={contact.q:g}{dropped}")


def show_list(remaps: Sequence[Remap], now: datetime, *, as_json: bool, with_state: bool, empty: str) -> None:
    """A list as JSON or as a table; `empty` says what to do where there is nothing."""
    from redirectd.review.documents import remap_json

    if as_json:
        emit_json({"remaps": [remap_json(remap, now) for remap in remaps]})
    elif remaps:
        show_table(remaps, with_state=with_state)
    else:
        note(empty)


STATES = ("pending", "approved", "rejected", "revoked", "superseded", "expired")
PAGE = 200
"""Rows of a table for people where --limit is not given."""

limit_option = click.option(
    "--limit", type=click.IntRange(min=1), help=f"Maximum number of remaps. Default: {PAGE} in tables, all in JSON."
)
after_option = click.option(
    "--after", type=int, default=0, metavar="ID", shell_complete=ids_of(), help="Only remaps with a higher id."
)


names_argument = click.argument("names", nargs=-1, metavar="[ID|URI...]", shell_complete=ids_of())
pending_argument = click.argument("names", nargs=-1, metavar="[ID|URI...]", shell_complete=ids_of("pending"))


def list_named(
    app: App,
    names: tuple[str, ...],
    states: tuple[str, ...],
    filters: Filters,
    *,
    as_json: bool,
    empty: str,
) -> None:
    """Prints the remaps of ids and old URIs. Raises UsageError for a name of none, and for names with a filter."""
    from redirectd.cli.decisions import named_all
    from redirectd.review.attention import with_attention

    now = app.now()
    with app.database.read() as connection:
        found = with_attention(connection, named_all(connection, names, filters, app.config.rules()), now=now)
    wanted = [remap for remap in found if not states or remap.state in states]
    others = [f"remap {remap.id} is {remap.state.value}" for remap in found if remap not in wanted]
    show_list(wanted, now, as_json=as_json, with_state=True, empty="; ".join(others) or empty)
    if wanted and others and not as_json:
        note("; ".join(others))


def list_filtered(
    app: App,
    states: tuple[str, ...],
    filters: Filters,
    limit: int | None,
    after: int,
    *,
    as_json: bool,
    with_state: bool,
    empty: str,
) -> None:
    """Prints the remaps that pass the filters, a page of them for people; what is due first without a filter."""
    from redirectd.review.attention import due
    from redirectd.store.remap import State

    now = app.now()
    if as_json and limit is None:
        _stream(app, states, filters, after, with_state=with_state)
        return
    page = limit or PAGE
    rules = app.config.rules()
    due_first: list[Remap] = []
    with app.database.read() as connection:
        if _has_due(states, filters, after, with_state=with_state):
            due_first = due(connection, rules, now=now, limit=max(1, page // 2))  # what waits must not be crowded out
        rest = page - len(due_first)
        wanted = [State(state) for state in states]
        found = [] if rest == 0 else filters.find(connection, wanted, rules, now, after_id=after, limit=rest)
        if not (found or due_first or as_json):
            empty = _why_empty(connection, states, filters, after) or empty
    full = len(found) == rest
    last = max((remap.id for remap in found), default=after)
    if with_state:
        found.sort(key=lambda remap: (STATES.index(remap.state.value), remap.id))
    show_list([*due_first, *found], now, as_json=as_json, with_state=with_state, empty=empty)
    if not as_json and full:
        note(f"there may be more: --after {last}, or --limit")
    if not as_json and len(due_first) == max(1, page // 2):
        note(
            "more approved ones may fail or be past their review date: 'redirectd list --flag failing', '--flag stale'"
        )


def _has_due(states: tuple[str, ...], filters: Filters, after: int, *, with_state: bool) -> bool:
    """Whether approved remaps that a person should look at again come first: in all that is pending."""
    return states == ("pending",) and not with_state and filters.is_empty and after == 0


def _stream(app: App, states: tuple[str, ...], filters: Filters, after: int, *, with_state: bool) -> None:
    """Prints all remaps as one JSON document while they are read: no number of them fills the memory."""
    from dataclasses import replace

    from redirectd.review.attention import all_due
    from redirectd.review.documents import remap_json
    from redirectd.review.page import matching
    from redirectd.review.portable import write
    from redirectd.store.remap import State

    now, rules = app.now(), app.config.rules()
    parts = [filters.query([State(name) for name in STATES if not states or name in states], now)]
    if with_state:
        parts = [replace(parts[0], states=[state]) for state in parts[0].states]

    def found(connection: Connection) -> Iterator[Remap]:
        if _has_due(states, filters, after, with_state=with_state):
            yield from all_due(connection, rules, now=now)
        for query in parts:
            yield from matching(connection, query, rules, after=after)

    with app.database.read() as connection:
        emit_pieces(write((remap_json(remap, now) for remap in found(connection)), "json"))


def _why_empty(connection: Connection, states: tuple[str, ...], filters: Filters, after: int) -> str:
    """What the filter, the states or the page have hidden; empty where there is nothing without them either."""
    from redirectd.store.remaps import counts

    by_state = counts(connection)
    total = sum(count for state, count in by_state.items() if not states or state in states)
    which = f"{' or '.join(states)} " if states else ""
    if not filters.is_empty:
        return no_match(connection, filters, states)
    if after and total:
        return f"no {which}remap after id {after} ({total:,} before it)"
    if states and states != ("pending",) and sum(by_state.values()):
        return f"no {which}remap ({sum(by_state.values()):,} in other states)"
    return ""
