"""Evidence is sampled: the first tellings of a remap and the newest, so that a storm costs few rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, select

from redirectd.collect.answer import Answer
from redirectd.collect.verdict import Learnt, digest
from redirectd.sip.text import printable
from redirectd.store.schema import evidence
from redirectd.store.upsert import chunks

KEPT_FIRST = 5
KEPT_LAST = 15

__all__ = ["digest", "method_text", "peer_text", "quarantined", "sample"]


def peer_text(answer: Answer) -> str:
    """The peer as it is stored and shown: `udp:192.0.2.1:5060`, `unknown` where the log doesn't tell."""
    return printable(str(answer.peer), 80) if answer.peer else "unknown"


def method_text(answer: Answer) -> str:
    """The method as it is stored: a line can tell any text for it."""
    return printable(answer.method, 32)


def sample(
    connection: Connection, source: str, learnt: Iterable[Learnt], ids: Mapping[str, int], now: datetime
) -> None:
    """Keeps the first five and the newest fifteen tellings of each remap."""
    groups: dict[int, list[Learnt]] = defaultdict(list)
    for one in learnt:
        groups[ids[one.identity]].append(one)
    have: dict[int, list[int]] = defaultdict(list)
    for part in chunks(groups):
        query = select(evidence.c.remap_id, evidence.c.id).where(evidence.c.remap_id.in_(part))
        for row in connection.execute(query.order_by(evidence.c.id)):
            have[row.remap_id].append(row.id)
    rows: list[dict[str, Any]] = []
    stale: list[int] = []
    for number, ones in groups.items():
        kept = have[number]
        first = max(0, KEPT_FIRST - len(kept))
        chosen = ones[:first] + ones[first:][-KEPT_LAST:]
        rows += [_row(source, number, one.answer, now) for one in chosen]
        excess = len(kept) + len(chosen) - KEPT_FIRST - KEPT_LAST
        if excess > 0:
            stale += kept[KEPT_FIRST : KEPT_FIRST + excess]
    for batch in chunks(stale):
        connection.execute(delete(evidence).where(evidence.c.id.in_(batch)))
    if rows:
        connection.execute(evidence.insert(), rows)


def _row(source: str, number: int, answer: Answer, now: datetime) -> dict[str, Any]:
    return {
        "remap_id": number,
        "refusal_id": None,
        "seen_at": answer.seen_at or now,
        "source": source[:255],
        "position": answer.position,
        "dialect": answer.dialect,
        "peer": peer_text(answer),
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
