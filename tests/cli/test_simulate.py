"""`redirectd simulate`: text, JSON, coverage, what review shows of it, and that it changes no state."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import TARGET, Cli
from tests.cli.reviewing import reviewing
from tests.collect.wrapping import WRITERS as WRAPPINGS

LOG = "asterisk/ast22-pjsip.full.log"
MOVED = "sip:alice@127.0.31.1:6003"


@pytest.fixture
def known(cli: Cli) -> Cli:
    """A database that has read the log."""
    cli.configure(TARGET)
    cli.ingest(LOG)
    return cli


def test_the_plan_moves_what_is_approved(known: Cli) -> None:
    """Only approved remaps count; with --pending, those that wait count too, and no state changes by it."""
    states = known("list", "--json").json
    nothing = known("simulate", "--json", known.corpus / LOG).json
    assert (nothing["moved"], nothing["moves"], nothing["coverage"]["requests"]) == (0, [], 25)
    found = known("simulate", "--pending", "--json", known.corpus / LOG).json
    assert (found["moved"], found["redirects_saved"], found["answered_at_old_place"]) == (3, 3, 0)
    [move] = found["moves"]
    assert (move["target"], move["uri"], move["answers"]) == ("users", MOVED, {"301": 3})
    assert known("list", "--json").json == states
    known("approve", str(move["id"]), "--reason", "seen")
    assert known("simulate", "--json", known.corpus / LOG).json["moved"] == 3
    assert known("simulate", "--installed", "--json", known.corpus / LOG).json["moved"] == 0


@pytest.mark.parametrize("name", ["docker json-file", "docker compose logs", "journal"])
def test_a_wrapped_log_is_replayed_as_the_console_in_it(known: Cli, tmp_path: Path, name: str) -> None:
    """The requests in a container's or the journal's log are those of the same log without the wrapping."""
    log = tmp_path / "wrapped"
    log.write_bytes(b"".join(WRAPPINGS[name]((known.corpus / LOG).read_bytes(), "stdout")))
    found = known("simulate", "--pending", "--json", log).json
    assert (found["coverage"]["requests"], found["moved"], found["redirects_saved"]) == (25, 3, 3)


def test_a_move_that_was_answered_at_its_old_place_is_marked(known: Cli, tmp_path: Path) -> None:
    """A 200 where a moved request went is the sign of a wrong move, in text, in JSON and in review."""
    log = tmp_path / "full"
    old = b"SIP/2.0 301 Moved Permanently"
    log.write_bytes((known.corpus / LOG).read_bytes().replace(old, b"SIP/2.0 200 OK".ljust(len(old))))
    found = known("simulate", "--pending", "--json", log).json
    assert (found["redirects_saved"], found["answered_at_old_place"]) == (0, 3)
    out = known("simulate", "--pending", log).out
    assert "3  of them were answered with success at the old place" in out
    assert "3 requests: 3 x 200  ANSWERED AT THE OLD PLACE" in out
    with reviewing(known, "--kind", "user") as terminal:
        screen = " ".join(terminal.screen.split())
        assert "3 of them answered with success at the old place" in screen
        terminal.press("q")


WIDE = """
[[target]]
name = "dialplan"
kind = "asterisk-dialplan"
path = "extensions_redirectd.conf"
width = "user"
reload = "none"
"""


def test_a_target_is_asked_as_its_server_looks_up(known: Cli) -> None:
    """R41: where a server knows a number alone, the calls to it elsewhere that were answered are shown."""
    known.configure(TARGET + WIDE)
    found = known("simulate", "--pending", "--json", known.corpus / LOG).json
    exact = [move for move in found["moves"] if move["target"] == "users"]
    wide = [move for move in found["moves"] if move["target"] == "dialplan"]
    assert [move["uri"] for move in exact] == [MOVED]
    assert {move["uri"] for move in wide if move["answered_at_old_place"]} >= {"sip:alice@127.0.31.1:6001"}
    assert found["answered_at_old_place"] == sum(move["answered_at_old_place"] for move in wide) > 0


def test_what_is_installed_and_would_go_is_named(known: Cli) -> None:
    """A revoked remap is still installed: the plan no longer moves its requests."""
    number = known("list", "--json", "--domain", "127.0.31.1").json["remaps"][0]["id"]
    known("approve", str(number), "--reason", "seen")
    known("apply")
    assert known("simulate", "--installed", "--json", known.corpus / LOG).json["moved"] == 3
    known("revoke", str(number), "--reason", "wrong")
    found = known("simulate", "--json", known.corpus / LOG).json
    assert (found["moved"], found["no_longer_moved"]) == (0, 3)
    assert found["moves"][0]["now"]["id"] == number
    assert "no longer moved" in known("simulate", known.corpus / LOG).out


@pytest.mark.parametrize(
    ("name", "options", "note"),
    [
        ("kamailio/snippet-all-cases.log", (), "no requests in this log: it has one-line records"),
        ("asterisk/ast16-messages-only.log", (), "no requests in this log"),
        (LOG, ("--last", "1m"), "no requests in the time that --last names"),
    ],
)
def test_it_says_what_the_log_does_not_cover(known: Cli, name: str, options: tuple[str, ...], note: str) -> None:
    """Nothing moved has a reason where nothing could be seen."""
    found = known("simulate", *options, "--json", known.corpus / name).json
    assert found["coverage"]["requests"] == 0
    assert found["coverage"]["note"].startswith(note)
    assert f"coverage: {note}" in known("simulate", *options, known.corpus / name).out


def test_received_requests_stand_in_where_nothing_else_is_logged(known: Cli, tmp_path: Path) -> None:
    """A log of received requests alone is used, and the coverage says so."""
    log = tmp_path / "received"
    log.write_bytes((known.corpus / LOG).read_bytes().replace(b"Transmitting SIP request", b"Received SIP request"))
    found = known("simulate", "--pending", "--json", log).json
    assert found["moved"] > 0
    assert "received ones are taken for them" in found["coverage"]["note"]


def test_wrong_usage(known: Cli) -> None:
    """A duration that is none, and options that contradict each other, are errors that say what to do."""
    assert "1d, 12h or 90m" in known("simulate", "--last", "soon", known.corpus / LOG, code=2).err
    assert "give one of them" in known("simulate", "--installed", "--pending", known.corpus / LOG, code=2).err
    known("simulate", "missing.log", code=1)
