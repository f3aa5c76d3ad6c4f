"""`redirectd run`: the service."""

from __future__ import annotations

import click

from redirectd.cli.app import App, pass_app


@click.command("run")
@pass_app
def run_command(app: App) -> None:
    """Run the service: follow the sources, apply on schedule, until SIGTERM or SIGINT.

    SIGHUP reads the configuration again; a faulty one is refused and the old one stays in force. Logs go to standard
    error: for people on a terminal, as JSON otherwise. Each 183 is one record "session_progress" there.
    """
    from redirectd.service.start import run_service

    run_service(app.config_file)
