"""The REST API: who may call what, decisions on what was looked at, and errors that say where, why and what to do."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import product
from typing import Any

import pytest

from redirectd.console.api import ENDPOINTS, PREFIX, Endpoint
from redirectd.errors import StoreError
from redirectd.store import audit
from redirectd.store.generations import Generation, GenerationFile, add_generation
from redirectd.store.remap import State
from redirectd.store.schema import generation_file, remap
from redirectd.store.tokens import Role
from tests.console.conftest import Answered, Site

OLD, NEW, OTHER = "sip:alice@old.example.com", "sip:alice@new.example.net", "sip:alice@third.example"
VIEWERS, REVIEWERS = set(Role), {Role.REVIEWER, Role.APPLIER, Role.ADMIN}
MAY = {
    **{
        ("GET", path): VIEWERS
        for path in (
            "/me",
            "/remaps",
            "/remaps/{name}",
            "/status",
            "/sources",
            "/losses",
            "/plan",
            "/plans",
            "/apply-requests",
            "/apply-requests/{name}",
            "/generations",
            "/generations/{name}",
            "/audit",
            "/events",
            "/tokens",
        )
    },
    ("DELETE", "/tokens/{name}"): VIEWERS,
    **{("POST", f"/remaps/{{name}}/{action}"): REVIEWERS for action in ("approve", "reject", "revoke", "reopen")},
    ("PUT", "/remaps/{name}/note"): REVIEWERS,
    ("POST", "/decisions"): REVIEWERS,
    ("POST", "/apply-requests"): {Role.APPLIER, Role.ADMIN},
    ("POST", "/undo/{name}"): REVIEWERS,
}
"""Which roles may call which endpoint: written out, so that a change of the code alone fails."""


def is_problem(answer: Answered, status: int) -> bool:
    """Whether it is an error that says where, why and what to do."""
    said = answer.json
    return (
        (answer.status, said["status"]) == (status, status)
        and answer.headers["content-type"] == "application/problem+json"
        and all(said[name] for name in ("title", "detail", "where", "why", "what_to_do"))
    )


def test_the_table_names_every_endpoint() -> None:
    """An endpoint that nobody decided on who may call it is not there."""
    assert set(MAY) == {(one.method, one.path) for one in ENDPOINTS}


@pytest.mark.parametrize(("endpoint", "role"), list(product(ENDPOINTS, [None, *Role])))
def test_every_endpoint_by_every_role(site: Site, endpoint: Endpoint, role: Role | None) -> None:
    """Without a token it is 401, with too little a role 403 and nothing done; else the endpoint itself answers."""
    token = "" if role is None else site.token(role)
    path = PREFIX + endpoint.path.replace("{name}", "1")
    headers = {"if-match": f'"{site.version(1)}"', "content-type": "application/json"}
    answer = site.call(endpoint.method, path, token=token, headers=headers, body=b"{}" if endpoint.body else b"")
    if role is None:
        assert is_problem(answer, 401)
    elif role not in MAY[endpoint.method, endpoint.path]:
        assert is_problem(answer, 403)
        assert site.store.get(1).state is State.PENDING
    else:
        assert answer.status not in {401, 403, 500}


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "HEAD", "X"])
def test_other_methods_do_nothing(site: Site, method: str) -> None:
    """A method that an endpoint does not have is 405 with those that it has."""
    if method == "POST":
        return
    answer = site.call(method, f"{PREFIX}/remaps/1/approve", token=site.token())
    assert (answer.status, answer.headers["allow"]) == (405, "POST")
    assert site.store.get(1).state is State.PENDING


def test_a_decision_is_what_was_looked_at(site: Site) -> None:
    """R35: an approval of the version that was seen is done, audited with token and address, and can be undone."""
    token = site.token()
    done = site.decide(1, "approve", token=token, reason="asked the carrier")
    assert done.status == 200
    (one,) = done.json["remaps"]
    assert (one["id"], one["state"], one["decided_by"]) == (1, "approved", "unix:ada")
    entry = site.call("GET", f"{PREFIX}/audit?remap=1", token=token).json["entries"][-1]
    assert (entry["actor"], entry["action"], entry["reason"]) == ("unix:ada", "approve", "asked the carrier")
    assert entry["via"]["address"] == "127.0.0.1"
    assert entry["via"]["by"].startswith("token ")
    undone = site.call("POST", f"{PREFIX}/undo/{done.json['undo']}", token=token).json
    assert [one["state"] for one in undone["remaps"]] == ["pending"]
    assert is_problem(site.call("POST", f"{PREFIX}/undo/{done.json['undo']}", token=token), 400)


def test_undo_is_of_the_same_account(site: Site) -> None:
    """Nobody takes back somebody else's decision by its name, and not after an hour."""
    done = site.decide(1, "approve", token=site.token()).json
    assert is_problem(site.call("POST", f"{PREFIX}/undo/{done['undo']}", token=site.token(owner="unix:eve")), 400)
    site.now += timedelta(hours=2)
    assert is_problem(site.call("POST", f"{PREFIX}/undo/{done['undo']}", token=site.token()), 400)
    assert site.store.get(1).state is State.APPROVED


