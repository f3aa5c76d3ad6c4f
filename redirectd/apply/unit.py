"""The files of one apply as one unit: prove them on their servers, or put all of them back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Self

from redirectd.apply.control import AnswerError, Channel, RetryLater
from redirectd.apply.install import FilePlace, Installer
from redirectd.apply.servers import ServerDown, Servers, judged
from redirectd.errors import InstallError, PeerError
from redirectd.plan.planning import digest, understood
from redirectd.plan.target import (
    Command,
    LiveTarget,
    Question,
    Rendered,
    Reply,
    Stateful,
    Target,
    reads_no_file,
    token_of,
)
from redirectd.plan.target_spec import TargetSpec
from redirectd.sip.text import mask_url
from redirectd.store.target_states import TargetState

MOST_ASKED = 500
"""Changed entries that are asked for one by one, to find those that a server does not hold."""


@dataclass(frozen=True, slots=True)
class StagedFile:
    """One file of the unit; `changed` are the entries' keys to ask the server about.

    They were reckoned from the file `before`, whose token is `standing` where that is known; with `anew`, nobody knows
    what the server holds. `brought` is what its operator had added at run time, found at the reload and added again
    after it; `skipped` are unchanged entries that the server did not hold before the reload either.
    """

    spec: TargetSpec
    place: FilePlace
    state: TargetState
    rendered: Rendered | None
    changed: tuple[str, ...]
    before: bytes | None = None
    anew: bool = False
    standing: str = ""
    brought: list[str] = field(default_factory=list)
    skipped: set[str] = field(default_factory=set)

    @property
    def name(self) -> str:
        """The target's name."""
        return self.spec.name

    @property
    def controls(self) -> tuple[str, ...]:
        """The ways to its servers; where some have proven it before, to the others."""
        return tuple(way for way in self.spec.controls if not self.state.nodes or way in self.state.nodes)


ByServer = dict[str, dict[str, str]]
"""By target and control of a server, what it answered."""


@dataclass(slots=True)
class ProofResult:
    """What became of a unit: servers that are `away` with why, or where it `failed` (stage and reason by target).

    After a failure `restored` are the targets whose old file is back, and `not_back` the servers that did not take it.
    `not_given` are the entries by target and key that the server did not give, where it has all the rest of the new
    file, and `not_read` the targets whose file it refused.
    """

    away: ByServer = field(default_factory=dict)
    failed: dict[str, tuple[str, str]] = field(default_factory=dict)
    restored: set[str] = field(default_factory=set)
    not_back: ByServer = field(default_factory=dict)
    not_given: dict[str, dict[str, str]] = field(default_factory=dict)
    not_read: dict[str, str] = field(default_factory=dict)

    @property
    def down(self) -> dict[str, str]:
        """Give the targets that wait for a server, each with why."""
        return _by_target(self.away)

    @property
    def unproven(self) -> dict[str, str]:
        """Give the restored targets that a server did not take, each with why."""
        return _by_target(self.not_back)

    def fail(self, item: StagedFile, control: str, stage: str, why: str) -> None:
        """Note a failure, with the server's name where the target has several."""
        named = f"{mask_url(control)}: {why}" if len(item.spec.controls) > 1 else why
        before = self.failed.get(item.name)
        self.failed[item.name] = (stage, named) if before is None else (before[0], f"{before[1]}; {named}")


def from_file(spec: TargetSpec, place: FilePlace, state: TargetState, installer: Installer) -> StagedFile:
    """Build an item from what is on disk, to prove or finish what an earlier run left."""
    content = installer.read(place.path)
    before = installer.read(state.backup) if state.backup else None
    return StagedFile(spec, place, state, *_readable(spec, content, before, own=state.sha256), anew=True)


def prove(items: Sequence[StagedFile], servers: Servers, installer: Installer, now: int) -> ProofResult:
    """Reload each server once and ask it; if one fails, put every file back and reload all.

    Raises:
        InstallError: a file could not be put back; the next apply tries again.
    """
    verdict = ProofResult()
    _ask_all(items, servers, verdict)
    if verdict.failed:
        for item in items:
            if verdict.failed.get(item.name, ("",))[0] == "read-back":
                verdict.not_given[item.name] = _not_given_by_any(item, verdict, servers)
        put_back(items, installer, now)
        _return_to_old(items, servers, installer, verdict)
    return verdict


def put_back(items: Iterable[StagedFile], installer: Installer, now: int) -> None:
    """Restore every file that is the new one; raises InstallError after all were tried."""
    errors: list[InstallError] = []
    for item in items:
        try:
            if item.state.unproven(digest(installer.read(item.place.path))):
                installer.restore(item.place, item.state.backup, now, step=item.spec.target.mtime_step)
        except InstallError as error:
            errors.append(error)
    if errors:
        raise InstallError(
            ", ".join(error.where for error in errors),
            "the old file could not be put back: " + "; ".join(error.why for error in errors),
            f"{errors[0].what_to_do}; the next apply tries again",
        )


