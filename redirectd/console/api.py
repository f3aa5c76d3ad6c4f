"""The REST API: each endpoint with who may call it, what it takes and what it gives, and the document made of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from sqlalchemy import select
from typing_extensions import TypedDict

from redirectd import __version__
from redirectd.config.values import parse_duration
from redirectd.console.access import DeniedError, Visitor
from redirectd.console.desk import MOST, Desk, DeskReply, Verdicts
from redirectd.errors import BusyStoreError, ConfigError, RedirectdError, RefusedError, StoreError, UsageError
from redirectd.plan.report import to_json
from redirectd.review.decide import ChangedError
from redirectd.review.documents import (
    EntryJson,
    RemapJson,
    ShownJson,
    TokenJson,
    entry_json,
    generation_json,
    remap_json,
    shown_json,
    token_json,
)
from redirectd.review.four_eyes import version
from redirectd.review.holds import ALL_FLAGS
from redirectd.review.page import Query, page
from redirectd.service.applying import plan_of
from redirectd.service.start import status_document
from redirectd.sip.text import printable
from redirectd.store import audit, event_log, generations, tokens
from redirectd.store.audit import AuditEntry
from redirectd.store.remap import State
from redirectd.store.schema import audit as audit_table
from redirectd.store.tokens import Role
from redirectd.store.turns import take_turn

PREFIX = "/api/v1"
GREATEST_ID = 2**63 - 1
Action = Literal["approve", "reject", "revoke", "reopen"]
ACTIONS: tuple[Action, ...] = ("approve", "reject", "revoke", "reopen")
Model = TypeVar("Model", bound=BaseModel)
Id = Annotated[int, Field(ge=1, le=GREATEST_ID)]
Version = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$", description="The remap's `version` as it was looked at.")]
Reason = Annotated[str, Field(max_length=500, description="Why; kept in the audit.")]


class _Given(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RemapsQuery(_Given):
    """Which remaps, and which page of them."""

    state: list[State] = Field(default_factory=list, description="Only these states; may be repeated.")
    kind: Literal["user", "gateway", "registrar"] | None = Field(default=None, description="Only this kind.")
    peer: str | None = Field(default=None, max_length=200, description="Reported by a peer containing this text.")
    domain: str | None = Field(default=None, max_length=200, description="Old or new host contains this text.")
    flag: str | None = Field(default=None, max_length=32, description="With this flag; `none`: without any.")
    older_than: str | None = Field(default=None, max_length=32, description="Last seen longer ago, such as 30d.")
    after: int = Field(default=0, ge=0, le=GREATEST_ID, description="Only remaps with a higher id: the next page.")
    limit: int = Field(default=50, ge=1, le=500, description="Remaps of a page.")


class AuditQuery(_Given):
    """Which decisions."""

    remap: Id | None = Field(default=None, description="Only about this remap.")
    after: int = Field(default=0, ge=0, le=GREATEST_ID, description="Only entries with a higher id.")
    limit: int = Field(default=100, ge=1, le=1000, description="Entries of a page.")


class EventsQuery(_Given):
    """Events after a cursor."""

    since: int = Field(default=0, ge=0, le=GREATEST_ID, description="The cursor of the last answer.")
    limit: int = Field(default=100, ge=1, le=1000, description="Events of a page.")


class GenerationsQuery(_Given):
    """Generations of a node."""

    node: str | None = Field(default=None, max_length=64, description="Another node than the console's own.")
    limit: int = Field(default=50, ge=1, le=500, description="At most this many.")


class DecisionBody(_Given):
    """Why, and for an approval how."""

    reason: Reason = ""
    contact: int | None = Field(default=None, ge=1, le=1000, description="Which of several Contacts; 1 is the first.")
    force: bool = Field(default=False, description="Past holds that need it; with a reason.")
    replace: list[Id] = Field(default_factory=list, max_length=50, description="Approved remaps to supersede.")


class SeenRemap(_Given):
    """A remap as it was looked at."""

    id: Id
    version: Version


class ManyBody(_Given):
    """One decision on many remaps."""

    action: Action
    remaps: list[SeenRemap] = Field(min_length=1, max_length=MOST)
    reason: Reason = ""


class NoteBody(_Given):
    """A note in place of the one that is there."""

    note: str = Field(max_length=500)


class VersionedRemap(RemapJson):
    """A remap with the name of its state: send it as If-Match with a decision."""

    version: str


class VersionedShown(ShownJson):
    """A remap with all that is known of it, and its version."""

    version: str


class RemapsReply(TypedDict):
    """A page; `after` begins the next one, null at the end."""

    remaps: list[VersionedRemap]
    after: int | None


class RefusedRow(TypedDict):
    """A remap of a decision that was refused, and why."""

    id: int
    where: str
    why: str
    what_to_do: str
    contradicts: list[int]


class DecisionReply(TypedDict):
    """The remaps as they are now, those refused, and the name that takes it back for an hour; null for nothing."""

    remaps: list[VersionedRemap]
    errors: list[RefusedRow]
    undo: str | None


class AuditRow(EntryJson):
    """A decision with its id and the remap's; `via` is the console's address and token."""

    id: int
    remap_id: int | None
    via: dict[str, str]


class AuditReply(TypedDict):
    """Oldest first; `after` begins the next page, null at the end."""

    entries: list[AuditRow]
    after: int | None


class EventsReply(TypedDict):
    """Oldest first; `cursor` is the next `since`."""

    events: list[dict[str, Any]]
    cursor: int
    oldest: int | None


class GenerationsReply(TypedDict):
    """Newest first, each as `history --json` gives it."""

    generations: list[dict[str, Any]]


class LossesReply(TypedDict):
    """What was lost, and how many unreadable 301s are in quarantine."""

    losses: list[dict[str, Any]]
    quarantine: int | None


class SourcesReply(TypedDict):
    """What is read on the console's host, as `status --json` gives it."""

    sources: list[dict[str, Any]]


