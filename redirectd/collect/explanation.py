"""What a log was read as, place by place: an observer of the reader that ingest uses. Bounded, whatever it reads."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from redirectd.collect.answer import WEAK
from redirectd.collect.batch import Batch
from redirectd.collect.console_streams import reader_of, wrapper_in
from redirectd.collect.linecount import LineCount, LineFinder
from redirectd.collect.loops import SeenMove, Way, ways
from redirectd.collect.observer import Observation, PlaceOutcome
from redirectd.collect.progress import session_progress
from redirectd.collect.traffic import AnswerCounts, logged_message
from redirectd.collect.unframed import unframed_answer
from redirectd.collect.verdict import Learnt
from redirectd.dialects.hints import Hint, hints, literals
from redirectd.sip.text import printable

if TYPE_CHECKING:
    from datetime import datetime

    from redirectd.collect.answer import Answer
    from redirectd.collect.reading import Reading
    from redirectd.collect.scan import Block
    from redirectd.sources.log import Log

SHOWN = 10
"""Places that are shown one by one of those that came to the same."""

MAX_GROUPS = 10_000
"""Different results that are told apart; of more, only rule and dialect."""

REMEMBERED = 65_536
"""Answers whose result can still change; the reader remembers as many."""

Entry = dict[str, Any]
_SPENT = (PlaceOutcome.LEARNT, PlaceOutcome.REFUSED, PlaceOutcome.UNREADABLE)


@dataclass(slots=True)
class _Group:
    """Places that came to the same: the first ones, and how many there are."""

    outcome: PlaceOutcome
    status: int
    rule: str
    dialect: str
    entries: list[Entry] = field(default_factory=list)
    count: int = 0
    learnt: Learnt | None = None


class Explanation:
    """Collects findings, and `counts` what else the log holds. `lines` is None for a capture, which has no lines."""

    def __init__(
        self,
        lines: LineCount | LineFinder | None,
        held: Callable[[Learnt], Mapping[str, str]] = lambda learnt: learnt.flags,
    ) -> None:
        """`held` gives a remap's flags by name with the reasons, also those that depend on the policy."""
        self._lines = lines
        self._held = held
        self.counts = AnswerCounts()
        self.bytes_read = 0
        self.losses: Counter[str] = Counter()
        self._groups: dict[tuple[str, ...], _Group] = {}
        self._current: OrderedDict[str, tuple[_Group, Entry | None]] = OrderedDict()
        self._counts: Counter[bytes] = Counter()

    def block(self, block: Block, begin: int) -> None:
        """See `Observer.block`."""
        if self._lines is not None:
            self._lines.add(block, begin)
        for entry in block.messages:
            if (logged := logged_message(entry, block.base + entry.start)) is not None:
                self.counts.add(logged)
        for literal, places in block.counted.items():
            self._counts[literal] += len(places)
        for at in block.unframed:
            if unframed_answer(block.window, at) is not None:
                continue  # it is quarantined, and reported as such
            status = 183 if b"183" in block.window[at : at + 24] else 301
            self.found(
                Observation(
                    position=block.base + at,
                    status=status,
                    dialect="",
                    outcome=PlaceOutcome.IGNORED,
                    reason="no dialect knows what stands around it, or it carries no Call-ID",
                )
            )

    def found(self, finding: Observation) -> None:
        """See `Observer.found`."""
        group = self._group(finding)
        group.count += 1
        entry = None
        if len(group.entries) < SHOWN:
            entry = self._entry(finding)
            group.entries.append(entry)
        if finding.answer is None or finding.outcome not in _SPENT:
            return
        answer = finding.answer
        self._replace(answer.event_key)
        if answer.rank != WEAK:
            self._replace(answer.call_key)
        self._current[answer.event_key] = (group, entry)
        while len(self._current) > REMEMBERED:
            self._current.popitem(last=False)

    def taken_back(self, event_key: str) -> None:
        """See `Observer.taken_back`."""
        self._replace(event_key, "a relayed copy: the answer as it was received follows")

    @property
    def entries(self) -> list[Entry]:
        """What is shown, in the order of the log; `like_this` places of one `group` came to the same."""
        shown = [
            entry | {"group": number, "like_this": group.count}
            for number, group in enumerate(self._groups.values(), 1)
            for entry in group.entries
        ]
        return sorted(shown, key=lambda entry: entry["position"])

    def summary(self) -> dict[str, int]:
        """The same counts as `ingest` gives for a log that was not read before, and what was not counted."""
        total: Counter[str] = Counter()
        for group in self._groups.values():
            total[_name_of(group)] += group.count
        sightings = sum(group.count for group in self._groups.values() if _is_sighting(group))
        names = ("unpaired", "refused", "unparsed", "session_progress", "copies", "sent", "ignored")
        return {"sightings": sightings, "learnt": total["learnt"]} | {name: total[name] for name in names}

    def ways(self) -> tuple[list[Way], list[Way]]:
        """Redirect loops and chains."""
        return ways(
            SeenMove(
                f"{one.kind} {one.old_key}",
                printable(one.old_uri),
                f"{one.kind} {one.candidates[0].key}",
                printable(one.candidates[0].uri),
                group.count,
            )
            for group in self._groups.values()
            if (one := group.learnt) is not None and group.count
        )

    def hints(self) -> tuple[Hint, ...]:
        """What this log does not show, and the setting that would; losses first. None where whole messages show it."""
        asterisk = any(name.startswith("asterisk") for name in self.counts.dialects)
        weak = any(group.count and group.dialect in _WEAK and _is_sighting(group) for group in self._groups.values())
        told = [
            hint
            for hint in hints(self._counts)
            if hint.loss or (not asterisk if hint.name.startswith(("asterisk", "chan-sip")) else weak)
        ]
        unpaired: Counter[str] = Counter()
        for group in self._groups.values():
            if group.count and group.rule == "R7" and group.dialect not in _WEAK:
                unpaired["unpaired-dump" if group.dialect in _DUMPS else "unpaired"] += group.count
        told += [
            Hint(name, count, _UNPAIRED, _LOG_REQUESTS[name], loss=False) for name, count in sorted(unpaired.items())
        ]
        return tuple(told)

    def _group(self, finding: Observation) -> _Group:
        verdict = finding.verdict
        learnt = verdict if isinstance(verdict, Learnt) else None
        kind = (str(finding.status), finding.outcome.value, finding.rule, finding.dialect)
        old = verdict.old_uri if verdict else ""
        key: tuple[str, ...] = (*kind, finding.reason, old, learnt.identity if learnt else "")
        if key not in self._groups and len(self._groups) >= MAX_GROUPS:
            key, learnt = kind, None
        group = self._groups.get(key)
        if group is None:
            group = _Group(finding.outcome, finding.status, finding.rule, finding.dialect, learnt=learnt)
            self._groups[key] = group
        return group

    def _replace(self, key: str, reason: str = "another line says more of the same answer") -> None:
        """What was reported of an answer is superseded: it stays in view as a copy."""
        group, entry = self._current.pop(key, (None, None))
        if group is None:
            return
        group.count -= 1
        copies = self._groups.setdefault(
            ("overtaken", group.dialect, reason), _Group(PlaceOutcome.COPY, group.status, "R8", group.dialect)
        )
        copies.count += 1
        if entry is not None:
            group.entries = [one for one in group.entries if one is not entry]
            if len(copies.entries) < SHOWN:
                copies.entries.append(entry | {"read_as": "copy", "rule": "R8", "reason": reason})

    def _entry(self, finding: Observation) -> Entry:
        base: Entry = {
            "position": finding.position,
            "line": self._lines.at(finding.position) if self._lines else None,
            "status": finding.status,
            "dialect": finding.dialect,
            "read_as": _read_as(finding),
            "rule": finding.rule or None,
            "reason": printable(finding.reason) or None,
            "request": self._request(finding),
        }
        answer = finding.answer
        return base if answer is None else base | _of_answer(answer) | self._of_verdict(finding)

    def _of_verdict(self, finding: Observation) -> Entry:
        learnt = finding.verdict
        if not isinstance(learnt, Learnt):
            return {}
        return {
            "new_uris": [printable(one.uri) for one in learnt.candidates],
            "flags": {name: printable(reason) for name, reason in sorted(self._held(learnt).items())},
            "facts": {name: printable(text) for name, text in learnt.facts.items()},
            "dropped": [printable(one.dropped) for one in learnt.candidates if one.dropped],
        }

    def _request(self, finding: Observation) -> Entry | None:
        """Where the request is: in the same line, at an offset, or in an older file."""
        answer = finding.answer
        if answer is None or answer.request_uri is None:
            return None
        at = finding.asked_at if finding.paired else answer.position
        by = "Via branch, CSeq and Call-ID" if finding.paired else "a line that gives request and answer"
        return {"position": at, "line": self._lines.at(at) if self._lines else None, "by": by, "rule": "R6"}


