"""A real Kamailio in the foreground, configured from a template, on an address of its own."""

import itertools
import json
import os
import re
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from redirectd.targets.kamailio_htable import KamailioHtable
from tests.peers.lab.loopback import free_port
from tests.peers.lab.process import Child, LabError, has_programs, wait_until
from tests.peers.lab.rsyslog import Rsyslog

TEMPLATE = Path(__file__).with_name("kamailio.cfg")
_datagram_numbers = itertools.count(1)

# The line of `redirectd snippet kamailio` (formats.md), kept here so that the laboratory stands on its own.
RECORD = r"""
modparam("xlog", "buf_size", 16384)
onreply_route[REDIRECTD] {
  if (status =~ "^(301|183)$") {
    xlog("L_NOTICE", "REDIRECTD v=1 ev=$rs ts=$TV(Sn) m=$rm ci=$(ci{s.substr,0,256}{s.urlencode.param}) cseq=$cs br=$T_branch_idx src=$pr/$si/$sp ouri=$(T_req($ou){s.substr,0,512}{s.urlencode.param}) buri=$(T_branch(uri){s.substr,0,512}{s.urlencode.param}) nct=$hdrc(Contact) ctlen=$(hdr(Contact)[*]{s.len}) ct=$(hdr(Contact)[*]{s.substr,0,1200}{s.urlencode.param}) end=1\n");
  }
}
"""  # noqa: E501 - one line of the log is one line of the configuration

DUMP_REPLIES = r"""
onreply_route[DUMP] {
  xlog("L_NOTICE", "received from $pr:$si:$sp at $TV(s).$TV(u):\n$mb");
}
"""

DUMP_REQUESTS = r"""
event_route[tm:local-request] { xlog("L_NOTICE", "sent to $du:\n$mb"); }
onsend_route { xlog("L_NOTICE", "sent to $sndto(proto):$sndto(ip):$sndto(port):\n$mb"); }
"""

# The routes of `redirectd snippet kamailio` that make a request's key, as they are printed.
KEY_ROUTES = KamailioHtable().lines().beside

# The operator's lookup (targets.md) for `match = "request-uri"`: right before t_relay().
LOOK_UP_USER = KamailioHtable().lines().call

# The same for `match = "incoming"`: before a gateway is chosen, and past that choice on a hit, since choosing would put
# the gateway's host over the new one. Outside dialogs only (R10): the Request-URI of a BYE is a remote target.
LOOK_UP_INCOMING_USER = (
    KamailioHtable(match="incoming").lines().call.replace("$du = $null;", "$du = $null; route(RELAY);")
)


_RECORD_301 = re.compile(rb"REDIRECTD v=[12] ev=301")


@dataclass(frozen=True)
class Script:
    """What the operator's kamailio.cfg says beyond the template's fixed part.

    `incoming` stands before a gateway is chosen, in-dialog requests are past by then; `choose` picks where the request
    goes ($ru, $du, or a dispatcher set); `before_relay` stands right before t_relay(). `on_reply` names the
    onreply_route that is armed, and `extra` is appended at the end: modparams and the routes themselves.
    """

    incoming: str = ""
    choose: str = ""
    before_relay: str = ""
    on_reply: str = "REDIRECTD"
    extra: str = RECORD


def to_dispatcher_set(set_id: int, **parts: str) -> Script:
    """Return a script that rewrites the host of each request to the first live gateway of *set_id*."""
    choose = f'    if (!ds_select_domain("{set_id}", "8")) {{ send_reply("503", "No gateway"); exit; }}\n'
    return Script(choose=choose, **parts)


