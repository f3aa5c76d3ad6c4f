"""What a routing target is: a pure encoder, its parse-back, and the questions that prove it on the server."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice
from types import MappingProxyType
from typing import ClassVar, Protocol, runtime_checkable

from redirectd.plan.entry_file import EntryFile, LineForm
from redirectd.plan.route import Conflict, Route, RouteKind
from redirectd.sip.uri import SipUri


class TargetError(ValueError):
    """A file isn't what this target writes; the message says where (line) and why."""


class CannotCarryError(ValueError):
    """A URI that this target can't write without changing its meaning; the message is safe to print."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A route this target can't carry without changing its meaning."""

    id: int
    reason: str


@dataclass(frozen=True, slots=True)
class Rendered:
    """A target's whole text and what it means.

    `entries` maps what the server matches on to what it gives, both as the server sees them: the intent that
    `parse(content)` must give back exactly, and that the server is asked about after the reload. `token` names
    this content (a hash of the entries), for targets that carry a sentinel. `carried` are the remaps that it speaks
    for; nobody knows them of a file that was not rendered from remaps.
    """

    content: bytes
    entries: Mapping[str, str]
    refused: tuple[Refusal, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    token: str = ""
    carried: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Command:
    """Something to ask a server: an RPC method of Kamailio or a CLI command of Asterisk, with its arguments."""

    name: str
    args: tuple[str | int, ...] = ()


Reply = object
"""What a control channel answers: parsed JSON or binrpc values for Kamailio, text for Asterisk."""


@dataclass(frozen=True, slots=True)
class ServerFault:
    """The reply of a server that answered with an error of its own, such as "no such key".

    Only `Question.judge` ever sees it, for there an error can be the right answer; to everyone else the
    channel raises `PeerError`.
    """

    code: int
    text: str


@dataclass(frozen=True, slots=True)
class Question:
    """A command whose answer proves (or disproves) what is in service. `judge` gives None if proven, else why not."""

    command: Command
    judge: Callable[[Reply | ServerFault], str | None]


NOTHING: Mapping[str, str] = MappingProxyType({})
"""No entries."""


class Target(Protocol):
    """One kind of generated file. Built from its configuration; pure."""

    kind: ClassVar[str]
    mtime_step: ClassVar[bool]
    """The server re-reads the file only if its mtime, in whole seconds, is later than that of the one before."""

    def render(self, routes: Sequence[Route], base: bytes | None) -> Rendered:
        """The whole file for `routes` (and the operator's base file where the kind has one). Deterministic bytes.

        Raises TargetError, naming the line, where the base file can't be kept as it is.
        """
        ...

    def parse(self, content: bytes, like: Mapping[str, str] = NOTHING) -> Mapping[str, str]:
        """What the server would understand from `content`: the entries. Raises TargetError on anything else.

        `like` are entries of which most are expected to be found: a target of many can share their texts (`gather`).
        """
        ...

    def reload(self) -> Sequence[Command]:
        """The commands that make the server read the file again; empty where the server needs none."""
        ...

    def questions(self, rendered: Rendered, changed: Sequence[str]) -> Sequence[Question]:
        """What to ask after a reload so that a silent failure can't pass; `changed` are the entries' keys that changed.

        A key that is in `changed` and not in `rendered.entries` must be gone from the server.
        """
        ...


@runtime_checkable
class Keeping(Target, Protocol):
    """A target that keeps installed entries that it would not make any more (R41)."""

    def render_over(self, routes: Sequence[Route], base: bytes | None, installed: bytes | None) -> Rendered:
        """As `render`, with those entries of the `installed` file that `routes` still mean."""
        ...


@runtime_checkable
class Rebased(Target, Protocol):
    """A target of which an earlier generation is installed over the operator's rows as they are now."""

    def rebased(self, content: bytes, base: bytes | None) -> bytes:
        """Give the text of the moves of `content` over `base`."""
        ...


@dataclass(frozen=True, slots=True)
class TargetAnswer:
    """What a target's server does with a URI.

    `result` is the URI it sends the call to instead, by the remap `id`; both are None where it moves nothing, and `why`
    says why that is, where a remap of the URI is approved.
    """

    result: str | None
    id: int | None = None
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Lines:
    """What an operator pastes so that his server looks moves up.

    `call` goes where a call is routed, `beside` as it is beside the server's own routes or contexts. `old` finds a line
    of an earlier version in a configuration, and `asks` finds them on the running server, where that
    can be asked.
    """

    call: str
    beside: str
    old: re.Pattern[str]
    asks: Question | None = None


@runtime_checkable
class Answering(Keeping, Protocol):
    """A target that knows how its server finds an entry: what it writes, prints and answers is of one piece (R41)."""

    WIDTH: ClassVar[str]
    """What the server matches on, where it can't match on a whole route key; empty where it can."""

    moves: ClassVar[RouteKind]
    """What kind of remap it takes."""

    width: str
    """WIDTH as it is configured; empty where it is not, and then the target takes nothing new."""

    match: str
    """Which URI the server has in hand (R5)."""

    def answers(
        self, routes: Sequence[Route], base: bytes | None, installed: bytes | None, texts: Sequence[str]
    ) -> Sequence[TargetAnswer]:
        """Say what the server does with each of the SIP URIs `texts`, written as they are sent."""
        ...

    def also_moves(self, old: SipUri) -> str | None:
        """Name what an entry for `old` moves besides it, as `calls to alice at any host`.

        None for nothing, and where the target has no entry for it.
        """
        ...

    def brought(self, routes: Sequence[Route], changed: Collection[str]) -> Iterator[Route]:
        """Give those of the routes that some of the `changed` entries come from."""
        ...


@runtime_checkable
class Spliceable(Answering, Protocol):
    """A target whose file has a line for each entry: what few decisions change is put into the file that is there."""

    @property
    def form(self) -> str:
        """What of its configuration the file depends on; empty where the file can only be made from all remaps."""
        ...

    @property
    def line_form(self) -> LineForm:
        """How its lines are written."""
        ...

    def keys(self, uri: SipUri) -> Collection[str]:
        """Give what an old URI is written under, at most one key. Raises CannotCarryError."""
        ...


@runtime_checkable
class LookedUp(Answering, Protocol):
    """A target whose entries are found by lines that an operator pastes."""

    @property
    def own_place(self) -> tuple[str, str] | None:
        """What it fills on its server alone, as the configuration key that names it and as text; None where not known.

        A second target there would take its entries for its own, or hide them.
        """
        ...

    def lines(self) -> Lines:
        """Give those lines, fitted to the target's own names."""
        ...


@runtime_checkable
class LiveTarget(Target, Protocol):
    """A target whose changes are put into the running server one by one."""

    def standing(self, token: str) -> Question:
        """Whether the server holds just the content of that name, and no load of it was broken off."""
        ...

    def load(self, entries: Mapping[str, str], changed: Sequence[str]) -> Sequence[Command] | None:
        """The commands that bring the server's `changed` keys to `entries`; keys not in `entries` go.

        Right only for a server that holds what `changed` was reckoned from. None: too many, use `replace`.
        """
        ...

    def listing(self) -> Command | None:
        """What shows all that the server holds; None for a server that reads the file, which needs no such question."""
        ...

    def replace(self, entries: Mapping[str, str], shown: Reply) -> Sequence[Command]:
        """The commands that bring the server to `entries`, whatever it holds by its answer to `listing`."""
        ...


def reads_no_file(target: Target) -> bool:
    """Say if the target's server is given its entries one by one and never reads the file."""
    return isinstance(target, LiveTarget) and target.listing() is not None


@runtime_checkable
class Stateful(Protocol):
    """A target whose server also holds what its operator set at run time, beside the file."""

    def lost(self, rendered: Rendered) -> Sequence[Question]:
        """What to ask to see that nothing of the file was lost; what the server holds besides is the operator's."""
        ...

    def state(self) -> Command:
        """What shows the state before and after a reload."""
        ...

    def added(self, shown: Reply, old: Mapping[str, str]) -> Sequence[str]:
        """What the operator had added to the entries `old` at run time, by `shown`, each as text for a person."""
        ...

    def skipped(self, shown: Reply, old: Mapping[str, str]) -> Sequence[str]:
        """The keys of the operator's own entries `old` that the server does not hold, by `shown`, and need not."""
        ...

    def restore(self, shown: Reply, now: Reply, old: Mapping[str, str], new: Mapping[str, str]) -> Sequence[Command]:
        """The commands that bring back what `shown` had and `now` has not; `old` and `new` are the files' entries."""
        ...


@runtime_checkable
class Explaining(Protocol):
    """A target that knows what usually is behind a server's answer that disproves it."""

    def usual_cause(self, doubt: str) -> str | None:
        """Give the usual cause of a doubt that one of its questions gave, as what to look at; None for no idea."""
        ...


@dataclass(frozen=True, slots=True)
class Condition:
    """What a server is asked before anything is installed, and `what_to_do` where its answer disproves it."""

    question: Question
    what_to_do: str


@runtime_checkable
class Conditional(Protocol):
    """A target whose table a server can be configured to lose."""

    def conditions(self) -> Sequence[Condition]:
        """What has to be so on the server, or else nothing is given to it."""
        ...


@runtime_checkable
class Preflighted(Protocol):
    """A target whose server can read a file without taking it into service (Asterisk's manager interface)."""

    def preflight(self, path: str, rendered: Rendered) -> Question:
        """The question about the file at `path` that shows whether the server reads all of it as it is meant."""
        ...


@dataclass(frozen=True, slots=True)
class TargetOptions:
    """What every target takes from its configuration, `[[target]]`; `extra` holds the kind's own keys.

    `program` is what `reload` runs, for the kinds that take one; empty where it is a text.
    """

    name: str
    match: str = "request-uri"
    extra: Mapping[str, object] = field(default_factory=dict)
    program: Sequence[str] = ()


SAMPLE = 200
"""How many changed entries a target asks the server about, one by one, after a reload."""


def sample(changed: Sequence[str], most: int = SAMPLE) -> Sequence[str]:
    """Give all of `changed`, or `most` of them spread evenly over it; the same ones each time."""
    if len(changed) <= most:
        return changed
    return [changed[i * len(changed) // most] for i in range(most)]


def gather(rows: Iterable[tuple[int, str, str]], like: Mapping[str, str], what: str) -> dict[str, str]:
    """Make the entries of rows that were read: each a line's number, a key and what it gives.

    Texts that `like` has, too, are shared with it, keys as long as they come in its order: a second copy of a million
    entries would take 150 MB. Raises TargetError where `what`, the name of a key, appears twice.
    """
    found: dict[str, str] = {}
    known_keys = iter(like)
    for number, key, value in rows:
        if key in found:
            raise TargetError(f"line {number}: duplicate {what}")
        known = like.get(key)
        if known is None:
            found[key] = value
            continue
        for own in known_keys:
            if own == key:
                key = own  # noqa: PLW2901 - the same text, held once
                break
        found[key] = known if known == value else value
    return found


_AT_ONCE = 4096


def token_of(entries: Mapping[str, str]) -> str:
    """Name the entries: 16 hex digits of the SHA-256 over all of them, in key order."""
    if isinstance(entries, EntryFile):
        return entries.token
    digest = sha256()
    keys = iter(sorted(entries))
    while some := [f"{key}\0{entries[key]}\n" for key in islice(keys, _AT_ONCE)]:
        digest.update("".join(some).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]
