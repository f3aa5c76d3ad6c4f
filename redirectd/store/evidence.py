"""Evidence is sampled: the first sightings of a remap and the newest, so that a storm costs few rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, delete, func, select

from redirectd.collect.answer import Answer
from redirectd.collect.verdict import Learnt, digest
from redirectd.sip.text import printable
from redirectd.store.schema import evidence
from redirectd.store.statements import chunks, insert

if TYPE_CHECKING:
    from redirectd.store.sightings import Known

KEPT_FIRST = 5
KEPT_LAST = 15


def method_text(answer: Answer) -> str:
    """The method as it is stored: a line can have any text for it."""
    return _method_text(answer.method)


@lru_cache(maxsize=256)
def _method_text(method: str) -> str:
    return printable(method, 32)


def sample(
    connection: Connection,
    source: str,
    learnt: Iterable[Learnt],
    known: Mapping[str, Known],
    ids: Mapping[str, int],
    now: datetime,
) -> None:
    """Keeps the first five and the newest fifteen sightings of each remap; `known` and `ids` are by identity."""
    groups: dict[int, list[Learnt]] = defaultdict(list)
    for one in learnt:
        groups[ids[one.identity]].append(one)
    kept = _kept(connection, (one.number for identity, one in known.items() if identity in ids))
    rows: list[dict[str, Any]] = []
    excess: dict[int, int] = {}
    for number, ones in groups.items():
        have = kept.get(number, 0)
        first = max(0, KEPT_FIRST - have)
        chosen = ones[:first] + ones[first:][-KEPT_LAST:]
        rows += [_row(source, number, one.answer, now) for one in chosen]
        if have + len(chosen) > KEPT_FIRST + KEPT_LAST:
            excess[number] = have + len(chosen) - KEPT_FIRST - KEPT_LAST
    _drop(connection, excess)
    insert(connection, evidence, rows)


def _kept(connection: Connection, numbers: Iterable[int]) -> dict[int, int]:
    """How many sightings of each remap are stored."""
    kept: dict[int, int] = {}
    for part in chunks(numbers):
        query = select(evidence.c.remap_id, func.count()).where(evidence.c.remap_id.in_(part))
        rows = connection.execute(query.group_by(evidence.c.remap_id)).all()
        kept.update((row[0], row[1]) for row in rows)
    return kept


def _drop(connection: Connection, excess: Mapping[int, int]) -> None:
    """Removes the number of sightings given for each remap, the oldest after the first five."""
    place = func.row_number().over(partition_by=evidence.c.remap_id, order_by=evidence.c.id).label("place")
    stale: list[int] = []
    for part in chunks(excess):
        numbered = select(evidence.c.id, evidence.c.remap_id, place).where(evidence.c.remap_id.in_(part)).subquery()
        last = KEPT_FIRST + max(excess[number] for number in part)
        query = select(numbered).where(numbered.c.place > KEPT_FIRST, numbered.c.place <= last)
        stale += [row.id for row in connection.execute(query) if row.place <= KEPT_FIRST + excess[row.remap_id]]
    for batch in chunks(stale):
        connection.execute(delete(evidence).where(evidence.c.id.in_(batch)))


def _row(source: str, number: int, answer: Answer, now: datetime) -> dict[str, Any]:
    return {
        "remap_id": number,
        "refusal_id": None,
        "seen_at": answer.seen_at or now,
        "source": source[:255],
        "position": answer.position,
        "dialect": answer.dialect,
        "peer": answer.peer_text,
        "method": method_text(answer),
        "call_id": printable(answer.call_id, 500),
        "text": answer.text,
    }


def quarantined(
    source: str, position: int, dialect: str, why: str, content: bytes, seen_at: datetime
) -> dict[str, Any]:
    """A row of the quarantine; the same bytes are kept once."""
    return {
        "identity": digest("quarantine", why, content.decode("latin-1")),
        "source": source[:255],
        "position": position,
        "dialect": dialect,
        "seen_at": seen_at,
        "why": printable(why),
        "content": content,
    }