def _ask_all(items: Sequence[StagedFile], servers: Servers, verdict: ProofResult) -> None:
    """Ask twice where a server may have read a copy of a database that was behind."""
    _ask_once(items, servers, verdict)
    if any(item.spec.database is not None and item.name in verdict.failed for item in items) and not verdict.not_read:
        verdict.failed.clear()
        verdict.away.clear()
        _ask_once(items, servers, verdict)


def _ask_once(items: Sequence[StagedFile], servers: Servers, verdict: ProofResult) -> None:
    reloads = {control: _Reload.of(control, group, servers) for control, group in _by_control(items)}
    for control, said in reloads.items():
        _note(verdict.away, control, said.not_loaded)
    for control, group in _by_control(items):
        for item in group:
            if control not in verdict.away.get(item.name, {}):
                _ask(item, control, servers, verdict, reloads[control].error)


@dataclass(frozen=True, slots=True)
class _Reload:
    """What a server said to a reload: why targets were `not_loaded`, or an `error`, which proves nothing."""

    not_loaded: Mapping[str, str]
    error: PeerError | None = None

    @classmethod
    def of(cls, control: str, group: Sequence[StagedFile], servers: Servers) -> Self:
        try:
            return cls(_not_loaded(group, _reload(control, group, servers)))
        except ServerDown as error:
            return cls({item.name: str(error.error) for item in group})
        except PeerError as error:
            return cls({}, error)


def _note(found: ByServer, control: str, answers: Mapping[str, str]) -> None:
    for name, answer in answers.items():
        found.setdefault(name, {})[control] = answer


def _by_target(found: ByServer) -> dict[str, str]:
    return {name: "; ".join(dict.fromkeys(answers.values())) for name, answers in found.items() if answers}


def _ask(item: StagedFile, control: str, servers: Servers, verdict: ProofResult, error: PeerError | None) -> None:
    """Let the read-back decide, also where a reload gave no answer in time, or says that it failed.

    Kamailio says `Reload Failed` for a dispatcher list that it has taken but for one row, and Ok for an empty one.
    """
    asked = questions(item)
    refusal = error if isinstance(error, AnswerError) else None
    faults = servers.doubts(control, item.spec.timeout, asked, patient=refusal is None)
    if error is not None and (not asked or (faults and refusal is not None)):
        shown = faults[:5] if isinstance(item.spec.target, Stateful) else []  # the entries that it left out
        verdict.fail(item, control, "reload", "; ".join([str(error), *shown]))
        if refusal is not None and not isinstance(refusal, RetryLater):
            verdict.not_read[item.name] = refusal.text
    elif faults:
        verdict.fail(item, control, "read-back", "; ".join(faults[:5]))


def _not_given_by_any(item: StagedFile, verdict: ProofResult, servers: Servers) -> dict[str, str]:
    """Give what some server does not give; nothing where more than that is wrong with one of them."""
    found: dict[str, str] = {}
    for control in item.controls:
        if control in verdict.away.get(item.name, {}):
            continue
        faulty = _not_given(item, control, servers)
        if not faulty and servers.doubts(control, item.spec.timeout, questions(item)):
            return {}
        found |= faulty
    return found


def _not_given(item: StagedFile, control: str, servers: Servers) -> dict[str, str]:
    """Ask for the changed entries one by one; nothing where more than some of them is wrong.

    A server that kept its old data gives the old entries, too: then all the rest would not be as it should be.
    """
    rendered, target = item.rendered, item.spec.target
    if rendered is None:
        return {}
    keys = [key for key in item.changed if key in rendered.entries][:MOST_ASKED]
    asked = [(key, question) for key in keys for question in _questions_of(target, rendered, key)]
    try:
        answers = servers.answers(control, item.spec.timeout, [question for _, question in asked])
        faulty = {key: why for (key, _), why in zip(asked, answers, strict=True) if why is not None}
        rest = replace(rendered, entries={key: to for key, to in rendered.entries.items() if key not in faulty})
        gone = [key for key in item.changed if key not in rendered.entries]
        others = target.questions(rest, [*gone, *(key for key in keys if key not in faulty)])
        return {} if any(servers.answers(control, item.spec.timeout, others)) else faulty
    except PeerError:
        return {}


def _questions_of(target: Target, rendered: Rendered, key: str) -> Sequence[Question]:
    """Give the questions that are about one entry alone."""
    if isinstance(target, Stateful):
        return target.lost(replace(rendered, entries={key: rendered.entries[key]}))
    return target.questions(rendered, (key,))[len(target.questions(rendered, ())) :]


