"""`kamailio-record`: the one-line record that `redirectd snippet kamailio` writes, in whatever log it is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import ClassVar
from urllib.parse import unquote_to_bytes

from redirectd.dialects.envelope import LogEntry, entry_at
from redirectd.dialects.frame import (
    URI_CUT,
    Authenticity,
    Framed,
    Glimpse,
    Heard,
    Incomplete,
    Peer,
    Record,
    Unreadable,
)
from redirectd.dialects.plain import Identity
from redirectd.dialects.proof import is_proof, places
from redirectd.dialects.window import Window
from redirectd.sip.text import to_bytes, to_text

_CEE = b"@cee:"
MARK = b"REDIRECTD v="
"""What every record begins with, whatever its version."""

CONTACT_LIMIT = 1200
"""Bytes of Contact text that the record carries (`{s.substr,0,1200}`)."""

URI_LIMIT = 512
"""Bytes of a URI that it carries; one of so many can be cut anywhere, which makes it another URI."""

LINE_CUT = "the line is cut off: end=1 is missing"
CONTACT_CUT = "the Contact is cut off"
CONTACT_UNREADABLE = "Kamailio could not read the Contact"
WRONG_PROOF = "no key of this source makes its proof: forged, or of a key that is not in record_keys (R39)"
SEVERAL = "several records in one entry, and no proof says which one is Kamailio's own (R39)"
PROOF_CUT = "the line is cut off before its proof: mac= is missing"

_FIELD = re.compile(rb"([a-z][a-z0-9_]{0,15})=(\S*+)")
_HEAD = b"<script>: "
_LONGEST_LEAD, _LONGEST_GLANCE = 512, 4096
_VERSION = re.compile(rb"REDIRECTD (?=v=[12] )")
_PLAIN_183 = re.compile(
    rb"REDIRECTD (v=([12]) ev=183 (?:ts=[0-9.]{1,32}+ )?+m=([A-Z]{1,32}+) ci=([!#-;=?-~]{1,1024}+) cseq=(\d{1,9}+) "
    rb"br=(\d{1,4}+)(?: (?!end=|mac=)[a-z][a-z0-9_]{0,15}+=[!#-~]*+)*+)(?: mac=([0-9a-f]{40}|none))?+ end=1\r?+\n"
)
_HEARD = re.compile(rb" (ts|src|buri|sdp|rq)=(\S*+)")
_END = re.compile(rb" end=1(?=[\s\"\x1b]|$)")
_LEVEL_ONLY = re.compile(rb"[^\"<>]*+")
_KNOWN = frozenset(b"v ev ts m ci cseq br src ouri buri nct ctlen ct tt ex rsn rt mac end".split())


class KamailioRecord:
    """A record behind any log head; fields it does not know are kept in `Record.extra`.

    `v=2` is believed by its proof, wherever in an entry it is (R39); `v=1`, and `v=2` where no key is known, only where
    nothing but a log head precedes it and nothing of Kamailio's follows.
    """

    name: ClassVar[str] = "kamailio-record"
    literals: ClassVar[tuple[bytes, ...]] = (b"REDIRECTD v=1 ev=%d", b"REDIRECTD v=2 ev=%d")
    glimpsed: ClassVar[tuple[bytes, ...]] = (b"REDIRECTD v=1 ev=183", b"REDIRECTD v=2 ev=183")

    def __init__(self, keys: Sequence[bytes] = ()) -> None:
        """`keys` are those that a proof may be of, each as 64 hex digits; without any nothing is proven."""
        self._keys = tuple(keys)

    def frame(self, window: Window, at: int, *, final: bool) -> Framed:
        """See `Dialect.frame`."""
        entry = entry_at(window, at, final=final)
        if entry.torn and entry.wrapping.is_json:
            return Incomplete(entry.start)
        is_text = entry.wrapping.is_json and MARK in entry.text
        text = entry.text if is_text else entry.raw
        if self._keys and (marked := places(text, self._keys)):
            if entry.torn:
                return Incomplete(entry.start)
            proven = [one for one in marked if one.proven is not None]
            if proven:
                last = proven[-1]
                own = last if is_text else next((one for one in proven if one.end > at - entry.start), last)
                end = entry.end if own is last else entry.start + own.end
                assert own.proven is not None
                # Counted with the first of several proven ones alone: the scanner asks for each of them.
                forged = len(_VERSION.findall(text)) - len(proven) if own is proven[0] or is_text else 0
                return _read(entry, own.proven, self.name, Authenticity.PROVEN, end=end, forged=forged)
        return self._unkeyed(entry, text)

    def _unkeyed(self, entry: LogEntry, text: bytes) -> Framed:
        """A record that no proof speaks for: the only one of its entry, at its own place."""
        marks = [match.end() for match in _VERSION.finditer(text)]
        if not marks:
            return None
        begin = marks[0]
        end = _END.search(text, begin)
        alone = _stands_alone(text[: begin - len("REDIRECTD ")])
        followed = end is not None and b"<script>" in text[end.end() :]
        if len(marks) == 1 and not alone and text.startswith(b"v=1", begin):
            return None
        if entry.torn:
            return Incomplete(entry.start)
        if len(marks) > 1 or followed or not alone:
            return Unreadable(entry.start, entry.end, SEVERAL, self.name, forged=len(marks))
        body = text[begin : end.start() if end else len(text)]
        if self._keys and body.startswith(b"v=2") and not body.endswith(b" mac=none"):
            why = WRONG_PROOF if end else PROOF_CUT
            return Unreadable(entry.start, entry.end, why, self.name, forged=1 if end else 0)
        return _read(entry, body, self.name, Authenticity.UNKEYED, end=entry.end, is_whole=end is not None)

    def glimpse(self, window: Window, at: int) -> Glimpse | None:
        """See `Glimpsing.glimpse`: a whole record behind Kamailio's own head, on a line that is not JSON."""
        if not window.startswith(_HEAD, at - len(_HEAD)):
            return None
        start = window.rfind(b"\n", max(0, at - _LONGEST_LEAD), at) + 1
        lead = window[start:at]
        if not start or lead.count(b"<script>") != 1 or b'"' in lead or MARK in lead or _CEE in lead:
            return None
        record = _PLAIN_183.match(window, at, at + _LONGEST_GLANCE)
        if record is None:
            return None
        fields, version, method, call_id, cseq, fork, mac = record.groups()
        proven = bool(self._keys) and version == b"2" and mac not in {None, b"none"}
        if proven and not is_proof(fields, mac, self._keys):
            return None
        if version == b"2" and mac is None:
            return None
        if b"%" in call_id:
            call_id = unquote_to_bytes(call_id)
        return Glimpse(start, record.end(), Identity(fork, call_id, int(cseq), method), -1, record, proven)

    def heard(self, window: Window, glimpse: Glimpse) -> Heard | None:
        """See `Hearing.heard`: of records that carry their own time, as ours do."""
        if glimpse.match is None:
            return None
        fields = dict(reversed(_HEARD.findall(glimpse.match[0])))
        stamp, peer = _text(fields, b"ts"), _peer(fields.get(b"src", b""))
        if stamp is None:
            return None
        sdp, require = b"", b""
        if b"sdp" in fields or b"rq" in fields:
            sdp, require = (to_bytes(_text(fields, key) or "") for key in (b"sdp", b"rq"))
        return Heard(_text(fields, b"buri"), str(peer) if peer else "", stamp, sdp, require)

    def spell(self, text: bytes) -> bytes:
        """See `Dialect.spell`: the record needs no search for its request, so nothing has to be found."""
        return text


