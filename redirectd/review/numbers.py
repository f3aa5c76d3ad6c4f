"""R27 on phone numbers: premium rates, denied prefixes, and numbers of another country than the old one."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from redirectd.collect.policy import Policy
from redirectd.sip.text import normalize_escapes
from redirectd.sip.uri import VISUAL_SEPARATORS, SipUri

if TYPE_CHECKING:
    from phonenumbers import PhoneNumber

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
