"""ingest, explain, pending, list, show and lookup: the contract's JSON and nothing else on standard output."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from redirectd.cli.options import dialect_names
from redirectd.dialects.registry import ALL, choices
from tests.cli.conftest import Cli

INGEST_KEYS = {"bytes", "sightings", "remaps_new", "remaps_updated", "session_progress", "unpaired", "refused"} | {
    "unparsed",
    "seconds",
}
REMAP_KEYS = {"id", "state", "kind", "old_uri", "new_uri", "contacts", "flags", "calls", "peers", "methods"} | {
    "first_seen",
    "last_seen",
    "replaces",
    "note",
}


@pytest.mark.parametrize("name", ["asterisk/ast22-pjsip.full.log", "kamailio/xlog-syslog.log"])
def test_ingest_counts_as_expected(cli: Cli, name: str) -> None:
    """What ingest counts is what the answering side's own record says (R3, R8)."""
    expected = json.loads((cli.corpus / "expected.json").read_text())
    wanted = expected[name]
    found = cli.ingest(name).json
    assert found.keys() >= INGEST_KEYS
    assert found["sightings"] == wanted["sightings"]
    assert found["session_progress"] == wanted["session_progress"]
    assert found["bytes"] == (cli.corpus / name).stat().st_size


def test_ingest_twice_counts_once(cli: Cli) -> None:
    """R8: reading the same log again finds nothing new."""
    first = cli.ingest("asterisk/ast22-pjsip.full.log").json
    second = cli.ingest("asterisk/ast22-pjsip.full.log").json
    assert first["sightings"] > 0
    assert (second["sightings"], second["remaps_new"]) == (0, 0)


def test_ingest_gz_and_several_files(cli: Cli) -> None:
    """A gzipped log reads as the plain one does, and several files give their sum and each one's part."""
    name = "asterisk/ast22-pjsip.full.log"
    packed = cli.folder / "full.log.gz"
    packed.write_bytes(gzip.compress((cli.corpus / name).read_bytes()))
    other = cli.corpus / "kamailio/snippet-all-cases.log"
    found = cli("ingest", "--session-progress", "count", "--json", packed, other).json
    assert [part["file"] for part in found["files"]] == [str(packed), str(other)]
    assert found["sightings"] == sum(part["sightings"] for part in found["files"])


def test_session_progress_goes_to_standard_error(cli: Cli) -> None:
    """R3: each 183 is one record at level info on standard error; standard output stays one JSON document."""
    name = "asterisk/ast22-pjsip.full.log"
    command = [sys.executable, "-m", "redirectd", "--config", str(cli.config), "ingest", "--json", "-"]
    with (cli.corpus / name).open("rb") as log:
        done = subprocess.run(command, stdin=log, capture_output=True, text=True, check=True)
    records = [json.loads(line) for line in done.stderr.splitlines()]
    assert len(records) == json.loads(done.stdout)["session_progress"] > 0
    assert {(record["event"], record["level"]) for record in records} == {("session_progress", "info")}
    assert records[0].keys() >= {"request_uri", "call_id", "peer", "sdp", "media", "reliable"}


def test_help_lists_every_dialect(cli: Cli) -> None:
    """`--help` names the formats that the registry has, and the families and wrappings of them that can be named."""
    names = dialect_names()
    assert names == list(choices())
    assert {"auto", *(one.name for one in ALL)} <= set(names)
    shown = "".join(cli("ingest", "--help").out.split())  # without the breaks, which can come at a hyphen
    assert f"Oneof:{','.join(names)}.".replace(" ", "") in shown


@pytest.mark.parametrize("dialect", ["auto", "pcap"])
def test_capture_is_called_what_it_is(cli: Cli, dialect: str) -> None:
    """A pcap file reads the same with its name given as without, under that name and with the file's own size."""
    path = cli.corpus / "captures/tcp.pcap"
    told = cli("explain", "--json", "--dialect", dialect, path).json
    assert told["dialects"] == ["pcap"]
    assert told["bytes"] == path.stat().st_size
    assert {answer["dialect"] for answer in told["answers"]} == {"pcap"}
    assert told["summary"]["sightings"] == 3
    assert cli("ingest", "--json", "--dialect", dialect, path).json["bytes"] == path.stat().st_size


def test_dialect_that_does_not_fit_a_file(cli: Cli) -> None:
    """A log read as a capture is refused, not empty."""
    cli("explain", "--dialect", "pcap", cli.corpus / "asterisk/ast22-pjsip.full.log", code=2)


