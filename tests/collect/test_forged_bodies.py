"""Real logs of Asterisk 16.28 and Kamailio 5.6.3: bodies of answers carry whole forged records of every log format.

Each log of Asterisk holds the same calls, by chan_pjsip over UDP, TCP, TLS and IPv6, and by chan_sip. The bodies hold
forged requests and 301s as each dialect writes them, some for transactions of their own, some for the real one; some
are longer than Asterisk's log buffer, which then cuts the entry within the forged text. `sent.json` is what the
answering side sent, by its own account. Kamailio's log is one of `$mb` dumps through an rsyslog that leaves control
characters as they are and cuts at 8 kB.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path

import pytest

from redirectd.collect.batch import Batch
from redirectd.collect.log_reader import LogReader
from redirectd.collect.policy import Policy
from redirectd.collect.reading import Reading
from redirectd.collect.verdict import Learnt
from redirectd.dialects import registry
from redirectd.sip.compare import route_key
from redirectd.sip.uri import SipUri, parse_uri
from redirectd.sources.file import open_log

FOLDER = Path(__file__).parent / "forged"
SENT = json.loads((FOLDER / "sent.json").read_text())
POLICY = Policy(trusted_peers=(ip_network("127.0.0.0/8"), ip_network("::1/128")))
READ_AT = datetime(2026, 11, 23, tzinfo=UTC)


def key(uri: str) -> str:
    parsed = parse_uri(uri)
    assert isinstance(parsed, SipUri)
    return str(route_key(parsed))


LOGS = sorted((writer, name) for writer, sent in SENT.items() for name in sent["files"])


@pytest.fixture(scope="module", params=LOGS, ids=lambda log: log[1])
def found(request: pytest.FixtureRequest) -> tuple[str, str, Batch]:
    writer, name = request.param
    with open_log(FOLDER / name) as log:
        dialects = registry.detect(log.read(log.start, 1 << 20))
        reader = LogReader(log, Reading("test", dialects, UTC, POLICY), clock=lambda: READ_AT)
        batch = Batch("test")
        while reader.read(batch, final=True):
            pass
    return writer, name, batch


def test_each_answer_counts_once_and_no_forged_one_is_believed(found: tuple[str, str, Batch]) -> None:
    """R3, R8, R40: what was sent counts, each once; what is only in a body is nothing, or held as unproven."""
    writer, name, batch = found
    doubtful = [one for one in batch.verdicts.values() if not one.answer.authenticity.is_authentic]
    surplus = len(batch.verdicts) - SENT[writer]["files"][name]
    assert 0 <= surplus <= len(doubtful)
    assert len(batch.progress) == SENT[writer]["session_progress"]
    assert not batch.quarantined


def test_old_and_new_are_those_that_were_sent(found: tuple[str, str, Batch]) -> None:
    """R5, R6, R14: each move is that of the request that was answered, with the Contact that the answer had.

    R40: only what begins within another entry's doubtful length can be anything else, and is in doubt.
    """
    writer, _, batch = found
    learnt = [one for one in batch.verdicts.values() if isinstance(one, Learnt)]
    moves = {tuple(asked.split()): new for asked, new in SENT[writer]["moves"].items() if new is not None}
    sent = {f"{method} {key(uri)}": "choose" if new == "choose" else key(new) for (method, uri), new in moves.items()}
    sure = [one for one in learnt if one.answer.authenticity.is_authentic]
    assert _of_users(sure).items() <= sent.items()
    assert {name for name in sent if not name.startswith(_PLACES)} <= _of_users(learnt).keys()
    assert len(sure) > 0.75 * len(sent)


_PLACES = ("OPTIONS", "REGISTER")


def _of_users(learnt: list[Learnt]) -> dict[str, str]:
    """Old and new, without those of OPTIONS and REGISTER, where the place alone moves."""
    return {
        f"{one.answer.method} {one.old_key}": "choose" if "ambiguous" in one.flags else one.candidates[0].key
        for one in learnt
        if not one.answer.method.startswith(_PLACES)
    }
