"""The holds that depend on the policy, worked out when a remap is looked at: a changed policy counts at once.

R12 (method and registrar), R26 (untrusted) and R27 (suspicious, also of phone numbers: premium rates, denied prefixes,
another country than the old one). The holds that one answer brings with it are stored.

Which remaps are suspicious is remembered: a filter needs it of all that wait, and a number takes 20 µs to read. It
counts only for the very policy, programs and URIs that it was worked out with. Anything else is worked out when it is
asked for, so that no change can leave a suspicious remap out.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from functools import lru_cache, partial
from importlib.metadata import version
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Connection, delete, select

import redirectd
from redirectd.collect.policy import Address, Policy, address_of, is_within, meant
from redirectd.collect.usable_contacts import number_in, target_holds
from redirectd.collect.verdict import digest
from redirectd.sip.compare import route_key
from redirectd.sip.text import normalize_escapes
from redirectd.sip.uri import VISUAL_SEPARATORS, SipUri, in_domains
from redirectd.store.database import Database
from redirectd.store.remap import Remap, State, stored_uri
from redirectd.store.remaps import RemapFilter, Uris, uris_of
from redirectd.store.schema import remap, screening
from redirectd.store.turns import lock_keys

if TYPE_CHECKING:
    from phonenumbers import PhoneNumber


FAILING, STALE, REDUNDANT, INEFFECTIVE = "failing", "stale", "redundant", "ineffective"
LOOKS = frozenset({FAILING, STALE, REDUNDANT, INEFFECTIVE})
"""Flags that hold nothing: they say that a look is due, or that a remap is not needed any more."""

DERIVED_FLAGS = frozenset({"untrusted", "method", "registrar", "suspicious", "flapping"}) | LOOKS
"""All of them, those of R12, R26, R27 and R32 first. Never stored but for a suspicion that needs no policy."""

STORED_FLAGS = frozenset(
    {"ambiguous", "downgrade", "expiring", "malformed", "routing-data", "unkeyed", "unproven", "volatile"}
)
"""What a remap's row carries by itself, as the rules R11 to R21 and R39 to R40 made it."""

ALL_FLAGS = DERIVED_FLAGS | STORED_FLAGS
"""Every flag that a remap can have, for filters: another name is a misspelling."""


NEED_REASON = {"untrusted": "R26", "unkeyed": "R39", "volatile": "R11"}
"""Holds that a person passes only with a written reason, and the rules they come from."""

NEED_FORCE = {"registrar": "R12", "suspicious": "R27", "malformed": "R14", "unproven": "R40"}
"""Those that a person passes only with --force and a written reason."""

_OF_TARGET = frozenset({"suspicious", "routing-data", "downgrade"})
"""Holds of what would be routed, worked out anew: the stored ones are of the newest answer and of all its Contacts."""


def needs(remap: Remap) -> tuple[str, ...]:
    """What an approval of a pending remap needs beside it: nothing, `reason`, or `force` and `reason`."""
    if remap.state is not State.PENDING:
        return ()
    if NEED_FORCE.keys() & remap.flags.keys():
        return ("force", "reason")
    return ("reason",) if NEED_REASON.keys() & remap.flags.keys() else ()


def with_holds(remap: Remap, policy: Policy) -> Remap:
    """The remap with all its flags under the current policy."""
    flags = {name: reason for name, reason in remap.flags.items() if name not in _OF_TARGET}
    peers, methods = remap.believed_peers or remap.peers, remap.believed_methods or remap.methods
    if not any(is_trusted(peer, policy) for peer in peers):
        seen = ", ".join(peers[:3]) or "an unknown peer"
        flags["untrusted"] = f"seen only from {seen}: none of trusted_peers"
    if remap.kind == "user" and "INVITE" not in methods:
        flags["method"] = f"seen only for {', '.join(methods)}, never for a call"
    if remap.kind == "registrar":
        flags["registrar"] = (
            "a 301 to REGISTER is how registrations are hijacked (26.1.2); approved, it goes into no routing file"
        )
    reasons: list[str] = []
    old = stored_uri(remap.old_uri)
    for text in [remap.new_uri] if remap.new_uri else [one.uri for one in remap.contacts]:
        new = stored_uri(text)
        held = target_holds(new, old)
        for reason in (held.pop("suspicious", None), suspicion(old, new, policy)):
            if reason and reason not in reasons:
                reasons.append(reason)
        flags |= held
    if reasons:
        flags["suspicious"] = "; ".join(reasons)
    return replace(remap, flags=flags)


