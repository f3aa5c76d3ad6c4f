"""The configuration found on this host, compared with what the configured targets need."""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import make_url

from redirectd.apply.sql_rows import SqlRows
from redirectd.cli.recordkey import KAMAILIO_COPY
from redirectd.cli.snippets.asterisk_fit import (
    FILES,
    ODBC_FILES,
    ODBC_INI,
    AsteriskFiles,
    AsteriskTarget,
    OdbcTable,
    fit_asterisk,
)
from redirectd.cli.snippets.freepbx_fit import FOLDER, Generator, fit_freepbx, generator_of
from redirectd.cli.snippets.kamailio_fit import fit_kamailio
from redirectd.cli.snippets.kamailio_routes import KamailioTarget, control_paths, kemi_engine, kemi_script
from redirectd.cli.snippets.snippet_part import Fit, Part, Wrong
from redirectd.config.model import Config
from redirectd.config.secrets import DEFAULT
from redirectd.config.specs import target_specs
from redirectd.config.target_sections import TargetSection
from redirectd.plan.target import LookedUp, TargetOptions
from redirectd.plan.target_spec import TargetSpec
from redirectd.serverconf.asterisk_conf import read_asterisk
from redirectd.serverconf.conf_files import MOST_BYTES, ConfFiles
from redirectd.serverconf.kamailio_cfg import KamailioCfg, read_kamailio
from redirectd.targets.asterisk_odbc import AsteriskOdbc
from redirectd.targets.kamailio_gateway_table import KamailioGatewayTable
from redirectd.targets.sqltable import InDatabase
from redirectd.targets.target_kinds import build

KAMAILIO_CFGS = ("/etc/kamailio/kamailio.cfg", "/usr/local/etc/kamailio/kamailio.cfg")
KAMAILIO_DEFAULTS = Path("/etc/default/kamailio")
ASTERISK_FOLDER = "/etc/asterisk"
KEMI_FILES = {"lua": "redirectd.lua", "python": "redirectd_kemi.py"}
"""The script of ours by its language, beside kamailio.cfg."""
INSTALL_FOLDER = DEFAULT.parent
"""Where root puts what a server executes: neither redirectd's user nor the server's may write there."""

_CFGFILE = re.compile(r"^\s*CFGFILE=[\"']?([^\"'\s#]+)", re.MULTILINE)
_LOOPBACK = re.compile(r"(?:jsonrpc:https?|amis?)://(?:[^@/]*@)?(?:127\.|localhost\b|\[::1\])")
_OWN_FOLDER = re.compile(r"asterisk -C (\S+) -rx")
_MOST_EXPANDED = 500


@dataclass(frozen=True, slots=True)
class Where:
    """Where a server's configuration is, and the file of our own in it; an empty `main` looks at none.

    `main` is kamailio.cfg, or Asterisk's folder.
    """

    main: str
    installed: str | None = None


def installed_file(server: str) -> Path:
    """Where `snippet --install` puts the block of a server."""
    name = "kamailio-snippet.cfg" if server == "kamailio" else "asterisk-snippet.conf"
    return INSTALL_FOLDER / name


def installed(server: str) -> Path | None:
    """That file where it is there, or None; None, too, where one may not look."""
    file = installed_file(server)
    return file if os.path.exists(file) else None  # noqa: PTH110 - Path's own raises where one may not look


def installed_text(fit: Fit) -> str:
    """What belongs into that file."""
    head = f"{fit.comment} Written by 'redirectd snippet --install', which writes over it; yours goes elsewhere."
    return f"{head}\n\n{fit.block}\n"


def kamailio_main() -> str:
    """The kamailio.cfg that Debian's unit starts, else a usual one; empty where there is none."""
    try:
        named = _CFGFILE.findall(KAMAILIO_DEFAULTS.read_text(errors="replace"))
    except OSError:
        named = []
    return next((file for file in [*named[-1:], *KAMAILIO_CFGS] if os.path.exists(file)), "")  # noqa: PTH110 - false, too, where one may not look


def asterisk_folder(config: Config) -> str:
    """The folder of Asterisk's configuration: of the first ``asterisk -C FILE -rx``, else the usual; empty for none."""
    for target in config.target:
        if (found := _OWN_FOLDER.fullmatch(target.reload)) is not None:
            return str(Path(found[1]).parent)
    return ASTERISK_FOLDER if Path(ASTERISK_FOLDER).is_dir() else ""


def read_cfg(main: str) -> KamailioCfg:
    """What a kamailio.cfg and its includes hold; what can't be read is among its doubts."""
    return read_kamailio(main, _files())


