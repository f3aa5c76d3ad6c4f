"""How values in kamailio.cfg are read and written: sizes, modes, paths of sockets and URLs of databases."""

from __future__ import annotations

import re
from posixpath import normpath

from redirectd.serverconf.kamailio_cfg import KamailioCfg

RUN = "/run/kamailio"
"""Where Kamailio of Debian makes its sockets."""

_UNIX = re.compile(r"^unixs?:")
_SIZE = re.compile(r"[0-9]{1,18}")


def control_paths(cfg: KamailioCfg) -> set[str]:
    """Give the sockets and FIFOs by which this Kamailio is asked."""
    found = [cfg.value("jsonrpcs", "dgram_socket"), cfg.value("jsonrpcs", "fifo_name"), *cfg.values("ctl", "binrpc")]
    usual = {f"{RUN}/{name}" for name in ("kamailio_rpc.sock", "kamailio_rpc.fifo", "kamailio_ctl")}
    return usual | {socket_of(one.value) for one in found if one is not None}


def socket_of(value: str) -> str:
    """Give the path of a socket that Kamailio listens on."""
    return in_run(_UNIX.sub("", value))


def literal(value: str) -> str:
    """Write a parameter's value as modparam takes it."""
    return value if value.isdecimal() else f'"{value}"'


def at_least(value: str, size: int) -> bool:
    """Say if a size reaches what is needed; what is not a number of usual length can't be judged."""
    return not _SIZE.fullmatch(value) or int(value) >= size


def table_name(value: str) -> str:
    """Give the name of a table in an htable parameter."""
    return value.partition("=>")[0].strip()


def in_run(path: str) -> str:
    """Give the absolute path of a socket, as Kamailio of Debian completes it."""
    return path if path.startswith("/") else f"{RUN}/{path}"


def mode_of(value: str) -> int:
    """Give a socket's mode; a name that is not known here passes as 0777."""
    try:
        return int(value, 8 if value.startswith("0") else 10)
    except ValueError:
        return 0o777


def database_of(url: str) -> str:
    """Give what a db_url is about, whoever asks: a folder, or a database on a host."""
    if url.startswith("text://"):
        return normpath(url)
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"