class TokensReply(TypedDict):
    """One's own tokens; for an admin everybody's."""

    tokens: list[TokenJson]


class MeReply(TypedDict):
    """Who the token is of."""

    account: str
    role: str
    token: int | None


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


def _list(call: ApiCall) -> RemapsReply:
    asked: RemapsQuery = call.query
    if asked.flag is not None and asked.flag not in ALL_FLAGS | {"none"}:
        raise UsageError("flag", f"there is no flag {printable(asked.flag, 40)!r}", "see GET /api/v1/openapi.json")
    now = call.desk.clock()
    try:
        older = None if asked.older_than is None else now - parse_duration(asked.older_than)
    except (ValueError, OverflowError) as error:
        raise UsageError("older_than", str(error), "write it as 30d, 12h or 90m") from error
    query = Query(
        states=asked.state,
        kind=asked.kind,
        peer=asked.peer,
        domain=asked.domain,
        flag=asked.flag,
        seen_before=older,
        now=now,
    )
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


def _generations(call: ApiCall) -> GenerationsReply:
    asked: GenerationsQuery = call.query
    with call.desk.database.read() as connection:
        found = generations.history(connection, asked.node or call.desk.config.node, asked.limit)
        return {"generations": [generation_json(one, generations.files_of(connection, one.number)) for one in found]}


def _generation(call: ApiCall) -> dict[str, Any]:
    number = call.number
    with call.desk.database.read() as connection:
        found = generations.get_generation(connection, number) if number <= GREATEST_ID else None
        if found is None:
            raise DeniedError(404, f"there is no generation {number}", "list them: GET /api/v1/generations")
        return generation_json(found, generations.files_of(connection, number)) | {"plan": found.plan}


def audit_rows(desk: Desk, asked: AuditQuery) -> AuditReply:
    """A page of the audit."""
    import json

    table = audit_table
    query = select(table).where(table.c.id > asked.after).order_by(table.c.id).limit(asked.limit + 1)
    if asked.remap is not None:
        query = query.where(table.c.remap_id == asked.remap)
    with desk.database.read() as connection:
        rows = connection.execute(query).all()
    entries: list[AuditRow] = []
    for row in rows[: asked.limit]:
        entry = AuditEntry(
            at=row.at,
            actor=row.actor,
            action=row.action,
            old_state=row.old_state,
            new_state=row.new_state,
            reason=row.reason,
        )
        via = json.loads(row.detail).get("via") or {}
        shown = {name: printable(str(value), 200) for name, value in via.items() if name != "request"}
        entries.append({**entry_json(entry), "id": row.id, "remap_id": row.remap_id, "via": shown})
    return {"entries": entries, "after": entries[-1]["id"] if len(rows) > asked.limit else None}