def _stands_alone(lead: bytes) -> bool:
    """Whether only a log head precedes the record, so that no header quoted in other text can forge one."""
    before = lead.rstrip()
    if not before:
        return True
    if b"<script>" in before:
        return before.endswith(b"<script>:") and before.count(b"<script>") == 1
    return before.endswith(b":") and _LEVEL_ONLY.fullmatch(before) is not None


def _read(
    entry: LogEntry,
    body: bytes,
    dialect: str,
    authenticity: Authenticity,
    *,
    end: int,
    is_whole: bool = True,
    forged: int = 0,
) -> Record | Unreadable:
    """The record whose fields are `body`, from `v=` on and without `end=1`."""
    pairs = _FIELD.findall(body)
    fields: dict[bytes, bytes] = dict(reversed(pairs))  # the first of each key counts
    faults: list[str] = []
    if not is_whole:
        faults.append(LINE_CUT)
        _drop_cut_field(fields, pairs)
    status = fields.get(b"ev", b"")
    method, call_id = _text(fields, b"m"), _text(fields, b"ci")
    if not (len(status) == 3 and status.isdigit()) or not method or not call_id:
        return Unreadable(entry.start, end, "a record without its status, method or Call-ID", dialect, forged)
    request_uri, incoming_uri = _uri(fields, b"buri"), _uri(fields, b"ouri")
    if request_uri is None and fields.get(b"buri", b"<null>") not in {b"", b"<null>"}:
        faults.append(URI_CUT)
    contacts = _contacts(fields, faults)
    return Record(
        start=entry.start,
        end=end,
        dialect=dialect,
        status=int(status),
        method=method,
        call_id=call_id,
        cseq=_number(fields, b"cseq"),
        fork=_text(fields, b"br") or "",
        request_uri=request_uri,
        incoming_uri=incoming_uri,
        contacts=contacts,
        contact_headers=_number(fields, b"nct"),
        faults=tuple(faults),
        peer=_peer(fields.get(b"src", b"")),
        stamp=_text(fields, b"ts") or entry.stamp,
        asked_stamp=_text(fields, b"rt") or "",
        in_dialog=_text(fields, b"tt") is not None,
        expires=_text(fields, b"ex"),
        reasons=tuple(filter(None, [_text(fields, b"rsn")])),
        enough=b"br" in fields or is_whole,  # cut before its branch, it can't be distinguished from others of its call
        authenticity=authenticity,
        logged_stamp=entry.stamp if fields.get(b"v") == b"2" else "",
        forged=forged,
        extra={key.decode(): _text(fields, key) or "" for key in fields if key not in _KNOWN},
    )


