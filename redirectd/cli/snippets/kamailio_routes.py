"""What redirectd adds to Kamailio's routing: routes for kamailio.cfg, or the same as a KEMI script."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from posixpath import basename

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
