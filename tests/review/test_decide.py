"""R31, R34, R35: the state machine of a remap, against a plain model and by its refusals."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from sqlalchemy import insert

from redirectd.collect.verdict import digest
from redirectd.errors import RedirectdError, RefusedError, UsageError
from redirectd.plan.effective_table import effective
from redirectd.review import decide
from redirectd.review.approvals import ContradictionError
from redirectd.review.decide import confirm
from redirectd.review.decision import Decision
from redirectd.review.undo import do_revoke, undo
from redirectd.store import audit
from redirectd.store.approved import approved
from redirectd.store.database import Database
from redirectd.store.remap import State
from redirectd.store.schema import metadata, remap_incoming
from redirectd.store.schema import remap as table
from redirectd.store.settings import NodeTarget, put_node_targets
from redirectd.store.states import TRANSITIONS, Transition, move_all
from tests.review.remap_store import NOW, POLICY, RemapStore

COMMANDS = ("approve", "reject", "revoke", "reopen")
BY = Decision(actor="eva", at=NOW, reason="checked")


def _do(store: RemapStore, action: str, number: int, *replaced: int) -> None:
    with store.database.begin() as connection:
        if action == "approve":
            decide.approve(connection, number, replace(BY, replace=frozenset(replaced)), POLICY)
        else:
            getattr(decide, action)(connection, number, BY)


def test_r34_a_cycle_is_refused_with_its_hops(store: RemapStore) -> None:
    """R34: the approval that would close A -> B -> C -> A is refused, names each hop and the way out."""
    ids = [
        store.sighted(f"sip:{old}@x.test", f"sip:{new}@x.test").id for old, new in (("a", "b"), ("b", "c"), ("c", "a"))
    ]
    for number in ids[:2]:
        _do(store, "approve", number)
    with pytest.raises(RefusedError) as refused:
        _do(store, "approve", ids[2])
    assert refused.value.exit_code == 3
    for hop in ("sip:c@x.test -> sip:a@x.test", "sip:a@x.test -> sip:b@x.test", "sip:b@x.test -> sip:c@x.test"):
        assert hop in refused.value.why
    assert f"redirectd approve {ids[2]} --replace {ids[0]}" in refused.value.what_to_do
    _do(store, "revoke", ids[0])
    _do(store, "approve", ids[2])


def test_r34_spellings_close_cycles_too(store: RemapStore) -> None:
    """R34: hops meet by route key, whatever their spelling."""
    first = store.sighted("sip:a@x.test", "sip:b@X.test;user=phone").id
    second = store.sighted("sip:%62@x.test", "sip:a@x.TEST.").id
    _do(store, "approve", first)
    with pytest.raises(RefusedError, match="cycle"):
        _do(store, "approve", second)


def test_r34_replacing_a_hop_opens_the_cycle(store: RemapStore) -> None:
    """R34, R30: an approval that replaces the hop of its own old URI does not count the one it replaces."""
    first = store.sighted("sip:a@x.test", "sip:b@x.test").id
    other = store.sighted("sip:a@x.test", "sip:c@x.test").id
    _do(store, "approve", first)
    _do(store, "approve", other, first)
    back = store.sighted("sip:b@x.test", "sip:a@x.test").id
    _do(store, "approve", back)
    assert [store.get(number).state for number in (first, other, back)] == ["superseded", "approved", "approved"]


def test_r44_another_new_uri_is_refused_until_the_approved_one_is_named(store: RemapStore) -> None:
    """R44, R30: the refusal (exit 3) shows the approved remap; named, it is superseded in the same decision."""
    first = store.sighted("sip:a@x.test", "sip:b@x.test").id
    other = store.sighted("sip:a@x.test", "sip:c@x.test").id
    _do(store, "approve", first)
    with pytest.raises(ContradictionError) as refused:
        _do(store, "approve", other)
    assert (refused.value.exit_code, refused.value.against) == (3, (first,))
    assert f"remap {first}, approved by eva on 2026-03-01, has the same old URI" in refused.value.why
    assert "sip:b@x.test" in refused.value.why
    assert refused.value.what_to_do.endswith(f"redirectd approve {other} --replace {first}")
    assert [store.get(number).state for number in (first, other)] == ["approved", "pending"]
    _do(store, "approve", other, first)
    assert [store.get(number).state for number in (first, other)] == ["superseded", "approved"]
    assert store.get(other).replaces == first
    with store.database.read() as connection:
        [*_, gone] = audit.entries_of(connection, first)
        [come] = audit.entries_of(connection, other)
    assert (gone.action, gone.reason, gone.at) == ("supersede", f"replaced by remap {other}", come.at)


@pytest.mark.parametrize("last", [0, 5, 10])
def test_r33_r44_an_approval_that_makes_a_chain_too_long_is_refused(store: RemapStore, last: int) -> None:
    """R33, R44: the eleventh hop, wherever it is, is refused (exit 3); one of the others named, it goes in."""
    ids = [store.sighted(f"sip:u{number}@x.test", f"sip:u{number + 1}@x.test").id for number in range(11)]
    others = [number for number in ids if number != ids[last]]
    for number in others:
        _do(store, "approve", number)
    with pytest.raises(ContradictionError, match="more than 10 hops") as refused:
        _do(store, "approve", ids[last])
    assert (refused.value.exit_code, refused.value.against) == (3, tuple(others))
    assert f"redirectd approve {ids[last]} --replace {others[0]}" in refused.value.what_to_do
    _do(store, "approve", ids[last], others[0])
    assert store.get(others[0]).state == "superseded"
    with store.database.read() as connection:
        table = effective(approved(connection, now=NOW))
    assert (len(table.routes), table.conflicts) == (10, ())


@given(st.permutations(range(24)), st.booleans())
@settings(max_examples=15, deadline=None)
def test_r44_no_order_of_approvals_takes_one_out(order: list[int], at_once: bool) -> None:
    """R44, R33: a chain of 24 hops approved in any order, at once or one by one, is routed as far as approved."""
    store = RemapStore(Database("sqlite://"))
    metadata.create_all(store.database.engine)
    ids = [store.sighted(f"sip:u{number}@x.test", f"sip:u{number + 1}@x.test").id for number in range(24)]
    wanted = [ids[number] for number in order]
    refused = 0
    for numbers in [wanted] if at_once else [[number] for number in wanted]:
        with store.database.begin() as connection:
            refused += len(decide.decide_all(connection, "approve", numbers, BY, POLICY).refused)
    with store.database.read() as connection:
        table = effective(approved(connection, now=NOW))
    assert (len(table.routes), table.conflicts) == (24 - refused, ())
    assert refused >= 2


def test_r44_a_number_that_moves_back_takes_the_place_of_its_move(store: RemapStore) -> None:
    """R44, R34: the way back is refused with the cycle; with the move it ends named, that is superseded."""
    ids = [
        store.sighted(f"sip:{old}@x.test", f"sip:{new}@x.test").id for old, new in (("a", "b"), ("b", "c"), ("c", "a"))
    ]
    for number in ids[:2]:
        _do(store, "approve", number)
    with pytest.raises(ContradictionError) as refused:
        _do(store, "approve", ids[2])
    assert set(refused.value.against) == set(ids[:2])
    _do(store, "approve", ids[2], ids[1])
    assert [store.get(number).state for number in ids] == ["approved", "superseded", "approved"]


@pytest.mark.parametrize("state", ["approved", "pending"])
def test_r44_what_contradicts_nothing_is_not_replaced(store: RemapStore, state: str) -> None:
    """R44: a named remap that is not approved, or of another URI, is wrong usage and stays as it is."""
    number = store.sighted("sip:a@x.test", "sip:b@x.test").id
    other = store.sighted("sip:z@x.test", "sip:y@x.test").id
    if state == "approved":
        _do(store, "approve", other)
    with pytest.raises(UsageError, match=f"remap {other} is not an approved remap that it contradicts"):
        _do(store, "approve", number, other)
    assert [store.get(each).state for each in (number, other)] == ["pending", state]


def _asked(store: RemapStore, number: int, *names: str, forked: bool = False) -> None:
    rows = [
        {"remap_id": number, "hash": digest(uri), "uri": uri, "forked": forked, "calls": 1}
        for uri in (f"sip:{name}@own.test" for name in names)
    ]
    with store.database.begin() as connection:
        connection.execute(insert(remap_incoming), rows)


def _plan(store: RemapStore) -> dict[int, tuple[list[str], tuple[str, ...], bool]]:
    with store.database.read() as connection:
        return {
            one.id: ([str(uri) for uri in one.incoming], tuple(map(str, one.also_asked)), one.incoming_forked)
            for one in approved(connection, now=NOW)
        }


def _publish(store: RemapStore, match: str) -> None:
    put_node_targets(store.database, "other node", [NodeTarget("users", "kamailio-htable", match)])


def test_r44_r5_another_move_of_one_incoming_uri_is_refused_where_a_node_looks_that_up(store: RemapStore) -> None:
    """R44, R5: on whichever node the target is; without such a target the two moves do not meet."""
    first = store.sighted("sip:a@gw1.test", "sip:a@new.test").id
    other = store.sighted("sip:a@gw2.test", "sip:a@elsewhere.test").id
    agreeing = store.sighted("sip:a@gw3.test", "sip:a@new.test").id
    for number in (first, other, agreeing):
        _asked(store, number, "pub")
    _publish(store, "incoming")
    _do(store, "approve", first)
    with pytest.raises(ContradictionError, match="the move of the same incoming URI sip:pub@own") as refused:
        _do(store, "approve", other)
    assert refused.value.against == (first,)
    _do(store, "approve", agreeing)
    _publish(store, "request-uri")
    _do(store, "approve", other)
    assert store.get(first).state is State.APPROVED


def test_r44_r5_a_proxy_that_follows_its_301_is_no_contradiction(store: RemapStore) -> None:
    """R44, R33: the next hop of the same incoming URI agrees with the first once chains are flattened."""
    first = store.sighted("sip:a@gw1.test", "sip:a@gw2.test").id
    onward = store.sighted("sip:a@gw2.test", "sip:a@gw3.test").id
    for number in (first, onward):
        _asked(store, number, "pub")
    _publish(store, "incoming")
    _do(store, "approve", first)
    _do(store, "approve", onward)


def test_r44_r5_what_is_seen_after_an_approval_takes_nothing_out_of_the_plan(store: RemapStore) -> None:
    """R44, R5: a later remap, a fork and further incoming URIs leave the approved one its own; one is held before."""
    first = store.sighted("sip:a@gw1.test", "sip:a@new.test").id
    _asked(store, first, "pub")
    _do(store, "approve", first)
    alone = (["sip:pub@own.test"], (), False)
    assert _plan(store) == {first: alone}
    other = store.sighted("sip:a@gw2.test", "sip:a@elsewhere.test").id
    _asked(store, other, "pub", "second")
    _asked(store, first, "second", forked=True)
    assert _plan(store) == {first: alone}
    _do(store, "approve", other)
    assert _plan(store)[first] == alone
    assert _plan(store)[other][1] == ("sip:a@gw1.test",)


def test_r44_r5_undoing_a_revocation_restores_the_approval_as_it_was(store: RemapStore) -> None:
    """R44, R5: what was seen of its incoming URI since the approval does not keep it out of the plan."""
    first = store.sighted("sip:a@gw1.test", "sip:a@new.test").id
    _asked(store, first, "pub")
    _do(store, "approve", first)
    before = _plan(store)
    _asked(store, store.sighted("sip:a@gw2.test", "sip:a@elsewhere.test").id, "pub")
    later = replace(BY, at=NOW + timedelta(days=1))
    with store.database.begin() as connection:
        _, step = do_revoke(connection, first, later)
    assert _plan(store) == {}
    with store.database.begin() as connection:
        undo(connection, step, later, POLICY)
    assert _plan(store) == before
    with store.database.read() as connection:
        assert [one.approved_at for one in approved(connection, now=NOW)] == [NOW]


def test_r44_a_confirmation_makes_an_approval_no_later_one(store: RemapStore) -> None:
    """R44, R36: what is confirmed keeps the time of its approval in the plan, whatever a target finds there."""
    number = store.sighted("sip:a@x.test", "sip:b@x.test").id
    _do(store, "approve", number)
    with store.database.begin() as connection:
        confirm(connection, number, replace(BY, at=NOW + timedelta(days=1)), POLICY)
    with store.database.read() as connection:
        assert [one.approved_at for one in approved(connection, now=NOW)] == [NOW]


def test_r34_gateways_and_users_do_not_meet(store: RemapStore) -> None:
    """R34: a gateway's move and a user's move are different things and close no cycle together."""
    user = store.sighted("sip:a@x.test", "sip:a@y.test").id
    gateway = store.sighted("sip:y.test", "sip:x.test", method="OPTIONS").id
    _do(store, "approve", user)
    _do(store, "approve", gateway)


def test_r35_a_decision_that_somebody_overtook_is_refused(store: RemapStore) -> None:
    """R35: what was decided meanwhile is not decided again: the second is told so, and the audit has one entry."""
    number = store.sighted("sip:a@x.test", "sip:b@x.test").id
    with store.database.read() as connection:
        before = decide.load(connection, number)
    _do(store, "reject", number)
    with store.database.begin() as connection, pytest.raises(RedirectdError, match="somebody else"):
        move_all(connection, [Transition(before, "approve", "")], at=NOW, actor="eva")
    assert store.get(number).state is State.REJECTED


@pytest.mark.parametrize("state", list(State))
def test_every_wrong_step_names_the_right_ones(store: RemapStore, state: State) -> None:
    """A step that a state does not allow is refused and names those that it does."""
    number = store.sighted("sip:a@x.test", "sip:b@x.test").id
    with store.database.begin() as connection:
        connection.execute(table.update().values(state=state))
    for action in COMMANDS:
        if state in TRANSITIONS[action][0]:
            continue
        with pytest.raises(RedirectdError) as refused:
            _do(store, action, number)
        named = {word for word in COMMANDS if f"redirectd {word} " in refused.value.what_to_do}
        assert named == {name for name in COMMANDS if state in TRANSITIONS[name][0]}


def test_an_unknown_id_or_contact_is_a_usage_error(store: RemapStore) -> None:
    """Ids and Contacts that there are none of are wrong usage (exit 2)."""
    number = store.sighted("sip:a@x.test", "sip:b@x.test").id
    with store.database.begin() as connection:
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
        self.store = RemapStore(Database("sqlite://"))
        metadata.create_all(self.store.database.engine)
        self.known: dict[int, Known] = {}
        self.steps = 0

    @rule(old=st.sampled_from("abcd"), new=st.sampled_from("abcd"))
    def told(self, old: str, new: str) -> None:
        if old != new:
            found = self.store.sighted(f"sip:{old}@x.test", f"sip:{new}@x.test")
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
        rivals = [
            key
            for key, other in self.known.items()
            if (other.old, other.state) == (one.old, "approved") and key != number
        ]
        allowed = one.state in starts and not (action == "approve" and one.old in self._way(one.new, without=one.old))
        if action == "approve" and one.state == "pending" and rivals:
            with pytest.raises(RefusedError):  # R44: nothing gives way unless it is named
                _do(self.store, action, number)
        try:
            _do(self.store, action, number, *(rivals if action == "approve" else ()))
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
        assert {one.id: str(one.state) for one in self.store.all()} == {
            number: one.state for number, one in self.known.items()
        }

    @invariant()
    def the_table_has_no_cycle(self) -> None:
        with self.store.database.read() as connection:
            routing = effective(approved(connection, now=NOW))
        assert (routing.cycles, routing.conflicts) == ((), ())

    @invariant()
    def the_audit_tells_every_step(self) -> None:
        with self.store.database.read() as connection:
            assert audit.broken_at(connection) is None
            assert sum(len(audit.entries_of(connection, number)) for number in self.known) == self.steps

    def teardown(self) -> None:
        self.store.database.close()


TestDecisions = Decisions.TestCase
TestDecisions.settings = settings(max_examples=40, stateful_step_count=25)
