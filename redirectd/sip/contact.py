"""The Contacts of a message (RFC 3261 20.10, R14)."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from redirectd.sip.address import parse_address, split_commas
from redirectd.sip.text import unfold
from redirectd.sip.uri import Params, Uri, UriError, parse_uri

MAX_CONTACTS = 1000
"""More Contacts than this in one message are not read; a last one with a fault stands for them."""

MAX_SECONDS = 2**32 - 1
"""Largest delta-seconds (RFC 3261 20.19)."""

_QVALUE = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")
_DELTA_SECONDS = re.compile(r"[0-9]{1,10}")


@dataclass(frozen=True, slots=True)
class Contact:
    """One entry of the Contact headers.

    `raw` is the entry as written, unfolded. `uri` is None for ``*`` and where `fault` says why the entry
    could not be read. `params` are those of the header: names in lower case, values without quotes.
    """

    raw: str
    uri_text: str
    uri: Uri | None
    fault: str | None = None
    display: str | None = None
    params: Params = ()

    @property
    def is_star(self) -> bool:
        """Say if this is ``Contact: *``, which names no target."""
        return self.raw == "*"

    @property
    def q(self) -> float:
        """Preference from 0.0 to 1.0; 1.0 where it is missing or not readable (see `q_fault`)."""
        value = self.param("q")
        return float(value) if value is not None and _QVALUE.fullmatch(value) else 1.0

    @property
    def q_fault(self) -> str | None:
        """Say that a q is there and is not a number from 0 to 1 with at most three decimals."""
        if not self.has_param("q") or _QVALUE.fullmatch(self.param("q") or ""):
            return None
        return "the q of the Contact is not readable and counts as 1.0"

    @property
    def expires(self) -> int | None:
        """Lifetime in seconds; None where it is missing or not readable (see `expires_fault`)."""
        return parse_delta_seconds(self.param("expires"))

    @property
    def expires_fault(self) -> str | None:
        """Say that a lifetime is there and is not a number of seconds: a finite one was meant, not none."""
        if not self.has_param("expires") or self.expires is not None:
            return None
        return "the expires of the Contact is no number of seconds"

    def param(self, name: str) -> str | None:
        """Give the first header parameter of that name; None where it is missing or has no value."""
        return next((value for key, value in self.params if key == name), None)

    def has_param(self, name: str) -> bool:
        """Say if a header parameter is there, with or without a value."""
        return any(key == name for key, _ in self.params)


def parse_delta_seconds(value: str | None) -> int | None:
    """Read a delta-seconds (``;expires=``, the Expires header); None where it is none or beyond 2**32-1."""
    if value is None or not _DELTA_SECONDS.fullmatch(value):
        return None
    seconds = int(value)
    return seconds if seconds <= MAX_SECONDS else None


def parse_contacts(values: Iterable[str]) -> tuple[Contact, ...]:
    """Read all Contacts of a message, in order, from its header values (folded or not).

    Never raises: what cannot be read is a Contact with a fault, and takes no other header value with it.
    """
    contacts: list[Contact] = []
    for value in values:
        for entry in split_commas(unfold(value)):
            if len(contacts) == MAX_CONTACTS:
                contacts.append(Contact("", "", None, f"more than {MAX_CONTACTS} Contacts; the rest was not read"))
                return tuple(contacts)
            contacts.append(_parse_contact(entry))
    return tuple(contacts)


def _parse_contact(entry: str) -> Contact:
    if entry == "*":
        return Contact(entry, entry, None)
    address = parse_address(entry)
    uri: Uri | None = None
    fault = address.fault
    if not fault:
        try:
            uri = parse_uri(address.uri_text)
        except UriError as error:
            fault = error.why
    if uri is not None and not address.bracketed and "?" in address.uri_text:
        uri, fault = None, "a URI with '?' must stand in <>"  # 20.10
    return Contact(entry, address.uri_text, uri, fault, address.display, address.params)
