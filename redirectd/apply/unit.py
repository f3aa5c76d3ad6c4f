"""The files of one apply as one unit: prove them on their servers, or put all of them back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

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
from redirectd.plan.target_spec import NO_RELOAD, TargetSpec
from redirectd.store.target_states import TargetState

MOST_ASKED = 500
"""Changed entries that are asked for one by one, to find those that a server does not hold."""


@dataclass(frozen=True, slots=True)
class Item:
    """One file of the unit; `changed` are the entries' keys to ask the server about.

    They were reckoned from the file `before`, whose token is `standing` where that is known; with `anew`, nobody knows
    what the server holds. `brought` is what its operator had added at run time, found at the reload and added again
    after it.
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

    @property
    def name(self) -> str:
        """The target's name."""
        return self.spec.name


@dataclass(slots=True)
class Verdict:
    """What became of a unit: `down` servers with why, or where it `failed` (stage and reason by target).

    After a failure `restored` are the targets whose old file is back, and `unproven` those of them whose
    server did not take it. `not_given` are the entries by target and key that the server did not give, where it has all
    the rest of the new file, and `not_read` the targets whose file it refused.
    """

    down: dict[str, str] = field(default_factory=dict)
    failed: dict[str, tuple[str, str]] = field(default_factory=dict)
    restored: set[str] = field(default_factory=set)
    unproven: dict[str, str] = field(default_factory=dict)
    not_given: dict[str, dict[str, str]] = field(default_factory=dict)
    not_read: dict[str, str] = field(default_factory=dict)


def from_file(spec: TargetSpec, place: FilePlace, state: TargetState, installer: Installer) -> Item:
    """Build an item from what is on disk, to prove or finish what an earlier run left."""
    content = installer.read(place.path)
    before = installer.read(state.backup) if state.backup else None
    return Item(spec, place, state, *_readable(spec, content, before, own=state.sha256), anew=True)


def prove(items: Sequence[Item], servers: Servers, installer: Installer, now: int) -> Verdict:
    """Reload each server once and ask it; if one fails, put every file back and reload all.

    Raises:
        InstallError: a file could not be put back; the next apply tries again.
    """
    verdict = Verdict()
    _ask_all(items, servers, verdict)
    if verdict.failed:
        for control, group in _by_control(items):
            for item in group:
                if verdict.failed.get(item.name, ("",))[0] == "read-back":
                    verdict.not_given[item.name] = _not_given(item, control, servers)
        put_back(items, installer, now)
        _return_to_old(items, servers, installer, verdict)
    return verdict


def put_back(items: Iterable[Item], installer: Installer, now: int) -> None:
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


def _ask_all(items: Sequence[Item], servers: Servers, verdict: Verdict) -> None:
    unanswered: dict[str, str] = {}
    for control, group in _by_control(items):
        try:
            unknown = _reload(control, group, servers)
            verdict.down |= _not_loaded(group, unknown)
        except ServerDown as error:
            verdict.down |= {item.name: str(error.error) for item in group}
        except AnswerError as error:
            verdict.failed |= {item.name: ("reload", str(error)) for item in group}
            if not isinstance(error, RetryLater):
                verdict.not_read |= {item.name: error.text for item in group}
        except PeerError as error:
            unanswered |= {item.name: str(error) for item in group}
    if verdict.failed:
        return
    for control, group in _by_control(items):
        for item in group:
            if item.name not in verdict.down:
                _ask(item, control, servers, verdict, unanswered.get(item.name))


def _ask(item: Item, control: str, servers: Servers, verdict: Verdict, unanswered: str | None) -> None:
    """Let the read-back decide, also where a long reload gave no answer in time."""
    asked = questions(item)
    faults = servers.doubts(control, item.spec.timeout, asked)
    if faults:
        verdict.failed[item.name] = ("read-back", "; ".join(faults[:5]))
    elif unanswered and not asked:
        verdict.failed[item.name] = ("reload", unanswered)


def _not_given(item: Item, control: str, servers: Servers) -> dict[str, str]:
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


def _return_to_old(items: Sequence[Item], servers: Servers, installer: Installer, verdict: Verdict) -> None:
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
                    verdict.unproven[item.name] = "; ".join(faults[:5])
        except ServerDown as error:
            verdict.unproven |= {item.name: str(error.error) for item in group}
        except AnswerError as error:
            # A server can refuse to read a file that isn't there; then it already is as it was.
            verdict.unproven |= {item.name: str(error) for item in group if item.rendered is not None}
        except PeerError as error:
            verdict.unproven |= {item.name: str(error) for item in group}


def _old_of(item: Item, installer: Installer) -> Item:
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


def questions(item: Item) -> Sequence[Question]:
    """Give what the server is asked to prove a file; nothing where it can't be asked."""
    if item.rendered is None:
        return ()
    if item.brought and isinstance(item.spec.target, Stateful):
        return item.spec.target.lost(item.rendered)
    return item.spec.target.questions(item.rendered, item.changed)


def _by_control(items: Sequence[Item]) -> Iterator[tuple[str, list[Item]]]:
    """Group what has a server by the way to it, in the order of the configuration."""
    groups: dict[str, list[Item]] = {}
    for item in items:
        if item.spec.control != NO_RELOAD:
            groups.setdefault(item.spec.control, []).append(item)
    yield from groups.items()


def _orders(items: Sequence[Item], channel: Channel) -> list[Command]:
    """Give what brings a server to the files, by what it holds."""
    commands: list[Command] = []
    for item in items:
        target = item.spec.target
        commands += _load(item, target, channel) if isinstance(target, LiveTarget) else target.reload()
    return commands


def _load(item: Item, target: LiveTarget, channel: Channel) -> Sequence[Command]:
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


def _reload(control: str, group: Sequence[Item], servers: Servers) -> Mapping[Command, str]:
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
        return commands

    return servers.reload(control, _timeout(group), orders, after)


def _stateful(items: Iterable[Item]) -> Iterator[tuple[Item, Stateful]]:
    for item in items:
        if isinstance(item.spec.target, Stateful):
            yield item, item.spec.target


def _not_loaded(items: Iterable[Item], unknown: Mapping[Command, str]) -> dict[str, str]:
    """Give the targets whose reload the server does not know, each with its answer."""
    return {
        item.name: unknown[command] for item in items for command in item.spec.target.reload() if command in unknown
    }


def _timeout(items: Sequence[Item]) -> float:
    return max(item.spec.timeout for item in items)