def fit_of_kamailio(config: Config, where: Where, kemi: str = "") -> Fit:
    """What this kamailio.cfg needs for the configured targets, or for the usual ones where there are none.

    `kemi` is the language of its routes, ``lua`` or ``python``; where it is empty the configuration says.
    """
    without = [where.installed] if where.installed else []
    cfg = read_kamailio(where.main, _files(), without) if where.main else KamailioCfg()
    targets, kemi = kamailio_targets(config), kemi or kemi_engine(cfg)
    keyed = os.path.exists(KAMAILIO_COPY) or any(source.record_keys for source in config.source)  # noqa: PTH110 - as above
    fit = fit_kamailio(cfg, targets, str(KAMAILIO_COPY), where.installed, keyed=keyed, kemi=bool(kemi))
    if kemi:
        _add_script(fit, kemi, targets, str(Path(where.main).parent) if where.main else "/etc/kamailio")
    return fit


def _add_script(fit: Fit, language: str, targets: Sequence[KamailioTarget], folder: str) -> None:
    """The script is a file of its own beside kamailio.cfg; nothing where it is there."""
    file = f"{folder}/{KEMI_FILES[language]}"
    text, notes = kemi_script(language, targets, str(KAMAILIO_COPY))
    fit.notes += notes
    try:
        found = _read(file).decode("utf-8", "replace")
    except FileNotFoundError:
        found = ""
    except OSError as error:
        fit.doubts = [*fit.doubts, f"{file} can't be read ({error.strerror})"]
        return
    if found.strip() != text.strip():
        fit.parts.append(
            Part(file, "end", "a file of its own, whole", text, why="Its head says what your script calls.")
        )
    if found and found.strip() != text.strip():
        why = "it is not that of this version and these targets"
        fit.wrong.append(Wrong(file, why, "put what 'redirectd snippet kamailio' prints in its place"))


def fit_of_asterisk(config: Config, where: Where, *, freepbx: bool = False) -> Fit:
    """What this folder's files need for the configured targets, or for the usual one where there are none.

    Files that FreePBX or Issabel generates, or all with `freepbx`, are answered as these want it.
    """
    without = [where.installed] if where.installed else []
    logs = [str(config.resolve(source.path)) for source in config.source if source.path is not None]
    files = AsteriskFiles(where.main, logs=logs)
    generator = generator_in(where.main)
    targets = asterisk_targets(config)
    if where.main:
        places = {name: f"{where.main}/{name}" for name in FILES}
        if any(target.odbc for target in targets):
            places |= {name: f"{where.main}/{name}" for name in ODBC_FILES}
            places[ODBC_INI] = _odbc_ini()
        files.confs = {name: read_asterisk(place, where.main, _files(), without) for name, place in places.items()}
    if generator is not None or freepbx:
        return fit_freepbx(files, targets, generator or Generator("FreePBX", ""), where.installed)
    return fit_asterisk(files, targets, where.installed)


def generator_in(folder: str) -> Generator | None:
    """Who generates the files of this folder of Asterisk's: FreePBX, Issabel, or nobody known."""
    if not folder:
        return None
    try:
        return generator_of(_read(f"{folder}/extensions_additional.conf").decode("utf-8", "replace"))
    except OSError:
        return None


def is_of_this_host(config: Config, server: str, main: str) -> bool:
    """Whether a target of this server is reached at a socket of this configuration, or at one that is not there.

    Where there is another socket, another server than that of this configuration answers.
    """
    reloads = [control for spec in _specs(config, server) for control in spec.controls]
    if server == "asterisk":
        return any(_is_usual_asterisk(reload) for reload in reloads)
    own = control_paths(read_kamailio(main, _files()))
    return any(_is_own_kamailio(reload, own) for reload in reloads)


def _is_own_kamailio(reload: str, own: Collection[str]) -> bool:
    kind, _, path = reload.rpartition(":")
    if path.startswith("/") and kind != "jsonrpc:http":
        return path in own or not os.path.exists(path)  # noqa: PTH110 - false, too, where one may not look
    return reload.startswith("kamcmd") or _LOOPBACK.match(reload) is not None


def _is_usual_asterisk(reload: str) -> bool:
    if reload.startswith("ami"):
        return _LOOPBACK.match(reload) is not None and reload.partition("?")[0].endswith((":5038", "127.0.0.1"))
    path = reload.partition(":")[2]
    return not path or path.startswith(("/run/asterisk/", "/var/run/asterisk/"))


