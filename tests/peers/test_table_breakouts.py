"""Breakouts through SQL: what a Contact or a caller could say, written to tables and asked of a real Kamailio."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar
from urllib.parse import quote

import pytest

from redirectd.apply.control import open_channel
from redirectd.apply.control.channel import AnswerError
from redirectd.apply.operator_rows import GatewayRows, GatewayRowsInPlace
from redirectd.apply.sql_rows import SqlRows
from redirectd.plan.planning import digest
from redirectd.plan.route import Route
from redirectd.plan.target import Rendered
from redirectd.sip.uri import SipUri
from redirectd.targets.kamailio_alias_db import SQL as ALIASES_TABLE
from redirectd.targets.kamailio_alias_db import KamailioAliasSql
from redirectd.targets.kamailio_gateway_table import gateway_table
from redirectd.targets.kamailio_htable import SQL as HTABLE
from redirectd.targets.kamailio_htable import KamailioHtable
from redirectd.targets.user_moves import UserMoves
from tests.peers.breakouts import breakouts, list_fates
from tests.peers.conftest import StartKamailio
from tests.peers.database_site import BOTH, Site, create_table, site, start_gateways, start_htable
from tests.peers.lab.kamailio import Kamailio, Script
from tests.peers.operator import Operator
from tests.peers.test_targets_database import ALIASES, alias_modules
from tests.peers.test_targets_kamailio import (
    asked_by_requests,
    destinations_of,
    doubts_of,
    given_to,
    reload_all,
    told_by,
    wanted_of,
)

__all__ = ["site"]

INJECTIONS = [
    "x'or'1'='1",
    "x'or(1=1)--",
    "x'or(1=1)/*",
    "x'/**/or/**/1=1/**/--",
    "x';delete/**/from/**/redirectd_aliases;--",
    "x';delete/**/from/**/redirectd_htable;--",
    "$$or(1=1)--",
    "E'x'",
    "victim20'--",
    "victim20';--",
    "victim__",
    "__gen__",
]
"""Users that a caller sends, who would like another's row, or all of them; no blank can be in a Request-URI."""

RAW = ["x'||(select/**/username/**/from/**/redirectd_aliases/**/limit/**/1)||'", "x\\'or(1=1)--", "victim%"]
"""The same with characters that the grammar forbids there, which Kamailio takes all the same."""

ESCAPED = [quote(text, safe="") for text in [*INJECTIONS, *RAW, "x\\", "x\u2019or(1=1)--"]]
BYTES = ["x%bf%27or(1=1)--", "x%00'or'1'='1", "x%5c'or(1=1)--"]


_Rows = TypeVar("_Rows", bound=SqlRows)


def _rows(site: Site, table: type[_Rows], form: object) -> _Rows:
    where = "mysql" if site.is_mysql else "postgresql"
    return table(where, form, lambda: site.url_of("rd_writer"), 10.0)  # type: ignore[arg-type] # of its kind


def _write(rows: SqlRows, rendered: Rendered) -> None:
    """As an apply does, and read back as it is."""
    rows.replace(rendered.content, digest(rows.read()))
    assert rows.read() == rendered.content


def _asked_for_others(proxy: Kamailio, target: UserMoves, routes: Sequence[Route]) -> None:
    """Users made to find another's entry, or all of them, are given what they have themselves: mostly nothing."""
    uris = [f"sip:{user}@old.test" for user in [*INJECTIONS, *RAW, *ESCAPED, *BYTES]]
    proper = [uri for uri in uris if uri[4:-9] not in RAW]
    answers = target.answers(routes, None, None, proper)
    own = {uri: answer.result for uri, answer in zip(proper, answers, strict=True) if answer.result is not None}
    assert list(own) == ["sip:__gen__@old.test"]  # the one that has a remap of its own
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as caller:
        caller.bind((proxy.address, 0))
        caller.settimeout(5)
        for number, uri in enumerate(uris, 1):
            assert given_to(proxy, caller, uri, number) == own.get(uri), uri


