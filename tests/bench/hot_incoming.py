"""Read N remaps, one in ten approved, of an incoming URI each and of one: `python -m tests.bench.hot_incoming N`.

JSON out: seconds of the processor for each, the database on a disk in a folder of its own.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import insert

from redirectd.store.approved import approved
from redirectd.store.database import Database
from redirectd.store.schema import metadata, remap, remap_incoming, remap_method, remap_peer

_NOW = datetime(2026, 5, 1, tzinfo=UTC)
_AT_ONCE = 5_000


def fill(database: Database, count: int, *, shared: bool, all_approved: bool = False) -> None:
    """Makes `count` remaps, one in ten approved, of one incoming URI (`shared`) or of an own one each.

    With `all_approved` only number 10 is pending.
    """
    metadata.create_all(database.engine)
    for first in range(1, count + 1, _AT_ONCE):
        numbers = range(first, min(first + _AT_ONCE, count + 1))
        rows = [
            {
                "id": number,
                "identity": f"i{number}",
                "old_hash": f"o{number}",
                "new_hash": f"n{number}",
                "state": "approved" if (number != 10 if all_approved else number % 10 == 0) else "pending",
                "kind": "user",
                "old_key": f"sip:u{number}@old.test",
                "old_uri": f"sip:u{number}@old.test",
                "new_uri": f"sip:u{number}@new.test",
                "contacts": "[]",
                "flags": "{}",
                "facts": "{}",
                "authenticity": 2,
                "calls": 1,
                "first_seen": _NOW,
                "last_seen": _NOW,
                "note": "",
            }
            for number in numbers
        ]
        asked = [
            {
                "remap_id": number,
                "hash": "shared" if shared else f"a{number}",
                "uri": "sip:public@own.test" if shared else f"sip:{number}@own.test",
                "forked": False,
                "calls": 1,
            }
            for number in numbers
        ]
        seen = {"calls": 1, "authentic_calls": 1}
        peers = [
            {"remap_id": number, "peer": f"udp:192.0.2.{number % 20}:5060", "first_seen": _NOW, "last_seen": _NOW}
            | seen
            for number in numbers
        ]
        with database.begin() as connection:
            connection.execute(insert(remap), rows)
            connection.execute(insert(remap_incoming), asked)
            connection.execute(insert(remap_peer), peers)
            connection.execute(
                insert(remap_method), [{"remap_id": number, "method": "INVITE"} | seen for number in numbers]
            )


def seconds(count: int, *, shared: bool) -> float:
    """Seconds of the processor to read the approved ones of `count` remaps."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{Path(folder) / 'bench.db'}")
        try:
            fill(database, count, shared=shared)
            began = time.process_time()
            with database.read() as connection:
                approved(connection, now=_NOW)
            return round(time.process_time() - began, 3)
        finally:
            database.close()


if __name__ == "__main__":
    size = int(sys.argv[1])
    figures = {"own_s": seconds(size, shared=False), "shared_s": seconds(size, shared=True)}
    sys.stdout.write(json.dumps(figures) + "\n")
