"""What an entry moves besides its remap's URI: said where it is decided, and asked of `lookup` (R41)."""

from __future__ import annotations

from pathlib import Path

import pytest

from redirectd.cli.checks.as_user import Level
from redirectd.cli.checks.serving_check import check_configuration, check_width
from redirectd.plan.target import TargetOptions
from redirectd.plan.target_spec import TargetSpec
from redirectd.sip.uri import SipUri, parse_uri
from redirectd.targets.asterisk_pjsip_aor import AsteriskPjsipAor
from redirectd.targets.target_kinds import build, kinds, width_of
from tests.cli.conftest import Cli

ALICE = "sip:alice@127.0.31.1:6003"
HTABLE = '[[target]]\nname = "users"\nkind = "kamailio-htable"\npath = "table"\n'
DIALPLAN = '[[target]]\nname = "trunk"\nkind = "asterisk-dialplan"\npath = "ext.conf"\n'
MOVED = "calls to alice at any other host, port and transport"


def _filled(cli: Cli, *targets: str) -> Cli:
    cli.configure("\n".join(targets))
    rows = (
        f"{ALICE},sip:new@192.0.2.9\nsip:+4930123456@192.0.2.1,sip:n@192.0.2.9\n"
        "sip:+49-30-123456@192.0.2.2,sip:m@192.0.2.9\nsip:bob@192.0.2.1,sip:n@192.0.2.9\n"
    )
    (cli.folder / "moves.csv").write_text(f"old_uri,new_uri\n{rows}")
    cli("import", cli.folder / "moves.csv")
    return cli


def test_r41_a_decision_names_what_else_is_moved(cli: Cli) -> None:
    """R41: approve and plan say what an entry moves besides the old URI, where a target matches on less."""
    _filled(cli, HTABLE, f'{DIALPLAN}width = "user"\n')
    shown = cli("approve", "1", "--force", "--reason", "a test").out
    assert f"trunk: the entry of remap 1 also moves {MOVED}" in shown
    assert "users: the entry" not in shown
    told = cli("approve", "4", "--force", "--reason", "a test", "--json").json["also_moves"]
    assert [(one["target"], one["id"]) for one in told] == [("trunk", 4)]
    users, trunk = cli("plan", "--json").json["targets"]
    assert (users["width"], users["also_moves"]) == (None, [])
    assert (trunk["width"], [one["id"] for one in trunk["also_moves"]]) == ("user", [1, 4])
    assert f"trunk: the entry of remap 1 also moves {MOVED}" in cli("plan").err


def test_r41_without_a_width_a_target_takes_nothing_new(cli: Cli) -> None:
    """R41: the plan refuses what is new by name and says which line allows it."""
    _filled(cli, DIALPLAN)
    cli("approve", "1", "--force", "--reason", "a test")
    [target] = cli("plan", "--json").json["targets"]
    assert (target["create"], [one["id"] for one in target["refused"]]) == (0, [1])
    assert 'add width = "user"' in target["refused"][0]["reason"]


@pytest.mark.parametrize("kind", [kind for kind in kinds() if width_of(kind)])
def test_r41_check_names_the_width_to_add(kind: str) -> None:
    """R41: each kind that needs a width has its line named where it is missing, and nothing where it is there."""
    extra: dict[str, object] = {"base": "b", "entry": "(?P<old>.*) (?P<new>.*)"} if kind == "template" else {}
    extra |= {"base": "b"} if kind == "asterisk-pjsip-aor" else {}
    for width, levels in (({}, [Level.WARNING]), ({"width": width_of(kind)}, [])):
        spec = TargetSpec("t", "/x", build(kind, TargetOptions("t", extra=extra | width)))
        assert [finding.level for finding in check_width(spec)] == levels


