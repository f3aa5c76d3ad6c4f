"""R27 on phone numbers: premium rates, denied prefixes, and numbers of another country than the old one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redirectd.config.policy import Policy
from redirectd.sip.text import normalize_escapes
from redirectd.sip.uri import VISUAL_SEPARATORS, SipUri

if TYPE_CHECKING:
    from phonenumbers import PhoneNumber


def number_hold(old: SipUri, new: SipUri, policy: Policy) -> str | None:
    """Why the new number is suspicious, or None; also None where the new user part is no phone number."""
    digits = _digits(new)
    if digits is None:
        return None
    for prefix in policy.denied_prefixes:
        if _international(digits, policy).startswith(prefix) or digits.startswith(prefix):
            return f"the number {digits} has the denied prefix {prefix}"
    number = _parse(digits, policy)
    if number is None:
        return None
    import phonenumbers as library  # 0.2 s to load, and most remaps carry no number

    library.truncate_too_long_number(number)  # networks ignore digits dialled beyond a whole number
    if not policy.allow_premium and library.number_type(number) in {
        library.PhoneNumberType.PREMIUM_RATE,
        library.PhoneNumberType.SHARED_COST,
    }:
        return f"the number {digits} is of a premium rate"
    if policy.allow_foreign:
        return None
    before = _parse(_digits(old) or "", policy)
    home = before.country_code if before else _home(policy)
    if home is not None and number.country_code != home:
        return f"the number {digits} is of country +{number.country_code}, the old one of +{home}"
    return None


def _digits(uri: SipUri) -> str | None:
    """The user part as a number without separators, None where it is none."""
    user = normalize_escapes(uri.user or "").replace("%2B", "+").partition(";")[0].translate(VISUAL_SEPARATORS)
    bare = user.removeprefix("+")
    return user if 3 <= len(bare) <= 20 and bare.isascii() and bare.isdigit() else None


def _international(digits: str, policy: Policy) -> str:
    number = _parse(digits, policy)
    return f"+{number.country_code}{number.national_number}" if number else digits


def _parse(digits: str, policy: Policy) -> PhoneNumber | None:
    """The number as the library reads it; without a region only the forms with `+` and 00 say its country."""
    if policy.region is None and digits.startswith("00"):
        digits = f"+{digits[2:]}"  # ITU-T E.164's own recommendation
    if not digits or (not digits.startswith("+") and policy.region is None):
        return None
    import phonenumbers as library

    try:
        return library.parse(digits, policy.region)
    except library.NumberParseException:
        return None


def _home(policy: Policy) -> int | None:
    if policy.region is None:
        return None
    import phonenumbers as library

    return library.country_code_for_region(policy.region) or None
