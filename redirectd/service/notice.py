"""What a notification says: counts, peers and a link, in plain text in which nothing of a SIP message is alive."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address
from typing import Any

from sqlalchemy import Connection, func, select

from redirectd.store import event_log
from redirectd.store.event_log import EventKind, LoggedEvent
from redirectd.store.schema import remap_peer
from redirectd.store.upsert import chunks
from redirectd.times import rfc3339

MOST_PEERS = 5
MOST_SHOWN = 20
"""Events that a message with details has one by one."""

_LONGEST = 300
_LIVE = re.compile(r"[^A-Za-z0-9 ;=+,\-/?%]")
_ADDRESS = re.compile(r"(?:[a-z]{2,4}:)?(\[[0-9A-Fa-f:.]+\]|[0-9A-Fa-f:]+|[0-9.]+)(?::[0-9]{1,5})?")
_SPELT = {".": "[.]", "@": "[at]", ":": "[:]"}

_SAYS: Mapping[EventKind, tuple[str, str]] = {
    EventKind.PENDING: ("remap is new for review", "remaps are new for review"),
    EventKind.AGREED: ("remap needs another approval", "remaps need another approval"),
    EventKind.APPROVED: ("remap was approved", "remaps were approved"),
    EventKind.REJECTED: ("remap was rejected", "remaps were rejected"),
    EventKind.REVOKED: ("approval was revoked", "approvals were revoked"),
    EventKind.SUPERSEDED: ("remap was superseded", "remaps were superseded"),
    EventKind.EXPIRED: ("remap expired", "remaps expired"),
    EventKind.FAILING: ("approved remap fails", "approved remaps fail"),
    EventKind.INEFFECTIVE: ("installed remap is bypassed", "installed remaps are bypassed"),
    EventKind.STALE: ("approved remap is past its review date", "approved remaps are past their review date"),
    EventKind.ROLLED_BACK: ("generation was rolled back", "generations were rolled back"),
    EventKind.SOURCE_DOWN: ("source is down", "sources are down"),
    EventKind.SOURCE_UP: ("source is back", "sources are back"),
    EventKind.LOSS: ("kind of loss", "kinds of loss"),
    EventKind.ALARM: ("alarm", "alarms"),
}


@dataclass(frozen=True, slots=True)
class Notice:
    """One notification. `number` is the same when it is sent again, and `document` is what a webhook gets."""

    number: str
    title: str
    text: str
    document: Mapping[str, Any]


def plain(text: str, limit: int = _LONGEST) -> str:
    """Text of the network for a chat or a mail: no link, mention or markup can come of it.

    Dots, colons and at signs are spelt as ``[.]``, ``[:]`` and ``[at]``; other characters with a meaning somewhere are
    percent-escaped, what is not ASCII by its number.
    """
    cut = text if len(text) <= limit else text[:limit] + " (cut)"
    return _LIVE.sub(_spelt, cut)


def _spelt(found: re.Match[str]) -> str:
    char = found[0]
    if char in _SPELT:
        return _SPELT[char]
    return f"%{ord(char):02X}" if ord(char) < 0x80 else f"%U{ord(char):X}"


def compose(
    connection: Connection,
    number: str,
    found: Sequence[LoggedEvent],
    waiting: int,
    *,
    node: str,
    link: str | None,
    details: bool,
) -> Notice:
    """The message of some events, or where there are none, the reminder of what waits."""
    counts = Counter(one.kind for one in found)
    peers = _peers(connection, [one.remap_id for one in found if one.remap_id is not None])
    said = [f"{count} {_SAYS[kind][count != 1]}" for kind in EventKind if (count := counts[kind])]
    title = f"redirectd on {node}: " + (", ".join(said[:3]) or f"{_remaps(waiting)} waiting for review")
    lines = [f"{line}." for line in said]
    if peers:
        lines.append("Reported by " + ", ".join(f"{_peer(peer)} ({count})" for peer, count in peers) + ".")
    lines.append(f"{_remaps(waiting)} waiting for review in all.")
    if details:
        lines += [_line(one) for one in found[:MOST_SHOWN]]
        lines += [f"and {len(found) - MOST_SHOWN} more"] if len(found) > MOST_SHOWN else []
    lines.append(f"See {link}" if link else "See: redirectd review, redirectd status")
    text = "\n".join(lines)
    document: dict[str, Any] = {
        "id": number,
        "title": title,
        "text": text,
        "node": node,
        "reminder": not found,
        "counts": {kind.value: count for kind, count in counts.items()},
        "waiting": waiting,
        "peers": [{"peer": _peer(peer), "remaps": count} for peer, count in peers],
        "link": link,
    }
    if details:
        document["events"] = [event_log.document(one) for one in found[:MOST_SHOWN]]
    return Notice(number, title, text, document)


def _remaps(count: int) -> str:
    return f"{count:,} remap{'' if count == 1 else 's'}"


def _peers(connection: Connection, numbers: Sequence[int]) -> list[tuple[str, int]]:
    """Who reported the most of these remaps."""
    counted: Counter[str] = Counter()
    for part in chunks(set(numbers)):
        query = select(remap_peer.c.peer, func.count()).where(remap_peer.c.remap_id.in_(part))
        counted.update({str(peer): int(count) for peer, count in connection.execute(query.group_by(remap_peer.c.peer))})
    return counted.most_common(MOST_PEERS)


def _peer(text: str) -> str:
    """An address as it is, with its transport and port; anything else may be a text of the network."""
    found = _ADDRESS.fullmatch(text)
    try:
        ip_address(found[1].strip("[]") if found else "")
    except ValueError:
        return plain(text, 80)
    return text


def _line(one: LoggedEvent) -> str:
    parts = [one.kind.value, f"{one.remap_id}" if one.remap_id else plain(one.source)]
    if old := one.detail.get("old_uri"):
        parts.append(f"{plain(str(old))} to {plain(str(one.detail.get('new_uri') or 'a choice of Contacts'))}")
    parts += [plain(str(one.detail[name])) for name in ("what", "why", "reason") if one.detail.get(name)]
    return "- " + ", ".join(part for part in parts if part)


def test_message(node: str, now: datetime) -> Notice:
    """A message that nothing has happened for."""
    title = f"redirectd on {node}: test"
    text = "This is a test: notifications arrive."
    document = {"id": f"test {rfc3339(now)}", "title": title, "text": text, "node": node, "test": True}
    return Notice(str(document["id"]), title, text, document)