@pytest.mark.parametrize("command", ["ingest", "explain"])
@pytest.mark.parametrize("kind", ["FIFO", "device", "directory", "lz4"])
def test_what_cannot_be_read_is_an_error(cli: Cli, tmp_path: Path, command: str, kind: str) -> None:
    """No FIFO is waited for, and nothing that can't be read is '0 301s': exit code 1 and what to do."""
    path = {"device": Path("/dev/zero"), "directory": tmp_path}.get(kind, tmp_path / "log")
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "lz4":
        path.write_bytes(b"\x04\x22\x4d\x18\x64\x40\xa7")
    result = cli(command, path, code=1)
    assert kind in result.err
    assert "what to do" in result.err


def test_unknown_dialect(cli: Cli) -> None:
    """A dialect that there is none of is wrong usage, with the names there are."""
    result = cli("ingest", "--dialect", "opensips", cli.corpus / "asterisk/ast22-pjsip.full.log", code=2)
    assert "asterisk-pjsip" in result.err


def test_pending_json(filled: Cli) -> None:
    """`pending --json` has the contract's keys, flag names, whole URIs and times in UTC."""
    remaps = filled("pending", "--json").json["remaps"]
    assert len(remaps) > 10
    assert all(remap.keys() >= REMAP_KEYS for remap in remaps)
    assert {remap["state"] for remap in remaps} == {"pending"}
    moved = next(remap for remap in remaps if remap["old_uri"] == "sip:alice@127.0.31.1:6003")
    assert moved["new_uri"] == "sip:newuser@127.0.30.2:5060"
    assert (moved["calls"], moved["flags"], moved["kind"]) == (3, [], "user")
    assert moved["peers"] == ["udp:127.0.31.1:6003"]
    assert moved["first_seen"].endswith("Z")
    several = next(remap for remap in remaps if remap["old_uri"] == "sip:alice@127.0.31.1:6004")
    assert (several["new_uri"], several["flags"]) == (None, ["ambiguous"])
    assert several["contacts"] == ["sip:new-high@127.0.30.2", "sip:new-mid@127.0.30.2", "sip:new-low@127.0.30.2"]


def test_filters(filled: Cli) -> None:
    """Filters by kind, peer, flag, domain and page restrict both pending and list."""

    def count(*args: str) -> int:
        return len(filled("pending", "--json", *args).json["remaps"])

    everything = count()
    assert count("--kind", "gateway") == 1
    assert count("--flag", "ambiguous") + count("--flag", "none") < everything
    assert count("--peer", "127.0.31.1:6003") == 1
    assert count("--domain", "gw03.carrier.test") == 1
    assert count("--older-than", "10000d") == 0
    assert count("--limit", "3") == 3
    assert count("--after", "3") == everything - 3
    filled("pending", "--older-than", "soon", code=2)


