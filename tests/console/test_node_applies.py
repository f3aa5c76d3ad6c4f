"""Asking nodes for an apply: the console writes requests, and each node's own service decides on them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from redirectd.apply.applier import ApplyRequest
from redirectd.apply.result import ApplyResult
from redirectd.config.load import parse
from redirectd.config.model import Config
from redirectd.errors import InstallError
from redirectd.plan.planning import Plan
from redirectd.service import from_config
from redirectd.service.applying import plan_of
from redirectd.service.remote_applies import LONGEST_DIFF, RemoteApplies
from redirectd.store import accounts, tokens
from redirectd.store.apply_requests import add_request, unanswered
from redirectd.store.database import Database
from redirectd.store.tokens import Role
from tests.console.conftest import Answered, Site, cookie_of, csrf_of
from tests.console.test_api import is_problem

ASKED = "/api/v1/apply-requests"


@dataclass
class Node:
    """A node's service on the console's database, with one routing file; its jobs run when they are called."""

    site: Site
    folder: Path
    service: from_config.Site
    token: str

    @property
    def routing(self) -> str:
        """The routing file."""
        file = self.folder / "routes.csv"
        return file.read_text() if file.exists() else ""

    def job(self, name: str) -> None:
        """Runs a job of its schedule."""
        next(one for one in self.service.jobs(list) if one.name == name).run()

    def plan(self) -> dict[str, Any]:
        """Its plan as the console shows it."""
        (shown,) = self.site.call("GET", "/api/v1/plans", token=self.token).json["plans"]
        found: dict[str, Any] = shown
        return found

    def ask(self, checksum: str | None = None, node: str = "sip1") -> Answered:
        """Asks for an apply of the plan as it is shown."""
        given = checksum or self.plan()["plan"]["checksum"]
        return self.site.call("POST", ASKED, token=self.token, body={"node": node, "checksum": given})

    def request(self, number: int = 1) -> dict[str, Any]:
        """A request as the console shows it."""
        found: dict[str, Any] = self.site.call("GET", f"{ASKED}/{number}", token=self.token).json
        return found


def service(site: Site, folder: Path, schedule: str = 'apply_requests = ["unix:ada"]\n') -> from_config.Site:
    """The service of a node."""
    text = (
        f'node = "sip1"\n[database]\nurl = "sqlite:///{folder}/redirectd.db"\n'
        f'[policy]\ntrusted_peers = ["192.0.2.0/24"]\n[schedule]\n{schedule}'
        f'[[target]]\nname = "users"\nkind = "csv"\npath = "{folder}/routes.csv"\nreload = "none"\n'
    )
    return from_config.Site(parse(text, folder / "redirectd.toml"))


@pytest.fixture
def node(site: Site, tmp_path: Path) -> Iterator[Node]:
    """A node with one approved remap that no file has yet, its plan published; the console's clock is the host's."""
    site.now = datetime.now(UTC)
    made = Node(site, tmp_path, service(site, tmp_path), site.token(Role.APPLIER))
    assert site.decide(1, "approve", token=made.token).status == 200
    made.job("publish-plan")
    yield made
    made.service.close()


def audited(site: Site) -> list[tuple[str, str]]:
    """Who asked for what, and how it ended."""
    kept = [one for one in site.audited() if one.action in {"request-apply", "requested-apply"}]
    return [(one.actor, str(one.detail.get("state", ""))) for one in kept]


def test_the_page_of_the_plan_asks_a_node(site: Site, tmp_path: Path) -> None:
    """An applier's page has a button for each node's plan, and then what came of it; a reviewer's has none."""
    site.now = datetime.now(UTC)
    node = Node(site, tmp_path, service(site, tmp_path, 'apply_requests = ["*"]\n'), site.token(Role.APPLIER))
    assert site.decide(1, "approve", token=node.token).status == 200
    node.job("publish-plan")
    assert "<button" in (looked := site.get("/plan", site.session(Role.REVIEWER)).text)
    assert "Ask sip1" not in looked
    assert "alice" in looked
    cookie = site.session(Role.APPLIER)
    page = site.get("/plan", cookie)
    assert "Ask sip1 to apply" in page.text
    given = {"csrf": csrf_of(page), "node": "sip1", "checksum": node.plan()["plan"]["checksum"]}
    assert site.post("/plan", {**given, "checksum": "0" * 64}, cookie).status == 409
    asked = site.post("/plan", given, cookie)
    assert "sip1 is asked to apply" in site.get(asked.headers["location"], cookie).text
    node.job("apply-requests")
    node.job("publish-plan")
    after = site.get("/plan", cookie).text
    assert ("<strong>done</strong>, generation 1" in after, "Ask sip1" in after, "alice" in node.routing) == (
        True,
        False,
        True,
    )
    node.service.close()


