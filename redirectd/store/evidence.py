"""Evidence is sampled: the first sightings of a remap and the newest, so that a storm costs few rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Integer, bindparam, delete, literal_column, select

from redirectd.collect.answer import Answer
from redirectd.collect.verdict import Learnt, digest
from redirectd.sip.text import printable
from redirectd.store.schema import evidence
from redirectd.store.statements import insert, run_many

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
    kept = {one.number: one.kept for one in known.values()}
    rows: list[dict[str, Any]] = []
    excess: dict[int, int] = {}
    for number, ones in groups.items():
        have = kept.get(number, 0)
        first = max(0, KEPT_FIRST - have)
        chosen = ones[:first] + ones[first:][-KEPT_LAST:]
        rows += [_row(source, number, one.answer, now) for one in chosen]
        if have + len(chosen) > KEPT_FIRST + KEPT_LAST:
            excess[number] = have + len(chosen) - KEPT_FIRST - KEPT_LAST
    run_many(connection, _DROP, [{"of": number, "excess": count} for number, count in excess.items()])
    insert(connection, evidence, rows)


_STALE = select(
    select(evidence.c.id)
    .where(evidence.c.remap_id == bindparam("of"))
    .order_by(evidence.c.id)
    .offset(literal_column(str(KEPT_FIRST)))
    .limit(bindparam("excess", type_=Integer))
    .subquery()
    .c.id
)
_DROP = delete(evidence).where(evidence.c.remap_id == bindparam("of"), evidence.c.id.in_(_STALE))
"""Removes the `excess` oldest sightings of a remap after the first five."""


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
