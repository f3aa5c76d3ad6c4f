"""The targets: folders, base files, what is in place now, and the servers behind them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from redirectd.apply.control import Channel, open_channel
from redirectd.apply.control.program import program_fault
from redirectd.apply.control.wait import access_to
from redirectd.apply.files import Files
from redirectd.apply.foresight import Ping, resolve
from redirectd.apply.operator_rows import GatewayRows, GatewayRowsInPlace
from redirectd.apply.servers import judged
from redirectd.cli.checks.as_user import (
    SERVICE,
    Finding,
    Level,
    account,
    check_readable,
    denied_to_service,
    fault,
    good,
    run_in_sandbox,
    sandbox_of_unit,
)
from redirectd.cli.checks.database_check import from_database
from redirectd.cli.checks.serving_check import (
    check_conditions,
    check_configuration,
    check_lines,
    check_list_source,
    check_reach,
    check_serving,
    check_table,
    check_view,
    check_width,
)
from redirectd.config.model import Config
from redirectd.config.specs import passwords, target_specs
from redirectd.errors import InstallError, PeerError, RedirectdError
from redirectd.plan.planning import digest, understood
from redirectd.plan.route import Route
from redirectd.plan.target import TargetError
from redirectd.plan.target_spec import NO_RELOAD, TargetSpec, written_twice
from redirectd.service.applying import approved_table, installer_of, rows_of
from redirectd.sip.text import printable
from redirectd.store.database import Database
from redirectd.store.target_states import TargetState, target_states
from redirectd.targets.asterisk_dialplan import AsteriskDialplan
from redirectd.targets.asterisk_odbc import AsteriskOdbc
from redirectd.targets.listing import CsvListing, JsonListing
from redirectd.targets.sqltable import InDatabase
from redirectd.targets.template import Template

MOUNTS = Path("/proc/self/mountinfo")
"""The system's list of mounts; a mount's place is the fifth field, blanks and the like as three octal digits."""

_POINT = 4
_OCTAL = re.compile(rb"\\([0-7]{3})")
_LOOKED_UP = (AsteriskDialplan, AsteriskOdbc)


def check_targets(config: Config, ping: Ping | None = None) -> Iterator[Finding]:
    """Looks at each target, and once at each server; with `ping`, also whether the new addresses answer."""
    if not config.target:
        yield Finding("[[target]]", Level.WARNING, "no target is configured: nothing will be routed", "add one")
    try:
        specs, secrets = target_specs(config), passwords(config)
    except RedirectdError as error:
        yield from fault(error)
        return
    states, routes = _stored(config)
    for spec in specs:
        rows = rows_of(config, spec)
        if rows is not None:
            yield from check_table(rows, spec.name)
            yield from _check_content(f"target {spec.name}, rows", rows.read, spec, states.get(spec.name))
            if isinstance(rows, GatewayRows) and not isinstance(rows, GatewayRowsInPlace):
                yield from check_view(rows, spec.name)
        else:
            yield from _check_files(spec, states.get(spec.name))
        yield from check_width(spec)
        yield from check_configuration(spec)
    yield from _check_places(specs)
    versions = resolve(route.new for route in routes)

    def look(channel: Channel, spec: TargetSpec) -> Iterator[Finding]:
        yield from check_conditions(channel, spec)
        yield from check_list_source(channel, spec)
        yield from check_serving(channel, spec, installer_of(config, [spec]))
        yield from check_lines(channel, spec)
        yield from check_reach(channel, spec, routes, versions, ping)

    for control in dict.fromkeys(control for spec in specs for control in spec.controls):
        yield from _check_server(control, [spec for spec in specs if control in spec.controls], secrets, look)


def _stored(config: Config) -> tuple[Mapping[str, TargetState], Sequence[Route]]:
    """What redirectd installed last, by target, and what is approved."""

    def ask(database: Database) -> tuple[Mapping[str, TargetState], Sequence[Route]]:
        with database.read() as connection:
            states = target_states(connection, config.node)
        return states, approved_table(database, config.rules()).routes

    nothing: tuple[Mapping[str, TargetState], Sequence[Route]] = ({}, ())
    return from_database(config, ask, nothing)


def _check_places(specs: Sequence[TargetSpec]) -> Iterator[Finding]:
    """What two targets of one server would both write, so that `apply` refuses the second.

    Lookups without a way to reload, and without `server`, may well be of one Asterisk, too: it makes one context of
    those of one name, and the first file's entry wins.
    """
    sure = written_twice(specs)
    alone = [spec for spec in specs if spec.control == NO_RELOAD and spec.server is None]
    maybe = written_twice([replace(one, server="one") for one in alone if isinstance(one.target, _LOOKED_UP)])
    for name, (other, key, place) in (sure | maybe).items():
        yield Finding(
            f"target {name}, {key}",
            Level.FAULT,
            f"the target {other} writes {place}, too, and the server mixes them",
            f"give each target of one server a {key} of its own, and a lookup for it",
        )


def _make(folder: Path, spec: TargetSpec) -> str:
    """What makes a target's folder: the service writes there, and what it writes belongs to the server's group."""
    server = spec.kind.partition("-")[0]
    if account(SERVICE) is None or account(server) is None:
        return f"mkdir -p {folder}"
    return f"install -d -o {SERVICE} -g {server} -m 2750 {folder}"


def _check_files(spec: TargetSpec, state: TargetState | None) -> Iterator[Finding]:
    where = f"target {spec.name}, {spec.path}"
    path = Path(spec.path)
    folder = path.parent
    if not os.path.isdir(folder):  # noqa: PTH112 - false, too, where one may not look
        yield Finding(
            where,
            Level.FAULT,
            f"its folder {folder} is not there, or this user can't see it",
            f"create it: {_make(folder, spec)}",
        )
    elif not os.access(folder, os.W_OK | os.X_OK):
        # The file is put into place by a rename, so the folder itself must be writable.
        yield Finding(
            where,
            Level.FAULT,
            f"this user may not write to the folder {folder}",
            "give the user that runs redirectd the right, or run this as that user",
        )
    elif _is_mounted(path):
        why = "it is mounted by itself, as containers do, so that no apply can exchange it whole"
        yield Finding(where, Level.FAULT, why, f"mount its folder {folder} instead, here and where the server runs")
    else:
        yield from _check_content(where, lambda: Files().read(spec.path), spec, state)
        yield from check_readable(where, path, spec)
    if spec.base is not None:
        yield _check_base(f"target {spec.name}, base {spec.base}", Path(spec.base), spec)


def _is_mounted(path: Path) -> bool:
    """Whether a file is a mount point of its own; false where the system does not say."""
    try:
        mounts = MOUNTS.read_bytes().split(b"\n")
    except OSError:
        return False
    points = (fields[4] for line in mounts if len(fields := line.split(b" ")) > _POINT)
    return os.fsencode(path.resolve()) in {_OCTAL.sub(lambda one: bytes([int(one[1], 8)]), point) for point in points}


def _check_content(
    where: str, read: Callable[[], bytes | None], spec: TargetSpec, state: TargetState | None
) -> Iterator[Finding]:
    ours = state is not None and bool(state.sha256) and not state.pending
    try:
        content = read()
    except OSError as error:
        yield Finding(where, Level.FAULT, f"it can't be read: {error.strerror}", "give this user the right to read it")
        return
    except InstallError:
        return  # reported with its table
    if content is None:
        if ours:
            yield Finding(
                where, Level.FAULT, "redirectd installed it, and it is gone", "write it again: redirectd apply"
            )
        elif spec.database is None:
            yield good(where, "not there yet; the folder is writable")
        else:
            yield good(where, "none yet")
        return
    entries, why = understood(spec.target, content)
    is_own = isinstance(spec.target, InDatabase) and spec.target.is_own(content)
    if ours and state is not None and not is_own and digest(content) != state.sha256:
        found = "it was emptied" if not content.strip() else "it was changed by hand"
        detail = "" if why is None else f" ({why})"
        yield Finding(
            where,
            Level.FAULT,
            f"{found} since redirectd installed it{detail}: apply refuses to write over it",
            "see it in 'redirectd plan', keep what you need of it elsewhere, then 'redirectd apply --force'",
        )
    elif why is None:
        yield good(where, f"{len(entries)} entries in place")
    else:
        yield Finding(
            where,
            Level.WARNING,
            f"it is not what redirectd writes: {why}",
            "look at it; 'redirectd plan' shows what would become of it, and apply won't overwrite it without --force",
        )


def _check_base(where: str, path: Path, spec: TargetSpec) -> Finding:
    """Reads it as an apply does: a line that the server would skip, or that can't be kept, has every apply refused."""
    try:
        content = path.read_bytes()
    except OSError as error:
        return Finding(where, Level.FAULT, f"it can't be read: {error.strerror}", "name your own list, readable by us")
    try:
        spec.target.render((), content)
    except TargetError as error:
        return Finding(where, Level.FAULT, f"every apply is refused: {printable(str(error), 300)}", "correct that line")
    return good(where, f"an apply can read it, {len(content):,} bytes")


