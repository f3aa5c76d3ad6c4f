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
from time import perf_counter

from sqlalchemy import insert, update

from redirectd.config.policy import Policy
from redirectd.review.attention import attention
from redirectd.review.page import Query, ids, page
from redirectd.review.proposals import proposals
from redirectd.store.remap import State
from redirectd.store.schema import remap, remap_method, remap_peer
from tests.review.world import NOW, World, opened

POLICY = Policy(trusted_peers=(ip_network("192.0.2.0/24"),), region="DE")


def fill(world: World, pending: int, approved: int) -> None:
    """Rows as the collector leaves them: half are numbers, every tenth peer is a stranger."""
    from redirectd.collect.verdict import digest

    rows, peers, methods = [], [], []
    for number in range(1, pending + approved + 1):
        user = f"+4930{number:07d}" if number % 2 else f"user{number}"
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
                "new_uri": new,
                "contacts": f'[{{"uri": "{new}"}}]',
                "flags": "{}",
                "facts": "{}",
                "calls": number % 30 + 1,
                "first_seen": seen - timedelta(days=2),
                "last_seen": seen,
                "note": "",
            }
        )
        peer = "udp:203.0.113.9:5060" if number % 10 == 0 else "udp:192.0.2.10:5060"
        peers.append({"remap_id": number, "peer": peer, "calls": 1, "first_seen": seen, "last_seen": seen})
        methods.append({"remap_id": number, "method": "INVITE", "calls": 1})
    with world.database.begin() as connection:
        for table, values in ((remap, rows), (remap_peer, peers), (remap_method, methods)):
            connection.execute(insert(table), values)
        connection.execute(update(remap).where(remap.c.id == approved + 1).values(flags='{"expiring": "for an hour"}'))


def timed(name: str, work: Callable[[], object]) -> None:
    """Prints the quickest of three runs, and what came of it."""
    best, result = float("inf"), None
    for _ in range(3):
        start = perf_counter()
        result = work()
        best = min(best, perf_counter() - start)
    sys.stdout.write(f"{best * 1000:9.1f} ms  {name}  {result}\n")


def main(pending: int, approved: int) -> None:
    """Fills a database and times what a person waits for."""
    with TemporaryDirectory() as folder, opened(Path(folder), POLICY) as world:
        fill(world, pending, approved)
        everything = Query(states=(State.PENDING,))
        with world.database.read() as connection:

            def first(query: Query, after: int = 0) -> Callable[[], int]:
                return lambda: len(page(connection, query, POLICY, after=after).remaps)

            timed("the first page", first(everything))
            timed("the last page", first(everything, approved + pending - 50))
            timed("a page by peer", first(replace(everything, peer="203.0.113.9")))
            timed("a page by domain", first(replace(everything, domain="old3.example.com")))
            timed("a page by age", first(replace(everything, seen_before=NOW - timedelta(days=3))))
            timed("a page by flag untrusted", first(replace(everything, flag="untrusted")))
            timed("a page by flag suspicious, which nobody has", first(replace(everything, flag="suspicious")))
            timed("a page by the one flag expiring", first(replace(everything, flag="expiring")))
            timed("a page by a flag nobody has", first(replace(everything, flag="registrar")))
            shown = replace(everything, now=NOW)
            timed("the first page with what is due", first(shown))
            timed("a page by flag redundant", first(replace(shown, flag="redundant")))
            timed("what is failing or stale", lambda: len(attention(connection, now=NOW)))
            timed("all proposals", lambda: len(proposals(connection, POLICY)))
            timed("all ids of the filter", lambda: len(ids(connection, everything, POLICY)))


if __name__ == "__main__":
    main(*(int(argument) for argument in (sys.argv[1:] or ["10000", "1000"])))
