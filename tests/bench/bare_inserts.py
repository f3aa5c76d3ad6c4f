"""The yardstick of storing: rows like those of counted answers by bare executemany. `... N FILE` prints seconds."""

from __future__ import annotations

import sqlite3
import sys
import time
from hashlib import blake2b


def main(count: int, path: str) -> float:
    """Seconds for `count` rows, as many at a time as redirectd commits."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(
        "CREATE TABLE event (key TEXT PRIMARY KEY, event_key TEXT, call_key TEXT, remap_id INTEGER, "
        "refusal_id INTEGER, rank INTEGER, peer TEXT, method TEXT, seen_at TEXT)"
    )
    connection.execute("CREATE INDEX call ON event (call_key)")
    rows = []
    for number in range(count):
        key = blake2b(b"%d" % number, digest_size=16).hexdigest()
        rows.append(
            (key, key, key[::-1], number % 5000, None, 3, "udp:192.0.2.31:5060", "INVITE", "2026-11-22 16:26:03")
        )
    began = time.perf_counter()
    for start in range(0, count, 2000):
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO event VALUES (?,?,?,?,?,?,?,?,?)", rows[start : start + 2000])
        connection.execute("COMMIT")
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.stdout.write(f"{main(int(sys.argv[1]), sys.argv[2])}\n")
