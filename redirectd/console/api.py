"""The REST API: each endpoint with who may call it, what it takes, does and gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel

from redirectd.config.values import parse_duration
from redirectd.console.access import DeniedError, Visitor
from redirectd.console.api_models import (
    ACTIONS,
    GREATEST_ID,
    Action,
    ApplyBody,
    ApplyRequestsReply,
    AuditQuery,
    AuditReply,
    AuditRow,
    DecisionBody,
    DecisionReply,
    EventsQuery,
    EventsReply,
    GenerationsQuery,
    GenerationsReply,
    LossesReply,
    ManyBody,
    MeReply,
    NoteBody,
    PlansReply,
    RemapsQuery,
    RemapsReply,
    SourcesReply,
    TokensReply,
    VersionedRemap,
    VersionedShown,
)
from redirectd.console.desk import Desk, DeskReply, Verdicts
from redirectd.console.node_applies import (
    RequestJson,
    ask_for_apply,
    plans_of,
    requested_applies,
    requested_apply,
)
from redirectd.errors import BusyStoreError, ConfigError, RedirectdError, RefusedError, StoreError, UsageError
from redirectd.plan.report import to_json
from redirectd.review.decide import ChangedError
from redirectd.review.documents import (
    TokenJson,
    entry_json,
    generation_json,
    remap_json,
    shown_json,
    token_json,
)
from redirectd.review.four_eyes import version
from redirectd.review.holds import ALL_FLAGS
from redirectd.review.page import HELD, UNROUTED, Query, page
from redirectd.service.applying import plan_of
from redirectd.service.start import status_document
from redirectd.sip.text import printable
from redirectd.store import audit, event_log, generations, tokens
from redirectd.store.audit import AuditEntry
from redirectd.store.tokens import Role
from redirectd.store.turns import take_turn

PREFIX = "/api/v1"


@dataclass(frozen=True, slots=True)
class ApiCall:
    """A request that may be: who, on which remap, with which query and body, and the version it has seen."""

    desk: Desk
    visitor: Visitor
    name: str
    query: Any
    body: Any
    seen: str | None

    @property
    def number(self) -> int:
        """The id in the path. Raises DeniedError (404) for another text."""
        if not self.name.isascii() or not self.name.isdecimal() or len(self.name) > 19:
            raise DeniedError(404, f"{printable(self.name, 60)!r} is not an id", "ids are numbers: GET /api/v1/remaps")
        return int(self.name)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one path. `role` is the least that may call it; `is_checked` needs If-Match."""

    method: str
    path: str
    role: Role
    text: str
    run: Callable[[ApiCall], Mapping[str, Any]]
    reply: Any
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    is_checked: bool = False
    more: Mapping[str, Any] = field(default_factory=dict)


def _versioned(desk: Desk, found: Any) -> VersionedRemap:  # noqa: ANN401 - a remap
    return {**remap_json(found, desk.clock()), "version": version(found)}


def query_of(asked: RemapsQuery, now: datetime) -> Query:
    """The filter that was asked for. Raises UsageError for a flag or an age that is not one."""
    if asked.flag is not None and asked.flag not in ALL_FLAGS | {"none", HELD, UNROUTED}:
        raise UsageError("flag", f"there is no flag {printable(asked.flag, 40)!r}", "see GET /api/v1/openapi.json")
    try:
        older = None if asked.older_than is None else now - parse_duration(asked.older_than)
    except (ValueError, OverflowError) as error:
        raise UsageError("older_than", str(error), "write it as 30d, 12h or 90m") from error
    return Query(
        states=asked.state,
        kind=asked.kind,
        peer=asked.peer,
        domain=asked.domain,
        flag=asked.flag,
        seen_before=older,
        now=now,
    )


def _list(call: ApiCall) -> RemapsReply:
    asked: RemapsQuery = call.query
    query = query_of(asked, call.desk.clock())
    with call.desk.database.read() as connection:
        found = page(connection, query, call.desk.policy, after=asked.after, limit=asked.limit)
        return {"remaps": [_versioned(call.desk, one) for one in found.remaps], "after": found.after}


def _show(call: ApiCall) -> VersionedShown:
    with call.desk.database.read() as connection:
        found = call.desk.remap(connection, call.number)
        return {**shown_json(connection, found, call.desk.clock()), "version": version(found)}


def _deciding(action: Action) -> Callable[[ApiCall], DecisionReply]:
    def run(call: ApiCall) -> DecisionReply:
        given: DecisionBody = call.body
        if action != "approve" and (given.contact is not None or given.force or given.replace):
            raise UsageError("body", "contact, force and replace are for an approval", "leave them out")
        if given.force and not given.reason.strip():
            raise UsageError("force", "what is forced needs a written reason", "add reason")
        with call.desk.database.read() as connection:
            number = call.desk.remap(connection, call.number).id
        wanted = Verdicts(
            action=action,
            seen={number: call.seen or ""},
            reason=given.reason,
            contact=given.contact,
            force=given.force,
            replace=frozenset(given.replace),
        )
        decided = call.desk.decide(call.visitor, wanted)
        for error in decided.refused.values():
            raise error
        return _decided(call.desk, decided)

    return run


