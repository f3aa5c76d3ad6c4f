"""`redirectd apply`: write the routing, reload the servers, prove it."""

from __future__ import annotations

import click

from redirectd.cli.app import App, pass_app
from redirectd.cli.options import target_option
from redirectd.cli.output import emit_json, json_option, note, wide_option
from redirectd.errors import RefusedError


@click.command("apply")
@target_option
@click.option("--dry-run", is_flag=True, help="Show the plan and change nothing.")
@click.option("--force", is_flag=True, help="Go past a safety limit, and write over a file changed by hand.")
@click.option(
    "--plan",
    "checksums",
    multiple=True,
    metavar="CHECKSUM",
    help="Apply only the plan with this checksum, or the unit; may be repeated.",
)
@click.option("--resume", is_flag=True, help="End the holds that rollbacks put on applies.")
@click.option("--verify", is_flag=True, help="Ask the servers for every entry, also of files that have not changed.")
@click.option("--retry", is_flag=True, help="Try again the entries that a server was found not to hold.")
@wide_option
@json_option
@pass_app
def apply_command(
    app: App,
    /,
    only: tuple[str, ...],
    checksums: tuple[str, ...],
    *,
    dry_run: bool,
    as_json: bool,
    **asked: bool,
) -> None:
    """Write the routing files from the approved remaps, reload the servers, and prove that they took them.

    The targets of one server are a unit: where one does not prove itself, all old files of the unit are put back (exit
    code 4), and other units go their own way. An entry that the server is found not to hold is left out, by name, until
    --retry, and the rest goes in. An unchanged file is neither written nor reloaded, unless its server does
    not hold it any more. A unit over a safety limit or held by a rollback is refused (exit code 3). Of several units,
    exit code 4 goes over 1 (failed, or a server that can't be reached) over 3.
    """
    from redirectd.apply.applier import ApplyRequest
    from redirectd.apply.result import refused, result_json
    from redirectd.cli.planview import end_with_errors, is_other_plan, show_plan, show_result
    from redirectd.plan.report import target_json, to_json
    from redirectd.review.target_health import suspend_failing
    from redirectd.service.applying import applier_of, approved_table, plan_of, publish_targets

    rules = app.config.rules()
    if dry_run:
        plan = plan_of(app.config, app.database, only or None)
        if as_json:
            undone = [{"error": None} | target_json(target) | {"outcome": None} for target in plan.targets]
            emit_json(to_json(plan) | {"targets": undone, "generation": None})
        else:
            show_plan(plan)
        return
    applier = applier_of(app.config, app.database)
    named = [each for checksum in checksums for each in checksum.split(",")]
    request = ApplyRequest(
        actor=app.actor,
        force=asked["force"],
        checksums=named,
        only=only or None,
        resume=asked["resume"],
        verify=asked["verify"],
        retry=asked["retry"],
    )
    publish_targets(app.config, app.database)
    for number in suspend_failing(app.database, rules, now=app.now()):
        note(f"remap {number} is suspended, since its target fails: redirectd show {number}")
    try:
        result = applier.apply(lambda: approved_table(app.database, rules), request)
    except RefusedError as error:
        if not as_json:
            raise
        result = refused(plan_of(app.config, app.database, only or None), error)
    if as_json:
        emit_json(result_json(result))
    elif not is_other_plan(result):
        show_result(result)
    end_with_errors(result)