def test_a_node_applies_what_was_looked_at(node: Node) -> None:
    """R45: the request waits, the node's service installs that plan, and says what came of it; both in the audit."""
    shown = node.plan()
    assert (shown["node"], shown["takes_requests"], shown["is_stale"], shown["why"]) == ("sip1", True, False, "")
    assert "alice" in shown["plan"]["targets"][0]["diff"]
    asked = node.ask().json
    assert (asked["state"], asked["account"], node.routing) == ("waiting", "unix:ada", "")
    assert node.ask().json["id"] == asked["id"]
    node.job("apply-requests")
    done = node.request()
    assert (done["state"], done["answer"]["targets"], done["answer"]["generation"]) == (
        "done",
        {"users": "installed"},
        1,
    )
    assert "alice" in node.routing
    assert audited(node.site) == [("unix:ada", ""), ("unix:ada", "done")]
    assert node.plan()["plan"]["targets"][0]["create"] == 0
    (generation,) = node.site.call("GET", "/api/v1/generations?node=sip1", token=node.token).json["generations"]
    assert generation["actor"] == "unix:ada"


def test_a_unit_can_be_asked_for(node: Node) -> None:
    """The checksum of a unit counts as that of the plan does."""
    assert node.ask(node.plan()["plan"]["units"][0]["checksum"]).status == 200
    node.job("apply-requests")
    assert node.request()["state"] == "done"


def test_a_plan_that_has_changed_is_refused_twice(node: Node) -> None:
    """What was decided after the look is not applied with it: by the node where the console could not know yet."""
    old = node.plan()["plan"]["checksum"]
    assert node.ask(old).status == 200
    assert node.site.decide(2, "approve", token=node.token, reason="asked").status == 200
    node.job("apply-requests")
    found = node.request()
    assert (found["state"], node.routing) == ("refused", "")
    assert "another plan" in found["answer"]["why"] or "plan" in found["answer"]["why"]
    assert found["answer"]["what_to_do"]
    assert is_problem(node.ask(old), 409)


@pytest.mark.parametrize(
    ("schedule", "why"),
    [
        ('apply_requests = ["unix:bob"]\n', "not in [schedule] apply_requests"),
        ('apply_requests = ["*"]\npause = ["Mon-Sun 00:00-24:00"]\n', "paused"),
    ],
)
def test_the_node_decides_who_may(node: Node, schedule: str, why: str) -> None:
    """Its own configuration and pauses count, whatever the database says."""
    assert node.ask().status == 200
    node.service = service(node.site, node.folder, schedule)
    node.job("apply-requests")
    found = node.request()
    assert (found["state"], node.routing) == ("refused", "")
    assert why in found["answer"]["why"]
    assert audited(node.site)[-1] == ("unix:ada", "refused")


def test_who_is_not_taken_is_refused_at_once(node: Node) -> None:
    """The console does not ask for what the node says it refuses."""
    node.token = node.site.token(Role.ADMIN, owner="unix:eve")
    assert node.plan()["takes_requests"] is False
    assert is_problem(node.ask(), 409)


