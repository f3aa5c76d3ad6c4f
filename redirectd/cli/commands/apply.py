"""`redirectd apply`: write the routing, reload the servers, prove it."""

from __future__ import annotations

import click

from redirectd.cli.app import App, pass_app
from redirectd.cli.only import only_option
from redirectd.cli.output import emit_json, json_option, note, show_error
from redirectd.errors import RefusedError


@click.command("apply")
@only_option
@click.option("--dry-run", is_flag=True, help="Show the plan and change nothing.")
@click.option("--force", is_flag=True, help="Go past a safety limit, and write over a file changed by hand.")
@click.option("--plan", "checksum", metavar="CHECKSUM", help="Apply only if the plan is still this one.")
@click.option("--resume", is_flag=True, help="End the hold that a rollback put on applies.")
@click.option("--verify", is_flag=True, help="Ask the servers for every entry, also of files that have not changed.")
@json_option
@pass_app
def apply_command(
    app: App,
    only: tuple[str, ...],
    checksum: str | None,
    *,
    dry_run: bool,
    force: bool,
    resume: bool,
    verify: bool,
    as_json: bool,
) -> None:
    """Write the routing files from the approved remaps, reload the servers, and prove that they took them.

    All targets are one unit: where one does not prove itself, all old files are put back (exit code 4). An unchanged
    file is neither written nor reloaded, unless its server does not hold it any more. A plan over a safety limit is
    refused (exit code 3).
    """
    from redirectd.apply.applier import ApplyRequest, refused
    from redirectd.apply.result import result_json
    from redirectd.cli.planview import is_other_plan, show_plan, show_result
    from redirectd.plan.report import target_json, to_json
    from redirectd.review.followup import suspend_failing
    from redirectd.service.applying import applier_of, approved_table, publish_targets

    applier, rules = applier_of(app.config, app.database), app.config.rules()
    if dry_run:
        plan = applier.plan(approved_table(app.database, rules), only or None)
        if as_json:
            undone = [target_json(target) | {"outcome": None, "error": None} for target in plan.targets]
            emit_json(to_json(plan) | {"targets": undone, "generation": None})
        else:
            show_plan(plan)
        return
    request = ApplyRequest(
        actor=app.actor, force=force, checksum=checksum, only=only or None, resume=resume, verify=verify
    )
    publish_targets(app.config, app.database)
    for number in suspend_failing(app.database, rules, now=app.now()):
        note(f"remap {number} is suspended, since its target fails: redirectd show {number}")
    try:
        result = applier.apply(lambda: approved_table(app.database, rules), request)
    except RefusedError as error:
        if not as_json:
            raise
        result = refused(applier.plan(approved_table(app.database, rules), only or None), error)
    if as_json:
        emit_json(result_json(result))
    elif not is_other_plan(result):
        show_result(result)
    if result.error is not None:
        show_error(result.error)
        raise click.exceptions.Exit(result.exit_code)