def test_r41_lookup_answers_as_each_server_would(cli: Cli) -> None:
    """R41: the target that matches on whole URIs moves the approved one alone; the one by user moves the user."""
    _filled(cli, HTABLE, f'{DIALPLAN}width = "user"\n')
    cli("approve", "1", "--force", "--reason", "a test")
    others = [
        "sip:alice@127.0.31.1",
        "sip:alice@127.0.31.1:5080",
        f"{ALICE};transport=tls",
        "sips:alice@127.0.31.1:6003",
    ]
    answers = cli("lookup", ALICE, *others, "sip:alice@127.0.31.1:06003", "--json").json["lookups"]
    results = [[one["result"] for one in answer["targets"]] for answer in answers]
    new = "sip:new@192.0.2.9"
    assert results == [[new, new], [None, new], [None, new], [None, new], [None, None], [None, new]]
    assert answers[0]["targets"][0] == {"name": "users", "width": None, "result": new, "id": 1, "why": None}
    assert answers[5]["targets"][0]["why"] == "a known miss: a port with a leading zero"
    assert "users: not moved" in cli("lookup", "sip:alice@127.0.31.1").out


def test_lookup_takes_numbers_and_bare_users(cli: Cli) -> None:
    """A number, with or without separators, and a user stand for the old URIs of all its remaps."""
    _filled(cli, HTABLE)
    assert [one["uri"] for one in cli("lookup", "alice", "--json").json["lookups"]] == [ALICE]
    numbers = ["sip:+4930123456@192.0.2.1", "sip:+49-30-123456@192.0.2.2"]
    for number in ("+4930123456", "+49-30-123456"):
        assert [one["uri"] for one in cli("lookup", number, "--json").json["lookups"]] == numbers
    assert cli("lookup", "1", "--json").json["uri"] == ALICE
    cli("lookup", "4930999", code=2)


@pytest.mark.parametrize(
    ("kind", "name", "line"),
    [
        ("kamailio-htable", "kamailio.cfg", '  $var(key) = $rU + "@" + $(rd{s.tolower});'),
        ("kamailio-dialplan", "kamailio.cfg", '$var(key) = "sip:" + $rU + "@" + $(rd{s.tolower});'),
        ("kamailio-alias_db", "kamailio.cfg", 'if (alias_db_lookup("redirectd_aliases")) { $du = $null; }'),
        (
            "asterisk-dialplan",
            "extensions.conf",
            " same => n,Gosub(x,s,1(${FILTER(+0-9A-Za-z.~_*-,${EXTEN})}))",
        ),
        (
            "asterisk-astdb",
            "extensions.conf",
            " same => n,Set(x=${FILTER(-+0-9A-Za-z.~_*#,${REDIRECTD_USER})})",
        ),
    ],
)
def test_r41_old_lines_are_found_in_the_configuration(kind: str, name: str, line: str, tmp_path: Path) -> None:
    """R41: a lookup of an earlier version is named with its file and line; this version's is not."""
    width = {"width": width_of(kind)} if width_of(kind) else {}
    target = build(kind, TargetOptions("t", extra=width))
    spec = TargetSpec("t", "/x", target)
    (tmp_path / name).write_text(f"# mine\n{line}\n")
    [finding] = check_configuration(spec, [str(tmp_path)])
    assert (finding.level, "line 2" in finding.where) == (Level.WARNING, True)
    assert "redirectd snippet" in finding.what_to_do
    lines = target.lines()  # type: ignore[attr-defined] # all of these are looked up
    (tmp_path / name).write_text(f"{lines.call}\n{lines.beside}")
    assert list(check_configuration(spec, [str(tmp_path)])) == []


def test_a_moved_gateway_names_the_line_that_knows_its_calls() -> None:
    """An AOR's move says which `identify` line still names the old address, as calls from the new one are strangers."""
    target = AsteriskPjsipAor()
    old = parse_uri("sip:192.0.2.1:5060")
    assert isinstance(old, SipUri)
    assert "where an identify section says match = 192.0.2.1, add the new address" in target.also_moves(old)
