"""The short way of plan and apply: what was decided since comes to the very plan that all approved remaps come to."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from redirectd.apply.applier import ApplyRequest
from redirectd.apply.current_plan import current_plan
from redirectd.apply.short_way import short_plan
from redirectd.config.load import load
from redirectd.config.model import Config
from redirectd.config.specs import target_specs
from redirectd.errors import RedirectdError
from redirectd.plan.planning import Plan
from redirectd.plan.report import to_json
from redirectd.review import decide
from redirectd.review.decision import Decision
from redirectd.service.applying import applier_of, approved_table, installer_of, plan_of, recent_decisions
from redirectd.store.decided import decided_since
from redirectd.store.remap import Remap, State
from redirectd.store.schema import remap
from redirectd.store.settings import refused_entries
from redirectd.store.target_states import target_states
from tests.review.remap_store import RemapStore, opened

NOW = datetime.now(UTC)


class Site:
    """A database of remaps and a configuration whose targets no server reads."""

    def __init__(self, store: RemapStore, home: Path, more: str = "") -> None:
        self.store = store
        file = home / "redirectd.toml"
        file.write_text(
            f'node = "here"\n[database]\nurl = "sqlite:///{home}/redirectd.db"\n'
            f'[daemon]\nsocket = "{home}/run/socket"\n'
            "[limits]\nmax_changes = 10000\nmax_change_percent = 100\nfirst_creates = 10000\n"
            f'[[target]]\nname = "users"\nkind = "kamailio-htable"\npath = "{home}/redir"\n{more}'
            f'[[target]]\nname = "names"\nkind = "asterisk-astdb"\npath = "{home}/astdb"\nwidth = "user"\n'
        )
        self.config: Config = load(file)

    def short(self) -> Plan | None:
        """The plan by the short way, if there is one."""
        specs, database = target_specs(self.config), self.store.database
        with database.read() as connection:
            states, refused = target_states(connection, "here"), refused_entries(connection, "here")
        since = recent_decisions(self.config, database)
        limits = self.config.limits.as_limits()
        found = short_plan(since, specs, states, installer_of(self.config, specs), limits, refused)
        return None if found is None else found.plan

    def full(self) -> Plan:
        """The plan of all that is approved."""
        specs, database = target_specs(self.config), self.store.database
        with database.read() as connection:
            states, refused = target_states(connection, "here"), refused_entries(connection, "here")
        table = approved_table(database, self.config.rules())
        limits = self.config.limits.as_limits()
        return current_plan(table, specs, states, installer_of(self.config, specs), limits, refused)

    def apply(self, **asked: Any) -> Any:
        """Apply what is approved."""
        applier = applier_of(self.config, self.store.database)
        request = ApplyRequest(actor="test", force=True, **asked)
        return applier.apply(lambda: approved_table(self.store.database, self.config.rules()), request)

    def decide(self, action: str, number: int, *replaced: int) -> None:
        """Take a decision on a remap."""
        by = Decision(actor="alice", at=datetime.now(UTC), reason="known", force=True, replace=frozenset(replaced))
        with self.store.database.begin() as connection:
            decided = decide.decide_all(connection, action, [number], by, self.store.policy)
        for error in decided.refused.values():
            raise error

    def in_service(self) -> set[int]:
        """The remaps that are noted as routed here."""
        from redirectd.store.schema import in_service

        with self.store.database.read() as connection:
            return set(connection.scalars(in_service.select().with_only_columns(in_service.c.remap_id)))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A site without remaps."""
    with opened(tmp_path) as store:
        yield Site(store, tmp_path)


def like(short: Plan, full: Plan) -> None:
    """See that two plans are one: what they would install, what they show, and by which checksum they are applied."""
    assert short.checksum == full.checksum
    for one, other in zip(short.targets, full.targets, strict=True):
        assert one.rendered.content == other.rendered.content
        assert dict(one.rendered.entries) == dict(other.rendered.entries)
        assert list(one.rendered.entries) == list(other.rendered.entries)
        assert one.rendered.token == other.rendered.token
    assert to_json(short) == to_json(full)


