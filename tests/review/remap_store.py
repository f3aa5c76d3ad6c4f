"""A database with remaps in it, made as the collector makes them: answers judged by the rules and recorded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from itertools import count
from pathlib import Path

from redirectd.collect.answer import Answer
from redirectd.collect.batch import Batch
from redirectd.collect.policy import Policy
from redirectd.collect.rules import judge
from redirectd.dialects.frame import Peer
from redirectd.review import decide
from redirectd.review.decision import Decision
from redirectd.review.holds import with_holds
from redirectd.store import migrate
from redirectd.store.collecting import record
from redirectd.store.database import Database
from redirectd.store.remap import Remap, State
from redirectd.store.remaps import RemapFilter, find

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
TRUSTED = "192.0.2.10"
STRANGER = "203.0.113.66"
POLICY = Policy(trusted_peers=(ip_network("192.0.2.0/24"),))


@dataclass
class RemapStore:
    """A database and the ways to fill it; times are relative to `NOW`, in hours."""

    database: Database
    policy: Policy = POLICY
    _number: Iterator[int] = field(default_factory=lambda: count(1))

    def sighted(
        self,
        old: str,
        *new: str,
        calls: int = 1,
        peer: str = TRUSTED,
        method: str = "INVITE",
        first: float = -48,
        last: float = -1,
        text: str = "SIP/2.0 301 Moved Permanently",
        expires: str | None = None,
    ) -> Remap:
        """Records `calls` 301s for `old`, evenly from hour `first` to `last`; gives the remap as it stands then."""
        batch = Batch("test")
        identity = ""
        for index in range(calls):
            hours = first + (last - first) * (index / (calls - 1) if calls > 1 else 1)
            verdict = judge(self.answer(old, new, peer, method, hours, text, expires), self.policy)
            assert verdict is not None
            batch.verdicts[verdict.answer.event_key] = verdict
            identity = verdict.identity
        with self.database.begin() as connection:
            record(connection, batch, node="test", now=NOW)
        return self.by_identity(identity)

    def answer(
        self, old: str, new: tuple[str, ...], peer: str, method: str, hours: float, text: str, expires: str | None
    ) -> Answer:
        """One 301 of a call of its own."""
        return Answer(
            status=301,
            method=method,
            call_id=f"call-{next(self._number)}",
            cseq=1,
            fork="",
            request_uri=old,
            contacts=tuple(f"<{uri}>" for uri in new),
            contact_headers=len(new),
            expires=expires,
            peer=Peer("udp", peer, 5060),
            seen_at=NOW + timedelta(hours=hours),
            dialect="asterisk-pjsip",
            text=text,
        )

    def by_identity(self, identity: str) -> Remap:
        """The remap of an identity."""
        from sqlalchemy import select

        from redirectd.store.remaps import of_ids
        from redirectd.store.schema import remap

        with self.database.read() as connection:
            number = connection.scalar(select(remap.c.id).where(remap.c.identity == identity))
            assert number is not None
            return of_ids(connection, [number])[0]

    def get(self, number: int) -> Remap:
        """A remap with its holds."""
        with self.database.read() as connection:
            return with_holds(decide.load(connection, number), self.policy)

    def all(self, *states: State) -> list[Remap]:
        """All remaps of some states, by id."""
        with self.database.read() as connection:
            return find(connection, RemapFilter(states=states))

    def approve(
        self,
        number: int,
        *,
        at: datetime = NOW,
        contact: int | None = None,
        force: bool = False,
        replace: int | None = None,
    ) -> Remap:
        """A person approves it."""
        replaced = frozenset() if replace is None else frozenset({replace})
        reason = "known" if force else ""
        by = Decision(actor="alice", at=at, reason=reason, contact=contact, force=force, replace=replaced)
        with self.database.begin() as connection:
            return decide.approve(connection, number, by, self.policy)

    def reject(self, number: int, *, at: datetime = NOW) -> Remap:
        """A person rejects it."""
        with self.database.begin() as connection:
            return decide.reject(connection, number, Decision(actor="alice", at=at))


@contextmanager
def opened(folder: Path, policy: Policy = POLICY) -> Iterator[RemapStore]:
    """A store in a new SQLite file."""
    database = Database(f"sqlite:///{folder / 'redirectd.db'}")
    migrate.upgrade(database)
    try:
        yield RemapStore(database, policy)
    finally:
        database.close()
