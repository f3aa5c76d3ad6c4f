"""The servers' own configuration, where it is on this host: what it lacks, and what in it contradicts redirectd."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from redirectd.cli.checks.as_user import Finding, Level, fault, good
from redirectd.cli.snippets.fitted import (
    Where,
    asterisk_folder,
    fit_of_asterisk,
    fit_of_kamailio,
    installed,
    installed_text,
    is_of_this_host,
    kamailio_main,
)
from redirectd.cli.snippets.snippet_part import Fit, heading
from redirectd.config.model import Config
from redirectd.errors import RedirectdError


def check_servers(config: Config) -> Iterator[Finding]:
    """Compares each server's configuration with what `snippet` prints for it."""
    for server, main in (("kamailio", kamailio_main()), ("asterisk", asterisk_folder(config))):
        try:
            if not main or not is_of_this_host(config, server, main):
                continue
            file = installed(server)
            where = Where(main, str(file) if file else None)
            fit = fit_of_kamailio(config, where) if server == "kamailio" else fit_of_asterisk(config, where)
        except RedirectdError as error:
            yield from fault(error)
            continue
        yield from _fit(server, main, fit)
        if file is not None:
            yield from _installed(server, file, fit)


def _fit(server: str, main: str, fit: Fit) -> Iterator[Finding]:
    for doubt in fit.doubts:
        yield Finding(main, Level.WARNING, f"it was not understood as a whole: {doubt}", _PRINTED.format(server=server))
    for wrong in fit.wrong:
        yield Finding(wrong.where, Level.FAULT, wrong.why, wrong.what_to_do)
    for warning in fit.warnings:
        yield Finding(warning.where, Level.WARNING, warning.why, warning.what_to_do)
    missing = [part for part in fit.ordered() if part.position != "replace"]
    if missing:
        sure = any(part.position != "by-hand" for part in missing) and bool(fit.files) and not fit.doubts
        places = "; ".join(heading(part) for part in missing[:5])
        more = f" and {len(missing) - 5} more places" if len(missing) > 5 else ""
        yield Finding(
            main,
            Level.FAULT if sure else Level.WARNING,
            f"lines that redirectd needs are missing: {places}{more}",
            _PRINTED.format(server=server),
        )
    elif not fit.wrong and not fit.doubts:
        yield good(main, "it has all that redirectd needs")


_PRINTED = "add what 'redirectd snippet {server}' prints, and reload or restart the server"


def _installed(server: str, file: Path, fit: Fit) -> Iterator[Finding]:
    """A file that a server executes: root's alone, and of this version."""
    again = f"as root: redirectd snippet {server} --install, then reload or restart the server"
    try:
        status = file.lstat()
        text = file.read_text(encoding="utf-8", errors="replace") if stat.S_ISREG(status.st_mode) else ""
    except OSError as error:
        yield Finding(str(file), Level.FAULT, f"it can't be read: {error.strerror}", again)
        return
    if status.st_uid or status.st_mode & 0o022 or not stat.S_ISREG(status.st_mode):
        why = "others than root can change it, and the server executes what is in it"
        yield Finding(str(file), Level.FAULT, why, again)
    elif text != installed_text(fit):
        yield Finding(
            str(file), Level.WARNING, "it is outdated: this version and these targets want other lines", again
        )
    else:
        yield good(str(file), "it is root's, and that of this version")