def test_undo_leaves_what_somebody_decided_since(site: Site) -> None:
    """Another person's approval of the same remap, and another person's note, stay: only the own step is undone."""
    ada, bob = site.token(), site.token(owner="unix:bob")
    done = site.decide(1, "approve", token=ada).json
    for action in ("revoke", "reopen", "approve"):
        assert site.decide(1, action, token=bob).status == 200
    assert "bob" in site.call("POST", f"{PREFIX}/undo/{done['undo']}", token=ada).json["errors"][0]["why"]
    assert site.store.get(1).state is State.APPROVED

    def note(token: str, text: str) -> dict[str, Any]:
        headers = {"if-match": f'"{site.version(2)}"'}
        path, body = f"{PREFIX}/remaps/2/note", {"note": text}
        done: dict[str, Any] = site.call("PUT", path, token=token, headers=headers, body=body).json
        return done

    noted = [note(token, "seen") for token in (ada, bob)]
    assert site.call("POST", f"{PREFIX}/undo/{noted[1]['undo']}", token=bob).json["errors"] == []
    note(bob, "bob's")
    assert site.call("POST", f"{PREFIX}/undo/{noted[0]['undo']}", token=ada).json["errors"][0]["id"] == 2
    assert site.store.get(2).note == "bob's"


def test_undo_may_be_tried_again_where_the_database_was_away(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be taken back is kept; a reopening has nothing to take back."""
    token = site.token()
    name = site.decide(1, "reject", token=token).json["undo"]

    def away(_: object) -> None:
        raise StoreError("database", "it is away", "wait")

    with monkeypatch.context() as patch:
        patch.setattr(site.desk.database, "run", away)
        assert is_problem(site.call("POST", f"{PREFIX}/undo/{name}", token=token), 503)
    assert site.call("POST", f"{PREFIX}/undo/{name}", token=token).json["remaps"][0]["state"] == "pending"
    site.decide(1, "reject", token=token)
    assert site.decide(1, "reopen", token=token).json["undo"] is None


@pytest.mark.parametrize("change", ["decided", "sighted"])
def test_what_has_changed_meanwhile_is_refused(site: Site, change: str) -> None:
    """A decision on a state that is not there any more is 412, whoever changed it."""
    seen = site.version(1)
    if change == "decided":
        assert site.decide(1, "reject", token=site.token(owner="unix:bob")).status == 200
    else:
        site.store.sighted(OLD, OTHER)
        site.store.sighted(OLD, NEW, last=-0.5)
        site.store.sighted(OLD, OTHER, last=-0.2)
    before = site.store.get(1).state
    assert is_problem(site.decide(1, "approve", token=site.token(), seen=seen), 412)
    assert site.store.get(1).state is before


def test_more_calls_are_no_change(site: Site) -> None:
    """R30: evidence that grows meanwhile does not refuse a decision."""
    seen = site.version(1)
    site.store.sighted(OLD, NEW, calls=5, last=-0.5)
    assert site.decide(1, "approve", token=site.token(), seen=seen).status == 200


def test_the_same_decision_twice_is_one(site: Site) -> None:
    """A request that is sent again, since its answer was lost, is answered as done, and decides nothing more."""
    token, seen = site.token(), site.version(1)
    answers = [site.decide(1, "approve", token=token, seen=seen, reason="known") for _ in range(3)]
    assert [one.status for one in answers] == [200] * 3
    assert {one.json["remaps"][0]["state"] for one in answers} == {"approved"}
    with site.store.database.read() as connection:
        assert [one.action for one in audit.entries_of(connection, 1)] == ["approve"]
    other = site.decide(1, "approve", token=site.token(owner="unix:bob"), seen=seen, reason="known")
    assert is_problem(other, 412)


def test_two_people_at_once(site: Site) -> None:
    """Of two opposite decisions on the same state at the same moment one is done, the other refused."""
    seen = site.version(1)
    tokens = [site.token(owner=f"unix:{name}") for name in ("ada", "bob")]
    with ThreadPoolExecutor(2) as pool:
        tried = [
            pool.submit(site.decide, 1, action, token=token, seen=seen)
            for action, token in zip(("approve", "reject"), tokens, strict=True)
        ]
    assert sorted(one.result().status for one in tried) == [200, 412]
    with site.store.database.read() as connection:
        assert len(audit.entries_of(connection, 1)) == 1


def test_holds_and_choices_are_those_of_the_commands(site: Site) -> None:
    """R15, R26: a hold needs its reason, several Contacts a choice; each refusal is 409 and says what to do."""
    token = site.token()
    assert is_problem(held := site.decide(2, "approve", token=token), 409)
    assert "untrusted" in held.json["why"]
    assert site.decide(2, "approve", token=token, reason="known").status == 200
    assert is_problem(site.decide(3, "approve", token=token), 409)
    assert is_problem(site.decide(3, "approve", token=token, contact=9), 400)
    done = site.decide(3, "approve", token=token, contact=2).json["remaps"][0]
    assert done["new_uri"] == "sip:eve@two.example"
    assert is_problem(site.decide(1, "approve", token=token, force=True), 400)
    assert is_problem(site.decide(1, "reject", token=token, contact=1), 400)


def test_r44_what_it_contradicts_is_named(site: Site) -> None:
    """R44: an approval against an approved remap is 409 with that one's id, and done where it is named."""
    token = site.token()
    assert site.decide(1, "approve", token=token).status == 200
    other = site.store.sighted(OLD, OTHER).id
    refused = site.decide(other, "approve", token=token)
    assert (refused.status, refused.json["contradicts"]) == (409, [1])
    assert site.decide(other, "approve", token=token, replace=[1]).status == 200
    assert site.store.get(1).state is State.SUPERSEDED


def test_many_are_refused_row_by_row(site: Site) -> None:
    """One decision on many: each that has changed, is held or is not there is refused; the others are done."""
    token = site.token()
    rows = [{"id": number, "version": site.version(number)} for number in (1, 2, 3)]
    rows.append({"id": 99, "version": "0" * 32})
    assert site.decide(3, "reject", token=site.token(owner="unix:bob")).status == 200
    answer = site.call("POST", f"{PREFIX}/decisions", token=token, body={"action": "approve", "remaps": rows})
    said = answer.json
    assert (answer.status, [one["id"] for one in said["remaps"]]) == (200, [1])
    assert sorted(one["id"] for one in said["errors"]) == [2, 3, 99]
    assert all(one["why"] and one["what_to_do"] for one in said["errors"])
    twice = {"action": "approve", "remaps": [rows[1], rows[1]]}
    assert is_problem(site.call("POST", f"{PREFIX}/decisions", token=token, body=twice), 400)


def test_two_people_by_the_api(site: Site) -> None:
    """A token counts as its owner: two tokens of one person are one approval, those of two people two."""
    site.configure("approvals = 2\n")
    first = site.decide(1, "approve", token=site.token()).json
    assert [(one["state"], one["approvals"]) for one in first["remaps"]] == [("pending", ["ada"])]
    assert is_problem(site.decide(1, "approve", token=site.token()), 409)
    assert is_problem(site.decide(1, "approve", token=site.token(owner="proxy:ada")), 409)
    assert site.decide(1, "approve", token=site.token(owner="unix:bob")).json["remaps"][0]["state"] == "approved"


def test_one_person_has_accounts_of_all_kinds(site: Site) -> None:
    """[policy.people] names accounts of OIDC, a proxy, the console and the hosts: one person's are one approval."""
    ada, bob = '["ada", "oidc:5f2", "local:al"]', '["proxy:bob"]'
    site.configure(f"approvals = 2\n[policy.people]\nada = {ada}\nbob = {bob}\n")
    first = site.decide(1, "approve", token=site.token(owner="oidc:5f2")).json
    assert [(one["state"], one["approvals"]) for one in first["remaps"]] == [("pending", ["ada"])]
    for owner in ("local:al", "unix:ada", "oidc:ada", "unix:bob", "proxy:ada", "local:bob"):
        assert is_problem(site.decide(1, "approve", token=site.token(owner=owner)), 409)
    assert site.decide(1, "approve", token=site.token(owner="proxy:bob")).json["remaps"][0]["state"] == "approved"


def test_pages_hold_all_once(site: Site) -> None:
    """A list is read page by page to its end; each remap is there once, and filters restrict it."""
    token, after, found = site.token(Role.VIEWER), 0, []
    for number in range(20):
        site.store.sighted(f"sip:u{number}@old.example.com", NEW)
    while after is not None:
        said = site.call("GET", f"{PREFIX}/remaps?limit=7&state=pending&after={after}", token=token).json
        found += [one["id"] for one in said["remaps"]]
        after = said["after"]
    assert found == list(range(1, 24))
    held = site.call("GET", f"{PREFIX}/remaps?flag=untrusted&domain=old.example", token=token).json
    assert [one["id"] for one in held["remaps"]] == [2]
    states = site.call("GET", f"{PREFIX}/remaps?state=approved&state=rejected", token=token).json
    assert states["remaps"] == []


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/remaps?limit=0", 422),
        ("/remaps?limit=9999", 422),
        ("/remaps?limit=x", 422),
        ("/remaps?limit=1&limit=2", 422),
        ("/remaps?nonsense=1", 422),
        ("/remaps?state=lost", 422),
        ("/remaps?flag=nonsense", 400),
        ("/remaps?older_than=soon", 400),
        ("/remaps?older_than=999999w", 400),
        ("/remaps?after=-1", 422),
        ("/remaps?after=99999999999999999999999", 422),
        ("/remaps/0", 404),
        ("/remaps/999", 404),
        ("/remaps/x", 404),
        ("/remaps/%2e%2e", 404),
        ("/remaps/٣", 404),
        ("/remaps/99999999999999999999999999", 404),
        ("/generations/7", 404),
        ("/audit?remap=0", 422),
        ("/nonsense", 404),
    ],
)
def test_a_wrong_request_is_a_problem(site: Site, path: str, status: int) -> None:
    """What can't be meant is an error that says where, why and what to do."""
    assert is_problem(site.call("GET", PREFIX + path, token=site.token()), status)


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"", "application/json", 400),
        (b"{", "application/json", 400),
        (b"[]", "application/json", 422),
        (b"null", "application/json", 422),
        (b'{"reason": 1}', "application/json", 422),
        (b'{"reason": "x", "more": 1}', "application/json", 422),
        (b'{"contact": 0}', "application/json", 422),
        (b'{"contact": true}', "application/json", 422),
        (b'{"force": "yes", "reason": "x"}', "application/json", 422),
        (b'{"contact": NaN}', "application/json", 400),
        (b'{"reason": "\\ud800"}', "application/json", 422),
        (b'"\xff"', "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b'{"force": false, "force": true, "reason": "x"}', "application/json", 400),
        (b"{}", "text/plain", 415),
        (b"reason=x", "application/x-www-form-urlencoded", 415),
        (b" " * 300_000, "application/json", 413),
    ],
)
def test_a_wrong_body_decides_nothing(site: Site, body: bytes, kind: str, status: int) -> None:
    """A body that is not the model's is refused whole, with nothing done."""
    headers = {"if-match": f'"{site.version(1)}"', "content-type": kind}
    answer = site.call("POST", f"{PREFIX}/remaps/1/approve", token=site.token(), headers=headers, body=body)
    assert is_problem(answer, status)
    assert site.store.get(1).state is State.PENDING


