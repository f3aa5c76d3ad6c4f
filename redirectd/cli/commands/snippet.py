"""`redirectd snippet`: what to paste into the servers' configuration."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

import click

from redirectd.cli.app import App, pass_app
from redirectd.cli.output import say

if TYPE_CHECKING:
    from collections.abc import Mapping

    from redirectd.config.model import Config
    from redirectd.config.target_sections import TargetSection
    from redirectd.plan.target import Lines


@click.command("snippet")
@click.argument("server", type=click.Choice(["kamailio", "asterisk"]))
@pass_app
def snippet_command(app: App, server: str) -> None:
    """Print the logging and lookup lines to paste into Kamailio's or Asterisk's configuration.

    Paths and names are those of the configured targets, or the usual ones where there are none.
    """
    text = (resources.files("redirectd.cli") / "snippets" / _FILES[server]).read_text(encoding="utf-8")
    first, others = _lines(app.config, server)
    marks = {"CALL": _indented(first.call, server), "BESIDE": first.beside.rstrip("\n"), **_values(app.config)}
    for mark, value in marks.items():
        text = text.replace(f"@{mark}@", value)
    comment = {"kamailio": "#", "asterisk": ";"}[server]
    for name, lines in others.items():
        text += (
            f'\n{comment} ---- Target "{name}", looked up in the same place ----\n\n{_indented(lines.call, server)}\n'
        )
        if lines.beside and lines.beside != first.beside:
            text += f"\n{lines.beside}"
    say(text.rstrip("\n"))


def _lines(config: Config, server: str) -> tuple[Lines, Mapping[str, Lines]]:
    """The lookup of the server's usual kind of target, and those of its other targets by name."""
    from redirectd.config.specs import target_specs
    from redirectd.plan.target import LookedUp, TargetOptions
    from redirectd.targets.target_kinds import build

    usual = _USUAL[server]
    found = [
        spec
        for spec in target_specs(config)
        if spec.kind.startswith(f"{server}-") and isinstance(spec.target, LookedUp)
    ]
    first = next((spec for spec in found if spec.kind == usual), None)
    target = first.target if first else build(usual, TargetOptions(usual))
    assert isinstance(target, LookedUp)
    others = {
        spec.name: spec.target.lines() for spec in found if spec is not first and isinstance(spec.target, LookedUp)
    }
    return target.lines(), others


def _indented(call: str, server: str) -> str:
    begin = {"kamailio": "  ", "asterisk": "; "}[server]
    return "\n".join(f"{begin}{line}" for line in call.rstrip("\n").split("\n"))


_USUAL = {"kamailio": "kamailio-htable", "asterisk": "asterisk-dialplan"}
_FILES = {"kamailio": "kamailio.cfg", "asterisk": "asterisk.conf"}


def _values(config: Config) -> Mapping[str, str]:
    htable = _first(config, "kamailio-htable")
    dispatcher = _first(config, "kamailio-dispatcher")
    dialplan = _first(config, "asterisk-dialplan")
    table_file = config.resolve(htable.path) if htable else None
    return {
        "FOLDER": str(table_file.parent) if table_file else "/etc/kamailio/redirectd",
        "DBTABLE": table_file.name if table_file else "redirectd_htable",
        "TABLE": _option(htable, "table", "redir"),
        "DISPATCHER": str(config.resolve(dispatcher.path)) if dispatcher else "/etc/kamailio/dispatcher.list",
        "EXTENSIONS": str(config.resolve(dialplan.path)) if dialplan else "extensions_redirectd.conf",
    }


def _first(config: Config, kind: str) -> TargetSection | None:
    return next((target for target in config.target if target.kind == kind), None)


def _option(target: TargetSection | None, name: str, default: str) -> str:
    return str(target.options.get(name, default)) if target else default
