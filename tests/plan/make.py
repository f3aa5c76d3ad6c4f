"""Values for the plan's tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from redirectd.plan.route import Approved, Route, RouteKind
from redirectd.plan.target import NOTHING, Command, Question, Refusal, Rendered, TargetError
from redirectd.sip.uri import SipUri, parse_uri


def sip(text: str) -> SipUri:
    """Read a SIP URI."""
    uri = parse_uri(text)
    assert isinstance(uri, SipUri)
    return uri


def remap(number: int, old: str, new: str, kind: RouteKind = "user") -> Approved:
    """Make an approved remap; names without a scheme are users at one host."""
    return Approved(number, kind, sip(_whole(old)), sip(_whole(new)))


def _whole(text: str) -> str:
    return text if ":" in text else f"sip:{text}@lab.test"


class LineTarget:
    """A target of ``old new`` lines behind its base; refuses what has a semicolon. For plans, no server knows it."""

    kind: ClassVar[str] = "lines"
    mtime_step: ClassVar[bool] = False

    def render(self, routes: Sequence[Route], base: bytes | None) -> Rendered:
        """Write base and lines."""
        entries = dict(self.parse(base or b""))
        refused = []
        for route in routes:
            if ";" in str(route.new):
                refused.append(Refusal(route.id, "has parameters"))
            else:
                entries[str(route.old)] = str(route.new)
        text = "".join(f"{old} {new}\n" for old, new in sorted(entries.items()))
        return Rendered(text.encode(), entries, tuple(refused))

    def parse(self, content: bytes, like: Mapping[str, str] = NOTHING) -> Mapping[str, str]:
        """Read the lines."""
        entries = {}
        for number, line in enumerate(content.decode().splitlines(), 1):
            if line.startswith("#"):
                continue
            old, space, new = line.partition(" ")
            if not space:
                raise TargetError(f"line {number}: no space")
            entries[old] = new
        return entries

    def reload(self) -> Sequence[Command]:
        """Have nothing to reload."""
        return ()

    def questions(self, rendered: Rendered, changed: Sequence[str]) -> Sequence[Question]:
        """Have nothing to ask."""
        del rendered, changed
        return ()
