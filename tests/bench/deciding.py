"""Import, approve and reject many: `python -m tests.bench.deciding N` prints JSON.

Seconds of the processor for N rows with a phone number each, in an empty SQLite database: imported with their
approval, imported as pending, and of those half approved and half rejected.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path

from redirectd.collect.policy import Policy
from redirectd.review.decide import decide_in_batches
from redirectd.review.decision import Decision
from redirectd.review.importing import run_import
from redirectd.review.portable import read
from redirectd.store import migrate
from redirectd.store.database import Database

_BY = Decision(actor="bench", at=datetime(2026, 11, 23, tzinfo=UTC), reason="measured")
_POLICY = Policy(trusted_peers=(ip_network("192.0.2.0/24"),))


def _text(count: int) -> str:
    lines = ["state,old_uri,new_uri,calls,peer_calls"]
    for number in range(count):
        user = f"+4930{number:07d}"
        peer = f'"{{""udp:192.0.2.{number % 250}:5060"": 3}}"'
        lines.append(f"approved,sip:{user}@old.example,sip:{user}@new.example,3,{peer}")
    return "\n".join(lines) + "\n"


def _seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return round(time.process_time() - began, 3)


def main(count: int) -> dict[str, float]:
    """Seconds of the processor by what was done, and how many rows that was."""
    text = _text(count)
    with tempfile.TemporaryDirectory() as folder:
        approved, pending = (Database(f"sqlite:///{Path(folder) / name}.db") for name in ("approved", "pending"))
        for database in (approved, pending):
            migrate.ensure(database)

        def taken(database: Database, *, with_approvals: bool) -> None:
            result, _ = run_import(database, read(text, "csv"), _BY, _POLICY, with_approvals=with_approvals)
            assert (result.new, result.approved) == (count, count * with_approvals)

        def decide(action: str, first: int, last: int) -> None:
            for part in decide_in_batches(pending, action, range(first, last + 1), _BY, _POLICY):
                assert not part.refused

        figures = {
            "rows": float(count),
            "import_approve_s": _seconds(lambda: taken(approved, with_approvals=True)),
            "import_s": _seconds(lambda: taken(pending, with_approvals=False)),
            "approve_s": _seconds(lambda: decide("approve", 1, count // 2)),
            "reject_s": _seconds(lambda: decide("reject", count // 2 + 1, count)),
        }
        for database in (approved, pending):
            database.close()
    return figures


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(int(sys.argv[1]))) + "\n")