@pytest.mark.parametrize("seed", range(6))
def test_short_way_comes_to_the_full_plan(site: Site, seed: int) -> None:
    """Whatever is decided, also chains, cycles, rivals and shared numbers (R33, R34, R44): one plan by both ways."""
    chance = random.Random(seed)
    users = ["sip:bob@h1.test", "sip:bob@h2.test:5070", "sip:a%2Bb@h1.test"]
    users += [f"sip:n{number}@h.test" for number in range(3 + 5 * seed)]
    for _ in range(18):
        old, new = chance.sample(users, 2)
        with suppress(RedirectdError):
            site.store.sighted(old, chance.choice([new, f"sip:new{chance.randrange(9)}@n.test;transport=tcp"]))
    site.apply()
    taken = 0
    for _ in range(16):
        for _ in range(chance.choice([0, 1, 1, 1, 2, 4])):
            chosen = chance.choice(site.store.all())
            ways = {"pending": "approve", "approved": "revoke", "revoked": "reopen", "superseded": "reopen"}
            action = ways.get(chosen.state, "reopen")
            with suppress(RedirectdError):
                site.decide(action, chosen.id, *_in_the_way(site, chosen, chance))
        short, full = site.short(), site.full()
        if short is not None:
            taken += 1
            like(short, full)
        if chance.random() < 0.7:
            result = site.apply(only=["users"] if chance.random() < 0.1 else None)
            assert result.error is None
            if len(result.plan.targets) == 2:
                carried = {number for target in full.targets for number in target.rendered.carried}
                assert site.in_service() == carried
    assert taken > 2


def _in_the_way(site: Site, chosen: Remap, chance: random.Random) -> list[int]:
    same = [one.id for one in site.store.all(State.APPROVED) if one.old_key == chosen.old_key]
    return same if chosen.state == State.PENDING and chance.random() < 0.7 else []


def many(site: Site, count: int = 20) -> list[int]:
    """Approve and apply some remaps twice, so that the next plan is a short one."""
    numbers = [site.store.sighted(f"sip:u{number}@old.test", f"sip:u{number}@new.test").id for number in range(count)]
    for number in numbers:
        site.decide("approve", number)
    assert site.apply().error is None
    return numbers


def test_apply_by_the_short_way(site: Site) -> None:
    """One more approval and one revocation among many are installed, kept as a generation, and noted as in service."""
    numbers = many(site)
    site.decide("revoke", numbers[3])
    new = site.store.sighted("sip:one@old.test", "sip:two@new.test").id
    site.decide("approve", new)
    assert site.short() is not None
    full = site.full()
    result = site.apply()
    assert result.error is None
    assert all(target.standing for target in result.plan.targets)
    assert result.plan.checksum == full.checksum
    assert site.in_service() == {*numbers, new} - {numbers[3]}
    assert not site.short().changed  # type: ignore[union-attr]
    applier_of(site.config, site.store.database).rollback(None, ApplyRequest(actor="test", force=True))
    assert site.short() is None, "what a rollback put back was made of other remaps"
    assert {target.changes.create for target in site.full().targets} == {
        ("sip:one@old.test:;",),
        ("user=one",),
    }


def test_verify_takes_the_long_way(site: Site) -> None:
    """`apply --verify`, and the nightly one, compare all that is approved."""
    many(site)
    assert site.short() is not None
    assert not any(target.standing for target in site.apply(verify=True).plan.targets)
    assert site.short() is not None


def test_change_behind_the_audit_is_no_short_way(site: Site) -> None:
    """Rows that something else than redirectd approved are not passed over."""
    numbers = many(site)
    with site.store.database.begin() as connection:
        connection.execute(update(remap).where(remap.c.id == numbers[0]).values(state=State.REVOKED))
    assert site.short() is None
    assert plan_of(site.config, site.store.database).targets[0].changes.delete


def test_changed_file_is_no_short_way(site: Site, tmp_path: Path) -> None:
    """A file that a person has changed is read and shown as such."""
    many(site)
    file = tmp_path / "redir"
    file.write_bytes(file.read_bytes().replace(b"u1@new", b"u2@new"))
    assert site.short() is None
    assert site.full().targets[0].hand_edit


def test_other_configuration_is_no_short_way(site: Site, tmp_path: Path) -> None:
    """A target that speaks for other hosts now is made from all remaps."""
    many(site)
    assert site.short() is not None
    other = Site(site.store, tmp_path, "legacy_keys = false\n")
    assert other.short() is None


def test_incoming_uris_are_no_short_way(tmp_path: Path) -> None:
    """What sightings change as well as decisions (R5) can't be known by decisions."""
    with opened(tmp_path) as store:
        site = Site(store, tmp_path, 'match = "incoming"\n')
        many(site)
        assert site.short() is None


def test_end_of_a_lifetime_is_no_short_way(site: Site) -> None:
    """A remap whose lifetime ran out since leaves routing although nobody decided so (R18)."""
    number = site.store.sighted("sip:u@old.test", "sip:u@new.test").id
    with site.store.database.begin() as connection:
        connection.execute(update(remap).where(remap.c.id == number).values(expires_at=NOW + timedelta(days=1)))
    site.decide("approve", number)
    many(site)
    with site.store.database.read() as connection:
        made = target_states(connection, "here")["users"].made_from
        assert made is not None
        assert decided_since(connection, made.mark, NOW) is not None
        assert decided_since(connection, made.mark, NOW + timedelta(days=2)) is None