def explain_log(
    log: Log,
    reading: Reading,
    clock: Callable[[], datetime],
    *,
    with_lines: bool,
    held: Callable[[Learnt], Mapping[str, str]] = lambda learnt: learnt.flags,
) -> Explanation:
    """What a whole log is read as; see `Explanation`. Batches are dropped: nothing is stored."""
    lines = LineFinder(log) if wrapper_in(log, reading) else LineCount(log)
    explanation = Explanation(lines if with_lines else None, held)
    reader = reader_of(log, replace(reading, counted=literals()), clock=clock, observer=explanation)
    more = True
    while more:
        batch = Batch(reading.source)
        more = reader.read(batch, final=True)
        reader.confirm()
        explanation.bytes_read += batch.read
        explanation.losses.update(batch.losses)
    return explanation


_NAMES = {PlaceOutcome.UNREADABLE: "unparsed", PlaceOutcome.PROGRESS: "session_progress", PlaceOutcome.COPY: "copies"}
_WEAK = {"kamailio-text", "kamailio-acc"}
_DUMPS = {"kamailio-dump", "kamailio-stderr", "kamailio-json", "kamailio-journal"}
_UNPAIRED = "answers whose request does not stand within 8 MiB before them: the URI that moved is unknown (R7)"
_LOG_REQUESTS = {
    "unpaired": "log the requests that are sent, not only the answers: the one-line record of `redirectd snippet "
    "kamailio` logs both, and so does Asterisk's pjsip logger",
    "unpaired-dump": "Kamailio: log the one-line record that `redirectd snippet kamailio` prints, which gives both; or "
    "dump the requests too, in onsend_route as $snd(buf): $mb is the message as it was received, also there, without "
    "the Via and the Request-URI that were sent",
}


def _is_sighting(group: _Group) -> bool:
    return group.status == 301 and group.outcome in _SPENT and bool(group.rule)


def _name_of(group: _Group) -> str:
    if group.outcome is PlaceOutcome.REFUSED:
        return "unpaired" if group.rule == "R7" else "refused"
    return _NAMES.get(group.outcome, str(group.outcome.value))


def _read_as(finding: Observation) -> str:
    if isinstance(finding.verdict, Learnt):
        return f"{finding.verdict.kind} remap"
    if finding.outcome is PlaceOutcome.REFUSED and finding.rule == "R7":
        return "unpaired"
    return str(finding.outcome.value)


def _of_answer(answer: Answer) -> Entry:
    found: Entry = {
        "method": printable(answer.method, 40),
        "call_id": printable(answer.call_id, 300),
        "peer": str(answer.peer) if answer.peer else "",
        "seen_at": answer.seen_at,
        "old_uri": printable(answer.request_uri or ""),
        "contacts": [printable(contact) for contact in answer.contacts],
        "hint": printable(answer.to_hint, 300) if answer.request_uri is None else "",
    }
    if answer.status == 183:
        progress = session_progress(answer)
        found |= {"sdp": progress.sdp, "reliable": progress.reliable}
    return found
