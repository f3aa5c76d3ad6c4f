"""R31, R34, R35: the state machine of a remap, against a plain model and by its refusals."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from redirectd.errors import RedirectdError, RefusedError, UsageError
from redirectd.plan.effective_table import effective
from redirectd.review import decide
from redirectd.review.decision import Decision
from redirectd.store import audit
from redirectd.store.approved import approved
from redirectd.store.database import Database
from redirectd.store.remap import State
from redirectd.store.schema import metadata
from redirectd.store.schema import remap as table
from redirectd.store.states import TRANSITIONS, Transition, move_all
from tests.review.world import NOW, POLICY, World

COMMANDS = ("approve", "reject", "revoke", "reopen")
BY = Decision(actor="eva", at=NOW, reason="checked")


def _do(world: World, action: str, number: int) -> None:
    with world.database.begin() as connection:
        if action == "approve":
            decide.approve(connection, number, BY, POLICY)
        else:
            getattr(decide, action)(connection, number, BY)


def test_r34_a_cycle_is_refused_with_its_hops(world: World) -> None:
    """R34: the approval that would close A -> B -> C -> A is refused, names each hop and the way out."""
    ids = [world.told(f"sip:{old}@x.test", f"sip:{new}@x.test").id for old, new in (("a", "b"), ("b", "c"), ("c", "a"))]
    for number in ids[:2]:
        _do(world, "approve", number)
    with pytest.raises(RefusedError) as refused:
        _do(world, "approve", ids[2])
    assert refused.value.exit_code == 3
    for hop in ("sip:c@x.test -> sip:a@x.test", "sip:a@x.test -> sip:b@x.test", "sip:b@x.test -> sip:c@x.test"):
        assert hop in refused.value.why
    assert f"redirectd revoke {ids[0]}" in refused.value.what_to_do
    _do(world, "revoke", ids[0])
    _do(world, "approve", ids[2])


def test_r34_spellings_close_cycles_too(world: World) -> None:
    """R34: hops meet by route key, whatever their spelling."""
    first = world.told("sip:a@x.test", "sip:b@X.test;user=phone").id
    second = world.told("sip:%62@x.test", "sip:a@x.TEST.").id
    _do(world, "approve", first)
    with pytest.raises(RefusedError, match="cycle"):
        _do(world, "approve", second)


def test_r34_replacing_a_hop_opens_the_cycle(world: World) -> None:
    """R34, R30: an approval that replaces the hop of its own old URI does not count the one it replaces."""
    first = world.told("sip:a@x.test", "sip:b@x.test").id
    other = world.told("sip:a@x.test", "sip:c@x.test").id
    _do(world, "approve", first)
    _do(world, "approve", other)
    back = world.told("sip:b@x.test", "sip:a@x.test").id
    _do(world, "approve", back)
    assert [world.get(number).state for number in (first, other, back)] == ["superseded", "approved", "approved"]


def test_r34_gateways_and_users_do_not_meet(world: World) -> None:
    """R34: a gateway's move and a user's move are different things and close no cycle together."""
    user = world.told("sip:a@x.test", "sip:a@y.test").id
    gateway = world.told("sip:y.test", "sip:x.test", method="OPTIONS").id
    _do(world, "approve", user)
    _do(world, "approve", gateway)


def test_r35_a_decision_that_somebody_overtook_is_refused(world: World) -> None:
    """R35: what was decided meanwhile is not decided again: the second is told so, and the audit has one entry."""
    number = world.told("sip:a@x.test", "sip:b@x.test").id
    with world.database.read() as connection:
        before = decide.load(connection, number)
    _do(world, "reject", number)
    with world.database.begin() as connection, pytest.raises(RedirectdError, match="somebody else"):
        move_all(connection, [Transition(before, "approve", "")], at=NOW, actor="eva")
    assert world.get(number).state is State.REJECTED


@pytest.mark.parametrize("state", list(State))
def test_every_wrong_step_names_the_right_ones(world: World, state: State) -> None:
    """A step that a state does not allow is refused and names those that it does."""
    number = world.told("sip:a@x.test", "sip:b@x.test").id
    with world.database.begin() as connection:
        connection.execute(table.update().values(state=state))
    for action in COMMANDS:
        if state in TRANSITIONS[action][0]:
            continue
        with pytest.raises(RedirectdError) as refused:
            _do(world, action, number)
        named = {word for word in COMMANDS if f"redirectd {word} " in refused.value.what_to_do}
        assert named == {name for name in COMMANDS if state in TRANSITIONS[name][0]}


def test_an_unknown_id_or_contact_is_a_usage_error(world: World) -> None:
    """Ids and Contacts that there are none of are wrong usage (exit 2)."""
    number = world.told("sip:a@x.test", "sip:b@x.test").id
    with world.database.begin() as connection:
        with pytest.raises(UsageError):
            decide.approve(connection, number + 1, BY, POLICY)
        with pytest.raises(UsageError, match="no Contact 2"):
            decide.approve(connection, number, Decision(actor="eva", at=NOW, contact=2), POLICY)


@dataclass
class Known:
    """What the model knows of a remap."""

    old: str
    new: str
    state: str = "pending"


class Decisions(RuleBasedStateMachine):
    """R30, R31, R34, R35: any decisions in any order, beside a dictionary that follows the rules by hand.

    States, effective table and audit agree with it after every step.
    """

    def __init__(self) -> None:
        super().__init__()
        self.world = World(Database("sqlite://"))
        metadata.create_all(self.world.database.engine)
        self.known: dict[int, Known] = {}
        self.steps = 0

    @rule(old=st.sampled_from("abcd"), new=st.sampled_from("abcd"))
    def told(self, old: str, new: str) -> None:
        if old != new:
            found = self.world.told(f"sip:{old}@x.test", f"sip:{new}@x.test")
            self.known.setdefault(found.id, Known(old, new))

    def _way(self, start: str, *, without: str) -> list[str]:
        hops = {one.old: one.new for one in self.known.values() if one.state == "approved" and one.old != without}
        way = [start]
        while way[-1] in hops and len(way) < 10:
            way.append(hops[way[-1]])
        return way

    @rule(number=st.integers(1, 12), action=st.sampled_from(["approve", "approve", "reject", "revoke", "reopen"]))
    def decided(self, number: int, action: str) -> None:
        if number not in self.known:
            return
        one = self.known[number]
        starts = {
            "approve": {"pending"},
            "reject": {"pending"},
            "revoke": {"approved"},
            "reopen": {"rejected", "revoked", "superseded", "expired"},
        }[action]
        allowed = one.state in starts and not (action == "approve" and one.old in self._way(one.new, without=one.old))
        try:
            _do(self.world, action, number)
        except RedirectdError:
            assert not allowed
            return
        assert allowed
        self.steps += 1
        if action == "approve":
            for other in self.known.values():
                if other.old == one.old and other.state == "approved":
                    other.state = "superseded"
                    self.steps += 1
        ends = {"approve": "approved", "reject": "rejected", "revoke": "revoked", "reopen": "pending"}
        one.state = ends[action]

    @invariant()
    def states_agree(self) -> None:
        assert {one.id: str(one.state) for one in self.world.all()} == {
            number: one.state for number, one in self.known.items()
        }

    @invariant()
    def the_table_has_no_cycle(self) -> None:
        with self.world.database.read() as connection:
            routing = effective(approved(connection, now=NOW))
        assert (routing.cycles, routing.conflicts) == ((), ())

    @invariant()
    def the_audit_tells_every_step(self) -> None:
        with self.world.database.read() as connection:
            assert audit.broken_at(connection) is None
            assert sum(len(audit.entries_of(connection, number)) for number in self.known) == self.steps

    def teardown(self) -> None:
        self.world.database.close()


TestDecisions = Decisions.TestCase
TestDecisions.settings = settings(max_examples=40, stateful_step_count=25)