@pytest.mark.parametrize("checksum", ["", "x", "0" * 63, "0" * 64, "'; drop table remap; --"])
def test_a_forged_row_applies_nothing(node: Node, checksum: str) -> None:
    """Whoever may write to the database can ask for no other plan than the node's own, with neither force nor limits
    off."""
    now = datetime.now(UTC)
    with node.site.store.database.begin() as connection:
        add_request(connection, "sip1", checksum, "unix:ada", {}, now=now, expires_at=now + timedelta(days=999))
    node.job("apply-requests")
    assert (node.request()["state"], node.routing) == ("refused", "")


def test_a_request_that_waited_too_long_is_not_run(node: Node) -> None:
    """A node that comes back after an hour does nothing for it."""
    node.site.now -= timedelta(hours=1)
    assert node.ask().status == 200
    node.job("apply-requests")
    assert (node.request()["state"], node.routing) == ("expired", "")


def ended(site: Site, what: str) -> None:
    """Ends who asked, or takes the role away."""
    with site.store.database.begin() as connection:
        if what == "token":
            tokens.revoke_token(connection, tokens.tokens(connection, "unix:ada")[0].id)
            return
        account = accounts.account_of(connection, "ada")
        assert account is not None
        role = Role.REVIEWER if what == "reviewer" else account.role
        accounts.change_account(connection, replace(account, role=role, is_disabled=what == "disabled"))


@pytest.mark.parametrize("what", ["token", "disabled", "reviewer"])
def test_who_may_no_longer_ask_is_refused(node: Node, what: str) -> None:
    """A token that was revoked, and an account that was disabled or is no applier any more, apply nothing."""
    node.service = service(node.site, node.folder, 'apply_requests = ["*"]\n')
    node.job("publish-plan")
    if what == "token":
        assert node.ask().status == 200
    else:
        node.site.add_user("ada", Role.APPLIER)
        cookie = cookie_of(node.site.sign_in())
        given = {"csrf": csrf_of(node.site.get("/plan", cookie)), "node": "sip1"}
        assert node.site.post("/plan", {**given, "checksum": node.plan()["plan"]["checksum"]}, cookie).status == 303
    ended(node.site, what)
    node.job("apply-requests")
    node.token = node.site.token(Role.VIEWER)
    found = node.request()
    assert (found["state"], node.routing) == ("refused", "")
    assert "may not ask for it any more" in found["answer"]["why"]


def test_requests_are_answered_in_their_order(node: Node) -> None:
    """The oldest first, whatever order the database has them in; an expired one is not taken for one that waits."""
    node.site.now -= timedelta(hours=1)
    first = node.ask().json["id"]
    node.site.now += timedelta(hours=1)
    assert node.ask().json["id"] > first
    with node.site.store.database.read() as connection:
        connection.exec_driver_sql("pragma reverse_unordered_selects = on")
        assert [one.id for one in unanswered(connection, "sip1")] == [first, first + 1]
        assert unanswered(connection, "SIP1") == []


def test_a_request_of_another_node_is_left_alone(node: Node) -> None:
    """Each node looks at its own."""
    now = datetime.now(UTC)
    with node.site.store.database.begin() as connection:
        add_request(connection, "sip2", "0" * 64, "unix:ada", {}, now=now, expires_at=now + timedelta(hours=1))
    node.job("apply-requests")
    assert node.request()["state"] == "waiting"


def test_a_service_that_ended_within_says_so(node: Node) -> None:
    """What was under way when the service ended is not run again, and shown as failed."""
    assert node.ask().status == 200
    calls: list[str] = []

    def killed(request: ApplyRequest) -> ApplyResult:
        calls.append(request.actor)
        raise KeyboardInterrupt

    broken = RemoteApplies(node.service.config, killed, lambda: False)
    with pytest.raises(KeyboardInterrupt):
        broken.run(node.site.store.database)
    assert node.request()["state"] == "running"
    node.job("apply-requests")
    found = node.request()
    assert (found["state"], calls, node.routing) == ("failed", ["unix:ada"], "")
    assert "ended" in found["answer"]["why"]


