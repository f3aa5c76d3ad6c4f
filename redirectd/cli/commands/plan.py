"""`redirectd plan`: what apply would change."""

from __future__ import annotations

import click

from redirectd.cli.app import App, pass_app, reading
from redirectd.cli.options import ping_option, target_option
from redirectd.cli.output import emit_json, json_option, say, show_error, wide_option
from redirectd.cli.pager import paged


@click.command("plan")
@target_option
@click.option("--exit-code", is_flag=True, help="End with 2 where there are changes.")
@click.option(
    "--markdown",
    "shape",
    flag_value="markdown",
    help="Print Markdown, for a change request.",
)
@click.option("--html", "shape", flag_value="html", help="Print one HTML page with colours.")
@click.option("--checksum", "shape", flag_value="checksum", help="Print the plan's checksum alone, for 'apply --plan'.")
@ping_option
@wide_option
@json_option
@pass_app
@reading
@paged
def plan_command(
    app: App, only: tuple[str, ...], shape: str | None, *, exit_code: bool, ping: bool, as_json: bool
) -> None:
    """Show what apply would change, as a unified diff of each file. Changes nothing.

    Asks each server for its sockets and its run-time state, and the DNS for the hosts of new entries: what could not
    be reached is named.
    """
    from redirectd.apply.options_ping import answers_options
    from redirectd.cli.planview import show_plan, to_html
    from redirectd.plan.report import to_json, to_markdown, troubles
    from redirectd.service.applying import foreseen_plan, plan_of

    if shape == "checksum":
        plan = plan_of(app.config, app.database, only or None)
    else:
        plan = foreseen_plan(app.config, app.database, only or None, answers_options if ping else None)
    if as_json:
        emit_json(to_json(plan))
    elif shape == "markdown":
        say(to_markdown(plan).rstrip("\n"))
    elif shape == "html":
        say(to_html(plan, list(troubles(plan))).rstrip("\n"))
    elif shape == "checksum":
        say(plan.checksum)
    else:
        show_plan(plan)
    if plan.error is not None:
        show_error(plan.error)
        raise click.exceptions.Exit(plan.error.exit_code)
    if exit_code and plan.changed:
        raise click.exceptions.Exit(2)
