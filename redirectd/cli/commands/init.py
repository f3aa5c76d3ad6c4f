"""`redirectd init`: the first configuration file."""

from __future__ import annotations

import os
from pathlib import Path

import click

from redirectd.cli.app import App, pass_app
from redirectd.cli.output import note, say
from redirectd.errors import ConfigError, UsageError


@click.command("init")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where to write it; - is standard output. Default: the file of --config, else "
    "/etc/redirectd/redirectd.toml where this user may write there, else ./redirectd.toml.",
)
@click.option("--force", is_flag=True, help="Write over an existing file.")
@click.option("--reference", is_flag=True, help="Print the reference of all keys in Markdown, and write nothing.")
@click.option("--systemd", is_flag=True, help="Print the commands that install the service, and write nothing.")
@click.option("--run", "run_them", is_flag=True, help="With --systemd: run these commands.")
@pass_app
def init_command(app: App, output: Path | None, *, force: bool, reference: bool, systemd: bool, run_them: bool) -> None:
    """Write a commented redirectd.toml for what is found on this host.

    Every key is in it with its meaning; those that could not be found out are comments with their default.
    """
    from redirectd.cli.survey import look_around, values
    from redirectd.config import reference as words

    if reference:
        say(words.reference().rstrip("\n"))
        return
    if run_them and not systemd:
        raise UsageError("--run", "it runs what --systemd prints", "give both")
    if systemd:
        _install_service(run_them=run_them)
        return
    found = values(look_around())
    text = words.template(found)
    if output is not None and str(output) == "-":
        say(text.rstrip("\n"))
        return
    file = output or app.config_file or _default_file()
    _write(file, text, force=force)
    note(f"wrote {file}")
    for kind in ("source", "target"):
        tables = found.get(kind)
        names = [str(table["path"]) for table in tables] if isinstance(tables, list) else []
        note(f"  {kind}s: {', '.join(names) or 'none found: add them by hand'}")
    _make_key(file)
    folders = _missing_folders(found)
    if folders:
        note(f"  create: {', '.join(folders)} (writable for the user that runs redirectd)")
    note("next: set [policy] trusted_peers and own_domains, then run 'redirectd check'")
    note("      'redirectd snippet kamailio' and 'redirectd snippet asterisk' print what to paste there")


def _install_service(*, run_them: bool) -> None:
    import shlex

    from redirectd.cli import systemd_setup
    from redirectd.cli.survey import look_around

    for command in systemd_setup.commands(look_around(), systemd_setup.this_program()):
        say(shlex.join(command))
        if run_them:
            systemd_setup.run(command)
    note("next: redirectd init, redirectd check, then systemctl enable --now redirectd")


def _default_file() -> Path:
    system = Path("/etc/redirectd/redirectd.toml")
    try:
        system.parent.mkdir(mode=0o755, exist_ok=True)
        probe = system.parent / ".redirectd-init"
        probe.touch()
        probe.unlink()
    except OSError:
        return Path("redirectd.toml")
    return system


def _make_key(file: Path) -> None:
    """The key by which Kamailio proves its records (R39), where root sets this host up."""
    from redirectd.cli.recordkey import make_copies
    from redirectd.config.recordkeys import DEFAULT

    if os.geteuid() != 0 or file.absolute().parent != DEFAULT.parent:
        return
    try:
        for line in make_copies():
            note(f"  {line}")
    except OSError as error:
        note(f"  no key for Kamailio's records was made: {error.filename}: {error.strerror}")


def _write(file: Path, text: str, *, force: bool) -> None:
    try:
        with file.open("w" if force else "x", encoding="utf-8") as out:
            out.write(text)
    except FileExistsError as error:
        raise UsageError(
            str(file), "this file exists already", "keep it, or write over it with --force, or name another --output"
        ) from error
    except OSError as error:
        raise ConfigError(
            str(file), f"it can't be written: {error.strerror}", "name a place you may write to with --output"
        ) from error


def _missing_folders(found: dict[str, object]) -> list[str]:
    targets = found.get("target")
    paths = [Path(str(target["path"])) for target in targets] if isinstance(targets, list) else []
    return sorted({str(path.parent) for path in paths if not path.parent.is_dir()})
