"""The plan as a whole: deterministic, told by its checksum, and careful with what a person wrote."""

from __future__ import annotations

import json
import random

import pytest

from redirectd.errors import InstallError, RefusedError
from redirectd.plan.effective_table import effective
from redirectd.plan.limits import Limits
from redirectd.plan.planning import Plan, digest, make_plan, plan_contents
from redirectd.plan.report import to_json, to_markdown
from redirectd.plan.route import Approved
from redirectd.plan.target_spec import Installed, TargetSpec
from redirectd.targets.asterisk_astdb import AsteriskAstdb
from redirectd.targets.asterisk_dialplan import AsteriskDialplan
from redirectd.targets.kamailio_htable import KamailioHtable
from tests.plan.make import LineTarget, remap

_SPEC = TargetSpec("users", "/etc/users.list", LineTarget(), base="/etc/users.base")
_MOVES = [remap(1, "a", "b"), remap(2, "c", "d"), remap(3, "e", "sip:f@lab.test;lr")]


def _plan(moves: list[Approved], there: Installed | None = None) -> Plan:
    return make_plan(effective(moves), [_SPEC], {} if there is None else {"users": there}, Limits())


def test_plan_counts_and_names_what_it_can_not_carry() -> None:
    """Creates are counted, and a route that the target refuses is given with its id and reason."""
    target = _plan(_MOVES).targets[0]
    assert (target.changes.create, target.changes.unchanged) == (("sip:a@lab.test", "sip:c@lab.test"), 0)
    assert [(each.id, each.reason) for each in target.refused] == [(3, "has parameters")]
    assert target.changed


def test_plan_is_the_same_for_any_order_of_remaps() -> None:
    """Bytes and checksum don't depend on the order in which remaps come."""
    shuffled = _MOVES[:]
    random.Random(7).shuffle(shuffled)
    first, second = _plan(_MOVES), _plan(shuffled)
    assert first.targets[0].rendered.content == second.targets[0].rendered.content
    assert first.checksum == second.checksum


@pytest.mark.parametrize(
    "other",
    [
        _plan(_MOVES[:1]),
        _plan(_MOVES, Installed(content=b"")),
        _plan(_MOVES, Installed(base=b"sip:z@lab.test sip:y@lab.test\n")),
        make_plan(effective(_MOVES), [TargetSpec("users", "/etc/other", LineTarget())], {}, Limits()),
    ],
    ids=["wanted", "installed", "base", "path"],
)
def test_checksum_tells_every_difference(other: Plan) -> None:
    """Another approval, another file in place, another base or path: another checksum."""
    assert other.checksum != _plan(_MOVES).checksum


def test_plan_json_has_the_keys_of_the_contract() -> None:
    """plan --json: checksum, targets, conflicts, cycles, limit, and by target the counts, diff and refusals."""
    document = json.loads(json.dumps(to_json(_plan([*_MOVES, remap(4, "x", "y"), remap(5, "y", "x")]))))
    assert {"checksum", "targets", "conflicts", "cycles", "limit"} <= document.keys()
    target = document["targets"][0]
    assert (target["name"], target["kind"], target["path"]) == ("users", "lines", "/etc/users.list")
    assert (target["create"], target["update"], target["delete"], target["unchanged"]) == (3, 0, 0, 0)
    assert target["refused"] == [{"id": 3, "reason": "has parameters"}]
    assert "+sip:a@lab.test sip:b@lab.test" in target["diff"].splitlines()
    assert document["cycles"] == [[4, 5]]
    assert document["limit"] is None


def test_plan_json_shows_a_limit() -> None:
    """Past a limit the document says which, with the numbers."""
    installed = b"".join(b"sip:u%d@lab.test sip:v@lab.test\n" % number for number in range(10))
    plan = _plan([], Installed(content=installed, last_sha256=digest(installed)))
    limit = to_json(plan)["limit"]
    assert isinstance(limit, dict)
    assert limit["breaches"][0] | {"rule": ""} == {
        "target": "users",
        "change": "empty",
        "count": 10,
        "installed": 10,
        "allowed": 0,
        "rule": "",
    }


