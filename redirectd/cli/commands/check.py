"""`redirectd check`: everything that is wrong, all at once."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import click

from redirectd.cli.app import App, pass_app
from redirectd.cli.options import ping_option
from redirectd.cli.output import emit_json, json_option, say, say_wrapped
from redirectd.errors import ConfigError
from redirectd.sip.text import printable

if TYPE_CHECKING:
    from redirectd.cli.checks.as_user import Finding
    from redirectd.config.model import Config

CHECKS = {
    "policy": "sources",
    "secrets": "secrets",
    "database": "database",
    "sources": "sources",
    "targets": "targets",
    "servers": "servers",
    "notify": "notify",
    "capacity": "database",
}
"""Each check, in its turn, and the NAME of its module `redirectd.cli.checks.NAME_check`, in which `check_...` is."""


@click.command("check")
@ping_option
@click.option(
    "--as", "user", metavar="USER", help="Look as this user does, such as redirectd, with the groups of its service."
)
@json_option
@pass_app
def check_command(app: App, user: str | None, *, ping: bool, as_json: bool) -> None:
    """Check the whole setup and say how to fix each problem.

    Looks at the configuration, access to the logs, the database and its audit, and the targets' files, and asks each
    server, also for the sockets that calls to the new URIs of approved remaps need. Changes nothing. Warnings leave the
    exit code at 0, faults make it 1, a faulty configuration 2.
    """
    from redirectd.cli.checks.as_user import become, hidden_program

    checks = list(_checks(ping=ping))
    code, findings = 1, hidden_program(user) if user is not None else []
    if not findings:
        if user is not None:
            become(user)
        code, findings = _found(app, checks)
    if as_json:
        emit_json({"ok": code == 0, "findings": [_json(finding) for finding in findings]})
    else:
        _show(findings)
    if code:
        raise click.exceptions.Exit(code)


def _found(app: App, checks: list[Callable[[Config], Iterator[Finding]]]) -> tuple[int, list[Finding]]:
    """The exit code, and what the checks find."""
    from redirectd.cli.checks.as_user import Level, fault, good

    try:
        config = app.config
    except ConfigError as error:
        return 2, fault(error)
    file = str(config.file) if config.file else "built-in defaults"
    findings = [good("configuration", f"{file}: no faults")]
    findings += [finding for check in checks for finding in check(config)]
    return int(any(finding.level is Level.FAULT for finding in findings)), findings


def _checks(*, ping: bool) -> Iterator[Callable[[Config], Iterator[Finding]]]:
    for name, module in CHECKS.items():
        check = getattr(importlib.import_module(f"redirectd.cli.checks.{module}_check"), f"check_{name}")
        if ping and name == "targets":
            from redirectd.apply.options_ping import answers_options

            check = partial(check, ping=answers_options)
        yield check


def _json(finding: Finding) -> dict[str, object]:
    return {
        "where": printable(finding.where),
        "ok": finding.ok,
        "level": finding.level.value,
        "why": printable(finding.why),
        "what_to_do": printable(finding.what_to_do),
    }


def _show(findings: list[Finding]) -> None:
    for finding in findings:
        say_wrapped(f"{finding.level.value:<8} {printable(finding.where)}: {printable(finding.why)}", indent=" " * 9)
        if finding.what_to_do:
            say_wrapped(f"{'':<8} what to do: {printable(finding.what_to_do)}", indent=" " * 21)
    bad = sum(finding.level.value == "fault" for finding in findings)
    warned = sum(finding.level.value == "warning" for finding in findings)
    counted = (_counted(warned, "warning"), _counted(bad, "error"))
    say(f"{len(findings) - bad - warned} OK, {', '.join(counted)}")


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
