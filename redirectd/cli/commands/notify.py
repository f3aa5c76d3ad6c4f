"""`redirectd notify`: trying out who is notified."""

from __future__ import annotations

import click

from redirectd.cli.app import App, pass_app
from redirectd.cli.main import CommandGroup
from redirectd.cli.output import did_you_mean, emit_json, error_json, json_option, say_wrapped, show_error
from redirectd.errors import RedirectdError, UsageError
from redirectd.sip.text import printable


@click.group("notify", cls=CommandGroup)
def notify_command() -> None:
    """Try out who is notified."""


@notify_command.command("test")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@json_option
@pass_app
def test_command(app: App, names: tuple[str, ...], *, as_json: bool) -> None:
    """Send a test message to those in [[notify]], or to the NAMEs among them.

    It is sent by this user from this host, at once; what the service sends is not touched. The service's own network
    and secrets may be others: 'redirectd check' looks at those.
    """
    from redirectd.service.delivery import delivery_of
    from redirectd.service.notifications import test_message

    sections = {one.name: one for one in app.config.notify}
    if not sections:
        raise UsageError("redirectd notify test", "nobody is notified", "add a table [[notify]] to the configuration")
    for name in names:
        if name not in sections:
            raise UsageError(printable(name, 60), "no such notify", did_you_mean(name, sections))
    message = test_message(app.config.node, app.now())
    sent: list[str] = []
    errors: list[tuple[str, RedirectdError]] = []
    for name in names or sections:
        try:
            delivery = delivery_of(sections[name], app.config)
            delivery.send(message)
            sent.append(name)
            if not as_json:
                say_wrapped(f"sent to {delivery.where}")
        except RedirectdError as error:
            errors.append((name, error))
    if as_json:
        emit_json({"sent": sent, "errors": [{"name": name, **error_json(failed)} for name, failed in errors]})
    for _, failed in errors:
        show_error(failed)
    if errors:
        raise click.exceptions.Exit(1)