@pytest.mark.parametrize("value", [None, "*", '""', "x", '"x"', 'W/"0"', '"' + "0" * 32 + '", "1"'])
def test_without_a_version_nothing_is_decided(site: Site, value: str | None) -> None:
    """A decision needs the one version that was looked at: 428 without, 400 for anything else, 412 for another."""
    headers = {} if value is None else {"if-match": value}
    answer = site.call("POST", f"{PREFIX}/remaps/1/approve", token=site.token(), headers=headers, body={})
    assert is_problem(answer, 428 if value is None else 400)
    assert is_problem(site.decide(1, "approve", token=site.token(), seen="0" * 32), 412)


def test_a_note_is_audited_and_leaves_the_version(site: Site) -> None:
    """R35: a note is kept with who wrote it; a decision on what was seen before it still counts."""
    token, seen = site.token(), site.version(1)
    headers = {"if-match": f'"{seen}"'}
    noted = site.call("PUT", f"{PREFIX}/remaps/1/note", token=token, headers=headers, body={"note": "a\x1b[2Jb"})
    assert noted.json["remaps"][0]["note"] == "a\\x1b[2Jb"
    assert site.decide(1, "approve", token=token, seen=seen).status == 200


def test_tokens_are_seen_and_revoked_by_their_owner(site: Site) -> None:
    """One's own tokens are listed without secrets, an admin's list has all; a revoked one is 401 at once."""
    mine, other, admin = site.token(), site.token(owner="unix:bob"), site.token(Role.ADMIN, owner="unix:root")
    listed = site.call("GET", f"{PREFIX}/tokens", token=mine)
    assert [one["owner"] for one in listed.json["tokens"]] == ["unix:ada"]
    assert mine not in listed.text
    assert len(site.call("GET", f"{PREFIX}/tokens", token=admin).json["tokens"]) == 3
    assert is_problem(site.call("DELETE", f"{PREFIX}/tokens/1", token=other), 404)
    assert site.call("DELETE", f"{PREFIX}/tokens/1", token=admin).status == 200
    assert is_problem(site.call("GET", f"{PREFIX}/me", token=mine), 401)
    with site.store.database.read() as connection:
        kept = connection.exec_driver_sql("select * from api_token").all()
    assert other not in str(kept)


