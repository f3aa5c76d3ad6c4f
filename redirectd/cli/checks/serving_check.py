"""Whether a server routes by the file in place: its configuration may not load it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from redirectd.apply.control import Channel
from redirectd.apply.foresight import MOST_NOTICES, Ping, Versions, unreachable
from redirectd.apply.install import Installer
from redirectd.apply.servers import judged
from redirectd.cli.checks.finding import Finding, Level, good
from redirectd.cli.snippets.fitted import kamailio_main, read_cfg
from redirectd.errors import InstallError, RedirectdError
from redirectd.plan.planning import understood
from redirectd.plan.route import Route
from redirectd.plan.target import Answering, Command, Conditional, Question, Rendered, token_of
from redirectd.plan.target_spec import TargetSpec
from redirectd.targets.sockets import ASKS, ways_of
from redirectd.targets.sqltable import InDatabase

ASKED = 20
"""Questions at most for a target; its sentinel or whole table is among the first."""

_MEND = (
    "'redirectd status' shows whether it waits for its server; if not, see that the server's own configuration loads "
    "this file (docs/targets.md), then 'redirectd apply'"
)


def check_conditions(channel: Channel, spec: TargetSpec) -> Iterator[Finding]:
    """Asks the server whether it is configured to keep the table; where it is not, every apply is refused."""
    for each in spec.target.conditions() if isinstance(spec.target, Conditional) else ():
        try:
            doubt = judged(channel, each.question)
        except RedirectdError:
            return  # its own check reports it
        if doubt is not None:
            yield Finding(f"target {spec.name}", Level.FAULT, f"every apply is refused: {doubt}", each.what_to_do)


def check_serving(channel: Channel, spec: TargetSpec, installer: Installer) -> Iterator[Finding]:
    """Asks the server for what is in the file or table; says nothing of one that holds nothing or can't be read.

    The questions are those after a reload, which only read.
    """
    try:
        entries, why = understood(spec.target, installer.read(spec.path))
    except InstallError:
        return  # its own check reports it
    target, questions = spec.target, list[Question]()
    if isinstance(target, InDatabase) and target.sql is not None and (source := target.source()) is not None:
        questions.append(source)
    if not why and entries:
        questions += target.questions(Rendered(b"", entries, token=token_of(entries)), ())
    where = f"target {spec.name}, in service"
    for question in questions[:ASKED]:
        try:
            doubt = judged(channel, question)
        except RedirectdError as error:
            yield Finding(where, Level.WARNING, f"the server can't be asked: {error.why}", error.what_to_do)
            return
        if doubt is not None:
            yield Finding(where, Level.WARNING, f"the server does not hold {spec.path}: {doubt}", _MEND)
            return
    if questions:
        yield good(where, f"the server holds {spec.path}")


def check_reach(
    channel: Channel, spec: TargetSpec, routes: Sequence[Route], versions: Versions, ping: Ping | None
) -> Iterator[Finding]:
    """Asks the server for its sockets, and says of approved moves where calls to their new URIs would fail."""
    target = spec.target
    if not isinstance(target, Answering):
        return
    try:
        held = ways_of(channel.ask(ASKS[spec.kind.partition("-")[0]])) or None
    except (RedirectdError, KeyError):
        held = None
    found = unreachable((route for route in routes if route.kind == target.moves), held, versions, ping)
    for each in found[:MOST_NOTICES]:
        yield Finding(
            f"target {spec.name}, reach",
            Level.WARNING,
            str(each),
            "see whether the new URI is right ('redirectd show ID'); add the socket to the server, or revoke the remap",
        )
    if found[MOST_NOTICES:]:
        more = f"{len(found) - MOST_NOTICES} more new hosts can't be reached"
        yield Finding(f"target {spec.name}, reach", Level.WARNING, more, "see 'redirectd list --json' for all new URIs")


def check_list_source(channel: Channel, spec: TargetSpec) -> Iterator[Finding]:
    """Asks Kamailio which configuration it was started with, and sees that its dispatcher reads a file.

    The usual one is looked at by `check_servers`.
    """
    if spec.kind != "kamailio-dispatcher" or spec.database is not None:
        return
    try:
        reply = channel.ask(Command("core.arg"))
    except RedirectdError:
        return
    started = [str(each) for each in reply] if isinstance(reply, list) else str(reply).split()
    main = next((after for word, after in pairwise(started) if word == "-f"), "")
    url = read_cfg(main).value("dispatcher", "db_url") if main and main != kamailio_main() else None
    if url is not None:
        yield Finding(
            f"target {spec.name}, {url.place}",
            Level.FAULT,
            "every apply is rolled back: Kamailio reads its dispatcher list from a database (db_url), and no file",
            "take db_url out and name the target's path in list_file, or keep the gateways in that database alone",
        )
