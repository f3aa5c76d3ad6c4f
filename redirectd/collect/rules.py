"""Rules R1 to R28 that need one answer alone: what moved, where to, and what holds or refuses it."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import IPv6Address, ip_address

from redirectd.collect.answer import UNPAIRED, WEAK, Answer
from redirectd.collect.policy import Policy
from redirectd.collect.usable_contacts import Targets, place_of, read_targets
from redirectd.collect.verdict import Learnt, Refused, Verdict, doubt
from redirectd.collect.volatile import volatile
from redirectd.dialects.frame import URI_CUT
from redirectd.sip.compare import route_key
from redirectd.sip.contact import split_commas
from redirectd.sip.text import normalize_escapes, printable
from redirectd.sip.uri import VISUAL_SEPARATORS, OtherUri, SipUri, TelUri, Uri, UriError, in_domains, parse_uri
from redirectd.times import rfc3339

KINDS = {"INVITE": "user", "MESSAGE": "user", "SUBSCRIBE": "user", "OPTIONS": "gateway", "REGISTER": "registrar"}
"""R12: what a 301 to each method says has moved."""


def judge(answer: Answer, policy: Policy) -> Verdict | None:
    """What follows from one answer; None for one that isn't a permanent move (R1) or can't be one (ACK, CANCEL)."""
    if answer.status != 301 or answer.method in {"ACK", "CANCEL"}:
        return None
    if answer.rank == WEAK and answer.request_uri is None:
        return Refused(answer=answer, rule="R7", reason="this kind of line can't tell which URI was answered")
    if answer.rank == UNPAIRED or answer.request_uri is None:
        why = URI_CUT if URI_CUT in answer.faults else "the request that was answered is not in the log"
        hint = f"; To was {printable(answer.to_hint, 200)}" if answer.to_hint else ""
        return Refused(answer=answer, rule="R7", reason=f"{why}{hint}")
    if _is_dip(answer, policy):
        return _refused(answer, "R43", f"{answer.peer_text} is one of never_learn_from: its 301s are no moves")
    kind = KINDS.get(answer.method)
    if kind is None:
        return _refused(
            answer, "R12", f"a 301 to {printable(answer.method, 30) or 'an unknown method'} says nothing about routing"
        )
    if answer.in_dialog:
        return _refused(answer, "R10", "the request was within a dialog: its URI is a remote target, not an address")
    try:
        old = parse_uri(answer.request_uri)
    except UriError as error:
        return _refused(answer, "R25", f"the old URI can't be read: {error.why}", unparsed=True)
    if isinstance(old, SipUri):
        answer.know_place(str(route_key(old)))
    return _refuse_old(answer, old, policy) or _learn(answer, old, kind, policy)


def _refused(answer: Answer, rule: str, reason: str, *, unparsed: bool = False) -> Refused:
    old_uri = printable(answer.request_uri or "")
    return Refused(answer=answer, rule=rule, reason=reason, old_uri=old_uri, unparsed=unparsed)


def _refuse_old(answer: Answer, old: Uri, policy: Policy) -> Refused | None:
    """R11, R22 and R28 on the old side."""
    if (isinstance(old, OtherUri) and str(old).lower().startswith("urn:service:")) or _emergency(old, policy):
        return _refused(answer, "R22", "emergency numbers and urn:service: are never remapped")
    if not isinstance(old, SipUri):
        return _refused(answer, "R24", "the old URI is not a SIP URI: routing files match on SIP URIs only")
    if reason := volatile(old):
        return _refused(answer, "R11", f"the old URI is volatile: {reason}")
    if (policy.own_domains or policy.gateways) and not _is_ours(old, policy):
        return _refused(answer, "R28", f"{printable(old.host, 100)} is none of the configured own_domains and gateways")
    return None


def _is_dip(answer: Answer, policy: Policy) -> bool:
    """R43: whether the peer answers 301 for one call, as a number-portability or least-cost dip does."""
    if answer.peer is None or not policy.never_learn_from:
        return False
    try:
        address = ip_address(answer.peer.address)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return any(one in network for one in (address, mapped) if one is not None for network in policy.never_learn_from)


def _emergency(old: Uri, policy: Policy) -> bool:
    if isinstance(old, TelUri):
        number = old.number
    elif isinstance(old, SipUri) and old.user is not None:
        number = normalize_escapes(old.user).partition(";")[0]
    else:
        return False
    return number.translate(VISUAL_SEPARATORS).removeprefix("+") in policy.emergency_numbers


def _is_ours(old: SipUri, policy: Policy) -> bool:
    key = route_key(old)
    place = key.host if key.port is None else f"{key.host}:{key.port}"
    return in_domains(key.host, policy.own_domains) or key.host in policy.gateways or place in policy.gateways


def _learn(answer: Answer, old: Uri, kind: str, policy: Policy) -> Verdict:
    assert isinstance(old, SipUri)
    if kind != "user":
        old = place_of(old)
    targets = read_targets(answer, old, policy, place_only=kind != "user")
    if isinstance(targets, Refused):
        return targets
    flags = dict(targets.flags)
    if answer.rank == WEAK:
        flags["unproven"] = "an acc line does not escape its values and mixes up forked branches: look at a full record"
    else:
        flags |= doubt(answer.authenticity)
    _hold_ending(answer, targets, flags)
    facts = {"reason": "Q.850 cause 22: number changed"} if _number_changed(answer) else {}
    return Learnt(
        answer=answer,
        kind=kind,
        old_uri=str(old),
        old_key=str(route_key(old)),
        candidates=targets.candidates,
        flags=flags,
        facts=facts,
        lifetime=targets.lifetime,
        incoming=_incoming(answer),
    )


def _hold_ending(answer: Answer, targets: Targets, flags: dict[str, str]) -> None:
    """R18: a finite lifetime holds the remap."""
    if targets.lifetime_fault:
        flags["expiring"] = targets.lifetime_fault
    elif targets.lifetime is not None:
        until = ""
        if answer.seen_at is not None:
            until = f", until {rfc3339(answer.seen_at + timedelta(seconds=targets.lifetime), timespec='seconds')}"
        flags["expiring"] = f"the move is said to last {targets.lifetime} s{until}"


def _incoming(answer: Answer) -> str | None:
    """The incoming URI where it was logged and is a SIP URI."""
    if not answer.incoming_uri:
        return None
    try:
        uri = parse_uri(answer.incoming_uri)
    except UriError:
        return None
    return str(uri) if isinstance(uri, SipUri) else None


def _number_changed(answer: Answer) -> bool:
    """R23: `Reason: Q.850;cause=22` (RFC 3326, RFC 3398)."""
    for value in answer.reasons:
        for entry in split_commas(value):
            parts = ["".join(part.split()).lower() for part in entry.split(";")]
            if parts[0] == "q.850" and "cause=22" in parts[1:]:
                return True
    return False
