"""Every real log of the corpus read to its listed result, through the same way that `redirectd ingest` takes."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from redirectd.collect.policy import Policy
from redirectd.collect.reading import Reading
from redirectd.dialects import hints, registry
from redirectd.errors import RefusedError
from redirectd.review import decide
from redirectd.review.decision import Decision
from redirectd.review.documents import remap_json
from redirectd.review.holds import NEED_FORCE, with_holds
from redirectd.service.ingestion import Summary, ingest
from redirectd.sip.compare import route_key
from redirectd.sip.uri import SipUri, parse_uri
from redirectd.sources.file import open_log
from redirectd.store import migrate
from redirectd.store.database import Database
from redirectd.store.remap import Remap
from redirectd.store.remaps import RemapFilter, find
from redirectd.store.schema import refusal

CORPUS = Path(__file__).parent / "corpus"
EXPECTED: dict[str, dict[str, Any]] = json.loads((CORPUS / "expected.json").read_text())
POLICY = Policy(
    trusted_peers=(ip_network("127.0.0.0/8"),),
    allowed_target_networks=(ip_network("127.0.0.0/8"), ip_network("2001:db8::/32")),
)
READ_AT = datetime(2026, 11, 22, 18, 0, tzinfo=UTC)

pytestmark = pytest.mark.parametrize("name", sorted(EXPECTED))


class Result:
    """What reading one file into an empty database came to."""

    def __init__(self, folder: Path, name: str) -> None:
        self.database = Database(f"sqlite:///{folder}/redirectd.db")
        migrate.ensure(self.database)
        self.summary = self.read(name)
        with self.database.read() as connection:
            self.remaps = [with_holds(remap, POLICY) for remap in find(connection, RemapFilter())]
            self.refused = Counter(
                {key(row.old_uri): row.calls for row in connection.execute(select(refusal)) if row.old_uri}
            )

    def read(self, name: str) -> Summary:
        with open_log(CORPUS / name) as log:
            dialects = registry.detect(log.read(log.start, 1 << 20))
            reading = Reading(name, dialects, UTC, POLICY)
            return ingest(log, reading, self.database, node="test", clock=lambda: READ_AT)


@pytest.fixture
def result(tmp_path: Path, name: str) -> Result:
    return Result(tmp_path, name)


def key(uri: str) -> str:
    """The route key of a URI, by which expectations are compared."""
    parsed = parse_uri(uri)
    assert isinstance(parsed, SipUri)
    return str(route_key(parsed))


def expected_remaps(name: str) -> list[dict[str, Any]]:
    listed = EXPECTED[name]["remaps"]
    if isinstance(listed, str):
        return expected_remaps(listed.removeprefix("as "))
    return list(listed)


def agree(uri: str, expected: str | None, remap: Remap) -> None:
    """One remap against its listed new URI; `LLL...` in the list stands for a very long user part."""
    if expected is None:
        assert remap.new_uri is None, uri
        assert len(remap.contacts) > 1, uri
    elif "..." in expected:
        start, end = expected.split("...")
        assert remap.new_uri is not None
        assert remap.new_uri.startswith(start), uri
        assert remap.new_uri.endswith(end), uri
        assert len(remap.new_uri) > 100, uri
    else:
        assert remap.new_uri == expected, uri


def test_sightings_and_session_progress(result: Result, name: str) -> None:
    """R3, R8: each 301 and each 183 is counted once, however often and by however many loggers it stands there."""
    expected = EXPECTED[name]
    if "sightings" in expected:
        assert result.summary.sightings == expected["sightings"]
    if "session_progress" in expected:
        assert result.summary.session_progress == expected["session_progress"]
    if "session_progress_at_least" in expected:
        assert result.summary.session_progress >= expected["session_progress_at_least"]


def test_remaps(result: Result, name: str) -> None:
    """Exactly the listed remaps, each with its target, calls, kind and flags; what is listed as refused makes none."""
    remaps = {(remap.kind, remap.old_key): remap for remap in result.remaps}
    assert len(remaps) == len(result.remaps)
    for expected in expected_remaps(name):
        old = key(expected["old"])
        kind = expected["kind"]
        named = ("user" if kind.startswith(("held", "none")) else kind, old)
        if kind == "none" or (kind == "held or none" and named not in remaps):
            assert named not in remaps
            assert result.refused[old] == expected.get("calls", 1), old
            continue
        assert named in remaps, f"not learnt: {named}; 'redirectd explain tests/corpus/{name}' says why"
        remap = remaps.pop(named)
        if kind.startswith("held"):
            assert NEED_FORCE.keys() & remap.flags.keys(), old
            continue
        agree(old, expected["new"], remap)
        assert remap.methods == (expected["method"],), old
        assert remap.calls == expected["calls"], old
        assert remap_json(remap, READ_AT)["flags"] == sorted(expected["flags"]), old
    assert not remaps, "a remap that is not listed is a false one"


def test_replay_is_harmless(result: Result, name: str) -> None:
    """R8: reading the file once more counts nothing and changes no remap."""
    again = result.read(name)
    assert (again.sightings, again.remaps_new, again.remaps_updated) == (0, 0, 0)
    with result.database.read() as connection:
        assert [with_holds(remap, POLICY) for remap in find(connection, RemapFilter())] == result.remaps


def test_what_has_run_out_is_not_approved(result: Result, name: str) -> None:
    """R18: a remap whose time has run out stays pending and expiring, and an approval of it is refused (exit 3)."""
    later = datetime(2026, 12, 24, tzinfo=UTC)
    expiring = [remap for remap in result.remaps if "expiring" in remap.flags]
    assert len(expiring) == sum("expiring" in one.get("flags", ()) for one in expected_remaps(name))
    for remap in expiring:
        decision = Decision(actor="test", at=later, reason="sure", force=True)
        with result.database.begin() as connection, pytest.raises(RefusedError, match="R18") as refused:
            decide.approve(connection, remap.id, decision, POLICY)
        assert refused.value.exit_code == 3


def test_a_log_that_is_not_enough_says_so(result: Result, name: str) -> None:
    """Logs without whole answers make nothing, and the hints name the setting that would show more."""
    if EXPECTED[name].get("remaps") or EXPECTED[name].get("session_progress"):
        assert result.summary.sightings > 0
        return
    assert result.remaps == []
    log = (CORPUS / name).read_bytes()
    told = {hint.name for hint in hints.hints(hints.count(log))}
    assert b"301" not in log or told & {"asterisk-forwarding", "asterisk-fatal-register", "operator-text"}