def _check_server(
    control: str,
    specs: Sequence[TargetSpec],
    secrets: Mapping[str, str],
    look: Callable[[Channel, TargetSpec], Iterator[Finding]],
) -> Iterator[Finding]:
    names = ", ".join(spec.name for spec in specs)
    try:
        with closing(open_channel(control, timeout=5.0, password=secrets.get(control))) as channel:
            yield good(f"reload of {names}, {channel.describe()}", channel.probe())
            for spec in specs:
                yield from _check_programs(channel, spec)
                yield from look(channel, spec)
        yield from check_access(control, names)
    except RedirectdError as error:
        yield Finding(f"reload of {names}, {error.where}", Level.FAULT, error.why, error.what_to_do)


def _check_programs(channel: Channel, spec: TargetSpec) -> Iterator[Finding]:
    """The operator's own programs: whose they are, whether the service sees them, and what `check` says now."""
    if not isinstance(spec.target, Template | CsvListing | JsonListing):
        return
    programs = spec.target.programs
    sandbox = sandbox_of_unit() if os.geteuid() == 0 else []
    for name, argv in (("check", programs.check), ("reload", programs.reload), ("verify", programs.verify)):
        if not argv:
            continue
        where, why = f"target {spec.name}, {name}", program_fault(argv[0])
        if why is not None:
            yield Finding(where, Level.FAULT, f"{argv[0]} is not run: {why}", "give it, and its folders, to root alone")
            continue
        tried: Sequence[str] = ("/usr/bin/test", "-x", argv[0])  # a reload is not tried without need
        said = None
        if name == "check" and os.access(spec.path, os.F_OK):
            question = programs.checking(spec.path)
            tried = [str(argument) for argument in question.command.args]
            said = judged(channel, question)
        if said is not None:
            why = f"it refuses the file in place: {said}"
            yield Finding(where, Level.FAULT, why, "see what it says: as it is, every apply is refused")
        else:
            yield _try_in_sandbox(where, argv[0], tried, sandbox, spec.timeout)