@pytest.mark.parametrize(("error", "state"), [(InstallError("/x", "no space left", "free some"), "failed")])
def test_what_fails_is_said(node: Node, error: InstallError, state: str) -> None:
    """An apply that fails says where, why and what to do."""
    assert node.ask().status == 200

    def fails(_: ApplyRequest) -> ApplyResult:
        raise error

    RemoteApplies(node.service.config, fails, lambda: False).run(node.site.store.database)
    found = node.request()
    assert (found["state"], found["answer"]) == (state, {"why": "/x: no space left", "what_to_do": "free some"})


def test_an_old_plan_is_not_asked_for(node: Node) -> None:
    """A plan of a service that does not run any more is shown with its age, and refused."""
    node.site.now += timedelta(minutes=11)
    shown = node.plan()
    assert shown["is_stale"] is True
    assert shown["age_seconds"] > 600
    assert is_problem(node.ask(), 409)


def test_a_node_without_a_plan_is_said(node: Node) -> None:
    """Asking a node that publishes nothing says what to set there."""
    answer = node.ask(node="sip9\x1b[2J")
    assert is_problem(answer, 400)
    assert "apply_requests" in answer.json["what_to_do"]


def test_a_plan_that_cannot_be_made_is_published_as_such(node: Node) -> None:
    """Where the plan can't be worked out, the console shows why."""
    (node.folder / "routes.csv").mkdir()
    node.service = service(node.site, node.folder)
    node.job("publish-plan")
    shown = node.plan()
    assert "routes.csv" in (shown["why"] or str(shown["plan"]["targets"][0]["error"]))


def test_a_plan_is_worked_out_anew_where_something_changed(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan costs: without a decision or an apply the published one is kept for five minutes."""
    made: list[int] = []

    def counted(config: Config, database: Database) -> Plan:
        made.append(1)
        return plan_of(config, database)

    monkeypatch.setattr("redirectd.service.remote_applies.plan_of", counted)
    remote = RemoteApplies(node.service.config, lambda _: pytest.fail("nothing to apply"), lambda: False)
    database = node.site.store.database
    remote.publish(database)
    remote.publish(database)
    assert len(made) == 1
    assert node.site.decide(2, "approve", token=node.token, reason="asked").status == 200
    remote.publish(database)
    assert len(made) == 2


def test_a_huge_diff_is_cut(node: Node) -> None:
    """The database keeps at most 64 KiB of each target's diff, and says that there is more."""
    with node.site.store.database.begin() as connection:
        connection.exec_driver_sql("update remap set state = 'approved' where id = 1")
    long = "x" * 100
    for number in range(800):
        node.site.store.sighted(f"sip:{long}{number}@old.example.com", f"sip:{number}@new.example.net")
    with node.site.store.database.begin() as connection:
        connection.exec_driver_sql("update remap set state = 'approved' where id > 3")
    node.service = service(node.site, node.folder)
    node.job("publish-plan")
    (target,) = node.plan()["plan"]["targets"]
    assert (len(target["diff"]), target["diff_cut"]) == (LONGEST_DIFF, True)
    assert "This is cut: 801 entries of users change" in node.site.get("/plan", node.site.session()).text


def test_long_lists_of_a_plan_are_cut(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """A target that refuses each of 100,000 remaps doesn't make a plan of many megabytes: it says which lists go on."""
    monkeypatch.setattr("redirectd.service.remote_applies.LONGEST_LIST", 1)
    assert node.site.decide(2, "approve", token=node.token, reason="asked").status == 200
    config = service(node.site, node.folder).config
    wide = config.target[0].model_copy(update={"kind": "kamailio-alias_db", "path": node.folder / "aliases"})
    node.service = from_config.Site(config.model_copy(update={"target": [wide]}))
    node.job("publish-plan")
    plan = node.plan()["plan"]
    (target,) = plan["targets"]
    assert (len(target["refused"]), target["lists_cut"]) == (1, ["refused"])
    assert len(plan["units"]) == 1
    assert "lists_cut" not in plan


def test_without_the_key_nothing_is_taken(site: Site, tmp_path: Path) -> None:
    """It is off by default: the service neither publishes a plan nor looks at requests."""
    made = service(site, tmp_path, "")
    assert {"apply-requests", "publish-plan"}.isdisjoint(one.name for one in made.jobs(list))
    made.close()
