"""A target as plan and apply take it: plain values beside the encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from redirectd.errors import InstallError
from redirectd.plan.target import LookedUp, Target
from redirectd.sip.text import mask_url

NO_RELOAD = "none"
"""The control of a target whose file is written and parsed back only."""

OWN_PROGRAMS = "run:"
"""What the control of a target with programs of the operator begins with; the target's name comes after it."""

RELOAD_FORMS = (
    "none",
    "binrpc:unix:/PATH",
    "binrpc:tcp:HOST:PORT",
    "jsonrpc:unix:/PATH",
    "jsonrpc:http://HOST:PORT/RPC",
    "jsonrpc:fifo:/PATH?reply_dir=/DIR",
    "kamcmd",
    "kamcmd -s unixs:/PATH",
    "asterisk -rx",
    "asterisk -C /PATH/asterisk.conf -rx",
    "ami://USER@HOST:PORT",
    "amis://USER@HOST:PORT?ca=/PATH",
)
"""The forms of ``reload`` as a text, for messages and documentation."""


@dataclass(frozen=True, slots=True)
class TargetSpec:
    """One ``[[target]]``.

    `path` is the generated file and `base` the operator's own, as text for a person; `control` is the
    ``reload`` key (targets with one control share one reload); `timeout` bounds each question to the
    server, in seconds. `mode`, `owner` and `group` are those of a new file; an existing one keeps its own.
    `server` joins targets of one server that is reached in several ways (or in none) into one unit.
    `database` is the URL, without a password, of one that is a table and no file; its `path` names that. `nodes` are
    the controls of all servers that read this table, where there are several; `control` is the first of them.
    """

    name: str
    path: str
    target: Target
    base: str | None = None
    control: str = NO_RELOAD
    timeout: float = 10.0
    mode: int = 0o640
    owner: str | None = None
    group: str | None = None
    server: str | None = None
    database: str | None = None
    nodes: tuple[str, ...] = ()

    @property
    def controls(self) -> tuple[str, ...]:
        """The ways to its servers; none where it has no server."""
        return self.nodes or (() if self.control == NO_RELOAD else (self.control,))

    @property
    def unit_name(self) -> str:
        """What this target's unit is called where no other target's name for it comes first."""
        alone = self.control == NO_RELOAD or self.control.startswith(OWN_PROGRAMS)
        return self.server or (self.name if alone else mask_url(self.control))

    @property
    def marks(self) -> frozenset[tuple[str, str]]:
        """What two targets of one server have in common."""
        marks = {("server", self.server)} if self.server is not None else set()
        marks |= {("control", control) for control in self.controls}
        return frozenset(marks or {("target", self.name)})

    @property
    def kind(self) -> str:
        """The target's kind, as in the configuration."""
        return self.target.kind


@dataclass(frozen=True, slots=True)
class Installed:
    """What is there now for one target.

    `content` is the generated file's bytes (None: no file), `base` the operator's; `last_sha256` is of
    what redirectd installed last, `pending_reload` says that the server hasn't loaded it yet. `fault` says why a
    file can't be read.
    """

    content: bytes | None = None
    base: bytes | None = None
    last_sha256: str | None = None
    pending_reload: bool = False
    fault: InstallError | None = None


@dataclass(frozen=True, slots=True)
class ApplyUnit:
    """The targets of one server: they are installed, proven and rolled back together, and apart from all others."""

    name: str
    specs: tuple[TargetSpec, ...]

    @property
    def targets(self) -> frozenset[str]:
        """The names of its targets."""
        return frozenset(spec.name for spec in self.specs)


def units_of(specs: Sequence[TargetSpec]) -> tuple[ApplyUnit, ...]:
    """Put targets together that share a control address or the name of a server; others are a unit each.

    Units come in the order of their first targets, and each unit's targets in theirs.
    """
    groups: list[tuple[frozenset[tuple[str, str]], list[TargetSpec]]] = []
    for spec in specs:
        joined = [group for group in groups if group[0] & spec.marks]
        groups = [group for group in groups if not group[0] & spec.marks]
        marks = spec.marks.union(*(marks for marks, _ in joined))
        groups.append((marks, [*(each for _, members in joined for each in members), spec]))
    place = {spec.name: number for number, spec in enumerate(specs)}
    members = [sorted(group, key=lambda spec: place[spec.name]) for _, group in groups]
    members.sort(key=lambda group: place[group[0].name])
    units: list[ApplyUnit] = []
    for group in members:
        name = _unit_name(group)
        if any(unit.name == name for unit in units):  # a server may have the name of another unit's target
            name = f"{name} ({group[0].name})"
        units.append(ApplyUnit(name, tuple(group)))
    return tuple(units)


def written_twice(specs: Sequence[TargetSpec]) -> dict[str, tuple[str, str, str]]:
    """Give, by the name of a target, the first one of its server that fills the same place, its key and the place."""
    found: dict[str, tuple[str, str, str]] = {}
    for unit in units_of(specs):
        first: dict[tuple[str, str], str] = {}
        for spec in unit.specs:
            place = spec.target.own_place if isinstance(spec.target, LookedUp) else None
            if place is not None and (other := first.setdefault(place, spec.name)) != spec.name:
                found[spec.name] = (other, *place)
    return found


def _unit_name(specs: Sequence[TargetSpec]) -> str:
    named = (spec.server for spec in specs if spec.server is not None)
    reached = (spec.unit_name for spec in specs if spec.control != NO_RELOAD)
    return next(named, None) or next(reached, specs[0].unit_name)