def is_suspicious(old_uri: str, new_uris: Iterable[str], policy: Policy) -> bool:
    """Whether `with_holds` would hold it as suspicious (R27), judged by its URIs alone."""
    old = stored_uri(old_uri)
    for text in new_uris:
        new = stored_uri(text)
        if "suspicious" in target_holds(new, old) or suspicion(old, new, policy):
            return True
    return False


def is_trusted(peer: str, policy: Policy) -> bool:
    """Whether a stored peer (`udp:192.0.2.1:5060`) is of a trusted network (R26)."""
    address = address_of(peer)
    return address is not None and is_within(address, policy.trusted_peers)


def suspicion(old: SipUri, new: SipUri, policy: Policy) -> str | None:
    """R27 and R42: why the target looks like somebody steering calls, or None."""
    if number_in(new) in policy.emergency_numbers:
        return "the new URI is an emergency number"
    host, old_host = route_key(new).host, route_key(old).host
    address = _address(host)
    if address is not None:
        if reason := _address_hold(address, policy):
            return reason
    elif host in _THIS_HOST or host.endswith((".localhost", ".localdomain")):
        return "the target is this very host (localhost)"
    if in_domains(host, policy.denied_domains):
        return f"the target's domain {host} is denied"
    if in_domains(host, policy.own_domains) and not in_domains(old_host, policy.own_domains):
        return f"{host} is one of our own domains, and the old URI is not"
    return number_hold(old, new, policy)


@lru_cache(maxsize=4096)  # hosts are few, and each is met often
def _address(host: str) -> Address | None:
    try:
        return ip_address(host.strip("[]"))
    except ValueError:
        return None


_THIS_HOST = frozenset({"localhost", "localhost4", "localhost6", "ip6-localhost", "ip6-loopback", "localdomain"})


def _address_hold(address: Address, policy: Policy) -> str | None:
    if is_within(address, policy.denied_networks):
        return f"the target's address {address} is in a denied network"
    if is_within(address, policy.allowed_target_networks):
        return None
    for checked in meant(address):
        for name in ("is_loopback", "is_unspecified", "is_link_local", "is_multicast", "is_reserved", "is_private"):
            if getattr(checked, name):
                kind = name.removeprefix("is_").replace("_", "-")
                return f"the target's address {address} is {kind} and not in allowed_target_networks"
        if not checked.is_global:
            return f"the target's address {address} is not public and not in allowed_target_networks"
    return None


_REMEMBERED = 32_768
"""Numbers whose reading is kept: the library takes 20 µs for one, and each page of a filter asks for the same ones."""


class _Number(NamedTuple):
    """What the library says of a number: its country calling code, the form with `+`, and whether it costs extra."""

    country_code: int
    international: str
    is_premium: bool


def number_hold(old: SipUri, new: SipUri, policy: Policy) -> str | None:
    """Why the new number is suspicious, or None; also None where the new user part is not a phone number."""
    digits = _digits(new)
    if digits is None:
        return None
    number = _read(digits, policy.region)
    for prefix in policy.denied_prefixes:
        if digits.startswith(prefix) or (number is not None and number.international.startswith(prefix)):
            return f"the number {digits} has the denied prefix {prefix}"
    if number is None:
        return None
    if number.is_premium and not policy.allow_premium:
        return f"the number {digits} is of a premium rate"
    if policy.allow_foreign:
        return None
    was = _digits(old)
    before = _read(was, policy.region) if was is not None else None
    home = before.country_code if before else _home(policy)
    if home is not None and number.country_code != home:
        return f"the number {digits} is of country +{number.country_code}, the old one of +{home}"
    return None


def is_premium(uri: SipUri, policy: Policy) -> bool:
    """Whether its user is a number of a premium rate, allowed or not."""
    digits = _digits(uri)
    number = None if digits is None else _read(digits, policy.region)
    return number is not None and number.is_premium


def _digits(uri: SipUri) -> str | None:
    """The user part as a number without separators, None where it is none."""
    user = normalize_escapes(uri.user or "").replace("%2B", "+").partition(";")[0].translate(VISUAL_SEPARATORS)
    bare = user.removeprefix("+")
    return user if 3 <= len(bare) <= 20 and bare.isascii() and bare.isdigit() else None