class Kamailio:
    """A running Kamailio: its files, sockets and a JSON-RPC client.

    The folder holds `kamailio.cfg`, `dispatcher.list`, `dbtext/` (table `htable`, db_mode 1) and the sockets `rpc.sock`
    (jsonrpcs, unix datagram), `rpc.fifo`, `ctl.sock` (binrpc, unix stream); JSON-RPC over HTTP is at `rpc_url`.
    """

    def __init__(
        self,
        folder: Path,
        address: str,
        script: Script,
        *,
        dispatcher: str = "",
        log: Literal["stderr", "rsyslog"] = "stderr",
        modules: str = "",
        memory: Sequence[str] = (),
        port: int | None = None,
    ) -> None:
        """Write the configuration into *folder*, an existing folder with a short path (unix sockets allow 107 bytes).

        *modules* holds further loadmodule and modparam lines, *memory* Kamailio options such as `-m 512`.
        """
        self.folder = folder
        self.address = address
        self.port = port or free_port(address)
        self.http_port = free_port(address, start=max(8000, self.port + 1))
        self.ctl_port = free_port(address, start=self.http_port + 1)
        self.dispatcher_file = folder / "dispatcher.list"
        self.htable_file = folder / "dbtext" / "redirectd_htable"
        self.rpc_socket = folder / "rpc.sock"
        self.rpc_fifo = folder / "rpc.fifo"
        self.ctl_socket = folder / "ctl.sock"
        self.rpc_url = f"http://{address}:{self.http_port}/RPC"
        self.config_file = folder / "kamailio.cfg"
        self._memory = list(memory)
        self._stderr = folder / "kamailio.stderr"
        self._rsyslog = Rsyslog(folder) if log == "rsyslog" else None
        self._child: Child | None = None
        self.dispatcher_file.write_text(dispatcher)
        self._write_tables()
        self.config_file.write_text(self._render(script, modules))

    @property
    def log_file(self) -> Path:
        """The file an operator would give redirectd as a source."""
        return self._rsyslog.log_file if self._rsyslog else self._stderr

    def tells(self, count: int = 1) -> str:
        """Return the path of the log file as soon as *count* records of a 301 stand in it."""
        wait_until(lambda: len(_RECORD_301.findall(self.log_file.read_bytes())) >= count, "the 301 in the log")
        return str(self.log_file)

    def start(self) -> None:
        """Start, and return when the RPC answers and the SIP socket is open."""
        command = [
            "kamailio",
            "-f",
            str(self.config_file),
            "-DD",
            "-P",
            str(self.folder / "pid"),
            "-Y",
            str(self.folder),
        ]
        command += ["-m", "64", "-M", "8", *self._memory]
        if self._rsyslog:
            self._rsyslog.start()
            command = self._rsyslog.as_dev_log(command)
        else:
            command.append("-E")
        self._child = Child(command, self._stderr)
        self._child.wait_until(self._answers, "Kamailio's RPC answers")

    def stop(self) -> None:
        """Stop Kamailio, and then its syslog daemon."""
        if self._child:
            self._child.stop()
            self._child = None
        if self._rsyslog:
            self._rsyslog.stop()

    def restart(self) -> None:
        """Stop and start again with the files as they are now."""
        self.stop()
        self.start()

    def rpc(self, method: str, *parameters: str | int) -> Any:
        """Call *method* over the unix datagram socket and return its result; LabError has the server's error."""
        own = self.folder / f"c{next(_datagram_numbers)}.sock"
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(parameters)}
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.bind(str(own))
            try:
                client.settimeout(10)
                client.connect(str(self.rpc_socket))
                client.send(json.dumps(request).encode())
                answer = json.loads(client.recv(1 << 20))
            finally:
                own.unlink()
        if "error" in answer:
            raise LabError(f"{method}: {answer['error']}")
        return answer["result"]

    def write_users(self, moves: Mapping[str, str], *, generation: int) -> None:
        """Write the htable's file: route key to value, and the sentinel row `__gen__`.

        db_text reads a file again only when its time of change is later, in whole seconds, than that of the one it has
        read, and says "Ok" all the same: so each version is dated at least a second after the one before.
        """
        rows = [*moves.items(), ("__gen__", str(generation))]
        before = int(self.htable_file.stat().st_mtime)
        lines = [htable_row(number, key, value) for number, (key, value) in enumerate(rows, start=1)]
        self.htable_file.write_text("".join([HTABLE_COLUMNS, *lines]))
        later = max(int(time.time()), before + 1)
        os.utime(self.htable_file, (later, later))

    def reload_users(self, *, generation: int) -> None:
        """Reload the htable and make sure, by the sentinel, that it was read."""
        self.rpc("htable.reload", "redir")
        found = self.rpc("htable.get", "redir", "__gen__")["item"]["value"]
        if found != str(generation):
            raise LabError(f"htable.reload said Ok, but generation {found} is loaded, not {generation}")

    def reload_dispatcher(self) -> None:
        """Reload the dispatcher list."""
        self._let_through("dispatcher.reload")

    def add_destination(self, *values: str | int) -> None:
        """Add a destination of the run time: set, URI, flags, priority and attrs."""
        self._let_through("dispatcher.add", *values)

    def _let_through(self, method: str, *parameters: str | int) -> None:
        """Call it, again while Kamailio says that the last reload or addition was less than 5 s ago."""

        def taken() -> bool:
            try:
                self.rpc(method, *parameters)
            except LabError as error:
                if "Ongoing reload" in str(error):
                    return False
                raise
            return True

        wait_until(taken, f"{method} is let through", seconds=15)

    def _answers(self) -> bool:
        try:
            self.rpc("core.version")
        except OSError:
            return False
        return True

    def _write_tables(self) -> None:
        self.htable_file.parent.mkdir(exist_ok=True)
        (self.htable_file.parent / "version").write_text("table_name(string) table_version(int)\nredirectd_htable:2\n")
        self.htable_file.write_text(HTABLE_COLUMNS)

    def _render(self, script: Script, modules: str) -> str:
        # The C locale of the template language stays away from Kamailio's own `$` and `{}`: plain marks in capitals.
        text = TEMPLATE.read_text()
        values = {
            "ADDRESS": self.address,
            "PORT": str(self.port),
            "HTTPPORT": str(self.http_port),
            "CTLPORT": str(self.ctl_port),
            "FOLDER": str(self.folder),
            "MODULES": modules,
            "INCOMING": script.incoming,
            "CHOOSE": script.choose,
            "BEFORERELAY": script.before_relay,
            "ONREPLY": f't_on_reply("{script.on_reply}"); $avp(redirectd_at) = $TV(Sn);' if script.on_reply else "",
            "EXTRA": script.extra + KEY_ROUTES,
        }
        for mark, value in values.items():
            text = text.replace(f"@{mark}@", value)
        return text


HTABLE_COLUMNS = "id(int,auto) key_name(string) key_type(int) value_type(int) key_value(string) expires(int)\n"


def htable_row(number: int, key: str, value: str) -> str:
    """Return one db_text row of a string value; the colon is the column separator and is escaped."""
    name, text = (each.replace("\\", "\\\\").replace(":", "\\:") for each in (key, value))
    return f"{number}:{name}:0:0:{text}:0\n"


def installed() -> bool:
    """Tell whether this machine has Kamailio with the modules of the template."""
    return has_programs("kamailio")
