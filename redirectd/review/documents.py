"""Remaps and what belongs to them as the documents that `--json` prints and the API gives."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from typing_extensions import TypedDict  # pydantic describes these in the API's document

from redirectd.sip.text import printable
from redirectd.store.remap import State
from redirectd.times import rfc3339

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from redirectd.store.audit import AuditEntry
    from redirectd.store.generations import Generation, GenerationFile
    from redirectd.store.in_service import Service
    from redirectd.store.remap import Remap
    from redirectd.store.remaps import Evidence
    from redirectd.store.tokens import ApiToken


class RemapJson(TypedDict):
    """A remap; times are RFC 3339 in UTC."""

    id: int
    state: str
    kind: str
    old_uri: str
    new_uri: str | None
    contacts: list[str]
    flags: list[str]
    needs: list[str]
    approvals: list[str]
    required: int
    calls: int
    peers: list[str]
    methods: list[str]
    first_seen: str
    last_seen: str
    replaces: int | None
    note: str
    reasons: dict[str, str]
    facts: dict[str, str]
    incoming: list[str]
    expires_at: str | None
    stale: bool
    decided_at: str | None
    decided_by: str | None


class ContactJson(TypedDict):
    """A Contact of a 301, in q order; `dropped` are the parts that no route gets (R16)."""

    uri: str
    q: float
    dropped: str
    raw: str


class ServiceJson(TypedDict):
    """Since when a node routes by a remap, and what its old URI was answered since."""

    node: str
    since: str
    generation: int | None
    calls_a_day_before: float
    calls_since: int
    last_seen: str | None


class EvidenceJson(TypedDict):
    """A sighting: where it is logged, and what it says."""

    seen_at: str
    source: str
    position: int
    dialect: str
    peer: str
    method: str
    call_id: str
    text: str


class EntryJson(TypedDict):
    """A decision of the audit."""

    at: str
    actor: str
    action: str
    old_state: str | None
    new_state: str | None
    reason: str


class ShownJson(RemapJson):
    """A remap with all that is known of it."""

    contact_details: list[ContactJson]
    wait_ms: float | None
    in_service: list[ServiceJson]
    evidence: list[EvidenceJson]
    audit: list[EntryJson]


class TokenJson(TypedDict):
    """A token without its secret."""

    id: int
    owner: str
    role: str
    label: str
    created_at: str
    expires_at: str
    used_at: str | None
    used_from: str


def remap_json(remap: Remap, now: datetime) -> RemapJson:
    """The contract's keys, and behind them the reasons of the flags and the dates that can end or question it.

    `needs` is what an approval of a pending one needs beside it: `reason`, or `force` and `reason`; `required` people
    must approve it, and `approvals` are those who have.
    """
    from redirectd.review.holds import needs

    return {
        "id": remap.id,
        "state": remap.state.value,
        "kind": remap.kind,
        "old_uri": printable(remap.old_uri),
        "new_uri": printable(remap.new_uri) if remap.new_uri else None,
        "contacts": [printable(one.uri) for one in remap.contacts],
        "flags": sorted(remap.flags.keys() - {remap.kind}),  # R12: its kind says already that a registrar is held
        "needs": list(needs(remap)),
        "approvals": [printable(person) for person in remap.approvals],
        "required": remap.required,
        "calls": remap.calls,
        "peers": [printable(peer) for peer in remap.peers],
        "methods": [printable(method) for method in remap.methods],
        "first_seen": rfc3339(remap.first_seen),
        "last_seen": rfc3339(remap.last_seen),
        "replaces": remap.replaces,
        "note": printable(remap.note),
        "reasons": {name: printable(reason) for name, reason in sorted(remap.flags.items())},
        "facts": {name: printable(text) for name, text in sorted(remap.facts.items())},
        "incoming": [printable(uri) for uri in remap.incoming],
        "expires_at": rfc3339(remap.expires_at) if remap.expires_at else None,
        "stale": is_stale(remap, now),
        "decided_at": rfc3339(remap.decided_at) if remap.decided_at else None,
        "decided_by": printable(remap.decided_by) if remap.decided_by else None,
    }


def is_stale(remap: Remap, now: datetime) -> bool:
    """Whether an approved remap is past its review date (R36)."""
    return remap.state is State.APPROVED and remap.revalidate_after is not None and remap.revalidate_after < now


def shown_json(connection: Connection, remap: Remap, now: datetime) -> ShownJson:
    """A remap, which carries its holds, with its evidence and decisions, as `show --json` gives it."""
    from redirectd.store import audit, in_service, remaps

    wait_ms = in_service.wait_of(connection, remap.id)
    routed = in_service.services(connection, [remap.id]).get(remap.id, [])
    return {
        **remap_json(remap, now),
        "contact_details": [
            {"uri": one.uri, "q": one.q, "dropped": one.dropped, "raw": one.raw} for one in remap.contacts
        ],
        "wait_ms": None if wait_ms is None else round(wait_ms, 3),
        "in_service": [service_json(one) for one in routed],
        "evidence": [evidence_json(one) for one in remaps.evidence_of(connection, remap.id)],
        "audit": [entry_json(entry) for entry in audit.entries_of(connection, remap.id)],
    }


def evidence_json(one: Evidence) -> EvidenceJson:
    """One sighting."""
    return {
        "seen_at": rfc3339(one.seen_at),
        "source": printable(one.source),
        "position": one.position,
        "dialect": one.dialect,
        "peer": printable(one.peer),
        "method": printable(one.method),
        "call_id": printable(one.call_id),
        "text": "\n".join(printable(line) for line in one.text.splitlines()),
    }


def service_json(one: Service) -> ServiceJson:
    """Since when a node routes by a remap, and what its old URI was answered since."""
    return {
        "node": one.node,
        "since": rfc3339(one.since),
        "generation": one.generation,
        "calls_a_day_before": round(one.calls_a_day, 3),
        "calls_since": one.calls,
        "last_seen": rfc3339(one.last_seen) if one.last_seen else None,
    }


def entry_json(entry: AuditEntry) -> EntryJson:
    """One decision."""
    return {
        "at": rfc3339(entry.at),
        "actor": printable(entry.actor),
        "action": entry.action,
        "old_state": entry.old_state,
        "new_state": entry.new_state,
        "reason": printable(entry.reason),
    }


def generation_json(one: Generation, files: Sequence[GenerationFile]) -> dict[str, Any]:
    """One generation, as `history --json` gives it."""
    return {
        "number": one.number,
        "node": one.node,
        "created_at": rfc3339(one.created_at),
        "actor": printable(one.actor),
        "cause": one.cause,
        "outcome": one.outcome.value,
        "checksum": one.checksum,
        "targets": [
            {
                "name": file.target,
                "kind": file.kind,
                "path": file.path,
                "sha256": file.sha256,
                "outcome": file.outcome.value,
                "error": printable(file.error) if file.error else None,
            }
            for file in files
        ],
        "stages": [
            {"stage": each.stage, "target": each.target, "outcome": each.outcome, "error": printable(each.error)}
            for each in one.stages
        ],
    }


def token_json(one: ApiToken) -> TokenJson:
    """A token, without anything that could be used in its place."""
    return {
        "id": one.id,
        "owner": printable(one.owner),
        "role": one.role.value,
        "label": printable(one.label),
        "created_at": rfc3339(one.created_at),
        "expires_at": rfc3339(one.expires_at),
        "used_at": rfc3339(one.used_at) if one.used_at else None,
        "used_from": printable(one.used_from),
    }