def test_markdown_can_not_be_broken_out_of() -> None:
    """A base line full of backquotes ends neither its code fence nor the table."""
    plan = _plan(_MOVES, Installed(base=b"sip:``````@x | y\n"))
    text = to_markdown(plan)
    assert text.count("```````diff") == 1
    assert text.rstrip().endswith("\n```````")
    assert plan.checksum in text


def test_file_changed_by_hand_is_refused_and_shown() -> None:
    """A file that isn't what was installed last is refused, its edit is in the diff, and --force goes on."""
    there = Installed(content=b"sip:mine@lab.test sip:kept@lab.test\n", last_sha256=digest(b"something else"))
    plan = _plan(_MOVES, there)
    assert "-sip:mine@lab.test sip:kept@lab.test" in plan.targets[0].diff.splitlines()
    with pytest.raises(RefusedError, match="changed by hand") as caught:
        plan.raise_if_hand_edited(force=False, way_past=plan.way_past)
    assert f"redirectd apply --plan {plan.checksum} --force" in caught.value.what_to_do
    plan.raise_if_hand_edited(force=True, way_past="")


def test_hand_edit_that_no_parser_reads_is_refused_too() -> None:
    """Garbage in the file's place isn't overwritten silently, and the parser's words are told."""
    plan = _plan(_MOVES, Installed(content=b"garbage\n", last_sha256=digest(b"x")))
    with pytest.raises(RefusedError, match="line 1: no space"):
        plan.raise_if_hand_edited(force=False, way_past="")


@pytest.mark.parametrize(
    "content",
    [b"", b" \n", b"# a comment\n", b"sip:z@lab.test sip:y@lab.test\n"],
    ids=["empty", "blank", "comment", "base"],
)
def test_first_install_takes_the_place_of_what_loses_nothing(content: bytes) -> None:
    """Before the first apply a file that is empty, has no entries, or is the base itself may be replaced."""
    base = b"sip:z@lab.test sip:y@lab.test\n"
    _plan(_MOVES, Installed(content=content, base=base)).raise_if_hand_edited(force=False, way_past="")


def test_first_install_does_not_overwrite_a_foreign_file() -> None:
    """Before the first apply a file with entries of its own is the operator's."""
    plan = _plan(_MOVES, Installed(content=b"sip:z@lab.test sip:y@lab.test\n"))
    with pytest.raises(RefusedError, match="before redirectd"):
        plan.raise_if_hand_edited(force=False, way_past="")


def test_unusable_base_file_is_named() -> None:
    """A base file that its target can't read is named with its path and line, and nothing is planned for it."""
    plan = _plan(_MOVES, Installed(base=b"garbage\n"))
    assert isinstance(plan.error, InstallError)
    assert (plan.error.where, "line 1: no space" in plan.error.why) == ("/etc/users.base", True)
    assert not plan.changed


def test_plan_of_old_contents_holds_no_limit() -> None:
    """Going back to an earlier generation is not a change that a limit holds."""
    installed = b"".join(b"sip:u%d@lab.test sip:v@lab.test\n" % number for number in range(100))
    there = {"users": Installed(content=installed, last_sha256=digest(installed))}
    plan = plan_contents([_SPEC], there, {"users": b"sip:a@lab.test sip:b@lab.test\n"})
    assert plan.limit.is_safe
    assert len(plan.targets[0].changes.delete) == 100


@pytest.mark.parametrize("make", [AsteriskDialplan, AsteriskAstdb, KamailioHtable])
def test_two_targets_of_one_server_do_not_fill_one_place(make: type[AsteriskDialplan]) -> None:
    """The second one is refused by the name of the first, and one of another server is not."""
    ways = ["asterisk -rx", "asterisk -rx", "asterisk -C /etc/other.conf -rx", "none"]
    specs = [TargetSpec(f"t{number}", f"/etc/{number}", make(), control=way) for number, way in enumerate(ways)]
    plan = make_plan(effective(_MOVES), specs, {}, Limits())
    assert [str(each.error or "") for each in plan.targets if "the target t0 writes" in str(each.error or "")] == [
        str(plan.targets[1].error)
    ]
    assert not plan.targets[1].changed
    assert all(each.error is None for each in plan.targets if each.name != "t1")
