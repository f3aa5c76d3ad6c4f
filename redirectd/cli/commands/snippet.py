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


@click.command("snippet")
@click.argument("server", type=click.Choice(["kamailio", "asterisk"]))
@pass_app
def snippet_command(app: App, server: str) -> None:
    """Print the logging and lookup lines to paste into Kamailio's or Asterisk's configuration.

    Paths and names are those of the configured targets, or the usual ones where there are none.
    """
    text = (resources.files("redirectd.cli") / "snippets" / _FILES[server]).read_text(encoding="utf-8")
    for mark, value in _values(app.config).items():
        text = text.replace(f"@{mark}@", value)
    say(text.rstrip("\n"))


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
        "PREFIX": _option(dialplan, "prefix", "redirectd-map"),
    }


def _first(config: Config, kind: str) -> TargetSection | None:
    return next((target for target in config.target if target.kind == kind), None)


def _option(target: TargetSection | None, name: str, default: str) -> str:
    return str(target.options.get(name, default)) if target else default
