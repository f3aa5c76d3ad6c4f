"""`redirectd snippet`: what to paste into the servers' configuration."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import click

from redirectd.cli.app import App, pass_app
from redirectd.cli.output import emit_json, json_option, note, say
from redirectd.errors import InstallError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from redirectd.cli.snippets.fitted import Where
    from redirectd.cli.snippets.snippet_part import Fit
    from redirectd.config.model import Config


@click.command("snippet")
@click.argument("server", type=click.Choice(["kamailio", "asterisk", "freepbx"]))
@click.option(
    "--file",
    "main",
    type=click.Path(exists=True),
    help="The kamailio.cfg, or Asterisk's folder, to compare with. Default: those of this host.",
)
@click.option("--generic", is_flag=True, help="Print all that is needed, and look at no configuration.")
@click.option(
    "--install", is_flag=True, help="As root: write the routes or contexts into a file of their own, to be included."
)
@click.option(
    "--kemi",
    type=click.Choice(["lua", "python"]),
    help="Kamailio: the routes as a script for app_lua or app_python3. Default: what cfgengine says.",
)
@json_option
@pass_app
def snippet_command(
    app: App, server: str, main: str | None, *, generic: bool, install: bool, kemi: str | None, as_json: bool
) -> None:
    """Print what the configuration of Kamailio, Asterisk or FreePBX lacks for the configured targets, place by place.

    The server's files are read with all that they include, and never changed. What is there already is not printed
    again, and what contradicts redirectd is named. Files that FreePBX or Issabel generates are recognized.

    With --install the lines that need no place of their own go into a file of root's, and one line to include it is
    printed; without it nothing is written.
    """
    from redirectd.cli.snippets.fitted import Where, installed, installed_file, installed_text
    from redirectd.cli.snippets.snippet_part import printed

    if install and generic:
        raise UsageError("--install", "it needs a configuration to fit to", "leave out --generic")
    if kemi and server != "kamailio":
        raise UsageError("--kemi", "it is for Kamailio", f"leave it out, or: redirectd snippet kamailio --kemi {kemi}")
    file = installed_file(server)
    own = str(file) if install or (not generic and installed(server)) else None
    fit = _fit(app.config, server, Where("" if generic else main or _main(app.config, server), own), kemi or "")
    if install:
        _install(file, installed_text(fit))
        note(f"wrote {file}")
    if as_json:
        emit_json(_json(fit))
    else:
        say(printed(fit, {"freepbx": "FreePBX"}.get(server, server.capitalize())))


def _main(config: Config, server: str) -> str:
    from redirectd.cli.snippets.fitted import asterisk_folder, kamailio_main

    return kamailio_main() if server == "kamailio" else asterisk_folder(config)


def _fit(config: Config, server: str, where: Where, kemi: str) -> Fit:
    from redirectd.cli.snippets.fitted import fit_of_asterisk, fit_of_kamailio

    if server == "kamailio":
        return fit_of_kamailio(config, where, kemi)
    return fit_of_asterisk(config, where, freepbx=server == "freepbx")


def _json(fit: Fit) -> Mapping[str, object]:
    parts = [
        {
            "file": part.file or None,
            "position": part.position,
            "line": part.line,
            "to_line": part.to_line,
            "place": part.place,
            "text": part.text,
            "why": part.why,
        }
        for part in fit.ordered()
    ]
    wrong, warnings = (
        [{"where": one.where, "why": one.why, "what_to_do": one.what_to_do} for one in found]
        for found in (fit.wrong, fit.warnings)
    )
    found = {"files": list(fit.files), "unknown": list(fit.doubts), "wrong": wrong, "warnings": warnings}
    return {**found, "notes": fit.notes, "parts": parts}


def _install(file: Path, text: str) -> None:
    """Puts the file into place, whole. Raises InstallError unless none but root can change it or its folders."""
    if os.geteuid() != 0:
        raise InstallError(str(file), "only root may write what a server executes", "run this as root")
    for folder in [file.parent, *file.parent.parents]:
        try:
            status = folder.lstat()
        except OSError as error:
            raise InstallError(str(folder), error.strerror or "", f"mkdir -m 755 {folder}") from error
        sticky = status.st_mode & stat.S_ISVTX
        if not stat.S_ISDIR(status.st_mode) or status.st_uid or (status.st_mode & 0o022 and not sticky):
            why = "others than root can change what is in it, and a server executes that"
            raise InstallError(str(folder), why, f"chown root {folder} && chmod go-w {folder}")
    beside = file.with_name(f".{file.name}.new")
    try:
        beside.unlink(missing_ok=True)
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644), "wb") as out:
            os.fchmod(out.fileno(), 0o644)
            out.write(text.encode("utf-8", "surrogateescape"))
            out.flush()
            os.fsync(out.fileno())
        beside.replace(file)
    except OSError as error:
        raise InstallError(str(file), error.strerror or str(error), "see that root may write there") from error
