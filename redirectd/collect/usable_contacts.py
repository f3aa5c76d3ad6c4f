"""Rules R13 to R21 on the Contacts of an answer: which of them routing could use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import unquote

from redirectd.collect.policy import Policy
from redirectd.collect.verdict import Candidate, Refused
from redirectd.collect.volatile import volatile
from redirectd.sip.compare import equal, route_key
from redirectd.sip.contact import Contact, parse_contacts, parse_delta_seconds
from redirectd.sip.text import normalize_escapes, printable
from redirectd.sip.uri import (
    MAX_URI,
    VISUAL_SEPARATORS,
    OtherUri,
    SipUri,
    TelUri,
    Uri,
    param_name,
    params_text,
    parse_uri,
)

if TYPE_CHECKING:
    from redirectd.collect.answer import Answer

_ROUTING_DATA = ("rn", "npdi", "cic", "tgrp", "trunk-context")
"""R21: number portability (RFC 4694) and trunk groups (RFC 4904)."""

_ESCAPED_IN_USER = str.maketrans({char: f"%{ord(char):02X}" for char in "#:[]"})
"""What may stand raw in a tel: URI, and not in the user part of a SIP URI (RFC 3261, 25.1)."""

_LONGEST_NUMBER = 15
"""Digits of the longest number (ITU-T E.164)."""

MAX_CANDIDATES = 50
"""More different Contacts than this are not kept; the flag tells how many there were."""


@dataclass(frozen=True, slots=True)
class Targets:
    """What the Contacts come to: candidates in q order, holds, and the lifetime in seconds (None: for good)."""

    candidates: tuple[Candidate, ...]
    flags: Mapping[str, str]
    lifetime: int | None
    lifetime_fault: str | None


def place_of(uri: SipUri) -> SipUri:
    """Host, port and transport alone: what moves when a gateway or registrar answers 301 (R12)."""
    params = tuple(param for param in uri.params if param[0].lower() == "transport")
    return SipUri(uri.scheme, None, None, uri.host, uri.port, params)


def read_targets(answer: Answer, old: SipUri, policy: Policy, *, place_only: bool) -> Targets | Refused:
    """The Contacts as candidates, or why there is none; `place_only` takes their host, port and transport."""
    contacts = parse_contacts(answer.contacts)
    if not contacts:
        return _no_contact(answer)
    readable = [contact for contact in contacts if contact.fault is None and not contact.is_star]
    faults = [contact.fault for contact in contacts if contact.fault is not None]
    if not readable:
        if faults:
            return _refuse(answer, "R14", f"the Contact can't be read: {faults[0]}", unparsed=True)
        return _refuse(answer, "R14", "Contact: * names no target")
    faults += ["* stands alone or not at all" for contact in contacts if contact.is_star]
    flags: dict[str, str] = {}
    if faults:
        flags["malformed"] = f"{len(faults)} of {len(contacts)} Contacts can't be read: {faults[0]}"
    if answer.faults:
        flags["malformed"] = "; ".join(answer.faults)
    return _choose(answer, old, readable, flags, policy, place_only=place_only)


def _no_contact(answer: Answer) -> Refused:
    if answer.contact_headers or answer.faults:
        why = "; ".join(answer.faults) or "the logging server could not read it"
        return _refuse(answer, "R14", f"there is a Contact, but it can't be read: {why}", unparsed=True)
    return _refuse(answer, "R13", "the answer has no Contact: it says that the place is gone, not where to")


def _choose(
    answer: Answer,
    old: SipUri,
    readable: list[Contact],
    flags: dict[str, str],
    policy: Policy,
    *,
    place_only: bool,
) -> Targets | Refused:
    """R11, R15 to R17 and R20 over the readable Contacts."""
    routable: list[tuple[SipUri, Contact, str]] = []
    refusal: tuple[str, str] = ("R20", "")
    distinct: list[Uri] = []
    for contact in readable:
        assert contact.uri is not None
        uri, dropped = _stripped(_as_sip(contact.uri, policy))
        if place_only and isinstance(uri, SipUri):
            uri = place_of(uri)
        if not any(equal(uri, known) for known in distinct[:MAX_CANDIDATES]):
            distinct.append(uri)
            problem = _unroutable(uri, old)
            if problem:
                refusal = problem
            else:
                assert isinstance(uri, SipUri)
                routable.append((uri, contact, dropped))
    if not routable:
        return _refuse(answer, *refusal)
    if len(distinct) > 1:
        flags["ambiguous"] = f"{len(distinct)} different Contacts: one has to be chosen"
        if len(routable) < len(distinct):
            flags["ambiguous"] += f"; {len(distinct) - len(routable)} of them can't be routed: {refusal[1]}"
    alive = [item for item in routable if _lifetime(item[1], answer)[0] != 0]
    if not alive:
        return _refuse(answer, "R18", "its lifetime is zero: the move is over as soon as it is announced")
    alive.sort(key=lambda item: -item[1].q)
    for uri, _, _ in alive:
        flags |= target_holds(uri, old)
    lifetimes = [_lifetime(contact, answer) for _, contact, _ in alive]
    finite = [seconds for seconds, _ in lifetimes if seconds is not None]
    return Targets(
        candidates=tuple(
            Candidate(str(uri), str(route_key(uri)), contact.q, printable(contact.raw), dropped)
            for uri, contact, dropped in alive[:MAX_CANDIDATES]
        ),
        flags=flags,
        lifetime=min(finite) if finite else None,
        lifetime_fault=next((fault for _, fault in lifetimes if fault), None),
    )


def _as_sip(uri: Uri, policy: Policy) -> Uri:
    """R20: a tel: target becomes a SIP URI at the configured gateway (RFC 3261 19.1.6).

    Its parameters stay with the number, in the user part: beside the host `maddr` or `user` would mean something else.
    A global number has no context (RFC 3966, 5.1.5). Stays as it is where a SIP URI would be too long to be read.
    """
    if not isinstance(uri, TelUri) or not policy.tel_gateway:
        return uri
    gateway = parse_uri(f"sip:{policy.tel_gateway}")
    assert isinstance(gateway, SipUri)
    params = tuple(one for one in uri.params if not uri.is_global or param_name(one[0]) != "phone-context")
    user = (uri.digits + params_text(params)).translate(_ESCAPED_IN_USER)
    routed = replace(gateway, user=user, params=(("user", "phone"),))
    return routed if len(str(routed)) <= MAX_URI else uri


def _stripped(uri: Uri) -> tuple[Uri, str]:
    """R16: without `method` and headers, and what that took away."""
    if not isinstance(uri, SipUri):
        return uri, ""
    dropped = []
    if uri.has_param("method"):
        dropped.append(f"method={uri.param('method')}")
    if uri.headers is not None:
        dropped.append(f"?{uri.headers}")
    stripped = uri.without({"method"}, headers=True)
    if uri.user is not None and "%" in uri.user:
        stripped = replace(stripped, user=normalize_escapes(uri.user))  # escapes are the same in either case
    return stripped, " ".join(dropped)


def _unroutable(uri: Uri, old: SipUri) -> tuple[str, str] | None:
    """The rule and reason that keep a single Contact out of routing."""
    if isinstance(uri, TelUri):
        return "R20", "the target is a tel: number that no tel_gateway takes: none is configured, or it is too long"
    if isinstance(uri, OtherUri):
        return "R20", f"a {printable(uri.scheme, 20)}: target can't be routed"
    if equal(uri, old):
        return "R17", "the Contact is the old URI itself"
    if reason := volatile(uri):
        return "R11", f"the target is volatile: {reason}"
    return None


def target_holds(uri: SipUri, old: SipUri) -> dict[str, str]:
    """R19, R21, and the parts of R27 and R42 that need no policy: holds by name, each with its reason."""
    flags: dict[str, str] = {}
    if old.scheme == "sips" and uri.scheme == "sip":
        flags["downgrade"] = "the old URI is sips and the new one is sip: calls would lose their protection"
    elif _asks_tls(old) and not _asks_tls(uri):
        flags["downgrade"] = "the old URI has transport=tls and the new one does not: calls would lose TLS"
    inside = {part.partition("=")[0].lower() for part in (uri.user or "").split(";")[1:]}
    found = [name for name in _ROUTING_DATA if uri.has_param(name) or name in inside]
    if found:
        flags["routing-data"] = f"the target carries {', '.join(found)}: number portability or trunk data"
    if reasons := list(_suspicions(uri, old)):
        flags["suspicious"] = "; ".join(reasons)
    return flags


def _asks_tls(uri: SipUri) -> bool:
    return uri.scheme == "sips" or route_key(uri).transport == "tls"


def _suspicions(uri: SipUri, old: SipUri) -> Iterator[str]:
    """R27 and R42: what is odd about the two URIs themselves, each as a reason."""
    if uri.has_param("maddr"):
        yield "the target's maddr sends calls to another host than the one it shows"
    if old.has_param("maddr"):
        yield "the old URI has a maddr, which no routing file can match on"
    if old.user is not None and uri.user is None:
        yield "a user moved to a URI without a user"
    number = number_in(uri)
    if number is not None and len(number) > _LONGEST_NUMBER:
        yield f"the new number has {len(number)} digits, and E.164 ends at {_LONGEST_NUMBER}"
    for which, checked in (("target", uri), ("old URI", old)):
        if checked.forbidden_escapes:
            yield f"in the {which}, {checked.forbidden_escapes}"


def number_in(uri: SipUri) -> str | None:
    """The digits of a user that is a telephone number, separators and a leading + left out; None for any other."""
    user = unquote(uri.user or "").partition(";")[0].translate(VISUAL_SEPARATORS).removeprefix("+")
    return user if user.isascii() and user.isdigit() else None


def _lifetime(contact: Contact, answer: Answer) -> tuple[int | None, str | None]:
    """R18: seconds (None: no end given) and a fault; the Contact's own `expires` beats the header."""
    if contact.has_param("expires"):
        return contact.expires, contact.expires_fault
    if answer.expires is None:
        return None, None
    seconds = parse_delta_seconds(answer.expires)
    fault = None if seconds is not None else f"its Expires can't be read: {printable(answer.expires, 60)}"
    return seconds, fault


def _refuse(answer: Answer, rule: str, reason: str, *, unparsed: bool = False) -> Refused:
    return Refused(
        answer=answer, rule=rule, reason=reason, old_uri=printable(answer.request_uri or ""), unparsed=unparsed
    )
