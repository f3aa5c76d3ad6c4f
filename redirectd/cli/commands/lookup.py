"""`redirectd lookup`: what routing does with URIs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from redirectd.cli.app import App, pass_app, reading
from redirectd.cli.options import Filters, filter_options, ids_of, no_match
from redirectd.cli.output import emit_json, json_option, note, say
from redirectd.cli.pager import paged
from redirectd.errors import InstallError, UsageError
from redirectd.plan.target import TargetAnswer, TargetError
from redirectd.sip.text import printable

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from redirectd.apply.install import Installer
    from redirectd.plan.effective_table import Lookup
    from redirectd.sip.uri import SipUri


@click.command("lookup")
@click.argument("names", nargs=-1, metavar="[URI|ID...]", shell_complete=ids_of())
@filter_options
@json_option
@pass_app
@reading
@paged
def lookup_command(app: App, names: tuple[str, ...], filters: Filters, *, as_json: bool) -> None:
    """Show what routing does with URIs, hop by hop, once the approved remaps are applied.

    Below it, what the server of each configured target does with the URI as it is written: another spelling can be
    looked up under another key. An id, and a filter, name the old URIs of remaps, a number (+4930123456) or a bare
    user (alice) for those of all remaps of that user; a URI need not be of any. --json gives one object for one URI,
    else a list of them under the key lookups.
    """
    from redirectd.plan.effective_table import lookup_json

    if bool(names) is not filters.is_empty:
        raise UsageError(
            "redirectd lookup", "it takes URIs and ids, or else a filter", "name one: redirectd lookup sip:user@host"
        )
    with app.database.read() as connection:
        texts, one = _wanted(connection, app, names, filters)
        answers = [_answer(connection, app, text) for text in texts]
    answers = _at_targets(app, answers, texts)
    if as_json:
        documents = [lookup_json(answer) for answer in answers]
        emit_json(documents[0] if one else {"lookups": documents})
        return
    for answer in answers:
        _show(answer)
    if not answers:
        with app.database.read() as connection:
            note(no_match(connection, filters))


def _wanted(connection: Connection, app: App, names: tuple[str, ...], filters: Filters) -> tuple[list[str], bool]:
    """The URIs that are meant, as they were written, and whether one name gave one URI."""
    from redirectd.cli.decisions import is_id, named, of_user
    from redirectd.store.remaps import get

    policy = app.config.rules()
    if not names:
        found = filters.find(connection, [], policy, app.now())
        return list(dict.fromkeys(remap.old_uri for remap in found)), False
    texts: list[str] = []
    single = len(names) == 1
    for what in names:
        if is_id(what) and get(connection, int(what)) is not None:
            texts.append(named(connection, what, policy)[0].old_uri)
        elif found_uris := of_user(connection, what):
            texts += found_uris
            single = False
        elif is_id(what):
            named(connection, what, policy)  # says that there is no such id
        else:
            texts.append(written(what, _whole(what)))
    return texts, single


def _whole(what: str) -> SipUri:
    """The SIP URI that was typed. Raises UsageError, in the words of a number or user where it was one."""
    from redirectd.cli.decisions import sip_uri

    try:
        return sip_uri(what)
    except UsageError as error:
        if {":", "@"} & set(what):
            raise
        advice = "see those there are with 'redirectd list', or write a whole URI: sip:user@host"
        raise UsageError(printable(what, 200), "no remap of this number or user", advice) from error


def written(what: str, uri: SipUri) -> str:
    """The URI as it was typed, scheme and all: its spelling is what a server looks up."""
    rest = what.partition(":")[2] if what.partition(":")[0].lower() in {"sip", "sips"} else what
    return f"{uri.scheme}:{rest}"


def _answer(connection: Connection, app: App, text: str) -> Lookup:
    """From the remaps that a call to the URI can come by: the whole table is not needed."""
    from redirectd.plan.effective_table import lookup
    from redirectd.review.chain import onward
    from redirectd.store.remap import stored_uri

    uri, now = stored_uri(text), app.now()
    reached = onward(connection, "user", uri, now=now)
    return lookup(reached + ([] if uri.user else onward(connection, "gateway", uri, now=now)), uri)


def _at_targets(app: App, answers: list[Lookup], texts: list[str]) -> list[Lookup]:
    """The answers with what each target's server does, by the plan that would be applied now."""
    from redirectd.config.specs import target_specs
    from redirectd.plan.target import Answering
    from redirectd.service.applying import approved_table, installer_of

    targets = [(spec, spec.target) for spec in target_specs(app.config)]
    answering = [(spec, target) for spec, target in targets if isinstance(target, Answering)]
    if not answers or not answering:
        return answers
    routes = approved_table(app.database, app.config.rules()).routes
    installer = installer_of(app.config, [spec for spec, _ in answering])
    columns = []
    for spec, target in answering:
        try:
            found = target.answers(routes, _content(installer, spec.base), _content(installer, spec.path), texts)
        except TargetError as error:  # its base file is not sound
            found = [TargetAnswer(None, None, printable(str(error), 300))] * len(texts)
        columns.append([(spec.name, target.width, each) for each in found])
    return [replace(answer, targets=row) for answer, row in zip(answers, zip(*columns, strict=True), strict=True)]


def _content(installer: Installer, path: str | None) -> bytes | None:
    try:
        return None if path is None else installer.read(path)
    except InstallError:
        return None


def _show(answer: Lookup) -> None:
    for hop in answer.hops:
        say(f"{printable(str(hop.old))}  ->  {printable(str(hop.new))}  (remap {hop.id})")
    uri = printable(str(answer.uri))
    if answer.result is not None:
        say(f"{uri} is routed to {printable(str(answer.result))}")
    else:
        say(f"{uri} is not moved" + (f": {printable(answer.reason)}" if answer.reason else ""))
    for name, width, each in answer.targets:
        where = f"{name} ({width})" if width else name
        if each.result is not None:
            by = "" if each.id is None else f" by remap {each.id}"
            say(f"  {where}: to {printable(each.result)}{by}")
        elif each.why is not None:
            say(f"  {where}: not moved, {printable(each.why)}")
        else:
            say(f"  {where}: not moved")
