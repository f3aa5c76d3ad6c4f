"""What all targets of user moves share: one lookup, by which an entry is written, printed, asked for, explained (R41).

A target says how its server finds an entry: `keys` writes, `asked` is what the printed `lines` make of a Request-URI,
and `also_moves` names what has the same key and is not the old URI. Everything else here follows from these.

Two kinds of installed rows are kept and never made any more. Rows of earlier versions, under keys that separated fewer
URIs, stay for as long as their remap is approved and unchanged, since lines pasted then find no others. And a target
whose configuration does not name its `width` keeps what it has in service, and takes nothing new.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

from redirectd.plan.route import Route, RouteKind
from redirectd.plan.target import NOTHING, CannotCarryError, Refusal, Rendered, TargetAnswer, TargetError, token_of
from redirectd.sip.text import printable
from redirectd.sip.uri import SipUri, parse_uri
from redirectd.targets.project import Projection, asked_uris, project, still_meant


class NotAskedError(Exception):
    """The printed lines look this URI up under no key: a known miss; the message says which."""


def take_token(entries: dict[str, str], sentinel: str, what: str) -> dict[str, str]:
    """Give `entries` without the one that names the content, `what` its line is called.

    Raises TargetError where it names another content. An operator's new table has no row at all.
    """
    token = entries.pop(sentinel, None)
    if token != token_of(entries) and (entries or token is not None):
        raise TargetError(f"the {what} {sentinel} does not name this content")
    return entries


class UserMoves(ABC):
    """A target of user moves. `width` is the configuration's; empty for an exact target, or where it is missing."""

    kind: ClassVar[str]
    moves: ClassVar[RouteKind] = "user"
    WIDTH: ClassVar[str] = ""
    """What the server matches on, where that is less than a route key; empty for the whole route key."""

    OLD_ROW: ClassVar[re.Pattern[bytes] | None] = None
    """What a file with rows of earlier versions has; None where there were no other rows."""

    def __init__(self, match: str, *, width: str = "", legacy_keys: bool = False) -> None:
        if width not in ("", self.WIDTH):
            raise ValueError(f'width = "{width}" is not what this kind matches on: "{self.WIDTH}"')
        self.width = width
        self.match = match
        self._legacy_keys = legacy_keys

    @property
    def own_place(self) -> tuple[str, str] | None:
        """See `redirectd.plan.target.LookedUp`."""
        return None

    @abstractmethod
    def keys(self, uri: SipUri) -> Collection[str]:
        """Give what an old URI is written under; none where the target does not speak for it."""

    @abstractmethod
    def asked(self, uri: SipUri, text: str) -> str:
        """Give what the printed lines look a Request-URI up under, sent as `text`. Raises NotAskedError."""

    def besides(self, old: SipUri) -> str:
        """Name the other URIs that an entry for `old` moves; empty for an exact target."""
        return ""

    @abstractmethod
    def parse(self, content: bytes, like: Mapping[str, str] = NOTHING) -> Mapping[str, str]:
        """See `redirectd.plan.target.Target`."""

    @abstractmethod
    def _value(self, new: SipUri) -> str:
        """Write a new URI. Raises CannotCarryError."""

    @abstractmethod
    def _write(self, found: Projection, base: bytes | None) -> Rendered:
        """Make the file."""

    def _old_keys(self, uri: SipUri) -> Collection[str]:
        """Give what earlier versions wrote an old URI under."""
        return ()

    def _is_old(self, key: str) -> bool:
        """Say if a key is one of an earlier version."""
        return False

    @property
    def form(self) -> str:
        """What of the configuration the file depends on; empty where it can only be made from all remaps.

        That is where the incoming URI is the key, which sightings change too, or where rows only stay.
        """
        if self.match != "request-uri" or self._is_frozen:
            return ""
        return f"{self.kind} {self.width} {self._legacy_keys} {self._served()}"

    def _served(self) -> str:
        """Name what the target speaks for, where that is not all."""
        return ""

    def also_moves(self, old: SipUri) -> str | None:
        """Name the other URIs that an entry for `old` moves; None where there is none, or no entry."""
        try:
            return (self.besides(old) or None) if self.keys(old) else None
        except CannotCarryError:
            return None

    def brought(self, routes: Sequence[Route], changed: Collection[str]) -> Iterator[Route]:
        """Give the routes that claim one of the `changed` keys."""
        keys = set(changed)
        return (route for route in routes if route.kind == self.moves and not keys.isdisjoint(self._claimed(route)))

    def render(self, routes: Sequence[Route], base: bytes | None) -> Rendered:
        """Write the file in key order."""
        return self.render_over(routes, base, None)

    def render_over(self, routes: Sequence[Route], base: bytes | None, installed: bytes | None) -> Rendered:
        """Write the file, and with it those rows of the installed one that only stay."""
        return self._write(self._projection(routes, self._there(installed)), base)

    def answers(
        self, routes: Sequence[Route], base: bytes | None, installed: bytes | None, texts: Sequence[str]
    ) -> Sequence[TargetAnswer]:
        """Say what a server with the printed lines does with each Request-URI of `texts`, which are SIP URIs."""
        found = self._projection(routes, self._there(installed))
        claims: dict[str, list[Route]] = {}
        for route in routes:
            for key in self._claimed(route) if route.kind == "user" else ():
                claims.setdefault(key, []).append(route)
        return [self._answer(found, claims, text) for text in texts]

    def _answer(self, found: Projection, claims: Mapping[str, Sequence[Route]], text: str) -> TargetAnswer:
        uri = parse_uri(text)
        assert isinstance(uri, SipUri)
        try:
            key = self.asked(uri, text)
        except NotAskedError as miss:
            return TargetAnswer(None, None, str(miss))
        result = found.entries.get(key)
        owners = claims.get(key, ())
        if result is not None:
            return TargetAnswer(result, next((route.id for route in owners if self._gives(route, result)), None))
        return TargetAnswer(None, None, self._why_not(uri, found, {route.id for route in owners}))

    def _why_not(self, uri: SipUri, found: Projection, owners: Collection[int]) -> str | None:
        for refusal in found.refused:
            if refusal.id in owners:
                return f"remap {refusal.id} cannot be written here: {refusal.reason}"
        for conflict in found.conflicts:
            if set(owners) & set(conflict.ids):
                return conflict.reason
        try:
            usual = [key for key in self.keys(uri) if key in found.entries]
            old = [key for key in self._old_keys(uri) if key in found.entries]
        except CannotCarryError:
            return None
        if usual:
            return f"a known miss: the server looks this spelling up under another key than {usual[0]}"
        if old:
            return f"lines of an earlier version, where they are still pasted, send it to {found.entries[old[0]]}"
        return None

    def _there(self, installed: bytes | None) -> Mapping[str, str]:
        """Give the entries in place, where some of them may only stay; none of a file that can't be read."""
        may_stay = self._is_frozen or (self._legacy_keys and self.OLD_ROW is not None)
        if installed is None or not may_stay:
            return NOTHING
        if not self._is_frozen and self.OLD_ROW is not None and not self.OLD_ROW.search(installed):
            return NOTHING
        try:
            return self.parse(installed)
        except TargetError:
            return NOTHING  # somebody changed the file, and the plan says so

    def _projection(self, routes: Sequence[Route], there: Mapping[str, str]) -> Projection:
        refused: list[Refusal] = []
        if self._is_frozen:
            refused = [self._new_to(route) for route in routes if self._is_new(route, there)]
            new = {each.id for each in refused}
            routes = [route for route in routes if route.id not in new]
        found = project(routes, "user", self.match, self.keys, self._value)
        old = {key: value for key, value in there.items() if self._is_old(key)} if self._legacy_keys else NOTHING
        kept = still_meant(old, routes, self.match, self._old_keys, self._value) if old else NOTHING
        if kept:
            found = replace(found, entries=dict(sorted({**found.entries, **kept}.items())))
        return replace(found, refused=(*refused, *found.refused)) if refused else found

    @property
    def _is_frozen(self) -> bool:
        return bool(self.WIDTH) and not self.width

    def _is_new(self, route: Route, there: Mapping[str, str]) -> bool:
        """Say if none of what is in service is this route's; what can't be written is refused for that elsewhere."""
        if route.kind != "user":
            return False
        keys = self._claimed(route)
        return bool(keys) and not any(key in there and self._gives(route, there[key]) for key in keys)

    def _new_to(self, route: Route) -> Refusal:
        others = printable(self.besides(route.old), 200)
        return Refusal(
            route.id,
            f'it would also move {others}; to allow that, add width = "{self.WIDTH}" to this target',
        )

    def _claimed(self, route: Route) -> Collection[str]:
        """Give the keys that a route is looked up by, those of earlier versions among them."""
        found: set[str] = set()
        for uri in asked_uris(route, self.match):
            try:
                found.update(self.keys(uri))
                found.update(self._old_keys(uri))
            except CannotCarryError:
                pass  # refused by name, with the reason
        return found

    def _gives(self, route: Route, value: str) -> bool:
        try:
            return self._value(route.new) == value
        except CannotCarryError:
            return False