def test_table_without_terminal_is_plain(filled: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where standard output is not a terminal there is no escape sequence, and no URI is cut or wrapped."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    out = filled("pending").out
    assert "\x1b" not in out
    line = next(line for line in out.splitlines() if "sip:alice@127.0.31.1:6003" in line)
    assert "sip:newuser@127.0.30.2:5060" in line


def test_empty_list_says_what_to_do(cli: Cli) -> None:
    """Nothing pending is not an error: the JSON is an empty list, and the text says what to do."""
    assert cli("pending", "--json").json == {"remaps": []}
    result = cli("pending")
    assert result.out == ""
    assert "redirectd ingest" in result.err


def test_show(filled: Cli) -> None:
    """`show` gives one remap with its log lines; by URI it gives all remaps of that URI."""
    one = filled("show", "1", "--json").json
    assert one["evidence"][0]["text"].startswith("SIP/2.0 301")
    assert filled("show", one["old_uri"], "--json").json["remaps"][0]["id"] == 1
    assert "SIP/2.0 301" in filled("show", "1").out
    filled("show", "9999", code=2)
    filled("show", "sip:nobody@example.com", code=2)


def test_hostile_text_is_printed_harmlessly(filled: Cli) -> None:
    """A Contact full of control characters is shown escaped, in tables, in show and in JSON."""
    for args in (("pending",), ("list", "--json"), *(("show", str(number)) for number in range(1, 29))):
        out = filled(*args).out
        assert all(char.isprintable() or char == "\n" for char in out)


def test_explain_says_why_not(cli: Cli) -> None:
    """`explain` names dialect and rule of each answer and touches no database."""
    found = cli("explain", "--json", cli.corpus / "asterisk/ast22-pjsip.full.log").json["answers"]
    kinds = [answer["read_as"] for answer in found]
    assert (kinds.count("user remap"), kinds.count("gateway remap"), kinds.count("session progress")) == (6, 1, 6)
    refused = [answer for answer in found if answer["read_as"] == "refused"]
    assert {answer["rule"] for answer in refused} == {"R13"}
    assert not (cli.folder / "redirectd.db").exists()
    assert "why not" in cli("explain", cli.corpus / "asterisk/ast22-pjsip.full.log").out


def test_explain_says_what_the_log_holds(cli: Cli, tmp_path: Path) -> None:
    """R1: answers by dialect and code, so that nothing learnt has a true reason, and no advice that changes nothing."""
    log = cli.corpus / "asterisk/ast22-pjsip.full.log"
    held = cli("explain", "--json", log).json["messages"]["asterisk-pjsip"]
    assert held["received"] == {"100": 6, "180": 6, "183": 6, "200": 18, "301": 10, "302": 3, "486": 3}
    assert "10 x 301, 3 x 302 (for one call)" in " ".join(cli("explain", log).out.split())
    only_302 = tmp_path / "full"
    only_302.write_bytes(re.sub(rb"SIP/2\.0 (301|183) ", b"SIP/2.0 302 ", log.read_bytes()))
    out = cli("explain", only_302).out
    assert "nothing to learn: the log holds whole SIP messages, and no 301 is among the answers (R1)" in out
    assert "snippet" not in out
    assert "what to do" not in out


@pytest.mark.parametrize(("only", "read_as"), [("301", None), ("refused", "refused"), ("unreadable", "unreadable")])
def test_explain_shows_only_what_is_asked_for(cli: Cli, only: str, read_as: str | None) -> None:
    """`--only` leaves out the other places and no count; where nothing is left it says so."""
    log = cli.corpus / "kamailio/snippet-all-cases.log"
    whole, part = (cli("explain", "--json", *args, log).json for args in ((), ("--only", only)))
    assert part["summary"] == whole["summary"]
    assert part["answers"]
    assert all(read_as is None or answer["read_as"] == read_as for answer in part["answers"])
    assert {answer["status"] for answer in part["answers"]} == {301}
    empty = cli("explain", "--only", "unreadable", cli.corpus / "asterisk/ast22-pjsip.full.log").out
    assert "no answer passes --only" in empty


def test_explain_shows_the_flags_that_list_shows(cli: Cli) -> None:
    """R26, R27: `untrusted` and `suspicious` follow from the policy, and explain shows them as `list` does."""
    cli.config.write_text(cli.config.read_text().partition("[policy]")[0])
    log = cli.corpus / "asterisk/ast22-pjsip.full.log"
    answers = cli("explain", "--json", log).json["answers"]
    users = [one for one in answers if one["read_as"] == "user remap"]
    told = {(one["old_uri"], flag) for one in users for flag in one["flags"]}
    cli("ingest", "--session-progress", "count", "--json", log)
    remaps = cli("list", "--kind", "user", "--json").json["remaps"]
    listed = {(one["old_uri"], flag) for one in remaps for flag in one["flags"]}
    assert told == listed
    assert {flag for _, flag in told} >= {"untrusted", "suspicious"}
    assert "held      untrusted: seen only from" in cli("explain", log).out


def test_explain_links_each_rule(cli: Cli) -> None:
    """Each rule's number leads to its heading on the page of the rules."""
    found = cli("explain", "--json", cli.corpus / "asterisk/ast22-pjsip.full.log").json["answers"]
    assert {answer["rule"]: answer["rule_link"] for answer in found}["R13"] == "docs/rules.md#r13"
    out = cli("explain", cli.corpus / "asterisk/ast22-pjsip.full.log").out
    assert out.rstrip().endswith("rules: docs/rules.md#r1, docs/rules.md#r3, docs/rules.md#r8, docs/rules.md#r13")


def test_lookup(filled: Cli) -> None:
    """`lookup --json` gives uri, result and hops; result is null where nothing applies."""
    filled("approve", "1")
    found = filled("lookup", "--json", "sip:alice@127.0.31.1:6003").json
    assert found["result"] == "sip:newuser@127.0.30.2:5060"
    assert [hop.keys() >= {"id", "old_uri", "new_uri", "state"} for hop in found["hops"]] == [True]
    assert filled("lookup", "--json", "nobody@127.0.31.1").json["result"] is None
    filled("lookup", "not a uri", code=2)
