"""All dialects by name, their order for a given log, and the byte strings that find answers in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from redirectd.dialects.arrow import Ngrep, Sngrep
from redirectd.dialects.asterisk_chan_sip import AsteriskChanSip
from redirectd.dialects.asterisk_console import AsteriskConsole
from redirectd.dialects.asterisk_json import AsteriskJson
from redirectd.dialects.asterisk_pjsip import AsteriskPjsip
from redirectd.dialects.asterisk_syslog import AsteriskSyslog
from redirectd.dialects.family import FAMILIES, SAMPLE, family_of
from redirectd.dialects.frame import Dialect, StreamDialect
from redirectd.dialects.framing import Stretch
from redirectd.dialects.hep import HepFile
from redirectd.dialects.kamailio_acc import KamailioAcc
from redirectd.dialects.kamailio_dump import KamailioDump, KamailioStderr
from redirectd.dialects.kamailio_journal import KamailioJournal
from redirectd.dialects.kamailio_json import KamailioJson
from redirectd.dialects.kamailio_own_text import KamailioOwnText, worth_searching
from redirectd.dialects.kamailio_record import KamailioRecord
from redirectd.dialects.ngrep_wrapped import NgrepWrapped
from redirectd.dialects.pcap import Pcap
from redirectd.dialects.sip_text import SipText
from redirectd.dialects.sipdump import Sipdump
from redirectd.dialects.siptrace import Siptrace, SiptraceRows
from redirectd.dialects.wrapped_lines import WRAPPERS, wrapper_of
from redirectd.errors import UsageError

_PROBES = 16

ALL: tuple[Dialect, ...] = (
    KamailioRecord(),
    AsteriskPjsip(),
    KamailioDump(),
    KamailioJson(),
    KamailioJournal(),
    AsteriskJson(),
    AsteriskSyslog(),
    AsteriskChanSip(),
    AsteriskConsole(),
    KamailioStderr(),
    Sipdump(),
    HepFile(),
    Sngrep(),
    Ngrep(),
    KamailioAcc(),
    KamailioOwnText(),
    Pcap(),
    Siptrace(),
    SiptraceRows(),
    NgrepWrapped(),
    SipText(),
)
ENVELOPES = (*FAMILIES, *(one.name for one in WRAPPERS))
"""What a source can be pinned to: its family of writers, or what wraps their consoles."""
_ALL_NAMES = frozenset(one.name for one in ALL)
STREAMS: tuple[StreamDialect, ...] = (Pcap(), HepFile(), Siptrace(), SiptraceRows(), NgrepWrapped())


def by_name(name: str) -> Dialect:
    """The dialect called `name`; `UsageError` with all names where there is none."""
    for dialect in ALL:
        if dialect.name == name:
            return dialect
    raise UsageError("--dialect", f"no dialect is called {name!r}", f"use one of: {', '.join(choices())}")


def envelope_of(head: bytes) -> str:
    """What wraps a log that begins so, or the family that wrote it (`family_of`); "" where neither is sure (R38)."""
    wrapper = wrapper_of(head[:SAMPLE])
    return wrapper.name if wrapper is not None else family_of(head[:SAMPLE])


def detect(head: bytes) -> tuple[Dialect, ...]:
    """The dialects of the family that a log shows that begins with `head`, all where it shows none (R38)."""
    return of_family(envelope_of(head), head)


def of_family(family: str, head: bytes = b"") -> tuple[Dialect, ...]:
    """The dialects of a family, those that frame most of the answers in `head` first.

    All for "" and for what is wrapped: each console in it has a family of its own.
    An author's own text is left out where a long `head` holds none: it proves nothing, and looking for it costs.
    """
    likely = [
        one
        for one in ALL
        if one.name in FAMILIES.get(family, _ALL_NAMES)
        and (not isinstance(one, KamailioOwnText) or worth_searching(head))
    ]
    page = Stretch(head)  # so that all of them share its walks
    hits = {dialect.name: _recognised(dialect, page) for dialect in likely}
    return tuple(sorted(likely, key=lambda dialect: (isinstance(dialect, SipText), -hits[dialect.name])))


def chosen(name: str, head: bytes = b"") -> tuple[Dialect, ...]:
    """The dialects called `auto`, a family or a dialect, as in `--dialect`; `UsageError` for other names."""
    if name == "auto":
        return detect(head)
    return of_family(name, head) if name in ENVELOPES else (by_name(name),)


def choices() -> tuple[str, ...]:
    """All names that `chosen` takes."""
    return ("auto", *sorted({*ENVELOPES, *(dialect.name for dialect in ALL)}))


def with_keys(dialects: Sequence[Dialect], keys: Sequence[bytes]) -> tuple[Dialect, ...]:
    """The same dialects, where the one-line record is checked by these keys (R39)."""
    return tuple(KamailioRecord(keys) if isinstance(one, KamailioRecord) else one for one in dialects)


def stream_for(head: bytes) -> StreamDialect | None:
    """The dialect that reads a file with this beginning as a whole, or None: then it is searched."""
    return next((dialect for dialect in STREAMS if dialect.recognises(head)), None)


def _recognised(dialect: Dialect, head: Stretch) -> int:
    """How many of the first few likely places in `head` the dialect frames."""
    count = 0
    for literal in dialect.literals:
        probe, at = re.split(rb"%[da]", literal)[0], -1
        for _ in range(_PROBES):
            at = head.find(probe, at + 1)
            if at < 0:
                break
            count += dialect.frame(head, at, final=True) is not None
    return count


def literals(dialects: Iterable[Dialect], statuses: Iterable[int]) -> tuple[bytes, ...]:
    """The byte strings to search for answers with one of `statuses`: none twice, none that another one finds.

    In a dialect's literal `%d` means the status and `%a` for its digits as journald's byte values.
    """
    found = {
        literal.replace(b"%d", b"%d" % status).replace(b"%a", b",".join(b"%d" % byte for byte in b"%d" % status))
        for dialect in dialects
        for literal in dialect.literals
        for status in statuses
    }
    return tuple(sorted(one for one in found if not any(other != one and other in one for other in found)))