@pytest.mark.parametrize("site", BOTH, indirect=True)
def test_htable_breakouts_through_sql(site: Site, operator: Operator, start_kamailio: StartKamailio) -> None:
    """R16, R24: every breakout is refused, or Kamailio gives its approved URI, from the table and after a restart."""
    target = KamailioHtable(sql=HTABLE)
    proxy = start_htable(operator, site, start_kamailio, script=Script(incoming=told_by(target)))
    table = breakouts()
    routes = [item.route for item in table]
    rendered = target.render(routes, None)
    rows = _rows(site, SqlRows, HTABLE)

    _write(rows, rendered)

    with_rpc = open_channel(f"jsonrpc:unix:{proxy.rpc_socket}", timeout=10)
    reload_all(with_rpc, target.reload())
    assert doubts_of(with_rpc, target, rendered, list(rendered.entries)) == []
    asked_by_requests(proxy, rendered, routes)
    _asked_for_others(proxy, target, routes)
    proxy.restart()
    assert doubts_of(with_rpc, target, rendered, list(rendered.entries)) == []
    assert rows.read() == rendered.content
    list_fates(f"{target.kind} in {site.admin.partition(':')[0]}", table, rendered)


@pytest.mark.parametrize("site", BOTH, indirect=True)
def test_alias_db_breakouts_through_sql(site: Site, operator: Operator, start_kamailio: StartKamailio) -> None:
    """R16, R24: the same where Kamailio asks the database for each request, with the caller's text in its question."""
    operator.configure(ALIASES.format(url=site.url_of("rd_writer")))
    create_table(operator, site, "aliases")
    target = KamailioAliasSql()
    proxy = start_kamailio(Script(incoming=told_by(target)), modules=alias_modules(site))
    table = breakouts()
    routes = [item.route for item in table]
    rendered = target.render(routes, None)
    rows = _rows(site, SqlRows, ALIASES_TABLE)

    _write(rows, rendered)

    small = [route._replace(old=replace(route.old, host=route.old.host.lower())) for route in routes]
    asked_by_requests(proxy, rendered, small)  # a host in capitals is a known miss
    _asked_for_others(proxy, target, routes)
    assert rows.read() == rendered.content
    list_fates(f"{target.kind} in {site.admin.partition(':')[0]}", table, rendered)


@pytest.mark.parametrize("mode", ["view", "in-place"])
@pytest.mark.parametrize("site", BOTH, indirect=True)
def test_dispatcher_breakouts_through_sql(
    site: Site, operator: Operator, start_kamailio: StartKamailio, mode: str
) -> None:
    """R16, R24: whatever a gateway move holds, the only destination that changes is the one it is about.

    A host that does not resolve is left out by Kamailio, which says that its reload failed; the questions find it.
    """
    olds = ["sip:127.0.0.21:5060", "sip:127.0.0.22;transport=tcp", "sip:127.0.0.23:5080;lr"]
    proxy = start_gateways(site, operator, start_kamailio, *olds, mode=mode)
    own = site.run("SELECT * FROM dispatcher ORDER BY id")
    target = gateway_table(mode=mode)
    kind = GatewayRowsInPlace if mode == "in-place" else GatewayRows
    rows = _rows(site, kind, target)
    base = rows.read_base()
    channel = open_channel(f"jsonrpc:unix:{proxy.rpc_socket}", timeout=10)
    table, files, all_rendered = breakouts("gateway"), dict[bytes, Rendered](), list[Rendered]()
    old = SipUri("sip", None, None, "127.0.0.21", 5060)
    for item in table:
        route = item.route if item.name.endswith("old host") else item.route._replace(old=old)
        rendered = target.render([route], base)
        files[rendered.content] = rendered
        all_rendered.append(rendered)
    resolved = 0
    for rendered in files.values():
        _write(rows, rendered)
        with suppress(AnswerError):
            reload_all(channel, target.reload())
        held, wanted = destinations_of(channel), wanted_of(rendered)
        assert held - wanted == Counter()
        assert {f"1 {uri} 0" for uri in olds[1:]} <= held.keys()
        assert (held == wanted) == (doubts_of(channel, target, rendered, []) == [])
        resolved += held == wanted
    assert resolved == 2  # the base itself, and the move to an address
    _write(rows, target.render([], base))
    assert site.run("SELECT * FROM dispatcher ORDER BY id") == own
    list_fates(f"{target.kind} in {site.admin.partition(':')[0]}, {mode}", table, *all_rendered)