def _try_in_sandbox(where: str, name: str, tried: Sequence[str], sandbox: Sequence[str], timeout: float) -> Finding:
    """Whether the program runs where the service's unit holds it back; without such a unit it is good."""
    if not sandbox:
        return good(where, name)
    try:
        run_in_sandbox(tried, sandbox, timeout)
    except PeerError as error:
        why = f"{name} does not run in the sandbox of the service's unit: {error.why}"
        return Finding(
            where, Level.FAULT, why, "put it into /usr/local/sbin, or give the unit a drop-in for what it needs"
        )
    return good(where, f"{name}, tried in the sandbox of the service's unit")


_ASTERISK_SOCKET = "/var/run/asterisk/asterisk.ctl"


def check_access(control: str, names: str) -> Iterator[Finding]:
    """Root reaches every socket: the service's user, where there is one, may not."""
    socket = control.partition(":unix:")[2] or control.partition("unixs:")[2] or control.partition("unix:")[2]
    if control in {"asterisk", "asterisk -rx"}:
        socket = _ASTERISK_SOCKET
    if socket and denied_to_service(socket, os.W_OK):
        why = f"root reaches {socket}, and the service's user {SERVICE} may not write to it"
        way = f"{access_to(control)}; or a drop-in of the service adds the server's group"
        yield Finding(f"reload of {names}, {socket}", Level.WARNING, why, way)
