"""Many nodes on one PostgreSQL far away: `python -m tests.bench.fleet NODES SECONDS`, JSON out.

Each node is a thread with its own connections, which go through a proxy on loopback that holds every byte back for half
of a round trip. It stores sightings and positions by the code of the service, and listens for decisions as that does;
the logs, the plan and the servers are left out. Each node has five remaps of its own, of one of four peers; with the
third argument `shared` all have the same five. One node does nothing for the middle third and catches up then, and the
nodes' clocks differ by up to five minutes. Of real fleets this shows the database's part alone.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path

import psycopg
from sqlalchemy import func, select
from sqlalchemy.engine import make_url

from redirectd.collect.answer import Answer
from redirectd.collect.batch import Batch
from redirectd.collect.policy import Policy
from redirectd.collect.rules import judge
from redirectd.dialects.frame import Peer
from redirectd.errors import StoreError
from redirectd.review import decide
from redirectd.review.decision import Decision
from redirectd.service.listener import Listener
from redirectd.store import migrate, settings
from redirectd.store.collecting import record
from redirectd.store.database import Database
from redirectd.store.schema import remap
from tests.peers.lab import database as lab
from tests.peers.lab.loopback import own_address

ROUND_TRIP = 0.05
RATE = 20.0
"""Sightings a second of all nodes together."""

POSITION_SECONDS = 2.0
POLICY = Policy(trusted_peers=(ip_network("192.0.2.0/24"),))


class FarAway:
    """A proxy before a database that is half of `ROUND_TRIP` away in each direction; up to `most` connections."""

    def __init__(self, host: str, port: int, most: int) -> None:
        self._server = host, port
        self._most = most
        self._open = 0
        self._loop = asyncio.new_event_loop()
        self.port = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._ready.wait()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        listening = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = listening.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        listening.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._open >= self._most:
            writer.close()
            return
        self._open += 1
        try:
            there, back = await asyncio.open_connection(*self._server)
            await asyncio.gather(self._carry(reader, back), self._carry(there, writer))
        except (OSError, asyncio.CancelledError):
            writer.close()
        finally:
            self._open -= 1

    async def _carry(self, source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        """Each piece comes `ROUND_TRIP / 2` after it was sent, however many are on their way."""
        on_their_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(maxsize=1000)

        async def deliver() -> None:
            while True:
                due, piece = await on_their_way.get()
                await asyncio.sleep(max(0.0, due - self._loop.time()))
                if not piece:
                    break
                to.write(piece)
                await to.drain()

        delivering = asyncio.ensure_future(deliver())
        with suppress(OSError):
            while piece := await source.read(1 << 16):
                await on_their_way.put((self._loop.time() + ROUND_TRIP / 2, piece))
            await on_their_way.put((self._loop.time(), b""))
            await delivering
        delivering.cancel()
        to.close()

    def _end(self) -> None:
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.call_later(0.1, self._loop.stop)

    def stop(self) -> None:
        """Ends it with all its connections."""
        self._loop.call_soon_threadsafe(self._end)
        self._thread.join(5)


@dataclass
class Node:
    """One node: what it has to store and when, and how long after that it was stored."""

    number: int
    url: str
    skew: timedelta
    lags: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    heard: list[float] = field(default_factory=list)
    stored: int = 0
    away: Callable[[], bool] = lambda: False
    shared: bool = False

    def run(self, seconds: float, each: float, started: float) -> None:
        """Stores a sighting every `each` seconds, and a position every two where there is none."""
        database = Database(self.url)
        listener = Listener(self.url, lambda: self.heard.append(time.monotonic()))
        due = started + each * (self.number % 10) / 10
        position_due = started
        number = 0
        try:
            while due < started + seconds or self.away():
                now = time.monotonic()
                if self.away() or now < min(due, position_due):
                    time.sleep(0.02 if self.away() else max(0.0, min(due, position_due) - now))
                    continue
                ready = []
                while due <= now and due < started + seconds:
                    ready.append(due)
                    due += each
                self._store(database, number, len(ready))
                number += len(ready)
                done = time.monotonic()
                self.lags += [done - one for one in ready]
                if not ready:
                    self.waits.append(done - now)
                    position_due = done + POSITION_SECONDS
        finally:
            listener.stop()
            database.close()

    def _store(self, database: Database, first: int, count: int) -> None:
        at = datetime.now(UTC) + self.skew
        batch = Batch(f"log {self.number}")
        for number in range(first, first + count):
            verdict = judge(_answer(self.number, number, at, shared=self.shared), POLICY)
            assert verdict is not None
            batch.verdicts[verdict.answer.event_key] = verdict
        name = f"node{self.number}"

        def work(connection: object) -> None:
            if count:
                record(connection, batch, node=name, now=at)  # type: ignore[arg-type] # as Database.run gives it
            settings.save_position(connection, name, batch.source, {"offset": first + count}, at)  # type: ignore[arg-type]

        with suppress(StoreError):
            database.run(work)
            self.stored += count


def _answer(node: int, number: int, at: datetime, *, shared: bool) -> Answer:
    user = f"u{'' if shared else node}-{number % 5}"
    return Answer(
        status=301,
        method="INVITE",
        call_id=f"{node}-{number}",
        cseq=1,
        fork="",
        request_uri=f"sip:{user}@old.example",
        contacts=(f"<sip:{user}@new.example>",),
        contact_headers=1,
        expires=None,
        peer=Peer("udp", f"192.0.2.{node % 4}", 5060),
        seen_at=at,
        dialect="asterisk-pjsip",
        text="SIP/2.0 301 Moved Permanently",
    )


def measure(server: lab.DatabaseServer, count: int, seconds: float, *, shared: bool = False) -> dict[str, float]:
    """What `count` nodes come to in `seconds`."""
    direct = server.new_database()
    url = make_url(direct)
    near = Database(direct)
    migrate.upgrade(near)
    far = FarAway(url.host or "127.0.0.1", url.port or 5432, 10 * count)
    through = url.set(host="127.0.0.1", port=far.port).render_as_string(hide_password=False)
    started = time.monotonic() + 1
    third = seconds / 3
    nodes = [Node(number, through, timedelta(minutes=number % 11 - 5), shared=shared) for number in range(count)]
    nodes[0].away = lambda: started + third < time.monotonic() < started + 2 * third
    threads = [threading.Thread(target=node.run, args=(seconds, count / RATE, started)) for node in nodes]
    try:
        for thread in threads:
            thread.start()
        time.sleep(max(0.0, started + third - time.monotonic()))
        asked = _approve(near)
        held = _connections(direct, url.database or "")
        for thread in threads:
            thread.join()
        with near.read() as connection:
            calls = connection.scalar(select(func.sum(remap.c.calls))) or 0
    finally:
        far.stop()
        near.close()
    lags = sorted(lag for node in nodes[1:] for lag in node.lags)
    waits = sorted(wait for node in nodes for wait in node.waits)
    hearing = [min((at - asked for at in node.heard if at >= asked), default=float("inf")) for node in nodes]
    return {
        "nodes": count,
        "sightings": int(calls),
        "lost": sum(len(node.lags) for node in nodes) - int(calls),
        "lag_median_s": round(lags[len(lags) // 2], 3),
        "lag_most_s": round(lags[-1], 3),
        "position_median_s": round(waits[len(waits) // 2], 3) if waits else 0.0,
        "position_most_s": round(waits[-1], 3) if waits else 0.0,
        "heard_most_s": round(max(hearing), 3),
        "connections_a_node": round(held / count, 2),
    }


def _approve(database: Database) -> float:
    """Approves a remap; gives when that was."""
    number, patience = None, time.monotonic() + 60
    while number is None and time.monotonic() < patience:
        with database.read() as connection:
            number = connection.scalar(select(remap.c.id).order_by(remap.c.id).limit(1))
        time.sleep(0.05)
    assert number is not None, "no node has stored anything"
    by = Decision(actor="bench", at=datetime.now(UTC), reason="bench", force=True)

    def work(connection: object) -> None:
        decide.approve(connection, number, by, POLICY)  # type: ignore[arg-type] # as Database.run gives it

    database.run(work)
    return time.monotonic()


def _connections(url: str, name: str) -> int:
    """Connections that the nodes hold; the one that asks and the one that has approved are not theirs."""
    known = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(known) as connection:
        row = connection.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = %s", (name,)).fetchone()
    return int(row[0]) - 2 if row else 0


def main(count: int, seconds: float, *, shared: bool = False) -> dict[str, float]:
    """Starts a PostgreSQL for it."""
    with tempfile.TemporaryDirectory(prefix="fleet-") as folder:
        server = lab.start_postgresql(Path(folder), own_address(), max_connections=str(20 + 10 * count))
        try:
            return measure(server, count, seconds, shared=shared)
        finally:
            server.stop()


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(int(sys.argv[1]), float(sys.argv[2]), shared="shared" in sys.argv[3:])) + "\n")
