"""Every fault that `check` can tell: how it comes about, what is said of it, and how a person mends it."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cli.checked_setup import NOBODY, SOUND, CheckedSetup


def do_what_it_says(finding: dict[str, Any], start: str) -> None:
    """Runs the command in the remedy that begins with `start`."""
    words = finding["what_to_do"]
    subprocess.run(words[words.index(start) :], shell=True, check=True)


@dataclass(frozen=True)
class Case:
    """A fault: how it comes about, what `check` says (in `where`, `why`, `what_to_do`), and how a person mends it."""

    name: str
    provoke: Callable[[CheckedSetup], object]
    says: tuple[str, str, str]
    mend: Callable[[CheckedSetup, dict[str, Any]], object]
    user: int | None = None
    level: str = "fault"


def both(*steps: Callable[[CheckedSetup], object]) -> Callable[[CheckedSetup], None]:
    """One after the other."""

    def run_them(checked: CheckedSetup) -> None:
        for step in steps:
            step(checked)

    return run_them


def sql(checked: CheckedSetup, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(checked.database)) as connection:
        connection.execute(statement)
        connection.commit()


def saved(checked: CheckedSetup) -> Path:
    return Path(shutil.copy(checked.database, checked.folder / "backup.db"))


def newer(checked: CheckedSetup) -> None:
    saved(checked)
    sql(checked, "UPDATE alembic_version SET version_num = '9999'")


def tampered(checked: CheckedSetup) -> None:
    checked("ingest", str(checked.log))
    checked("reject", "1", "--reason", "right")
    saved(checked)
    sql(checked, "UPDATE audit SET reason = 'wrong'")


def restore(checked: CheckedSetup, _: object) -> None:
    shutil.copy(checked.folder / "backup.db", checked.database)


def sound(checked: CheckedSetup, _: object) -> None:
    checked.write(SOUND)


AWAY = {"sqlite:///redirectd.db": "sqlite:///away/redirectd.db"}

CASES = (
    Case(
        "a log that is not there",
        lambda c: c.log.rename(c.folder / "x"),
        ("source log, {folder}/sip.log", "No such file", "let the server write it"),
        lambda c, _: (c.folder / "x").rename(c.log),
    ),
    Case(
        "a log that may not be read",
        lambda c: c.log.chmod(0o600),
        ("source log, {folder}/sip.log", "Permission denied", "read access"),
        lambda c, _: c.log.chmod(0o644),
        user=NOBODY,
    ),
    Case(
        "a folder in the place of a log",
        both(lambda c: c.log.unlink(), lambda c: c.log.mkdir()),
        ("source log, {folder}/sip.log", "directory", "name"),
        lambda c, _: both(lambda c: c.log.rmdir(), lambda c: c.log.write_text("SIP/2.0"))(c),
    ),
    Case(
        "an empty log",
        lambda c: c.log.write_text(""),
        ("source log, {folder}/sip.log", "empty", "redirectd snippet"),
        lambda c, _: c.log.write_text("SIP/2.0"),
        level="warning",
    ),
    Case(
        "a log without SIP",
        lambda c: c.log.write_text("Nov 22 12:00:00 host cron[1]: hello\n"),
        ("source log, {folder}/sip.log", "no SIP message", "redirectd snippet kamailio"),
        lambda c, _: c.log.write_text("SIP/2.0"),
        level="warning",
    ),
    Case(
        "a time zone that is not told",
        both(
            lambda c: c.write(SOUND, instead={'timezone = "UTC"\n': ""}),
            lambda _: os.environ.update(TZ="Europe/Berlin"),
        ),
        ("source log, timezone", "TZ=Europe/Berlin", "timezone = "),
        sound,
        level="warning",
    ),
    Case(
        "a target's folder that is not there",
        lambda c: c.out.rmdir(),
        ("target users, {folder}/out/table", "{folder}/out is not there", "mkdir -p {folder}/out"),
        lambda _, finding: do_what_it_says(finding, "mkdir"),
    ),
    Case(
        "a target's folder that may not be written to",
        lambda c: c.out.chmod(0o755),
        ("target users, {folder}/out/table", "may not write", "give the user that runs redirectd the right"),
        lambda c, _: os.chown(c.out, NOBODY, NOBODY),
        user=NOBODY,
    ),
    Case(
        "a target's file that may not be read",
        both(lambda c: c.out.chmod(0o777), lambda c: (c.out / "table").touch(0o600)),
        ("target users, {folder}/out/table", "can't be read", "give this user the right"),
        lambda c, _: (c.out / "table").chmod(0o644),
        user=NOBODY,
    ),
    Case(
        "a target's file that somebody else wrote",
        lambda c: (c.out / "table").write_text("my own table\n"),
        ("target users, {folder}/out/table", "not what redirectd writes", "redirectd plan"),
        lambda c, _: (c.out / "table").unlink(),
        level="warning",
    ),
    Case(
        "a base list that is not there",
        lambda c: c.base.unlink(),
        ("target gateways, base {folder}/base.list", "No such file", "name your own list"),
        lambda c, _: c.base.write_text("1 sip:192.0.2.1:5060\n"),
    ),
    Case(
        "a server that does not listen",
        lambda c: c.write(SOUND.replace('"none"', '"jsonrpc:unix:/nowhere/rpc.sock"', 1)),
        ("reload of users, jsonrpc:unix:/nowhere/rpc.sock", "cannot be reached", "run"),
        sound,
    ),
    Case(
        "a manager without its password",
        lambda c: c.write(
            SOUND.replace('"kamailio-htable"', '"asterisk-dialplan"').replace('"none"', '"ami://me@127.0.0.1:5038"', 1)
        ),
        ("ami://me@127.0.0.1:5038", "no password", "password_file"),
        sound,
    ),
    Case(
        "a database of a later redirectd",
        newer,
        ("database sqlite:///{folder}/redirectd.db", "revision 9999 is unknown", "restore the backup"),
        restore,
    ),
    Case(
        "a database whose folder is not there",
        lambda c: c.write(SOUND, instead=AWAY),
        ("database sqlite:///{folder}/away/redirectd.db", "its folder {folder}/away is not there", "create the folder"),
        sound,
    ),
    Case(
        "tables without their revision",
        both(saved, lambda c: sql(c, "DELETE FROM alembic_version")),
        ("database sqlite:///{folder}/redirectd.db", "not the revision", "restore it from a backup"),
        restore,
    ),
    Case(
        "a file that is not a database",
        both(saved, lambda c: c.database.write_bytes(b"no database at all" * 100)),
        ("database sqlite:///{folder}/redirectd.db", "not a database", "restore"),
        restore,
    ),
    Case(
        "a database that may not be written to",
        both(lambda c: c.database.chmod(0o644), lambda c: c.out.chmod(0o777)),
        ("database sqlite:///{folder}/redirectd.db", "may not write", "run as the user redirectd"),
        lambda c, _: c.database.chmod(0o666),
        user=NOBODY,
    ),
    Case(
        "a database in a folder that may not be entered",
        both(lambda c: (c.folder / "away").mkdir(0o700), lambda c: c.write(SOUND, instead=AWAY)),
        ("database sqlite:///{folder}/away/redirectd.db", "may not look into {folder}/away", "as root"),
        sound,
        user=NOBODY,
    ),
    Case(
        "an audit that was changed",
        tampered,
        ("audit entry", "was changed", "compare with a backup"),
        restore,
    ),
    Case(
        "a database server that is not there",
        lambda c: c.write(
            SOUND, instead={"sqlite:///redirectd.db": "postgresql+psycopg://redirectd:secret@127.0.0.1:9/redirectd"}
        ),
        ("database postgresql+psycopg://redirectd:***@127.0.0.1:9/redirectd", "refused", "see that the server runs"),
        sound,
    ),
    Case(
        "a password file that is not there",
        lambda c: c.write(
            SOUND,
            instead={"sqlite:///redirectd.db": 'postgresql+psycopg://r@127.0.0.1:9/r"\npassword_file = "secret'},
        ),
        ("password file {folder}/secret", "No such file", "mode 0600"),
        sound,
    ),
    Case(
        "nobody trusted",
        lambda c: c.write(SOUND, instead={'trusted_peers = ["127.0.0.0/8"]': ""}),
        ("policy.trusted_peers", "nobody is trusted", "trusted_peers = "),
        sound,
        level="warning",
    ),
    Case(
        "everybody trusted",
        lambda c: c.write(SOUND, instead={'trusted_peers = ["127.0.0.0/8"]': 'trusted_peers = ["0.0.0.0/0"]'}),
        ("policy.trusted_peers", "trusts the whole internet", "alone"),
        sound,
        level="warning",
    ),
    Case(
        "a key that is unknown",
        lambda c: c.write(SOUND + "[limits]\nmax_change = 3\n"),
        ("max_change", "no such key", "max_change"),
        sound,
    ),
)