def _audit(call: ApiCall) -> AuditReply:
    return audit_rows(call.desk, call.query)


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


def revoke_token(desk: Desk, visitor: Visitor, number: int) -> tokens.ApiToken:
    """Ends a token of the visitor's, an admin's anybody's, audited. Raises DeniedError (404) where there is none."""
    with desk.database.begin() as connection:
        take_turn(connection, audit.TURN)
        owner = None if visitor.may(Role.ADMIN) else visitor.account
        found = tokens.revoke_token(connection, number, owner) if number <= GREATEST_ID else None
        if found is None:
            raise DeniedError(404, f"you have no token {number}", "list them: GET /api/v1/tokens")
        detail = {"token": number, "owner": found.owner, "via": visitor.via}
        entry = AuditEntry(at=desk.clock(), actor=visitor.account, action="revoke-token", detail=detail)
        audit.append(connection, entry)
    return found


def _revoke_token(call: ApiCall) -> TokenJson:
    return token_json(revoke_token(call.desk, call.visitor, call.number))


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


def read_model(model: type[Model], given: object, where: str) -> Model:
    """What was given as a model. Raises DeniedError (422) that names the first fault."""
    try:
        return model.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(printable(str(part), 60) for part in first["loc"]) or where
        raise DeniedError(
            422, f"{where} {place}: {printable(first['msg'], 200)}", "see GET /api/v1/openapi.json"
        ) from error


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


def openapi() -> dict[str, Any]:
    """The OpenAPI 3.1 document, from the same models that requests are read by and replies are typed by."""
    parts: dict[str, Any] = {"Problem": _PROBLEM}
    paths: dict[str, dict[str, Any]] = {}
    for one in ENDPOINTS:
        operation: dict[str, Any] = {
            "operationId": f"{one.method.lower()}{one.path.replace('/{name}', '').title().replace('/', '')}"
            + ("One" if "{name}" in one.path and one.method == "GET" else ""),
            "summary": one.text,
            "description": f"For {one.role.value}s and those who may more.",
            "parameters": _parameters(one, parts),
            "responses": {
                "200": {"description": "Done.", "content": _content(one.reply, parts)},
                "default": {
                    "description": "Refused: where, why and what to do.",
                    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
                },
            },
        }
        if one.body is not None:
            operation["requestBody"] = {"required": True, "content": _content(one.body, parts)}
        paths.setdefault(one.path, {})[one.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "redirectd", "version": __version__},
        "servers": [{"url": PREFIX}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(parts.items())),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


_PROBLEM = {
    "type": "object",
    "description": "An error: where, why and what to do (RFC 9457).",
    "properties": {
        **{name: {"type": "string"} for name in ("type", "title", "detail", "where", "why", "what_to_do")},
        "status": {"type": "integer"},
        "contradicts": {"type": "array", "items": {"type": "integer"}},
    },
    "required": ["type", "title", "status", "detail", "where", "why", "what_to_do"],
}


def _schema(kind: Any, parts: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401 - a model or a typed dict
    found: dict[str, Any] = TypeAdapter(kind).json_schema(ref_template="#/components/schemas/{model}")
    parts.update(found.pop("$defs", {}))
    if kind is dict:
        return {"type": "object"}
    name = found.get("title", kind.__name__)
    parts[name] = found
    return {"$ref": f"#/components/schemas/{name}"}


def _content(kind: Any, parts: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401 - a model or a typed dict
    return {"application/json": {"schema": _schema(kind, parts)}}


def _parameters(one: Endpoint, parts: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if "{name}" in one.path:
        text = {"type": "string"} if one.path.startswith("/undo") else {"type": "integer", "minimum": 1}
        found.append({"name": "name", "in": "path", "required": True, "schema": text})
    if one.is_checked:
        about = "The remap's `version` as it was looked at, in quotes."
        schema = {"type": "string", "pattern": '^"[0-9a-f]{32}"$'}
        found.append({"name": "If-Match", "in": "header", "required": True, "schema": schema, "description": about})
    if one.query is not None:
        asked: dict[str, Any] = TypeAdapter(one.query).json_schema(ref_template="#/components/schemas/{model}")
        parts.update(asked.pop("$defs", {}))
        for name, value in asked["properties"].items():
            kept = {key: value[key] for key in value if key not in {"description", "title"}}
            found.append({"name": name, "in": "query", "schema": kept, "description": value.get("description", "")})
    return found
