"""What redirectd adds to the routing of Kamailio: routes for kamailio.cfg or a KEMI script, and the values in them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from posixpath import basename, normpath

from redirectd.plan.target import Lines
from redirectd.serverconf.kamailio_cfg import KamailioCfg


@dataclass(frozen=True, slots=True)
class KamailioTarget:
    """What of a ``[[target]]`` concerns kamailio.cfg; `table` is the name of the htable, or the dialplan's id.

    With `db_url`, Kamailio's, `path` is the name of a table there.
    """

    name: str
    kind: str
    path: str
    reload: str = "none"
    match: str = "request-uri"
    table: str = "redir"
    base: str | None = None
    lines: Lines | None = None
    db_url: str = ""


def route_texts(targets: Sequence[KamailioTarget]) -> Iterator[str]:
    """Give the routes of redirectd that these targets need, as text for kamailio.cfg."""
    yield (resources.files("redirectd.cli.snippets") / "kamailio_record.cfg").read_text(encoding="utf-8")
    looked_up = [(target, target.lines) for target in targets if target.lines is not None]
    yield from dict.fromkeys(lines.beside for _, lines in looked_up if lines.beside)
    yield _before_relay([one for one in looked_up if one[0].match == "request-uri"])
    incoming = [one for one in looked_up if one[0].match == "incoming"]
    if incoming:
        yield _incoming(incoming)


def _before_relay(looked_up: Sequence[tuple[KamailioTarget, Lines]]) -> str:
    """Give the route that is called right before t_relay(): it looks a request up and has its answers read."""
    text = """\
# Called right before t_relay(). The Request-URI within a dialog is a remote target, and is left alone.
route[REDIRECTD_BEFORE_RELAY] {
  if (has_totag()) { return; }
  if (!t_is_set("onreply_route")) { t_on_reply("REDIRECTD"); }
  $avp(redirectd_at) = $TV(Sn);  # how long callers waited for an answer that they no longer need
"""
    for number, (target, lines) in enumerate(looked_up):
        if number:
            text += "  if ($ru != $var(rd_was)) { return; }\n"
        elif len(looked_up) > 1:
            text += "  $var(rd_was) = $ru;\n"
        text += f'  # target "{target.name}"\n{_indented(target, lines)}'
    return text + "}\n"


def _incoming(looked_up: Sequence[tuple[KamailioTarget, Lines]]) -> str:
    text = """\
# Called before a gateway is chosen; true where the call has moved.
route[REDIRECTD_INCOMING] {
  if (has_totag()) { return(-1); }
  $var(rd_was) = $ru;
"""
    for target, lines in looked_up:
        text += f'  # target "{target.name}"\n{_indented(target, lines)}  if ($ru != $var(rd_was)) {{ return(1); }}\n'
    return text + "  return(-1);\n}\n"


def _indented(target: KamailioTarget, lines: Lines) -> str:
    call = lines.call
    if target.kind == "kamailio-alias_db":
        call = call.replace('"redirectd_aliases"', f'"{basename(target.path)}"')
    return "".join(f"  {line}\n" for line in call.rstrip("\n").split("\n"))


def kemi_script(language: str, targets: Sequence[KamailioTarget], key_file: str) -> tuple[str, list[str]]:
    """Give the script that does in ``lua`` or ``python`` what the routes do, and notes on what it can't."""
    text = (resources.files("redirectd.cli.snippets") / f"kamailio_kemi.{language}").read_text(encoding="utf-8")
    lookups, notes = "", []
    for target in targets:
        if target.kind == "kamailio-htable" and target.match == "request-uri":
            lookups += _KEMI_LOOKUPS[language].replace("@TABLE@", target.table)
        elif target.lines is not None:
            notes.append(f"The script has no lookup for target {target.name}: htable and request-uri alone have one.")
    return text.replace("@LOOKUPS@", lookups).replace("@KEYFILE@", key_file), notes


def kemi_engine(cfg: KamailioCfg) -> str:
    """Give the language that runs a configuration's routes, empty for Kamailio's own."""
    found = cfg.setting("cfgengine")
    return "" if found is None else next((name for name in _KEMI_LOOKUPS if name in found[0].lower()), "")


_KEMI_LOOKUPS = {
    "lua": """\
  local key = redirectd_key(KSR.pv.get("$ru"))
  local new = key and KSR.htable.sht_get("@TABLE@", key)
  if new then
    KSR.pv.sets("$ru", new)
    KSR.pv.unset("$du")
    return 1
  end
""",
    "python": """\
    key = key_of(KSR.pv.get("$ru"))
    new = KSR.htable.sht_get("@TABLE@", key) if key else None
    if new is not None:
        KSR.pv.sets("$ru", new)
        KSR.pv.unset("$du")
        return 1
""",
}


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


_PORTS = {"mysql": ":3306", "postgres": ":5432"}
_OWN_HOST = {"", "localhost", "127.0.0.1", "[::1]"}


def database_of(url: str) -> str:
    """Give what a db_url is about, whoever asks: a folder, or a database on a host.

    The own host is one, by socket or by address, and so is the usual port.
    """
    if url.startswith("text://"):
        return normpath(url)
    scheme, _, rest = url.partition("://")
    place, slash, name = rest.rpartition("@")[2].partition("/")
    place = place.removesuffix(_PORTS.get(scheme, "/"))
    return f"{scheme}://{'localhost' if place in _OWN_HOST else place.lower()}{slash}{name}"
