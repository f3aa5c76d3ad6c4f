"""What a log says about 301s without carrying a whole answer, what it has lost, and the setting that would fix it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from redirectd.dialects.linehead import line_head

_PJSIP_LOGGER = (
    "Asterisk: debug=yes in the [global] section of pjsip.conf (or `pjsip set logger on` until the next restart), "
    "with verbose in the file's line of logger.conf"
)
_RECORD = "Kamailio: log the one-line record that `redirectd snippet kamailio` prints"


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that a log without (enough) answers shows.

    Count the places where any of `literals` is. `unless` names marks that make this one pointless, a `silent`
    one does only that.
    `loss` says that each place means something the log no longer has.
    """

    name: str
    literals: tuple[bytes, ...]
    says: str
    setting: str
    loss: bool = False
    unless: tuple[str, ...] = ()
    silent: bool = False


@dataclass(frozen=True, slots=True)
class Hint:
    """A mark that was seen `count` times, with the setting that would show more."""

    name: str
    count: int
    says: str
    setting: str
    loss: bool


MARKS: tuple[Mark, ...] = (
    Mark(
        "asterisk-forwarding",
        (b"Now forwarding ",),
        "Asterisk followed redirects: this line is the same for 300, 301, 302 and 305 and can lack the host",
        _PJSIP_LOGGER,
        unless=("chan-sip-response",),
    ),
    Mark(
        "chan-sip-response",
        (b"Got SIP response 30",),
        "chan_sip received redirects, but these lines have neither the URI that moved nor the Contact",
        "Asterisk: `sip set debug on`, or sipdebug=yes in sip.conf",
    ),
    Mark(
        "asterisk-fatal-register",
        (b"Fatal response '301' received",),
        "a registrar answered 301; the line has no Contact",
        _PJSIP_LOGGER,
    ),
    Mark(
        "kamailio-acc",
        (b";code=301;",),
        "accounting lines with code 301 and without the URI that was asked",
        f"{_RECORD}; acc's log_extra with ouri=$ou;ruri=$ru only helps a person who reads the log",
        unless=("kamailio-acc-uri",),
    ),
    Mark(
        "kamailio-acc-uri",
        (b";ruri=",),
        "accounting lines with URIs: values are not escaped, and forks get the wrong Contact",
        _RECORD,
    ),
    Mark(
        "asterisk-no-sip",
        (b"] NOTICE[", b"] WARNING["),
        "an Asterisk log of notices and warnings alone, as `messages` is: no SIP message stands in it",
        _PJSIP_LOGGER,
        unless=("asterisk-verbose", "asterisk-forwarding"),
    ),
    Mark("asterisk-verbose", (b"] VERBOSE[",), "", "", silent=True),
    Mark(
        "operator-text",
        (b"rs=301 ", b"reply 301 "),
        "a script's own text about a 301, which does not carry the whole answer",
        _RECORD,
    ),
    Mark(
        "pjsip-unparsable",
        (b"PJSIP syntax error exception",),
        "pjsip dropped packets that it could not parse before any logger saw them",
        "capture the traffic (pcap, HEP) to see these answers",
        loss=True,
    ),
    Mark(
        "asterisk-discarded",
        (b"Logging resumed.",),
        "Asterisk discarded log messages under load",
        "Asterisk: raise logger_queue_limit in logger.conf, or put the log on a faster disk",
        loss=True,
    ),
    Mark(
        "kamailio-no-space",
        (b"no more space",),
        "Kamailio dropped xlog lines that were longer than their buffer",
        'Kamailio: modparam("xlog", "buf_size", 16384)',
        loss=True,
    ),
)

_DISCARDED = re.compile(rb"Logging resumed\.\s{1,4}(\d{1,9}) message")
_HEAD_BYTES = b"[{<\x1b 0123456789"


def literals() -> tuple[bytes, ...]:
    """All byte strings to count in a log, for `hints`."""
    return tuple(literal for mark in MARKS for literal in mark.literals)


def loss_literals() -> tuple[bytes, ...]:
    """The byte strings that mean losses."""
    return tuple(literal for mark in MARKS if mark.loss for literal in mark.literals)


def lost(literal: bytes, line: bytes) -> tuple[str, int]:
    """The kind of loss that a line with `literal` reports, and how many there were; 0 for what a message says."""
    mark = next(mark for mark in MARKS if literal in mark.literals)
    if not mark.loss or (line[:1] not in _HEAD_BYTES and not line_head(line).syslog):
        return mark.name, 0
    return mark.name, discarded(line.partition(b"\n")[0]) or 1


def count(sample: bytes | bytearray) -> dict[bytes, int]:
    """How often each of `literals` is in a piece of a log."""
    return {literal: found for literal in literals() if (found := sample.count(literal))}


def hints(counts: Mapping[bytes, int]) -> tuple[Hint, ...]:
    """What the counts of `literals` mean, losses first."""
    seen = {mark.name: sum(counts.get(literal, 0) for literal in mark.literals) for mark in MARKS}
    told = [
        Hint(mark.name, seen[mark.name], mark.says, mark.setting, mark.loss)
        for mark in MARKS
        if seen[mark.name] and not mark.silent and not any(seen[other] for other in mark.unless)
    ]
    return tuple(sorted(told, key=lambda hint: not hint.loss))


def discarded(line: bytes) -> int:
    """How many messages a `Logging resumed.` line of Asterisk says were discarded; 0 for any other line."""
    match = _DISCARDED.search(line)
    return int(match[1]) if match else 0
