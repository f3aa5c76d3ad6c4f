"""`redirectd rollback`: install an earlier generation again."""

from __future__ import annotations

import click

from redirectd.cli.app import App, pass_app
from redirectd.cli.options import generations
from redirectd.cli.output import emit_json, json_option, say, wide_option


@click.command("rollback")
@click.argument("number", metavar="[N]", type=int, required=False, shell_complete=generations)
@click.option("--force", is_flag=True, help="Write over a file changed by hand.")
@wide_option
@json_option
@pass_app
def rollback_command(app: App, number: int | None, *, force: bool, as_json: bool) -> None:
    """Install the files of generation N again; without N, those before the last apply.

    A generation is of one unit, the targets of one server; other units stay as they are. Later applies of the unit are
    held until 'redirectd apply --resume', since the approved remaps still say otherwise: revoke what was wrong first.
    A rollback that changes nothing holds nothing.
    """
    from redirectd.apply.applier import ApplyRequest
    from redirectd.apply.result import result_json
    from redirectd.cli.planview import end_with_errors, show_result
    from redirectd.service.applying import applier_of

    request = ApplyRequest(actor=app.actor, cause="rollback", force=force)
    result = applier_of(app.config, app.database).rollback(number, request)
    if as_json:
        emit_json(result_json(result))
    else:
        show_result(result)
    end_with_errors(result)
    if not as_json and result.generation is not None:
        say("applies are held: revoke what was wrong, then 'redirectd apply --resume'")
