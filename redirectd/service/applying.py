"""From the configuration to the applier, for the command line and the daemon alike, and to what servers would do."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from redirectd.apply.applier import Applier, Tools
from redirectd.apply.control import Channel, open_channel
from redirectd.apply.current_plan import chosen, current_plan, read_installed
from redirectd.apply.files import Files
from redirectd.apply.foresight import Ping, with_notices
from redirectd.apply.install import Installer
from redirectd.apply.operator_rows import AorRows, GatewayRows, GatewayRowsInPlace
from redirectd.apply.servers import OpenChannel
from redirectd.apply.short_way import Since, short_plan
from redirectd.apply.sql_rows import SqlRows
from redirectd.apply.tables import TableInstaller
from redirectd.collect.policy import Policy
from redirectd.config.model import Config
from redirectd.config.secrets import target_database, with_password
from redirectd.config.specs import password_of, target_specs
from redirectd.errors import ConfigError, InstallError, PeerError
from redirectd.plan.effective_table import effective
from redirectd.plan.planning import Plan, digest, make_plan
from redirectd.plan.route import Approved, DecisionMark, EffectiveTable, Route
from redirectd.plan.simulation import Mover, SimulatedMove, by_route_key
from redirectd.plan.splicing import RecentDecisions
from redirectd.plan.target import Answering, TargetError
from redirectd.plan.target_spec import TargetSpec
from redirectd.review.target_health import to_suspend
from redirectd.sip.text import printable
from redirectd.store.approved import approved
from redirectd.store.database import Database
from redirectd.store.decided import decided_since, mark_of
from redirectd.store.settings import NodeTarget, put_node_targets, refused_entries
from redirectd.store.target_states import target_states
from redirectd.targets.asterisk_aor_table import AsteriskAorTable
from redirectd.targets.kamailio_gateway_table import KamailioGatewaysInPlace, KamailioGatewayTable
from redirectd.targets.sqltable import InDatabase


def plan_of(config: Config, database: Database, only: Collection[str] | None = None) -> Plan:
    """What an apply would change now; it takes files and the database, no lock, server or password.

    Raises ConfigError for targets that can't be used, UsageError for an unknown name in `only`, StoreError.
    """
    return _plan_and_routes(config, database, only)[0]


def foreseen_plan(
    config: Config, database: Database, only: Collection[str] | None = None, ping: Ping | None = None
) -> Plan:
    """As `plan_of`, with what the state of each server that can be asked means for it; asks servers and the DNS."""
    plan, routes = _plan_and_routes(config, database, only)
    return with_notices(plan, chosen(target_specs(config), only), routes, _opening(config), ping)


def _plan_and_routes(config: Config, database: Database, only: Collection[str] | None) -> tuple[Plan, Sequence[Route]]:
    """The plan, and the routes of all that it changes."""
    specs, limits = chosen(target_specs(config), only), config.limits.as_limits()
    installer = installer_of(config, specs, folder=lock_path(config, database).parent)
    with database.read() as connection:
        states, refused = target_states(connection, config.node), refused_entries(connection, config.node)
    short = short_plan(recent_decisions(config, database), specs, states, installer, limits, refused)
    if short is not None:
        return short.plan, short.recent.table.routes
    table = approved_table(database, config.rules())
    return current_plan(table, specs, states, installer, limits, refused), table.routes


def plan_of_change(config: Config, before: Sequence[Approved], after: Sequence[Approved]) -> Plan:
    """What other approved remaps change in each target, over a file of those before alone; asks no server.

    The files that are there, and their size, do not matter: it is quick in a table of any size. Raises ConfigError.
    """
    specs, limits = target_specs(config), config.limits.as_limits()
    there = {
        name: replace(one, content=None, last_sha256=None)
        for name, one in read_installed(specs, {}, installer_of(config, specs)).items()
    }
    first = make_plan(effective(before), specs, there, limits)
    for target in first.targets:
        content = target.rendered.content
        there[target.name] = replace(there[target.name], content=content, last_sha256=digest(content))
    return make_plan(effective(after), specs, there, limits)


def applier_of(config: Config, database: Database) -> Applier:
    """The applier of this node. Raises ConfigError for targets that can't be used.

    A password that can't be read is a fault of its server alone, found when that is asked.
    """
    specs, files = target_specs(config), Files()
    installer = installer_of(config, specs, files, lock_path(config, database).parent)
    tools = Tools(_opening(config), lambda: datetime.now(UTC), time.monotonic, time.sleep, files, installer)
    limits, since = config.limits.as_limits(), recent_decisions(config, database)
    return Applier(database, config.node, specs, limits, lock_path(config, database), tools, since)


def _opening(config: Config) -> OpenChannel:
    def open_with_password(spec: str, *, timeout: float) -> Channel:
        try:
            secret = password_of(config, spec)
        except ConfigError as error:
            raise PeerError(error.where, error.why, error.what_to_do) from error
        return open_channel(spec, timeout=timeout, password=secret)

    return open_with_password


def installer_of(
    config: Config, specs: Sequence[TargetSpec], files: Files | None = None, folder: Path = Path()
) -> Installer:
    """What reads and writes the places of these targets; `folder` keeps the old rows of tables during an apply."""
    tables = {spec.path: rows for spec in specs if (rows := rows_of(config, spec)) is not None}
    bases = {
        spec.base: rows.read_base
        for spec in specs
        if isinstance(rows := tables.get(spec.path), GatewayRows | AorRows) and spec.base
    }
    return TableInstaller(files or Files(), tables, folder, bases)


def rows_of(
    config: Config, spec: TargetSpec, admin: str | None = None, password_file: Path | None = None
) -> SqlRows | None:
    """The table of a target that is kept in a database; None for one that is a file.

    With `admin`, a URL, it is reached as another user, whose password is in a file.
    """
    table = spec.target.sql if isinstance(spec.target, InDatabase) else None
    if table is None:
        return None

    def url() -> str:
        try:
            return target_database(config, spec.name) if admin is None else with_password(admin, password_file)
        except ConfigError as error:
            raise InstallError(error.where, error.why, error.what_to_do) from error

    if isinstance(spec.target, KamailioGatewaysInPlace):
        return GatewayRowsInPlace(spec.path, spec.target, url, spec.timeout)
    if isinstance(spec.target, KamailioGatewayTable):
        return GatewayRows(spec.path, spec.target, url, spec.timeout)
    if isinstance(spec.target, AsteriskAorTable):
        return AorRows(spec.path, spec.target, url, spec.timeout)
    return SqlRows(spec.path, table, url, spec.timeout)


def publish_targets(config: Config, database: Database) -> None:
    """Makes this node's targets known to whoever approves anywhere (R44). Raises StoreError."""
    targets = [
        NodeTarget(target.name, target.kind, target.match, _width(target.options.get("width")))
        for target in config.target
    ]
    put_node_targets(database, config.node, targets)


