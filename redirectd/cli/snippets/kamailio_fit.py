"""What a kamailio.cfg needs so that redirectd can read its log, and it can look up what redirectd writes.

All that is no more than lines of redirectd comes as one block for the end of the file, or for a file of its own; beside
it there are one-line calls within the operator's own routes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from posixpath import basename, dirname

from redirectd.cli.snippets.kamailio_routes import (
    RUN,
    KamailioTarget,
    at_least,
    database_of,
    in_run,
    literal,
    mode_of,
    route_texts,
    socket_of,
    table_name,
)
from redirectd.cli.snippets.snippet_part import Fit, Part, Wrong
from redirectd.serverconf.kamailio_cfg import KamailioCfg, RouteBlock, blocks_in
from redirectd.sip.text import mask_url
from redirectd.targets.kamailio_key import DEFINED

_DB_MODULES = {"kamailio-htable": "htable", "kamailio-dialplan": "dialplan", "kamailio-alias_db": "alias_db"}
_RECORD_MODULES = ("tm", "tmx", "pv", "textops", "siputils", "xlog")
_SIZE = 16384
_GROUP_WRITES = 0o060
_TRANSPORTS = {"http": 1, "fifo": 2, "unix": 4}
_CTL_PORT = "2046"
"""Where ctl listens on TCP by default."""
_BITS = re.compile(r"[0-9]{1,4}")
_STATUSES = re.compile(r"\^\(301[0-9|]*\)\$")
"""The answers that are recorded: an operator may take some out (docs/logs.md)."""
_PEERS_TEXT = re.compile(r"\$\(?(?:hdr\([^)]*\)|(?:ci|f[uUdnt]|t[uUdnt]|r[uUdzrb]|o[uUd]|a[iuU]|ua|ct|cs|mb|di|pu)\b)")
"""Pseudo-variables that hold what a peer wrote."""
_REPLY = "route(REDIRECTD_REPLY);"
_PING = "route(REDIRECTD_PING);"
_RELAY = "route(REDIRECTD_BEFORE_RELAY);"


def fit_kamailio(
    cfg: KamailioCfg,
    targets: Sequence[KamailioTarget],
    key_file: str,
    installed: str | None,
    *,
    keyed: bool = True,
    kemi: bool = False,
) -> Fit:
    """Compare a configuration with what the targets need.

    `key_file` holds the key of the records, and `keyed` says whether it is there. With `installed` the block belongs
    into that file, and the part for the end of kamailio.cfg includes it. With `kemi` the routes are a script's, and are
    left out.
    """
    known = bool(cfg.main) and not any("not understood" in doubt for doubt in cfg.doubts)
    fitting = _KamailioFitting(cfg if known else KamailioCfg(), targets, key_file)
    fit = fitting.fit
    fit.doubts = cfg.doubts
    fitting.run(kemi=kemi)
    fitting.log_prefix(keyed=keyed)
    fit.block = "\n\n".join(fitting.end)
    if installed is None:
        if fit.block:
            _at_end(fit, cfg.main if known else "", fit.block)
    elif fitting.cfg.include(installed) is None:
        _at_end(fit, cfg.main if known else "", f'include_file "{installed}"')
    return fit


def _at_end(fit: Fit, main: str, text: str) -> None:
    words = "at the end of the file" if main else "at the end of kamailio.cfg"
    fit.parts.insert(0, Part(main, "end", words, text))


class _KamailioFitting:
    def __init__(self, cfg: KamailioCfg, targets: Sequence[KamailioTarget], key_file: str) -> None:
        self.cfg = cfg
        self.targets = targets
        self.key_file = key_file
        self.fit = Fit("#", cfg.files)
        self.end: list[str] = []
        self.controls = list(dict.fromkeys(target.reload for target in targets))

    def run(self, *, kemi: bool) -> None:
        settings = list(self._settings())
        self._modules()
        parameters = list(self._parameters())
        self.end += [text for text in ("\n".join(settings), "\n".join(parameters)) if text]
        if kemi:
            if DEFINED not in self.cfg.defines:
                self.end.append(f"#!define {DEFINED}")  # what a running Kamailio is asked for
            return
        key = basename(self.key_file)
        if not any(basename(path) == key for path, _ in self.cfg.includes):  # nodes may keep it elsewhere
            self.end.append(f'import_file "{self.key_file}"')
        self._routes()
        self._calls()

    def _settings(self) -> Iterator[str]:
        found = self.cfg.setting("pv_buffer_size")
        line = f"pv_buffer_size={_SIZE}"
        if found is None:
            yield f"{line}   # as it comes, 8192: a longer record would be lost"
        elif not at_least(found[0], _SIZE):
            self.fit.change(found[1], line, f"a record of over {found[0]} bytes would be lost")

        found = self.cfg.setting("debug")
        if found is None:
            yield "debug=1   # as it comes, 0: records are logged at the level notice, and would not be"
        elif re.fullmatch(r"-?[0-9]", found[0]) and int(found[0]) < 1:
            self.fit.change(found[1], "debug=1", "records are logged at the level notice, and with it are not")

    def log_prefix(self, *, keyed: bool) -> None:
        """Say where a peer's text is printed before each line of the log, as Debian's own file has it."""
        found = self.cfg.setting("log_prefix")
        if found is None or not (texts := _PEERS_TEXT.findall(found[0])):
            return
        why = f"log_prefix prints a peer's text ({', '.join(dict.fromkeys(texts))}) before each line of the log"
        if keyed:
            self.fit.notes.append(f"{found[1]}: {why}. It can't make a record: these are proven by their key.")
        else:
            what = "have root run 'redirectd init', which makes the key that proves records, or take that text out"
            self.fit.warnings.append(Wrong(str(found[1]), f"{why}, and can pass for a record without a key", what))

    def _modules(self) -> None:
        wanted = list(_RECORD_MODULES)
        tables = [target for target in self.targets if target.kind in _DB_MODULES]
        used = [_DB_MODULES[target.kind] for target in tables if not target.db_url]
        wanted += ["db_text", *used] if used else []
        wanted += [f"db_{target.db_url.partition(':')[0]}" for target in self.targets if target.db_url]
        wanted += [_DB_MODULES[target.kind] for target in tables]
        wanted += ["dispatcher" for target in self.targets if target.kind == "kamailio-dispatcher"]
        for control in self.controls:
            wanted += _control_modules(control)
        missing = [name for name in dict.fromkeys(wanted) if self.cfg.module(name) is None]
        self._db_text(used, missing)
        if missing:
            self.end.append("\n".join(f'loadmodule "{name}.so"' for name in missing))

    def _db_text(self, used: Sequence[str], missing: list[str]) -> None:
        """Have db_text loaded before the modules that read tables: the others do not start without it."""
        order = [name for name, _ in self.cfg.modules]
        first = next((name for name in order if name in used), None)
        if first is None:
            return
        place = self.cfg.module(first)
        own = self.cfg.module("db_text")
        if own is None:
            missing.remove("db_text")
            why = f"{first} reads its tables through it, and Kamailio starts modules in their order."
            self.fit.add(place, "before", f'before loadmodule "{first}.so"', 'loadmodule "db_text.so"', why)
        elif order.index("db_text") > order.index(first):
            why = f"db_text is loaded after {first}, which needs it: Kamailio does not start"
            self.fit.wrong.append(Wrong(str(own), why, f"move this line before {place}"))

    def _parameters(self) -> Iterator[str]:
        yield from self._parameter("xlog", "buf_size", str(_SIZE), lambda value: at_least(value, _SIZE))
        tables = [target for target in self.targets if target.kind in _DB_MODULES]
        if any(not target.db_url for target in tables):
            why = "a reload would report success and keep the old data"
            yield from self._parameter("db_text", "db_mode", "1", lambda value: value == "1", why)
        for module in dict.fromkeys(_DB_MODULES[target.kind] for target in tables):
            yield from self._tables(module, [target for target in tables if _DB_MODULES[target.kind] == module])
        for target in self.targets:
            if target.kind == "kamailio-dispatcher":
                yield from self._dispatcher(target)
        for control in self.controls:
            yield from self._control(control)

    def _parameter(
        self, module: str, name: str, value: str, good: Callable[[str], bool], why: str = "it is too small for a record"
    ) -> Iterator[str]:
        line = f'modparam("{module}", "{name}", {literal(value)})'
        found = self.cfg.value(module, name)
        if found is None:
            yield line
        elif not good(found.value):
            self.fit.change(found.place, line, f'{module}\'s {name} is "{mask_url(found.value)}": {why}')

    def _tables(self, module: str, targets: Sequence[KamailioTarget]) -> Iterator[str]:
        places = list(dict.fromkeys(target.db_url or f"text://{dirname(target.path)}" for target in targets))
        if len(places) > 1:
            why = f"{module} reads all its tables from one folder or database, and these targets write to {len(places)}"
            names = ", ".join(target.name for target in targets)
            self.fit.wrong.append(Wrong(f"targets {names}", why, "keep them in one folder, or in one database"))
        found = self.cfg.value(module, "db_url")
        if found is not None and database_of(found.value) != database_of(places[0]):
            what = f"write the target's file to {found.value.removeprefix('text://')}"
            if not found.value.startswith("text://") or targets[0].db_url:
                what = f"keep the target in that database ({targets[0].name}: database = ...)"
            url = mask_url(found.value)
            why = f"{module}'s db_url is {url}, and it exists once a module: tables of ours are not read"
            self.fit.wrong.append(Wrong(str(found.place), why, what))
        elif found is None:
            yield f'modparam("{module}", "db_url", "{places[0]}")'
        if module == "htable":
            for target in targets:
                yield from self._htable(target)
        elif module == "dialplan":
            table = basename(targets[0].path)
            why = "our rules are in another table"
            yield from self._parameter(module, "table_name", table, lambda value: value == table, why)
        else:
            why = "an alias would be found at any host"
            yield from self._parameter(module, "use_domain", "1", lambda value: value == "1", why)

    def _htable(self, target: KamailioTarget) -> Iterator[str]:
        file = basename(target.path)
        line = f'modparam("htable", "htable", "{target.table}=>size=14;dbtable={file};")'
        found = next(
            (one for one in self.cfg.values("htable", "htable") if table_name(one.value) == target.table), None
        )
        if found is None:
            yield line
            return
        options = dict(part.strip().partition("=")[::2] for part in found.value.partition("=>")[2].split(";"))
        if options.get("dbtable") != file:
            self.fit.change(found.place, line, f"the htable {target.table} is not filled from the target's file {file}")
        elif options.get("dbmode", "0") != "0":
            self.fit.change(found.place, line, "with dbmode=1 Kamailio empties the target's file when it stops")

    def _dispatcher(self, target: KamailioTarget) -> Iterator[str]:
        if target.db_url:
            yield from self._dispatcher_view(target)
        else:
            yield from self._dispatcher_list(target)
        found = self.cfg.value("dispatcher", "ds_ping_reply_codes")
        codes = f"{found.value.rstrip(';')};code=301" if found else "class=2;code=301"
        why = "a gateway that answers the ping with 301 is marked down while its move waits for approval"
        yield from self._parameter(
            "dispatcher", "ds_ping_reply_codes", codes, lambda value: "code=301" in value or "class=3" in value, why
        )

    def _dispatcher_view(self, target: KamailioTarget) -> Iterator[str]:
        why = f"the gateways that redirectd moves are in the database of target {target.name}"
        place = database_of(target.db_url)
        yield from self._parameter(
            "dispatcher", "db_url", target.db_url, lambda value: database_of(value) == place, why
        )
        why = f"moved gateways are in the view {target.path}, over your own table"
        yield from self._parameter("dispatcher", "table_name", target.path, lambda value: value == target.path, why)

    def _dispatcher_list(self, target: KamailioTarget) -> Iterator[str]:
        url = self.cfg.value("dispatcher", "db_url")
        if url is not None:
            why = f"dispatcher reads its gateways from {mask_url(url.value)}, and no file"
            what = f"take that line out, or keep the gateways in that database instead of the target {target.name}"
            self.fit.wrong.append(Wrong(str(url.place), why, what))
        why = f"the gateways that redirectd writes are in {target.path}"
        yield from self._parameter("dispatcher", "list_file", target.path, lambda value: value == target.path, why)

    def _control(self, control: str) -> Iterator[str]:
        kind, _, path = control.partition(":unix:")
        if control.startswith("binrpc:tcp:"):
            yield from self._ctl_over_tcp(control.removeprefix("binrpc:"))
            return
        if kind == "jsonrpc" and path:
            yield from self._jsonrpc("unix", "dgram_socket", path, "dgram_mode")
        elif control.startswith("jsonrpc:fifo:"):
            yield from self._jsonrpc("fifo", "fifo_name", control.removeprefix("jsonrpc:fifo:"), "fifo_mode")
        elif control.startswith("jsonrpc:http"):
            yield from self._http()
        elif kind in {"binrpc", "kamcmd"} or control.startswith("kamcmd"):
            yield from self._ctl(path)

    def _jsonrpc(self, way: str, name: str, path: str, mode: str) -> Iterator[str]:
        yield from self._transport(way)
        usual = f"{RUN}/kamailio_rpc.{'sock' if way == 'unix' else 'fifo'}"
        found = self.cfg.value("jsonrpcs", name)
        if found is None and (path != usual or way == "fifo"):
            yield f'modparam("jsonrpcs", "{name}", "{path}")'
        elif found is not None and in_run(found.value) != path:
            why = f"jsonrpcs listens at {in_run(found.value)}, and redirectd asks at {path}"
            what = f'set reload = "jsonrpc:{way}:{in_run(found.value)}" in redirectd.toml'
            self.fit.wrong.append(Wrong(str(found.place), why, what))
        yield from self._mode("jsonrpcs", mode)

    def _transport(self, way: str) -> Iterator[str]:
        bit = _TRANSPORTS[way]
        found = self.cfg.value("jsonrpcs", "transport")
        given = int(found.value) if found is not None and _BITS.fullmatch(found.value) else 0
        if found is not None and given and not given & bit:
            line = f'modparam("jsonrpcs", "transport", {given | bit})'
            self.fit.change(found.place, line, f"jsonrpcs does not listen on {way}, where redirectd asks")
        elif found is None and way == "http":
            yield 'modparam("jsonrpcs", "transport", 7)'

    def _http(self) -> Iterator[str]:
        yield from self._transport("http")
        order = [name for name, _ in self.cfg.modules]
        if "xhttp" in order and "jsonrpcs" in order and order.index("xhttp") > order.index("jsonrpcs"):
            place = str(self.cfg.module("xhttp"))
            self.fit.wrong.append(
                Wrong(place, "xhttp is loaded after jsonrpcs", f"move it before {self.cfg.module('jsonrpcs')}")
            )
        if self.cfg.block("event_route", "xhttp:request") is None:
            self.fit.notes.append(
                "reload = jsonrpc:http wants an event_route[xhttp:request] of yours that calls jsonrpc_dispatch() for "
                "redirectd's address alone, as Debian's kamailio.cfg has it under WITH_JSONRPC."
            )

    def _ctl_over_tcp(self, place: str) -> Iterator[str]:
        listening = [one.value.removeprefix("binrpc:") for one in self.cfg.values("ctl", "binrpc")]
        port = place.rpartition(":")[2]
        if not any(one.startswith("tcp:") and (one.endswith(f":{port}") or port == _CTL_PORT) for one in listening):
            yield f'modparam("ctl", "binrpc", "{place}")   # asks for no password: an address of an internal network'

    def _ctl(self, path: str) -> Iterator[str]:
        path = path or f"{RUN}/kamailio_ctl"
        found = self.cfg.values("ctl", "binrpc")
        sockets = [socket_of(one.value) for one in found]
        if not found and path != f"{RUN}/kamailio_ctl":
            yield f'modparam("ctl", "binrpc", "unixs:{path}")'
        elif found and path not in sockets:
            why = f"ctl listens at {', '.join(sockets)}, and redirectd asks at {path}"
            what = f'set reload = "binrpc:unix:{sockets[0]}" in redirectd.toml'
            self.fit.wrong.append(Wrong(str(found[0].place), why, what))
        yield from self._mode("ctl", "mode")

    def _mode(self, module: str, name: str) -> Iterator[str]:
        found = self.cfg.value(module, name)
        line = f'modparam("{module}", "{name}", 0660)'
        if found is None:
            yield f"{line}   # as it comes 0600: redirectd, in the group kamailio, could not ask"
        elif mode_of(found.value) & _GROUP_WRITES != _GROUP_WRITES:
            self.fit.change(found.place, line, f"its socket has mode {found.value}: redirectd can't ask there")

    def _routes(self) -> None:
        """Put those routes into the block that are missing, and those of an earlier version in place of these."""
        for text in route_texts(self.targets):
            wanted = blocks_in(text)
            keyed = blocks_in(text, "REDIRECTD_KEYED")
            found = [self.cfg.block(block.kind, block.name) for block in wanted]
            if not any(found):
                self.end.append(text.rstrip("\n"))
                continue
            for block, proven, own in zip(wanted, keyed, found, strict=True):
                lines = "\n".join(text.split("\n")[block.place.line - 1 : block.end.line])
                if own is None:
                    self.end.append(lines)
                elif _STATUSES.sub("", own.text) not in {_STATUSES.sub("", one.text) for one in (block, proven)}:
                    self._replace(own, lines)
        if self.cfg.block("reply_route") is None:
            self.end.append(
                f"reply_route {{  # the core has one: where you have one, put the line into it\n  {_PING}\n}}"
            )

    def _replace(self, own: RouteBlock, lines: str) -> None:
        name = f"{own.kind}[{own.name}]"
        why = f"{name} is not that of this version"
        self.fit.parts.append(
            Part(own.place.file, "replace", f"in place of {name}", lines, own.place.line, own.end.line, why)
        )
        self.fit.wrong.append(Wrong(str(own.place), why, "put what 'redirectd snippet kamailio' prints in its place"))

    def _calls(self) -> None:
        """Say where the operator's own routes call ours."""
        self._own_replies()
        reply = self.cfg.block("reply_route")
        if reply is not None and not reply.calls("REDIRECTD_PING"):
            self._first_line(reply, _PING, "so that answers to Kamailio's own pings are seen")
        if sum(one.kind in {"reply_route", "onreply_route"} and not one.name for one in self.cfg.blocks) > 1:
            why = "there is a second reply_route, which replaces the first without a word"
            self.fit.wrong.append(Wrong(str(reply.place if reply else ""), why, "make one of both"))
        if any(target.lines and target.match == "incoming" for target in self.targets):
            self._call_incoming()
        self._call_before_relay()

    def _own_replies(self) -> None:
        for name in dict.fromkeys(name for name, _ in self.cfg.armed if name != "REDIRECTD"):
            block = self.cfg.block("onreply_route", name)
            if block is None:
                self.fit.notes.append(f'The route armed by t_on_reply("{name}") was not found: put {_REPLY} into it.')
            elif not block.calls("REDIRECTD_REPLY"):
                self._first_line(block, _REPLY, "one reply route is armed at a time, so yours calls ours")

    def _first_line(self, block: RouteBlock, line: str, why: str) -> None:
        name = f"{block.kind}[{block.name}]" if block.name else block.kind
        words = f"the first line of {name}"
        if block.opened is not None:
            self.fit.add(block.opened, "after", words, f"\t{line}", f"{why[0].upper()}{why[1:]}.")
        else:
            self.fit.add(block.place, "by-hand", f"as {words}", f"\t{line}", f"{why[0].upper()}{why[1:]}.")

    def _call_before_relay(self) -> None:
        why = "Requests are looked up here, and their answers read, after all that chooses where they go."
        waiting = [one for one in self.cfg.relays if not one.block.calls("REDIRECTD_BEFORE_RELAY")]
        for relaying in waiting:
            if relaying.before is not None:
                self.fit.add(relaying.before, "before", "right before t_relay()", f"\t{_RELAY}", why)
            else:
                self.fit.add(relaying.place, "by-hand", "right before t_relay() in this line", f"\t{_RELAY}", why)
        if not self.cfg.relays and not self.cfg.called("REDIRECTD_BEFORE_RELAY"):
            self.fit.add(None, "by-hand", "kamailio.cfg, right before each t_relay()", f"\t{_RELAY}", why)

    def _call_incoming(self) -> None:
        if any("REDIRECTD_INCOMING" in block.text for block in self.cfg.blocks if block.name != "REDIRECTD_INCOMING"):
            return
        relay = next((one.block.name for one in self.cfg.relays if one.block.kind == "route"), "") or "RELAY"
        line = f"\tif (route(REDIRECTD_INCOMING)) {{ route({relay}); }}"
        why = f"A moved call goes past the choice of a gateway; route[{relay}] is what relays."
        main = self.cfg.block("request_route")
        after = next(
            (place for name, block, place in self.cfg.route_calls if block is main and name == "WITHINDLG"), None
        )
        words = "outside of dialogs, before a gateway is chosen"
        if after is not None:
            self.fit.add(after, "after", words, line, why)
        else:
            self.fit.add(main.place if main else None, "by-hand", f"request_route, {words}", line, why)


def _control_modules(control: str) -> list[str]:
    if control.startswith("jsonrpc:http"):
        return ["xhttp", "jsonrpcs"]
    if control.startswith("jsonrpc:"):
        return ["jsonrpcs"]
    return ["ctl"] if control.startswith(("binrpc:", "kamcmd")) else []
