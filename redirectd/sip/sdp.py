"""What an SDP body says about early media (RFC 8866), for the record of a 183 (R3)."""

import re
from typing import NamedTuple

from redirectd.sip.text import to_text

MAX_SDP = 16384
"""Bytes of a body that are looked at."""

MAX_MEDIA = 16
"""Media lines that are reported."""

MAX_CODECS = 32
"""Codecs that are reported of one media line."""

_DIRECTIONS = frozenset({"sendrecv", "sendonly", "recvonly", "inactive"})
_NAME = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]{1,40}")
_NUMBER = re.compile(r"[0-9]{1,5}")

STATIC_PAYLOADS = {
    "0": "PCMU",
    "3": "GSM",
    "4": "G723",
    "5": "DVI4",
    "6": "DVI4",
    "7": "LPC",
    "8": "PCMA",
    "9": "G722",
    "10": "L16",
    "11": "L16",
    "12": "QCELP",
    "13": "CN",
    "14": "MPA",
    "15": "G728",
    "16": "DVI4",
    "17": "DVI4",
    "18": "G729",
    "25": "CelB",
    "26": "JPEG",
    "28": "nv",
    "31": "H261",
    "32": "MPV",
    "33": "MP2T",
    "34": "H263",
}
"""Payload types that need no rtpmap, and the names of their codecs (RFC 3551 section 6)."""


class Media(NamedTuple):
    """One media line: `kind` (audio, video...), `port` (0: refused), `direction`, and the codecs' names.

    `direction` is sendrecv, sendonly, recvonly or inactive, as the sender of the SDP sees it.
    """

    kind: str
    port: int
    direction: str
    codecs: tuple[str, ...]


class _MediaSection:
    """A media section while it is read."""

    def __init__(self, kind: str, port: int, formats: list[str]) -> None:
        self.kind = kind
        self.port = port
        self.formats = formats
        self.direction: str | None = None
        self.names: dict[str, str] = {}

    def media(self, default: str) -> Media:
        names = (self.names.get(number) or STATIC_PAYLOADS.get(number) for number in self.formats)
        codecs = tuple(dict.fromkeys(name for name in names if name))
        return Media(self.kind, self.port, self.direction or default, codecs)


def media_summary(body: bytes) -> tuple[Media, ...]:
    """Read the media lines of an SDP body; what is not SDP gives none. Bounded, and never raises."""
    sections: list[_MediaSection] = []
    default = "sendrecv"
    for line in to_text(body[:MAX_SDP]).replace("\r", "").split("\n"):
        if line.startswith("m="):
            section = _media_line(line[2:])
            if len(sections) == MAX_MEDIA:
                break
            sections.append(section)
        elif line.startswith("a="):
            attribute = line[2:].strip()
            if attribute in _DIRECTIONS:
                if sections:
                    sections[-1].direction = attribute
                else:
                    default = attribute
            elif sections and attribute.startswith("rtpmap:"):
                _rtpmap(sections[-1], attribute[7:])
    return tuple(section.media(default) for section in sections if section.kind)


def _media_line(text: str) -> _MediaSection:
    """Read what follows ``m=``; a line that is none gives a section without a kind, which is not reported."""
    words = text.split(None, 3 + MAX_CODECS)
    port = words[1].partition("/")[0] if len(words) > 2 else ""
    if not _NUMBER.fullmatch(port) or not _NAME.fullmatch(words[0]) or int(port) > 65535:
        return _MediaSection("", 0, [])
    return _MediaSection(words[0].lower(), int(port), words[3 : 3 + MAX_CODECS])


def _rtpmap(section: _MediaSection, text: str) -> None:
    number, _, encoding = text.partition(" ")
    name = encoding.strip().partition("/")[0]
    if number in section.formats and _NAME.fullmatch(name):
        section.names[number] = name
