"""`redirectd approve`, `reject`, `revoke` and `reopen`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from redirectd.cli.app import App, pass_app
from redirectd.cli.filters import Filters, filter_options
from redirectd.cli.output import emit_json, json_option, note, say, show_error
from redirectd.cli.selection import chosen
from redirectd.errors import RedirectdError, UsageError
from redirectd.sip.text import printable

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from redirectd.review.decide import Decision
    from redirectd.store.remap import Remap

_ids = click.argument("ids", nargs=-1, metavar="[ID...]")
_yes = click.option("--yes", is_flag=True, help="Don't ask back how many remaps a filter finds.")
_reason = click.option("--reason", default="", help="Why; it is kept in the audit.")


@click.command("approve")
@_ids
@filter_options
@_yes
@click.option("--contact", type=click.IntRange(min=1), help="Which Contact, where there are several: 1 is the first.")
@click.option("--force", is_flag=True, help="Approve a suspicious or malformed one all the same; needs --reason.")
@_reason
@json_option
@pass_app
def approve_command(
    app: App,
    ids: tuple[str, ...],
    filters: Filters,
    reason: str,
    contact: int | None,
    *,
    force: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Approve remaps by id, old URI or filter: the next apply routes them.

    An ambiguous remap needs --contact, a suspicious one --force and --reason. One that is refused does not stop the
    others; the exit code is then 3. Says what the next plan will contain. An approved remap that is stale or failing is
    confirmed: it gets a new review date.
    """
    if force and not reason.strip():
        raise UsageError("--force", "what is forced needs a written reason", "add --reason 'why it is right'")
    if contact is not None and len(ids) != 1:
        raise UsageError("--contact", "a choice of Contact is for one remap", "approve them one by one")

    def approve(connection: Connection, number: int, decision: Decision) -> Remap:
        from redirectd.review import attention, confirm, decide
        from redirectd.store.remap import State

        is_approved = decide.load(connection, number).state is State.APPROVED
        if is_approved and number in attention.attention(connection, now=decision.at):
            return confirm.confirm(connection, number, decision, app.config.rules())
        return decide.approve(connection, number, decision, app.config.rules())

    names = chosen(app, "approve", ids, filters, yes=yes)
    _decide(app, "approve", names, approve, reason, contact=contact, force=force, as_json=as_json)


@click.command("reject")
@_ids
@filter_options
@_yes
@_reason
@json_option
@pass_app
def reject_command(app: App, ids: tuple[str, ...], filters: Filters, reason: str, *, yes: bool, as_json: bool) -> None:
    """Reject pending remaps by id, old URI or filter: they stay rejected on new sightings."""
    from redirectd.review import decide

    names = chosen(app, "reject", ids, filters, yes=yes)
    _decide(app, "reject", names, decide.reject, reason, as_json=as_json)


@click.command("revoke")
@_ids
@filter_options
@_yes
@_reason
@json_option
@pass_app
def revoke_command(app: App, ids: tuple[str, ...], filters: Filters, reason: str, *, yes: bool, as_json: bool) -> None:
    """Take approvals back, by id, old URI or filter: the next apply no longer routes them."""
    from redirectd.review import decide

    names = chosen(app, "revoke", ids, filters, yes=yes)
    _decide(app, "revoke", names, decide.revoke, reason, as_json=as_json)


@click.command("reopen")
@_ids
@filter_options
@_yes
@_reason
@json_option
@pass_app
def reopen_command(app: App, ids: tuple[str, ...], filters: Filters, reason: str, *, yes: bool, as_json: bool) -> None:
    """Put rejected, revoked, superseded or expired remaps back to pending, by id, old URI or filter."""
    from redirectd.review import decide

    names = chosen(app, "reopen", ids, filters, yes=yes)
    _decide(app, "reopen", names, decide.reopen, reason, as_json=as_json)


def _decide(
    app: App,
    action: str,
    names: list[str],
    act: Callable[[Connection, int, Decision], Remap],
    reason: str,
    *,
    contact: int | None = None,
    force: bool = False,
    as_json: bool,
) -> None:
    """Does it to each, one transaction each, so that what is refused leaves the others done."""
    from redirectd.review.decide import Decision

    decision = Decision(actor=app.actor, at=app.now(), reason=reason, contact=contact, force=force)
    done: list[Remap] = []
    errors: list[tuple[str, RedirectdError]] = []
    for what in names:
        try:
            with app.database.begin() as connection:
                found = act(connection, _one(connection, what, action, app), decision)
            done.append(found)
        except RedirectdError as error:
            errors.append((what, error))
    _tell(app, action, done, errors, as_json=as_json)
    if errors:
        raise click.exceptions.Exit(max(error.exit_code for _, error in errors))


def _one(connection: Connection, what: str, action: str, app: App) -> int:
    """The id of what was named. A URI names the remap of it that the action can be done to."""
    from redirectd.cli.named import named
    from redirectd.review.decide import TRANSITIONS

    found = named(connection, what, app.config.rules())
    fitting = [remap for remap in found if remap.state in TRANSITIONS[action][0]]
    if len(found) == 1 or len(fitting) == 1:
        return (fitting or found)[0].id
    shown = printable(what, 200)
    if not fitting:
        states = ", ".join(f"{remap.id} is {remap.state.value}" for remap in found)
        raise UsageError(shown, f"none of its remaps can be taken for '{action}': {states}", "name another")
    listed = " or ".join(f"redirectd {action} {remap.id}" for remap in fitting)
    raise UsageError(shown, "it has several remaps to choose from", f"name one by its id: {listed}")


def _tell(app: App, action: str, done: list[Remap], errors: list[tuple[str, RedirectdError]], *, as_json: bool) -> None:
    from redirectd.cli.outlook import next_plan, outlook_json, outlook_lines
    from redirectd.cli.remapview import new_text, remap_json
    from redirectd.review.holds import with_holds

    for _, error in errors:
        show_error(error)
    plan = next_plan(app) if done and action in {"approve", "revoke"} else None
    if as_json:
        now, policy = app.now(), app.config.rules()
        document: dict[str, Any] = {
            "remaps": [remap_json(with_holds(remap, policy), now) for remap in done],
            "errors": [
                {"id": printable(what, 200), "why": printable(error.why), "what_to_do": printable(error.what_to_do)}
                for what, error in errors
            ],
        }
        if plan is not None:
            document["next_plan"] = outlook_json(plan)
        emit_json(document)
        return
    for remap in done:
        say(f"{remap.id} is {remap.state.value}: {printable(remap.old_uri)} -> {new_text(remap)}")
    if not done and not errors:
        note(f"there is nothing to {action}: no remap passes the filter")
    if plan is not None:
        for line in outlook_lines(plan, [remap.id for remap in done]):
            say(line)