def _drop_cut_field(fields: dict[bytes, bytes], pairs: list[tuple[bytes, bytes]]) -> None:
    """Forget the last field of a cut line unless it is the Contact, whose whole entries still count."""
    if pairs and (last := pairs[-1][0]) != b"ct":
        fields.pop(last, None)


def _contacts(fields: dict[bytes, bytes], faults: list[str]) -> tuple[str, ...]:
    value = unquote_to_bytes(fields.get(b"ct", b""))
    length = _number(fields, b"ctlen")
    if not value or value == b"<null>":
        if fields.get(b"nct", b"0") != b"0" and LINE_CUT not in faults:
            faults.append(CONTACT_UNREADABLE)
        return ()
    if LINE_CUT in faults or (length is not None and length > CONTACT_LIMIT):
        faults.append(CONTACT_CUT)
        value = whole_entries(value)
    return (to_text(value),) if value else ()


def whole_entries(value: bytes) -> bytes:
    """A Contact value that was cut somewhere, without its last entry (RFC 3261 7.3.1, 25.1 quoting)."""
    quoted = angled = escaped = False
    last = 0
    for index, byte in enumerate(value):
        if escaped:
            escaped = False
        elif quoted:
            escaped = byte == 0x5C
            quoted = byte != 0x22
        elif byte == 0x22:
            quoted = not angled
        elif byte in b"<>":
            angled = byte == 0x3C
        elif byte == 0x2C and not angled:
            last = index
    return value[:last]


def _uri(fields: dict[bytes, bytes], key: bytes) -> str | None:
    """A URI, None for one that may have been cut off."""
    text = _text(fields, key)
    return text if text is not None and len(to_bytes(text)) < URI_LIMIT else None


def _text(fields: dict[bytes, bytes], key: bytes) -> str | None:
    value = fields.get(key, b"")
    if b"%" in value:
        value = unquote_to_bytes(value)
    return None if value in {b"", b"<null>"} else to_text(value)


def _number(fields: dict[bytes, bytes], key: bytes) -> int | None:
    value = fields.get(key, b"")
    return int(value) if value.isdigit() and len(value) <= 10 else None


@lru_cache(maxsize=256)  # few send most, and what follows asks again whether two are the same
def _peer(source: bytes) -> Peer | None:
    """`udp/192.0.2.1/5060`; behind a JSON template `udp\\/192.0.2.1\\/5060`."""
    transport, _, rest = to_text(source.replace(b"\\/", b"/")).partition("/")
    address, _, port = rest.rpartition("/")
    if not address:
        return None
    return Peer(transport.lower(), address.strip("[]"), int(port) if port.isdigit() and len(port) <= 5 else None)
