"""`redirectd plan`: what apply would change."""

from __future__ import annotations

import click

from redirectd.cli.app import App, pass_app
from redirectd.cli.only import only_option
from redirectd.cli.output import emit_json, json_option, say, show_error


@click.command("plan")
@only_option
@click.option("--exit-code", is_flag=True, help="End with 2 where there are changes.")
@click.option("--markdown", is_flag=True, help="Print Markdown, for a change request.")
@json_option
@pass_app
def plan_command(app: App, only: tuple[str, ...], *, exit_code: bool, markdown: bool, as_json: bool) -> None:
    """Show what apply would change, as a unified diff of each file. Changes nothing."""
    from redirectd.cli.planview import show_plan
    from redirectd.plan.report import to_json, to_markdown
    from redirectd.service.applying import plan_of

    plan = plan_of(app.config, app.database, only or None)
    if as_json:
        emit_json(to_json(plan))
    elif markdown:
        say(to_markdown(plan).rstrip("\n"))
    else:
        show_plan(plan)
    if plan.error is not None:
        show_error(plan.error)
        raise click.exceptions.Exit(plan.error.exit_code)
    if exit_code and plan.changed:
        raise click.exceptions.Exit(2)