def _many(call: ApiCall) -> DecisionReply:
    given: ManyBody = call.body
    seen = {one.id: one.version for one in given.remaps}
    if len(seen) != len(given.remaps):
        raise UsageError("remaps", "an id is there twice", "name each remap once")
    return _decided(
        call.desk, call.desk.decide(call.visitor, Verdicts(action=given.action, seen=seen, reason=given.reason))
    )


def _note(call: ApiCall) -> DecisionReply:
    given: NoteBody = call.body
    return _decided(call.desk, call.desk.note(call.visitor, call.number, call.seen or "", given.note))


def _undo(call: ApiCall) -> DecisionReply:
    return _decided(call.desk, call.desk.undo(call.visitor, call.name))


def _decided(desk: Desk, decided: DeskReply) -> DecisionReply:
    return {
        "remaps": [_versioned(desk, one) for one in decided.done],
        "errors": [
            {
                "id": number,
                "where": printable(error.where),
                "why": printable(error.why),
                "what_to_do": printable(error.what_to_do),
                "contradicts": list(getattr(error, "against", ())),
            }
            for number, error in decided.refused.items()
        ],
        "undo": decided.undo or None,
    }


def _status(call: ApiCall) -> dict[str, Any]:
    config = call.desk.config
    document: dict[str, Any] = status_document(lambda: config, lambda: call.desk.database, config.file)
    return document


def _losses(call: ApiCall) -> LossesReply:
    document = _status(call)
    return {"losses": document["losses"], "quarantine": document["quarantine"]}


def _sources(call: ApiCall) -> SourcesReply:
    return {"sources": _status(call)["sources"]}


def _plan(call: ApiCall) -> dict[str, Any]:
    plan = plan_of(call.desk.config, call.desk.database)
    if plan.error is not None:
        raise plan.error
    return dict(to_json(plan))


def _plans(call: ApiCall) -> PlansReply:
    return {"plans": plans_of(call.desk, call.visitor)}


def _applies(call: ApiCall) -> ApplyRequestsReply:
    return {"requests": requested_applies(call.desk)}


def _apply(call: ApiCall) -> RequestJson:
    return requested_apply(call.desk, call.number)


def _ask(call: ApiCall) -> RequestJson:
    given: ApplyBody = call.body
    return ask_for_apply(call.desk, call.visitor, given.node, given.checksum)


def _generations(call: ApiCall) -> GenerationsReply:
    asked: GenerationsQuery = call.query
    with call.desk.database.read() as connection:
        found = generations.history(connection, asked.node or call.desk.config.node, asked.limit)
        files = [generations.files_of(connection, one.number, with_content=False) for one in found]
    return {"generations": [generation_json(one, each) for one, each in zip(found, files, strict=True)]}


def _generation(call: ApiCall) -> dict[str, Any]:
    number = call.number
    with call.desk.database.read() as connection:
        found = generations.get_generation(connection, number) if number <= GREATEST_ID else None
        if found is None:
            raise DeniedError(404, f"there is no generation {number}", "list them: GET /api/v1/generations")
        files = generations.files_of(connection, number, with_content=False)
    return generation_json(found, files) | {"plan": found.plan}


def _audit(call: ApiCall) -> AuditReply:
    asked: AuditQuery = call.query
    with call.desk.database.read() as connection:
        found, more = audit.page(connection, after=asked.after, limit=asked.limit, remap_id=asked.remap)
    entries: list[AuditRow] = []
    for number, entry in found:
        via = entry.detail.get("via")
        shown = via.items() if isinstance(via, dict) else ()
        kept = {name: printable(str(value), 200) for name, value in shown if name != "request"}
        entries.append({**entry_json(entry), "id": number, "remap_id": entry.remap_id, "via": kept})
    return {"entries": entries, "after": found[-1][0] if more else None}


def _events(call: ApiCall) -> EventsReply:
    asked: EventsQuery = call.query
    with call.desk.database.read() as connection:
        found = event_log.read(connection, since=asked.since, limit=asked.limit)
        return {
            "events": [event_log.document(one) for one in found],
            "cursor": found[-1].cursor if found else asked.since,
            "oldest": event_log.oldest(connection) or None,
        }


def _tokens(call: ApiCall) -> TokensReply:
    owner = None if call.visitor.may(Role.ADMIN) else call.visitor.account
    with call.desk.database.read() as connection:
        return {"tokens": [token_json(one) for one in tokens.tokens(connection, owner)]}