def _width(value: object) -> str | None:
    return value if isinstance(value, str) else None


def lock_path(config: Config, database: Database) -> Path:
    """The lock that daemon and command line share on a host: beside an SQLite database, else beside the socket."""
    if database.file is not None:
        return database.file.with_name(f"{database.file.name}.apply.lock")
    return config.resolve(config.daemon.socket).parent / "apply.lock"


def approved_table(database: Database, policy: Policy) -> EffectiveTable:
    """What routing shall do now, from the approved remaps whose time has not run out. Raises StoreError.

    Those that an apply suspends, since they fail, are left out already.
    """
    found, mark = _approved(database, policy)
    table = effective(found)
    return replace(table, mark=mark) if len(table.routes) == len(found) else table


def recent_decisions(config: Config, database: Database) -> Since:
    """What was decided since a file was made, as its next plan takes it."""

    def since(mark: DecisionMark) -> tuple[RecentDecisions, DecisionMark] | None:
        with database.read() as connection:
            if to_suspend(connection, config.rules()):
                return None
            found = decided_since(connection, mark, datetime.now(UTC))
        if found is None:
            return None
        table = effective(found.after)
        if len(table.routes) != len(found.after):
            return None
        return RecentDecisions(found.before, table, found.gone), found.mark

    return since


def within_limits(config: Config, database: Database) -> Callable[[Sequence[Approved]], bool]:
    """Whether the next apply may carry further approvals: asked with those, it plans with what is approved now.

    Raises StoreError, ConfigError, and InstallError where no plan can be made.
    """
    applier, (approved_now, _) = applier_of(config, database), _approved(database, config.rules())
    return lambda more: applier.plan(effective([*approved_now, *more])).limit.is_safe


def _approved(database: Database, policy: Policy) -> tuple[list[Approved], DecisionMark | None]:
    """What is approved, and its mark where it has one."""
    now = datetime.now(UTC)
    with database.read() as connection:
        suspended = to_suspend(connection, policy)
        mark = None if suspended else mark_of(connection, now)
        found = approved(connection, now=now)
        if mark is not None and mark != mark_of(connection, now):
            mark = None  # somebody decided meanwhile
    return [one for one in found if one.id not in suspended], mark


ANY_TARGET = "routing"
"""The name of what no target is configured for: routing by the whole route key, as `redirectd lookup` says it."""


def movers_of(config: Config, table: EffectiveTable) -> list[Mover]:
    """What each configured target's server makes of `table`; routing by the route key where none is configured.

    A target that answers for its server says so itself (R41), others by the route key. Raises ConfigError.
    """
    matches = {target.name: target.match for target in config.target}
    found = []
    for spec in target_specs(config):
        incoming = matches[spec.name] == "incoming"
        if isinstance(spec.target, Answering):
            moves = _answers(config, spec, spec.target, table)
        else:
            moves = by_route_key(table, incoming=incoming)
        found.append(Mover(spec.name, spec.kind, moves, incoming))
    return found or [Mover(ANY_TARGET, "", by_route_key(table))]


def _answers(
    config: Config, spec: TargetSpec, target: Answering, table: EffectiveTable
) -> Callable[[Sequence[str]], Sequence[SimulatedMove | None]]:
    """What the target's server does, with what is in its places now. Raises InstallError for a faulty base file."""
    places = installer_of(config, [spec])

    def moves(texts: Sequence[str]) -> Sequence[SimulatedMove | None]:
        base = None if spec.base is None else places.read(spec.base)
        try:
            answers = target.answers(table.routes, base, places.read(spec.path), texts)
        except TargetError as error:
            where = spec.base or spec.path
            raise InstallError(where, printable(str(error), 300), "fix the base file and try again") from error
        return [None if one.result is None else SimulatedMove(printable(one.result, 500), one.id) for one in answers]

    return moves
