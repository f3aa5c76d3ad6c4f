"""Which answers of a storm have been counted: their keys packed side by side, where a row each would be many.

A redirect loop gives thousands of answers in seconds. The first thousand of a remap within an hour have rows of their
own in `event`; of those beyond, only the key is kept, 16 bytes. So the same log read again counts nothing twice. What
is given up for them: such an answer is not taken back when it turns out to be a relayed copy, and a lesser sighting
of it from another source counts by itself. Past `MOST` keys the oldest are forgotten.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, select, update

from redirectd.collect.answer import WHOLE
from redirectd.collect.verdict import Learnt, Verdict
from redirectd.store.known import Known
from redirectd.store.schema import event, event_pack
from redirectd.store.upsert import chunks

OWN_ROWS = 1_000
"""Answers of one remap within an hour that keep a row each."""

MOST = 8_192
"""Keys in one pack; a remap has sixteen."""

_SIZE = 16
_HOUR = timedelta(hours=1)


def counted(connection: Connection, verdicts: Iterable[Verdict], known: Mapping[str, Known]) -> set[str]:
    """Those of the verdicts' move keys that are in a pack; `known` are the remaps that are there, by identity."""
    wanted: dict[int, set[str]] = defaultdict(set)
    for one in verdicts:
        if isinstance(one, Learnt) and one.identity in known and known[one.identity].is_packed:
            wanted[known[one.identity].number].add(one.answer.move_key)
    found: set[str] = set()
    for numbers in chunks(wanted):
        query = select(event_pack.c.remap_id, event_pack.c.content).where(event_pack.c.remap_id.in_(numbers))
        for number, content in connection.execute(query):
            found |= wanted[number] & set(_split(content))
    return found


def pack(
    connection: Connection,
    fresh: Collection[Verdict],
    known: Mapping[str, Known],
    ids: Mapping[str, int],
    now: datetime,
) -> set[str]:
    """Packs the keys of what exceeds `OWN_ROWS`; gives them. Lesser sightings keep their rows: a better may come."""
    packed: set[str] = set()
    for identity in _busy(fresh, known):
        number = ids[identity]
        ones = [
            one for one in fresh if isinstance(one, Learnt) and one.identity == identity and one.answer.rank == WHOLE
        ]
        if not ones:
            continue
        last = max(one.answer.seen_at or now for one in ones)
        room = max(0, OWN_ROWS - _rows_of(connection, number, last))
        keys = [one.answer.move_key for one in ones[room:]]
        _append(connection, number, keys, last)
        packed.update(keys)
    return packed


def _busy(fresh: Collection[Verdict], known: Mapping[str, Known]) -> list[str]:
    """The identities of those remaps that can have more rows than they may: nearly none."""
    told = Counter(one.identity for one in fresh if isinstance(one, Learnt))
    return [one for one, calls in told.items() if calls + (known[one].calls if one in known else 0) > OWN_ROWS]


def _rows_of(connection: Connection, number: int, last: datetime) -> int:
    query = select(func.count()).select_from(event).where(event.c.remap_id == number)
    return connection.scalars(query.where(event.c.seen_at > last - _HOUR, event.c.seen_at <= last + _HOUR)).one()


def _append(connection: Connection, number: int, keys: Iterable[str], last: datetime) -> None:
    parts: dict[int, list[str]] = defaultdict(list)
    for key in keys:
        parts[int(key[0], 16)].append(key)
    table = event_pack.c
    rows: dict[int, Any] = {
        row.part: row.content for row in connection.execute(select(event_pack).where(table.remap_id == number))
    }
    for part, added in parts.items():
        content = (rows.get(part, b"") + bytes.fromhex("".join(added)))[-MOST * _SIZE :]
        values = {"content": content, "seen_at": last}
        if part in rows:
            connection.execute(update(event_pack).where(table.remap_id == number, table.part == part).values(**values))
        else:
            connection.execute(event_pack.insert().values(remap_id=number, part=part, **values))


def _split(content: bytes) -> Iterable[str]:
    text = content.hex()
    return (text[at : at + 2 * _SIZE] for at in range(0, len(text), 2 * _SIZE))
