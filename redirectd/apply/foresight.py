"""What would become of a plan's new entries on the servers as they are now; asked, and nothing is changed."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from redirectd.apply.servers import OpenChannel
from redirectd.errors import PeerError
from redirectd.plan.planning import Plan, TargetPlan, understood
from redirectd.plan.route import Route
from redirectd.plan.target import Answering, Reply, Stateful
from redirectd.plan.target_spec import NO_RELOAD, TargetSpec
from redirectd.sip.text import printable
from redirectd.sip.uri import SipUri
from redirectd.targets.sockets import ASKS, SocketWay, no_socket, transport_of, version_of, ways_of

MOST_HOSTS = 20
"""Host names that are resolved at most, and new addresses that are sent an OPTIONS."""

MOST_NOTICES = 5
RESOLVING = 5.0
"""Seconds that all names together may take."""

_TIMEOUT = 5.0

Versions = Mapping[str, frozenset[int]]
"""By host name, the versions of IP that it has addresses of; none for one that does not resolve."""

Ping = Callable[[SipUri], bool]
"""Whether what listens at a URI answers an OPTIONS."""


@dataclass(frozen=True, slots=True)
class Foreseen:
    """Something that would not go well, and the first remap that it is about; `more` are others of the kind."""

    id: int
    why: str
    more: int = 0

    def __str__(self) -> str:
        """Write it as one sentence."""
        return f"remap {self.id}: {self.why}" + (f" (and {self.more} more such remaps)" if self.more else "")


def with_notices(
    plan: Plan,
    specs: Sequence[TargetSpec],
    routes: Sequence[Route],
    open_channel: OpenChannel,
    ping: Ping | None = None,
) -> Plan:
    """Add to each target of a plan of `routes` what its server's state means for it; one that can't be asked has none.

    These are destinations that a dispatcher has beside its file, and new entries whose URIs can't be reached.
    """
    new = {spec.name: _new_routes(spec, target, routes) for spec, target in zip(specs, plan.targets, strict=True)}
    versions = resolve(route.new for some in new.values() for route in some)
    targets = []
    for spec, target in zip(specs, plan.targets, strict=True):
        shown, held = _asked(spec, open_channel)
        notices = _run_time(spec, target, shown)
        notices += map(str, unreachable(new[spec.name], held, versions, ping)[:MOST_NOTICES])
        targets.append(replace(target, notices=tuple(notices)))
    return replace(plan, targets=tuple(targets))


def unreachable(
    routes: Iterable[Route], held: Collection[SocketWay] | None, versions: Versions, ping: Ping | None = None
) -> list[Foreseen]:
    """Give why calls to new URIs would fail, one for each host and transport; `held` None: nobody knows the sockets."""
    first: dict[tuple[str, str], Route] = {}
    count: dict[tuple[str, str], int] = {}
    for route in routes:
        place = route.new.host, transport_of(route.new)
        first.setdefault(place, route)
        count[place] = count.get(place, 0) + 1
    found = []
    pinged = 0
    for place, route in first.items():
        why = _why(route.new, held, versions)
        if why is None and ping is not None and pinged < MOST_HOSTS:
            pinged += 1
            address = printable(str(replace(route.new, user=None, password=None)), 200)
            why = None if ping(route.new) else f"nobody answers an OPTIONS to {address} that this host sends"
        if why is not None:
            found.append(Foreseen(route.id, why, count[place] - 1))
    return found


def _why(new: SipUri, held: Collection[SocketWay] | None, versions: Versions) -> str | None:
    version = version_of(new)
    known = frozenset({version}) if version is not None else versions.get(new.host.lower())
    host = printable(new.host, 200)
    if known is None:
        return None
    if not known:
        srv = "" if new.port is not None else ", if it has no SRV record"
        return f"{host} has no address in the DNS: each call to it would fail{srv}"
    lacks = None if held is None else no_socket(new, known, held)
    return None if lacks is None else f"{host} needs {lacks}, and the server has no such socket: each call would fail"


def _new_routes(spec: TargetSpec, target: TargetPlan, routes: Sequence[Route]) -> list[Route]:
    changed = (*target.changes.create, *target.changes.update)
    if not changed or not isinstance(spec.target, Answering):
        return []
    out = {refusal.id for refusal in target.refused} | {i for one in target.rendered.conflicts for i in one.ids}
    return [route for route in spec.target.brought(routes, changed) if route.id not in out]


def _asked(spec: TargetSpec, open_channel: OpenChannel) -> tuple[Reply | None, frozenset[SocketWay] | None]:
    """Give what a server shows of its state, and its sockets; None for what it does not."""
    shown, held = None, None
    if spec.control == NO_RELOAD:
        return shown, held
    try:
        with closing(open_channel(spec.control, timeout=min(spec.timeout, _TIMEOUT))) as channel:
            if isinstance(spec.target, Stateful):
                shown = channel.ask(spec.target.state())
            held = ways_of(channel.ask(ASKS[spec.kind.partition("-")[0]]))
    except (PeerError, KeyError):
        pass  # its own error comes with the apply, or from check
    return shown, held or None


def _run_time(spec: TargetSpec, target: TargetPlan, shown: Reply | None) -> list[str]:
    if shown is None or not isinstance(spec.target, Stateful):
        return []
    before = target.installed if target.installed is not None else target.blank
    old = understood(spec.target, before)[0]
    added = spec.target.added(shown, old)
    skipped = spec.target.skipped(shown, old)[:MOST_NOTICES]
    notices = [f"the server has left out {old[key]}: an apply goes on without it" for key in skipped]
    more = f" (and {len(added) - MOST_NOTICES} more)" if len(added) > MOST_NOTICES else ""
    if not added:
        return notices
    what = ", ".join(added[:MOST_NOTICES]) + more
    if target.installed is None:
        why = f"the server has what the base list has not, {what}: it was added at run time, or the list is another"
    else:
        why = f"the server has what was added at run time, {what}: an apply keeps it until Kamailio is restarted"
    return [*notices, why]


def resolve(uris: Iterable[SipUri]) -> Versions:
    """Look up the host names of URIs, at most `MOST_HOSTS` of them within `RESOLVING` seconds."""
    names: dict[str, None] = {}
    for uri in uris:
        if version_of(uri) is None:
            names[uri.host.lower()] = None
        if len(names) == MOST_HOSTS:
            break
    if not names:
        return {}
    found: dict[str, frozenset[int] | None] = {}

    def look_up(name: str) -> None:
        found[name] = _versions(name)

    # Daemons, since nothing ends a lookup before its own time is over, and a command shall not wait for that.
    threads = [threading.Thread(target=look_up, args=(name,), daemon=True) for name in names]
    for thread in threads:
        thread.start()
    end = time.monotonic() + RESOLVING
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return {name: versions for name, versions in dict(found).items() if versions is not None}


def _versions(name: str) -> frozenset[int] | None:
    """Give the versions of IP that a name has addresses of; None where the DNS itself gives no answer."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_DGRAM)
    except socket.gaierror as error:
        return frozenset() if error.errno in {socket.EAI_NONAME, socket.EAI_NODATA} else None
    except (OSError, UnicodeError):
        return None
    return frozenset({4 if each[0] == socket.AF_INET else 6 for each in found})