def _return_to_old(items: Sequence[StagedFile], servers: Servers, installer: Installer, verdict: ProofResult) -> None:
    """Have the servers take the old files; what they don't take is remembered, not raised."""
    back = [item for item in items if item.state.goes_back]
    verdict.restored = {item.name for item in back}
    old = [_old_of(item, installer) for item in back]
    for control, group in _by_control(old):
        try:
            unknown = _reload(control, group, servers)
            not_loaded = _not_loaded(group, unknown)
            for item in group:
                if item.name in not_loaded:
                    continue
                faults = servers.doubts(control, item.spec.timeout, questions(item))
                if faults:
                    _note(verdict.not_back, control, {item.name: "; ".join(faults[:5])})
        except ServerDown as error:
            _note(verdict.not_back, control, {item.name: str(error.error) for item in group})
        except AnswerError as error:
            # A server can refuse to read a file that isn't there; then it already is as it was.
            _note(verdict.not_back, control, {item.name: str(error) for item in group if item.rendered is not None})
        except PeerError as error:
            _note(verdict.not_back, control, {item.name: str(error) for item in group})


def _old_of(item: StagedFile, installer: Installer) -> StagedFile:
    content = installer.read(item.place.path)
    rendered, _ = _readable(item.spec, content, None, own=item.state.previous_sha256)
    new = item.rendered.content if item.rendered else None
    return replace(item, rendered=rendered, before=new, anew=item.anew or new is None, standing="")


def _readable(
    spec: TargetSpec, content: bytes | None, before: bytes | None, *, own: str
) -> tuple[Rendered | None, tuple[str, ...]]:
    """Give a file as its target understands it; None for what can't be asked about.

    That is what isn't there or can't be read, and an empty table of somebody else's, which names no content; `own` is
    the hash of the file that redirectd has written.
    """
    entries, fault = understood(spec.target, content)
    if content is None and reads_no_file(spec.target):
        content = b""
    if content is None or fault is not None or not (entries or reads_no_file(spec.target) or digest(content) == own):
        return None, ()
    gone = understood(spec.target, before, entries)[0].keys() - entries.keys()
    return Rendered(content, entries, token=token_of(entries)), (*entries, *sorted(gone))


def questions(item: StagedFile) -> Sequence[Question]:
    """Give what the server is asked to prove a file; nothing where it can't be asked."""
    if item.rendered is None:
        return ()
    if (item.brought or item.skipped) and isinstance(item.spec.target, Stateful):
        entries = {key: to for key, to in item.rendered.entries.items() if key not in item.skipped}
        return item.spec.target.lost(replace(item.rendered, entries=entries))
    return item.spec.target.questions(item.rendered, item.changed)


def _by_control(items: Sequence[StagedFile]) -> Iterator[tuple[str, list[StagedFile]]]:
    """Group what has servers by the way to each, in the order of the configuration."""
    groups: dict[str, list[StagedFile]] = {}
    for item in items:
        for control in item.controls:
            groups.setdefault(control, []).append(item)
    yield from groups.items()


def _orders(items: Sequence[StagedFile], channel: Channel) -> list[Command]:
    """Give what brings a server to the files, by what it holds."""
    commands: list[Command] = []
    for item in items:
        target = item.spec.target
        commands += _load(item, target, channel) if isinstance(target, LiveTarget) else target.reload()
    return commands


def _load(item: StagedFile, target: LiveTarget, channel: Channel) -> Sequence[Command]:
    """Put the changes alone only into a server that holds what they were reckoned from."""
    entries = item.rendered.entries if item.rendered else {}
    changes = None if item.anew else target.load(entries, item.changed)
    if changes is not None:
        standing, fault = item.standing, None
        if not standing:
            before, fault = understood(target, item.before, entries)
            standing = token_of(before)
        if fault is None and judged(channel, target.standing(standing)) is None:
            return changes
    listing = target.listing()
    return target.replace(entries, None if listing is None else channel.ask(listing))


def _reload(control: str, group: Sequence[StagedFile], servers: Servers) -> Mapping[Command, str]:
    """Reload a server's files, and bring back what its operator had set at run time."""
    shown: dict[str, Reply] = {}

    def orders(channel: Channel) -> list[Command]:
        for item, target in _stateful(group):
            with suppress(AnswerError):  # nothing to keep where nothing is shown
                shown[item.name] = channel.ask(target.state())
        return _orders(group, channel)

    def after(channel: Channel) -> list[Command]:
        commands: list[Command] = []
        for item, target in _stateful(group):
            if item.name in shown:
                old, _ = understood(item.spec.target, item.before)
                new = item.rendered.entries if item.rendered else {}
                commands += target.restore(shown[item.name], channel.ask(target.state()), old, new)
                item.brought.extend(target.added(shown[item.name], old))
                same = {key: to for key, to in (old or new).items() if new.get(key) == to}
                item.skipped.update(target.skipped(shown[item.name], same))
        return commands

    return servers.reload(control, _timeout(group), orders, after)


def _stateful(items: Iterable[StagedFile]) -> Iterator[tuple[StagedFile, Stateful]]:
    for item in items:
        if isinstance(item.spec.target, Stateful):
            yield item, item.spec.target


def _not_loaded(items: Iterable[StagedFile], unknown: Mapping[Command, str]) -> dict[str, str]:
    """Give the targets whose reload the server does not know, each with its answer."""
    return {
        item.name: unknown[command] for item in items for command in item.spec.target.reload() if command in unknown
    }


def _timeout(items: Sequence[StagedFile]) -> float:
    return max(item.spec.timeout for item in items)
