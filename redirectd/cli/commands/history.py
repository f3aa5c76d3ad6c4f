"""`redirectd history`: the generations that were installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from redirectd.cli.app import App, pass_app, reading
from redirectd.cli.options import generations
from redirectd.cli.output import (
    diff_text,
    emit_json,
    exact_time,
    is_wide,
    json_option,
    note,
    say,
    table,
    wide_option,
    zone,
)
from redirectd.cli.pager import paged
from redirectd.errors import UsageError
from redirectd.sip.text import printable

if TYPE_CHECKING:
    from redirectd.store.generations import Generation, GenerationFile


@click.command("history")
@click.argument("number", type=int, required=False, shell_complete=generations)
@click.option(
    "--limit", type=click.IntRange(min=1), default=50, show_default=True, help="Maximum number of generations."
)
@wide_option
@json_option
@pass_app
@reading
@paged
def history_command(app: App, number: int | None, limit: int, *, as_json: bool) -> None:
    """Show the generations that were installed on this node, newest first; NUMBER shows one with its steps."""
    from redirectd.review.documents import generation_json
    from redirectd.store import generations as stored

    with app.database.read() as connection:
        if number is None:
            found = stored.history(connection, app.config.node, limit)
        else:
            one = stored.get_generation(connection, number)
            if one is None:
                raise UsageError(f"generation {number}", "no such generation", "see 'redirectd history'")
            found = [one]
        files = {one.number: stored.files_of(connection, one.number, with_content=False) for one in found}
    if as_json:
        documents = [generation_json(one, files[one.number]) for one in found]
        emit_json({"generations": documents} if number is None else documents[0])
    elif number is not None:
        _show_one(found[0], files[number])
    elif found:
        _show(found, files)
    else:
        note("nothing was installed yet: 'redirectd plan' shows what would be")


def _show(found: list[Generation], files: dict[int, list[GenerationFile]]) -> None:
    rows = [
        [
            one.number,
            exact_time(one.created_at),
            one.actor,
            one.cause,
            one.outcome.value,
            ", ".join(file.target for file in files[one.number]),
        ]
        for one in found
    ]
    columns = ["generation", f"time ({zone()})", "who", "cause", "outcome", "targets"]
    table(columns, rows, right=["generation"])


def _show_one(one: Generation, files: list[GenerationFile]) -> None:
    when = f"{exact_time(one.created_at)} {zone()}"
    say(f"generation {one.number}: {one.outcome.value}, {when}, {one.cause} by {printable(one.actor, 100)}")
    for file in files:
        path = f", {file.path}" if is_wide() else ""
        say(f"  {file.target}: {file.outcome.value}{path}{f': {printable(file.error)}' if file.error else ''}")
    for stage in one.stages:
        error = f": {printable(stage.error)}" if stage.error else ""
        say(f"  {' '.join(filter(None, (stage.stage, stage.target, stage.outcome)))}{error}")
    for target in _targets(one):
        if target.get("changed"):
            say()
            counted = ", ".join(f"{target.get(name, 0)} {name}" for name in ("create", "update", "delete", "unchanged"))
            say(f"{target['name']}: {counted}")
            diff_text(str(target.get("diff", "")))


def _targets(one: Generation) -> list[dict[str, Any]]:
    """The targets of the plan that was applied."""
    found = one.plan.get("targets", [])
    return list(found) if isinstance(found, list) else []
