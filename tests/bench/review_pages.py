"""How quick a page of the review is with many pending remaps: run it by hand, it asserts nothing.

python -m tests.bench.review_pages [pending] [approved]
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time

from sqlalchemy import insert, select, update
from starlette.datastructures import ImmutableMultiDict
from starlette.requests import Request

from redirectd.collect.policy import Policy
from redirectd.config.load import parse
from redirectd.console.access import Access, Visitor
from redirectd.console.desk import Desk
from redirectd.console.page_routes import PageCall
from redirectd.console.queue_page import show_queue
from redirectd.console.sign_in import SignIn
from redirectd.review.attention import attention, due
from redirectd.review.holds import screen
from redirectd.review.page import Query, ids, page, queue_counts
from redirectd.review.proposals import proposals
from redirectd.store.remap import State
from redirectd.store.remaps import leading_to
from redirectd.store.schema import followup, remap, remap_method, remap_peer
from redirectd.store.tokens import Role
from tests.review.remap_store import NOW, RemapStore, opened

CONSOLE = """[database]
url = "sqlite:///redirectd.db"
[policy]
trusted_peers = ["192.0.2.0/24"]
region = "DE"
[console]
"""
POLICY = Policy(trusted_peers=(ip_network("192.0.2.0/24"),), region="DE")


def fill(store: RemapStore, pending: int, approved: int) -> None:
    """Rows as the collector leaves them: all are numbers but every tenth, which a stranger told."""
    from redirectd.collect.verdict import digest

    rows, peers, methods = [], [], []
    for number in range(1, pending + approved + 1):
        user = f"+4930{number:07d}" if number % 10 else f"user{number}"
        old, new = f"sip:{user}@old{number % 7}.example.com", f"sip:{user}@new.example.net"
        seen = NOW - timedelta(minutes=number % 50_000)
        rows.append(
            {
                "identity": digest("user", old, new),
                "old_hash": digest("user", old),
                "state": State.PENDING if number > approved else State.APPROVED,
                "kind": "user",
                "old_key": old,
                "old_uri": old,
                **leading_to("user", new),
                "contacts": f'[{{"uri": "{new}"}}]',
                "flags": "{}",
                "facts": "{}",
                "authenticity": 2,
                "calls": number % 30 + 1,
                "first_seen": seen - timedelta(days=2),
                "last_seen": seen,
                "note": "",
            }
        )
        peer = "udp:203.0.113.9:5060" if number % 10 == 0 else "udp:192.0.2.10:5060"
        peers.append({"remap_id": number, "peer": peer, "calls": 1, "first_seen": seen, "last_seen": seen})
        methods.append({"remap_id": number, "method": "INVITE", "calls": 1})
    with store.database.begin() as connection:
        for table, values in ((remap, rows), (remap_peer, peers), (remap_method, methods)):
            connection.execute(insert(table), values)
        connection.execute(update(remap).where(remap.c.id == approved + 1).values(flags='{"expiring": "for an hour"}'))


def make_worst(store: RemapStore, pending: int, approved: int) -> None:
    """What each filter finds hardest: all hosts with two targets, all told by strangers, all moved with their host."""
    from redirectd.collect.verdict import digest

    with store.database.begin() as connection:
        connection.execute(update(remap_peer).values(peer="udp:203.0.113.9:5060"))
        row = connection.execute(select(remap).where(remap.c.id == approved + 1)).one()._mapping
        gateways = []
        for number in range(7):
            old = f"sip:old{number}.example.com"
            gateways.append(
                dict(row)
                | {"id": pending + approved + 1 + number, "identity": digest(old), "old_hash": digest("gateway", old)}
                | {"state": State.APPROVED, "kind": "gateway", "old_key": old, "old_uri": old}
                | {"new_uri": "sip:new.example.net", "contacts": '[{"uri": "sip:new.example.net"}]'}
            )
        connection.execute(insert(remap), gateways)
        for number in range(1, min(approved, pending) // 3):
            # A third of the targets has moved on, another one is dead.
            moved = select(remap.c.new_hash).where(remap.c.id == number).scalar_subquery()
            connection.execute(update(remap).where(remap.c.id == approved + number).values(old_hash=moved))
            dead = {"remap_id": approved - number, "status": 404, "calls": 3, "first_seen": NOW, "last_seen": NOW}
            connection.execute(insert(followup), dead)
        for number in range(approved + approved, approved + pending, 2):
            # One target after the other, never in turns: no flapping (R32), but only a look at the times tells.
            changed = {"old_hash": digest("pair", str(number))}
            connection.execute(update(remap).where(remap.c.id.in_([number, number + 1])).values(changed))


def timed(name: str, work: Callable[[], object]) -> None:
    """Prints the CPU time of a first run and of the quickest of two more, and what came of it."""
    taken, result = [], None
    for _ in range(3):
        start = process_time()
        result = work()
        taken.append(process_time() - start)
    sys.stdout.write(f"{taken[0] * 1000:9.1f} ms {min(taken[1:]) * 1000:9.1f} ms again  {name}  {result}\n")


def show_pages(store: RemapStore, approved: int, pending: int) -> None:
    """Times what a person waits for."""
    everything = Query(states=(State.PENDING,))
    shown = replace(everything, now=NOW)
    with store.database.read() as connection:

        def first(query: Query, after: int = 0) -> Callable[[], int]:
            return lambda: len(page(connection, query, POLICY, after=after).remaps)

        timed("the first page", first(shown))
        timed("the last page", first(shown, approved + pending - 50))
        timed("a page by peer", first(replace(shown, peer="203.0.113.9")))
        timed("a page by domain", first(replace(shown, domain="old3.example.com")))
        timed("a page by age", first(replace(shown, seen_before=NOW - timedelta(days=3))))
        for flag in ("suspicious", "none", "untrusted", "method", "flapping", "redundant", "expiring", "registrar"):
            timed(f"a page by flag {flag}", first(replace(shown, flag=flag)))
        timed("a page by flag failing", first(Query(flag="failing", now=NOW)))
        timed("what is failing or stale", lambda: len(attention(connection, now=NOW)))
        timed("the same as shown first", lambda: len(due(connection, POLICY, now=NOW, limit=50)))
        timed("all proposals", lambda: len(proposals(connection, POLICY)))
        timed("all ids of the filter", lambda: len(ids(connection, everything, POLICY)))
        timed("the counts of the console's queue", lambda: queue_counts(connection, POLICY))
    timed("the console's first page, whole", _console_page(store))


def _console_page(store: RemapStore) -> Callable[[], int]:
    """The bytes of the queue as browsers get it from one console."""
    config = parse(CONSOLE, Path("/x/redirectd.toml"))
    assert config.console is not None
    desk = Desk(config, store.database, lambda: NOW)
    ada = Visitor("local:ada", Role.REVIEWER, "127.0.0.1", csrf="x")
    request = Request({"type": "http", "method": "GET", "path": "/queue", "query_string": b"", "headers": []})
    sign_in = SignIn(Access(config.console, store.database, lambda: NOW))
    call = PageCall(request, desk, sign_in, ada, ImmutableMultiDict())
    return lambda: len(show_queue(call).body)


def main(pending: int, approved: int) -> None:
    """Fills a database and times its pages, then once more with what is hardest to sort out."""
    import phonenumbers  # noqa: F401 - 0.2 s that each process takes once

    with TemporaryDirectory() as folder, opened(Path(folder), POLICY) as store:
        fill(store, pending, approved)
        show_pages(store, approved, pending)
        make_worst(store, pending, approved)
        timed("what the service does within a minute", lambda: screen(store.database, POLICY))
        sys.stdout.write("the worst case of each filter, where the service runs\n")
        show_pages(store, approved, pending)


if __name__ == "__main__":
    main(*(int(argument) for argument in (sys.argv[1:] or ["10000", "1000"])))