def _revoke_token(call: ApiCall) -> TokenJson:
    """Ends a token of the visitor's, an admin's anybody's, audited."""
    desk, visitor, number = call.desk, call.visitor, call.number
    with desk.database.begin() as connection:
        take_turn(connection, audit.TURN)
        owner = None if visitor.may(Role.ADMIN) else visitor.account
        found = tokens.revoke_token(connection, number, owner) if number <= GREATEST_ID else None
        if found is None:
            raise DeniedError(404, f"you have no token {number}", "list them: GET /api/v1/tokens")
        detail = {"token": number, "owner": found.owner, "via": visitor.via}
        entry = AuditEntry(at=desk.clock(), actor=visitor.account, action="revoke-token", detail=detail)
        audit.append(connection, entry)
    return token_json(found)


def _me(call: ApiCall) -> MeReply:
    return {"account": call.visitor.account, "role": call.visitor.role.value, "token": call.visitor.token}


_TEXTS = {
    "approve": "Approve a pending remap: the next apply routes it, unless other people must approve it too.",
    "reject": "Reject a pending remap: it stays rejected on new sightings.",
    "revoke": "Take an approval back: the next apply no longer routes it.",
    "reopen": "Put a decided remap back to pending.",
}

ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("GET", "/me", Role.VIEWER, "Who the token is of.", _me, MeReply),
    Endpoint("GET", "/remaps", Role.VIEWER, "A page of remaps by filter.", _list, RemapsReply, query=RemapsQuery),
    Endpoint("GET", "/remaps/{name}", Role.VIEWER, "A remap with its evidence and decisions.", _show, VersionedShown),
    *(
        Endpoint(
            "POST",
            f"/remaps/{{name}}/{action}",
            Role.REVIEWER,
            _TEXTS[action],
            _deciding(action),
            DecisionReply,
            body=DecisionBody,
            is_checked=True,
        )
        for action in ACTIONS
    ),
    Endpoint(
        "PUT",
        "/remaps/{name}/note",
        Role.REVIEWER,
        "Write a note on a remap.",
        _note,
        DecisionReply,
        body=NoteBody,
        is_checked=True,
    ),
    Endpoint(
        "POST",
        "/decisions",
        Role.REVIEWER,
        "Decide on many remaps, each as it was looked at; those that have changed are refused one by one.",
        _many,
        DecisionReply,
        body=ManyBody,
    ),
    Endpoint(
        "POST", "/undo/{name}", Role.REVIEWER, "Take a decision back by the name in its reply.", _undo, DecisionReply
    ),
    Endpoint("GET", "/status", Role.VIEWER, "What runs, waits and is wrong, as `status --json`.", _status, dict),
    Endpoint("GET", "/sources", Role.VIEWER, "The sources of this host's service.", _sources, SourcesReply),
    Endpoint("GET", "/losses", Role.VIEWER, "What was lost.", _losses, LossesReply),
    Endpoint("GET", "/plan", Role.VIEWER, "What the next apply on this host changes, as `plan --json`.", _plan, dict),
    Endpoint(
        "GET", "/plans", Role.VIEWER, "What each node's next apply changes, as it published it.", _plans, PlansReply
    ),
    Endpoint("GET", "/apply-requests", Role.VIEWER, "Applies that nodes were asked for.", _applies, ApplyRequestsReply),
    Endpoint("GET", "/apply-requests/{name}", Role.VIEWER, "One of them, with its answer.", _apply, RequestJson),
    Endpoint(
        "POST",
        "/apply-requests",
        Role.APPLIER,
        "Ask a node to apply a plan as it was looked at; its service decides and answers.",
        _ask,
        RequestJson,
        body=ApplyBody,
    ),
    Endpoint(
        "GET",
        "/generations",
        Role.VIEWER,
        "What was installed on a node.",
        _generations,
        GenerationsReply,
        query=GenerationsQuery,
    ),
    Endpoint("GET", "/generations/{name}", Role.VIEWER, "One generation with its plan.", _generation, dict),
    Endpoint("GET", "/audit", Role.VIEWER, "All decisions and sign-ins.", _audit, AuditReply, query=AuditQuery),
    Endpoint(
        "GET", "/events", Role.VIEWER, "What happened, from a cursor on.", _events, EventsReply, query=EventsQuery
    ),
    Endpoint("GET", "/tokens", Role.VIEWER, "One's own tokens; an admin's everybody's.", _tokens, TokensReply),
    Endpoint("DELETE", "/tokens/{name}", Role.VIEWER, "Revoke a token.", _revoke_token, TokenJson),
)


def status_of(error: RedirectdError) -> int:
    """The HTTP status of an error."""
    if isinstance(error, DeniedError):
        return error.status
    for kind, status in (
        (ChangedError, 412),
        (UsageError, 400),
        (BusyStoreError, 503),
        (StoreError, 503),
        (ConfigError, 500),
        (RefusedError, 409),
    ):
        if isinstance(error, kind):
            return status
    return 409


def problem(error: RedirectdError) -> dict[str, Any]:
    """The error as application/problem+json (RFC 9457)."""
    status = status_of(error)
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": printable(f"{error.where}: {error.why}"),
        "where": printable(error.where),
        "why": printable(error.why),
        "what_to_do": printable(error.what_to_do),
    }
    if against := getattr(error, "against", ()):
        document["contradicts"] = list(against)
    return document