def kamailio_targets(config: Config) -> Sequence[KamailioTarget]:
    """The configured targets of Kamailio."""
    sections = {target.name: target for target in config.target}
    found = [
        KamailioTarget(
            spec.name,
            spec.kind,
            _kept_in(spec),
            spec.control,
            getattr(spec.target, "match", "request-uri"),
            _htable_name(sections[spec.name]),
            spec.base,
            spec.target.lines() if isinstance(spec.target, LookedUp) else None,
            _kamailio_url(spec.database) if spec.database else "",
        )
        for spec in _specs(config, "kamailio")
    ]
    kind = "kamailio-htable"
    usual = build(kind, TargetOptions(kind))
    assert isinstance(usual, LookedUp)
    path, reload = "/etc/kamailio/redirectd/redirectd_htable", "jsonrpc:unix:/run/kamailio/kamailio_rpc.sock"
    return found or [KamailioTarget("users", kind, path, reload, lines=usual.lines())]


def _kept_in(spec: TargetSpec) -> str:
    """A target's file, or the table or view of a database that its server reads."""
    if isinstance(spec.target, KamailioGatewayTable):
        return spec.target.view
    return spec.target.sql.name if isinstance(spec.target, InDatabase) and spec.target.sql else spec.path


def _htable_name(target: TargetSection) -> str:
    return str(target.options.get("htable") or (target.table if target.database is None else None) or "redir")


def _kamailio_url(database: str) -> str:
    """A target's database as Kamailio names it, with a user of Kamailio's own."""
    url = make_url(database)
    scheme = "mysql" if url.get_backend_name() == "mysql" else "postgres"
    port = f":{url.port}" if url.port else ""
    return f"{scheme}://kamailio:PASSWORD@{url.host or 'localhost'}{port}/{url.database}"


def asterisk_targets(config: Config) -> Sequence[AsteriskTarget]:
    """The configured targets of Asterisk."""
    found = [
        AsteriskTarget(
            spec.name,
            spec.kind,
            "" if spec.database else spec.path,
            spec.control,
            spec.target.lines() if isinstance(spec.target, LookedUp) else None,
            _sections(spec),
            _odbc_table(spec),
        )
        for spec in _specs(config, "asterisk")
    ]
    kind = "asterisk-dialplan"
    usual = build(kind, TargetOptions(kind))
    assert isinstance(usual, LookedUp)
    folder = FOLDER if generator_in(asterisk_folder(config)) else "/etc/asterisk/redirectd"
    path = f"{folder}/extensions_redirectd.conf"
    return found or [AsteriskTarget("asterisk", kind, path, lines=usual.lines())]


_ODBC_TIMEOUTS = ("CONN_TIMEOUT=2", "READ_TIMEOUT=2", "WRITE_TIMEOUT=2")
"""Seconds of MariaDB's driver, without which a call waits for as long as the database hangs; psqlODBC has none."""


def _odbc_table(spec: TargetSpec) -> OdbcTable | None:
    """What Asterisk's files name of a table that it asks; the place as the drivers of Debian have it."""
    if not isinstance(spec.target, AsteriskOdbc):
        return None
    url = make_url(spec.database or "")
    is_mysql = url.get_backend_name() == "mysql"
    driver, server = ("MariaDB Unicode", "SERVER") if is_mysql else ("PostgreSQL Unicode", "Servername")
    lines = [f"Driver={driver}", f"{server}={url.host or 'localhost'}", f"Port={url.port}", f"Database={url.database}"]
    lines += _ODBC_TIMEOUTS if is_mysql else ()
    place = "\n".join(line for line in lines if line != "Port=None")
    sql = spec.target.sql
    quoted = SqlRows(spec.path, sql, lambda: "", spec.timeout).quote(sql.name)
    return OdbcTable(spec.target.function, spec.target.statement(quoted), place, _odbc_ini())


def _odbc_ini() -> str:
    return os.environ.get("ODBCINI", f"/etc/{ODBC_INI}")


def _specs(config: Config, server: str) -> list[TargetSpec]:
    return [spec for spec in target_specs(config) if spec.kind.startswith(f"{server}-")]


def _sections(spec: TargetSpec) -> frozenset[str]:
    """The sections of an AOR target's base."""
    if spec.base is None or spec.database is not None:
        return frozenset()
    folder = str(Path(spec.base).parent)
    return frozenset(section.name for section in read_asterisk(spec.base, folder, _files()).sections)


def _files() -> ConfFiles:
    return ConfFiles(_read, _expand)


def _read(path: str) -> bytes:
    """A regular file's content. Raises OSError; anything else, as a FIFO, is never opened or waited for."""
    if not stat.S_ISREG(Path(path).stat().st_mode):
        raise OSError(0, "not a file", path)
    # Others may write in the server's folders: what is opened can be another thing than what was looked at.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(0, "not a file", path)
        return file.read(MOST_BYTES + 1)


def _expand(pattern: str) -> Sequence[str]:
    return sorted(glob.glob(pattern))[:_MOST_EXPANDED]  # noqa: PTH207 - Path.glob takes no absolute pattern
