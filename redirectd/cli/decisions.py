"""The four deciding commands, from one factory: `approve`, `reject`, `revoke` and `reopen`.

They are about remaps by id, by old URI, or by a filter whose number a person confirms.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import click

from redirectd.cli.app import App, pass_app
from redirectd.cli.options import Filters, filter_options, ids_of, no_match
from redirectd.cli.output import emit_json, error_json, json_option, note, progress_bar, say, say_wrapped, show_error
from redirectd.errors import RedirectdError, UsageError
from redirectd.sip.text import printable, unescape_percent
from redirectd.sip.uri import VISUAL_SEPARATORS, SipUri, UriError, parse_uri

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from redirectd.cli.app import App
    from redirectd.cli.options import Filters
    from redirectd.collect.policy import Policy
    from redirectd.review.decision import Decision
    from redirectd.store.remap import Remap


def named(connection: Connection, what: str, policy: Policy) -> list[Remap]:
    """The remap of an id, or all of an old URI (R24), with their holds. Raises UsageError where there is none."""
    from redirectd.review.decide import load
    from redirectd.review.holds import with_holds
    from redirectd.sip.compare import route_key
    from redirectd.store import remaps

    if is_id(what):
        return [with_holds(load(connection, int(what)), policy)]
    uri = sip_uri(what)
    found = remaps.by_old_key(connection, str(route_key(uri)))
    if not found:
        raise UsageError(printable(what, 200), "no remap has this old URI", "see the old URIs with 'redirectd list'")
    return [with_holds(remap, policy) for remap in found]


def named_all(connection: Connection, names: Sequence[str], filters: Filters, policy: Policy) -> list[Remap]:
    """The remaps of all names, each once, with their holds. Raises UsageError for names and a filter together."""
    from redirectd.review.four_eyes import with_approvals

    if not filters.is_empty:
        raise UsageError(printable(names[0], 200), "it takes ids and URIs or a filter, not both", "leave one out")
    found = {remap.id: remap for what in names for remap in named(connection, what, policy)}
    return with_approvals(connection, found.values(), policy)


def of_user(connection: Connection, name: str) -> list[str]:
    """The old URIs of all remaps of a bare user or number, which has neither ``@`` nor ``:``; none for anything else.

    A number is the same with and without visual separators (RFC 3966), a user with and without escapes.
    """
    from redirectd.store import remaps

    if ":" in name or "@" in name:
        return []
    wanted = _plain(name)
    rows = remaps.uris_of(connection, remaps.RemapFilter(kind="user"))
    return list(dict.fromkeys(row.old_uri for row in rows if _plain(_user(row.old_uri)) == wanted))


def _user(uri: str) -> str:
    userinfo, at, _ = uri.partition(":")[2].partition("@")
    return userinfo.partition(":")[0] if at else ""


def _plain(user: str) -> str:
    text = unescape_percent(user)
    number = text.partition(";")[0].translate(VISUAL_SEPARATORS)
    return number if number.removeprefix("+").isdecimal() else text


def sip_uri(text: str) -> SipUri:
    """A SIP URI as typed; `sip:` may be left out. Raises UsageError."""
    whole = text if text.partition(":")[0].lower() in {"sip", "sips", "tel"} else f"sip:{text}"
    try:
        uri = parse_uri(whole)
    except UriError as error:
        raise UsageError(printable(text, 200), f"not a SIP URI: {error.why}", "write it as sip:user@host") from None
    if not isinstance(uri, SipUri):
        raise UsageError(printable(text, 200), "routing looks SIP URIs up", "write it as sip:user@host")
    return uri


def is_id(what: str) -> bool:
    """Whether a name is an id; else it is an old URI."""
    return what.isascii() and what.isdecimal() and len(what) <= 18


def chosen(app: App, action: str, names: tuple[str, ...], filters: Filters, *, yes: bool) -> list[str]:
    """The names as given, or the ids of all remaps that pass `filters` and that `action` can be done to.

    On a terminal the number of a filter's remaps is asked back, unless `yes`; a script has said what it wants.
    Raises UsageError for names and a filter together, and for neither.
    """
    from redirectd.review.holds import FAILING, STALE
    from redirectd.review.page import ids
    from redirectd.store.remap import State
    from redirectd.store.states import TRANSITIONS

    if names and not filters.is_empty:
        raise UsageError(f"redirectd {action}", "it takes ids or a filter, not both", "leave one of them out")
    if names:
        return list(dict.fromkeys(names))
    if filters.is_empty:
        how = f"name them: redirectd {action} ID..., or filter: redirectd {action} --domain old.example"
        raise UsageError(f"redirectd {action}", "no remap was named", how)
    with app.database.read() as connection:
        # Approved ones that fail or are stale are approved once more (R36).
        again = action == "approve" and filters.flag in {FAILING, STALE}
        query = filters.query([State.APPROVED] if again else sorted(TRANSITIONS[action][0]), app.now())
        found = ids(connection, query, app.config.rules())
        if not found:
            note(f"nothing to {action}: {no_match(connection, filters, [state.value for state in query.states])}")
    if found and not yes and sys.stdin.isatty() and sys.stderr.isatty():
        _ask(f"{action} {len(found)} remaps?")
    return [str(number) for number in found]


def _ask(question: str) -> None:
    if not click.confirm(question, err=True):
        note("nothing was changed")
        raise click.exceptions.Exit(1)


MOST_LINES = 50
"""Remaps that are listed one by one."""

MOST_WHOLE = 5
"""Refusals that are shown with what to do; the others on one line each."""

_FROM = {
    "approve": ("pending",),
    "reject": ("pending",),
    "revoke": ("approved",),
    "reopen": ("rejected", "revoked", "superseded", "expired"),
}
"""States whose ids the shell is offered."""
_yes = click.option("--yes", is_flag=True, help="Don't ask to confirm the number of remaps a filter finds.")
_reason = click.option("--reason", default="", help="Why; it is kept in the audit.")


def decision_command(action: str, text: str, *extra: Callable[[Any], Any]) -> click.Command:
    """The command of a decision, with `text` as its help and the `extra` options of approve."""

    def command(
        app: App,
        ids: tuple[str, ...],
        filters: Filters,
        reason: str,
        *,
        yes: bool,
        as_json: bool,
        **approving: Unpack[_ApprovalOptions],
    ) -> None:
        from redirectd.review.decision import Decision

        force, contact = approving.get("force", False), approving.get("contact")
        replaced = approving.get("replaced", ())
        if force and not reason.strip():
            raise UsageError("--force", "what is forced needs a written reason", "add --reason 'why it is right'")
        if contact is not None and len(ids) != 1:
            raise UsageError("--contact", "a choice of Contact is for one remap", "approve them one by one")
        if replaced and len(ids) != 1:
            raise UsageError("--replace", "one remap takes the place of others", "approve them one by one")
        names = chosen(app, action, ids, filters, yes=yes)
        decision = Decision(
            actor=app.actor,
            account=app.account,
            at=app.now(),
            reason=reason,
            contact=contact,
            force=force,
            replace=frozenset(replaced),
        )
        _decide(app, action, names, decision, as_json=as_json)

    wrapped: Callable[..., Any] = pass_app(command)
    ids = click.argument("ids", nargs=-1, metavar="[ID...]", shell_complete=ids_of(*_FROM[action]))
    options: tuple[Callable[..., Any], ...] = (ids, filter_options, _yes, *extra, _reason, json_option)
    for option in reversed(options):
        wrapped = option(wrapped)
    return click.command(action, help=text)(wrapped)


class _ApprovalOptions(TypedDict, total=False):
    """The options of approve alone."""

    contact: int | None
    force: bool
    replaced: tuple[int, ...]


@dataclass(slots=True)
class _Results:
    """What became of each: the ids of those it was done to, and the errors of the others by their name."""

    done: list[int] = field(default_factory=list)
    errors: list[tuple[str, RedirectdError]] = field(default_factory=list)


def _decide(app: App, action: str, names: list[str], decision: Decision, *, as_json: bool) -> None:
    """Does it to each; what is refused leaves the others done."""
    from redirectd.service.applying import publish_targets

    if action == "approve":
        publish_targets(app.config, app.database)
    results = _Results()
    numbers = _numbers(app, action, names, results)
    if action == "approve":
        numbers = _keep(app, numbers, decision, results)
    _in_batches(app, action, numbers, decision, results)
    _report(app, action, results, as_json=as_json)
    if results.errors:
        raise click.exceptions.Exit(max(error.exit_code for _, error in results.errors))


def _numbers(app: App, action: str, names: list[str], results: _Results) -> list[int]:
    """The ids that are meant, in their order."""
    numbers = []
    with app.database.read() as connection:
        for what in names:
            try:
                numbers.append(int(what) if is_id(what) else _of_uri(connection, what, action, app))
            except RedirectdError as error:
                results.errors.append((what, error))
    return numbers


def _of_uri(connection: Connection, what: str, action: str, app: App) -> int:
    """The remap of an old URI that the action can be done to."""
    from redirectd.store.states import TRANSITIONS, past

    found = named(connection, what, app.config.rules())
    fitting = [remap for remap in found if remap.state in TRANSITIONS[action][0]]
    if len(found) == 1 or len(fitting) == 1:
        return (fitting or found)[0].id
    shown = printable(what, 200)
    if not fitting:
        states = ", ".join(f"{remap.id} is {remap.state.value}" for remap in found)
        raise UsageError(shown, f"none of its remaps can be {past(action)}: {states}", "name another")
    listed = " or ".join(f"redirectd {action} {remap.id}" for remap in fitting)
    raise UsageError(shown, "it has several remaps to choose from", f"name one by its id: {listed}")


def _keep(app: App, numbers: list[int], decision: Decision, results: _Results) -> list[int]:
    """Confirms the approved ones that fail or are stale (R36); gives the others."""
    from redirectd.review.attention import attention
    from redirectd.review.decide import confirm

    with app.database.read() as connection:
        due = set(attention(connection, now=decision.at)) & set(numbers)
    for number in sorted(due):
        try:
            with app.database.begin() as connection:
                confirm(connection, number, decision, app.config.rules())
            results.done.append(number)
        except RedirectdError as error:
            results.errors.append((str(number), error))
    return [number for number in numbers if number not in due]


def _in_batches(app: App, action: str, numbers: list[int], decision: Decision, results: _Results) -> None:
    from redirectd.review.decide import BATCH, decide_in_batches

    left = len(numbers)
    with progress_bar(action, left, least=BATCH) as count:
        try:
            for part in decide_in_batches(app.database, action, numbers, decision, app.config.rules()):
                results.done += [step.before.id for step in part.steps]
                results.errors += [(str(number), error) for number, error in part.refused.items()]
                left -= len(part.steps) + len(part.refused)
                count(len(part.steps) + len(part.refused))
        except RedirectdError as error:
            results.errors.append((str(numbers[0]) if len(numbers) == 1 else f"the last {left:,} of them", error))


def _report(app: App, action: str, results: _Results, *, as_json: bool) -> None:
    from redirectd.cli.planview import next_plan, outlook_json, outlook_lines, wider, wider_lines

    moved = wider(app, results.done) if results.done and action == "approve" else []
    plan = next_plan(app) if results.done and action in {"approve", "revoke"} else None
    if as_json:
        document = _document(app, results)
        if plan is not None:
            document["next_plan"] = outlook_json(plan)
            document["also_moves"] = [
                {"target": name, "id": number, "what": printable(what)} for name, number, what in moved
            ]
        emit_json(document)
    else:
        _report_done(app, action, results)
    _report_errors(results.errors)
    if not as_json and plan is not None:
        for line in (*wider_lines(moved), *outlook_lines(plan, results.done)):
            say_wrapped(line, indent="    ")


def _document(app: App, results: _Results) -> dict[str, Any]:
    from redirectd.review.documents import remap_json

    now = app.now()
    return {
        "remaps": [remap_json(one, now) for one in _done(app, results)],
        "errors": [
            {
                "id": int(what) if is_id(what) else None,
                "name": printable(what, 200),
                **error_json(error),
                "contradicts": list(getattr(error, "against", ())),
            }
            for what, error in results.errors
        ],
    }


def _done(app: App, results: _Results) -> list[Remap]:
    """What was decided on, as it is now, in the order of the decisions."""
    from redirectd.review.four_eyes import with_approvals
    from redirectd.review.holds import with_holds
    from redirectd.store.remaps import of_ids

    policy = app.config.rules()
    with app.database.read() as connection:
        held = [with_holds(one, policy) for one in of_ids(connection, results.done)]
        found = {one.id: one for one in with_approvals(connection, held, policy)}
    return [found[number] for number in results.done if number in found]


def _report_done(app: App, action: str, results: _Results) -> None:
    """A line for each, or their number where they would fill screens."""
    from redirectd.cli.remapview import new_text
    from redirectd.review.four_eyes import approvals_text
    from redirectd.store.states import TRANSITIONS

    done = _done(app, results)
    if len(done) > MOST_LINES:
        state = TRANSITIONS[action][1]
        waiting = sum(one.state is not state for one in done)
        say(f"{len(done) - waiting:,} remaps are {state}: redirectd list --state {state}")
        if waiting:
            say(f"{waiting:,} wait for the approval of another person: redirectd pending")
        return
    for one in done:
        noted = f"; {text}" if (text := approvals_text(one)) else ""
        say_wrapped(f"{one.id} is {one.state.value}: {printable(one.old_uri)} -> {new_text(one)}{noted}")


def _report_errors(errors: list[tuple[str, RedirectdError]]) -> None:
    """Each of them; with what to do for the first few."""
    for _, error in errors[:MOST_WHOLE]:
        show_error(error)
    for what, error in errors[MOST_WHOLE:]:
        note(f"redirectd: {printable(what, 200)}: {printable(error.why)}")
    if len(errors) > MOST_WHOLE:
        note(f"{len(errors):,} were refused; --json has what to do for each")