@lru_cache(maxsize=_REMEMBERED)
def _read(digits: str, region: str | None) -> _Number | None:
    """The number as the library reads it; without a region only the forms with `+` and 00 say its country."""
    if region is None and digits.startswith("00"):
        digits = f"+{digits[2:]}"  # ITU-T E.164's own recommendation
    if not digits.startswith("+") and region is None:
        return None
    import phonenumbers as library  # 0.2 s to load, and most remaps carry no number

    try:
        number = library.parse(digits, region)
    except library.NumberParseException:
        return None
    # With the leading zero that some countries' numbers keep abroad (Italy).
    international = f"+{number.country_code}{library.national_significant_number(number)}"
    return _Number(number.country_code or 0, international, _is_premium(number))


def _is_premium(number: PhoneNumber) -> bool:
    import phonenumbers as library

    kind = library.number_type(number)
    if kind == library.PhoneNumberType.UNKNOWN:  # rare, and it takes as long again
        library.truncate_too_long_number(number)  # networks ignore digits dialled beyond a whole number
        kind = library.number_type(number)
    return kind in {library.PhoneNumberType.PREMIUM_RATE, library.PhoneNumberType.SHARED_COST}


def _home(policy: Policy) -> int | None:
    if policy.region is None:
        return None
    import phonenumbers as library

    return library.country_code_for_region(policy.region) or None


PART = 500
"""Remaps that are looked at in one transaction."""


def rules(policy: Policy) -> str:
    """Names the policy and the programs that detect a suspicious remap: whether an address is private, and what a
    number costs, are known by Python and by `phonenumberslite`."""
    # Sets have another order in each process. No hold depends on the rule of automatic approval.
    settings = [getattr(policy, field.name) for field in fields(policy) if field.name != "auto_approve"]
    words = [repr(sorted(value)) if isinstance(value, frozenset) else repr(value) for value in settings]
    return digest(redirectd.__version__, platform.python_version(), _library(), *words)


@lru_cache(maxsize=1)
def _library() -> str:
    return version("phonenumberslite")


def suspects(remaps: Iterable[Uris], policy: Policy) -> set[int]:
    """The ids of those that `redirectd.review.holds.with_holds` would hold as suspicious."""
    names = rules(policy)
    return {one.id for one in remaps if _is_suspect(one, names, policy)}


def _is_suspect(one: Uris, names: str, policy: Policy) -> bool:
    if one.suspicious is not None and one.basis == _basis(one, names):
        return one.suspicious
    return is_suspicious(one.old_uri, one.places, policy)


def _basis(one: Uris, names: str) -> str:
    return digest(names, one.old_uri, *one.places)


def screen(database: Database, policy: Policy, *, anew: bool = False) -> int:
    """Looks at the waiting remaps that nobody has looked at, or `anew` at all; gives how many. Raises StoreError.

    A service calls it anew at its start, when its policy or its program may be another one.
    """
    names = rules(policy)
    unseen = () if anew else (remap.c.id.not_in(select(screening.c.remap_id)),)
    after = count = 0
    while True:
        wanted = RemapFilter(states=[State.PENDING], also=unseen, after_id=after, limit=PART)
        with database.read() as connection:
            found = uris_of(connection, wanted)
        if not found:
            return count
        seen = {
            one.id: {
                "remap_id": one.id,
                "basis": _basis(one, names),
                "suspicious": is_suspicious(one.old_uri, one.places, policy),
            }
            for one in found
        }
        database.run(partial(_keep, seen))
        after, count = found[-1].id, count + len(found)


def _keep(seen: Mapping[int, Mapping[str, Any]], connection: Connection) -> None:
    """Remembers what was found of these remaps, by id; a collector may remove one that has lost its only sighting."""
    identities = connection.scalars(select(remap.c.identity).where(remap.c.id.in_(seen)))
    lock_keys(connection, identities.all())
    there = connection.scalars(select(remap.c.id).where(remap.c.id.in_(seen))).all()
    connection.execute(delete(screening).where(screening.c.remap_id.in_(seen)))
    if there:
        connection.execute(screening.insert(), [seen[number] for number in there])