def test_hostile_text_is_harmless_json(site: Site) -> None:
    """ANSI, bidi and null characters of a caller are shown by number, in replies and errors alike."""
    bad = "sip:\x1b]0;x\x07\u202e\x00@new.example.net"
    with site.store.database.begin() as connection:
        connection.execute(remap.update().where(remap.c.id == 1).values(new_uri=bad, note=bad, old_uri=bad))
    token = site.token()
    shown = site.call("GET", f"{PREFIX}/remaps/1", token=token)
    error = site.call("GET", f"{PREFIX}/remaps?flag=%1b[2J%e2%80%ae", token=token)
    for answer in (shown, error):
        assert not any(sign in str(answer.json) for sign in ("\x1b", "\u202e", "\x00"))


def test_a_list_of_generations_reads_no_file(site: Site) -> None:
    """A hundred generations of a large routing file are a list of names: no content is taken out of the database."""
    made = Generation(node="vm", created_at=site.now, actor="unix:ada", cause="apply", checksum="0" * 64, plan={})
    file = GenerationFile("users", "csv", "/etc/users.csv", "0" * 64, b"old,new\n")
    with site.store.database.begin() as connection:
        number = add_generation(connection, made, [file])
        connection.execute(generation_file.update().values(content=b"can't be read"))
    for path in ("?node=vm", f"/{number}"):
        answer = site.call("GET", f"{PREFIX}/generations{path}", token=site.token())
        assert (answer.status, "/etc/users.csv" in answer.text) == (200, True)
    assert "users" in site.get("/generations?node=vm", site.session()).text
