"""A real Asterisk in the foreground, with a configuration directory of its own."""

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from redirectd.targets.asterisk_astdb import AsteriskAstdb
from redirectd.targets.asterisk_dialplan import AsteriskDialplan
from tests.peers.lab.loopback import free_port
from tests.peers.lab.process import Child, LabError, has_programs, run, wait_until

TEMPLATES = Path(__file__).with_name("asterisk_etc")
AMI_USER = "redirectd"
AMI_SECRET = "of-the-laboratory"  # good on a loopback port of one test only

# The operator's static part (targets.md): REDIRECTD_USER, Gosub(redirectd-lookup,s,1), the answer is in GOSUB_RETVAL.
LOOK_UP = f"\n{AsteriskDialplan().lines().beside}"

# The same for AstDB.
LOOK_UP_ASTDB = f"\n{AsteriskAstdb().lines().beside}"


def dial_plan(gateway: tuple[str, int], *, context: str = "from-caller") -> str:
    """Return an operator's dialplan: look the extension up, dial the new URI if there is one, else *gateway*.

    A name is looked up by its MD5, so a caller cannot name another context or another user.
    """
    return f"""
[{context}]
exten => _[+0-9A-Za-z].,1,NoOp(${{EXTEN}})
 same => n,Set(REDIRECTD_USER=${{EXTEN}})
 same => n,Gosub(redirectd-lookup,s,1)
 same => n,GotoIf($[${{LEN(${{GOSUB_RETVAL}})}} > 0]?moved)
 same => n,Dial(PJSIP/trunk/sip:${{EXTEN}}@{gateway[0]}:{gateway[1]},10)
 same => n,Hangup()
 same => n(moved),Dial(PJSIP/trunk/${{GOSUB_RETVAL}},10)
 same => n,Hangup()
{LOOK_UP}"""


@dataclass(frozen=True)
class Setup:
    """What the operator's configuration says beyond the laboratory's fixed part.

    `redirect_method` is the trunk's (user, uri_core, uri_pjsip), `logger_general` goes into logger.conf's [general]
    (dateformat and the like), `manager_general` into manager.conf's, `pjsip` is appended to pjsip.conf and `modules` to
    modules.conf. `switches` are those of the program besides `-f`, `files` more files of the folder by their names; an
    odbc.ini among them is the one of unixODBC.
    """

    extensions: str
    context: str = "from-caller"
    redirect_method: str = "uri_core"
    logger_general: str = ""
    manager_general: str = ""
    pjsip: str = ""
    switches: Sequence[str] = ()
    modules: str = ""
    files: Mapping[str, str] = field(default_factory=dict)


class Asterisk:
    """A running Asterisk: its files and its two control ways, `rx` (asterisk -rx) and `ami`.

    `full_log` is the log to give redirectd, `output` what the program itself prints; `dialplan_file` and `pjsip_file`
    are the files that #tryinclude pulls in. Callers need no account: any loopback address is the endpoint `caller`,
    which starts in the setup's context.
    """

    def __init__(self, folder: Path, address: str, setup: Setup, *, port: int | None = None) -> None:
        """Write the configuration into *folder*, which exists and has a short path (unix sockets allow 107 bytes)."""
        self.address = address
        self.port = port or free_port(address)
        self.ami_port = free_port(address, start=15038)
        self.config_file = folder / "etc" / "asterisk.conf"
        self.dialplan_file = folder / "etc" / "extensions_redirectd.conf"
        self.pjsip_file = folder / "etc" / "pjsip_redirectd.conf"
        self.full_log = folder / "log" / "full"
        self.output = folder / "asterisk.out"
        self._folder = folder
        self._switches = setup.switches
        self._environment = {"ODBCINI": str(folder / "etc" / "odbc.ini")} if "odbc.ini" in setup.files else {}
        self._child: Child | None = None
        for name in ("etc", "var", "spool", "log"):
            (folder / name).mkdir(exist_ok=True)
        self._write_configuration(setup)

    def start(self) -> None:
        """Start, and return when Asterisk is fully booted."""
        command = ["asterisk", "-f", "-C", str(self.config_file), *self._switches]
        self._child = Child(command, self.output, environment=self._environment)
        self._child.wait_until((self._folder / "asterisk.ctl").exists, "Asterisk opens its control socket")
        self._child.wait_until(lambda: "fully booted" in self.rx("core waitfullybooted"), "Asterisk is fully booted")

    def stop(self) -> None:
        """Stop Asterisk at once, calls or not."""
        if self._child:
            self._child.stop()
            self._child = None

    def rx(self, command: str) -> str:
        """Run one CLI command and return what it printed; Asterisk's exit code says nothing."""
        return run(["asterisk", "-C", str(self.config_file), "-rx", command])[1]

    def control(self, way: str = "asterisk -rx") -> str:
        """Return the lines of a target by which redirectd controls it: over `asterisk -rx`, or over `ami`."""
        if way != "ami":
            return f'reload = "asterisk -C {self.config_file} -rx"\n'
        secret = self._folder / "ami.secret"
        secret.write_text(AMI_SECRET, encoding="ascii")
        return f'reload = "ami://{AMI_USER}@{self.address}:{self.ami_port}"\npassword_file = "{secret}"\n'

    def ami(self, action: str, fields: Mapping[str, str] | None = None, *, secret: str = AMI_SECRET) -> str:
        """Log in to the manager interface, send one action and return the text of its response."""
        with socket.create_connection((self.address, self.ami_port), timeout=10) as connection:
            stream = connection.makefile("rwb")
            stream.readline()  # the greeting
            for name, values in (("Login", {"Username": AMI_USER, "Secret": secret}), (action, fields or {})):
                lines = [f"Action: {name}", f"ActionID: {name}", *(f"{key}: {value}" for key, value in values.items())]
                stream.write("".join(f"{line}\r\n" for line in [*lines, ""]).encode())
                stream.flush()
                answer = _response_to(name, stream.readline)
                if "Response: Error" in answer:
                    raise LabError(f"AMI {name}: {answer}")
        return answer

    def wait_for_log(self, text: str) -> bytes:
        """Return the full log as soon as *text* stands in it."""
        wait_until(lambda: text.encode() in self.full_log.read_bytes(), f"{text!r} in the full log")
        return self.full_log.read_bytes()

    def _write_configuration(self, setup: Setup) -> None:
        values = {
            "FOLDER": str(self._folder),
            "ADDRESS": self.address,
            "PORT": str(self.port),
            "AMIPORT": str(self.ami_port),
            "AMIUSER": AMI_USER,
            "AMISECRET": AMI_SECRET,
            "CONTEXT": setup.context,
            "REDIRECTMETHOD": setup.redirect_method,
            "LOGGERGENERAL": setup.logger_general,
            "MANAGERGENERAL": setup.manager_general,
            "PJSIP": setup.pjsip,
            "EXTENSIONS": setup.extensions,
            "MODULES": setup.modules,
        }
        for template in TEMPLATES.glob("*.conf"):
            text = template.read_text()
            for mark, value in values.items():
                text = text.replace(f"@{mark}@", value)
            (self.config_file.parent / template.name).write_text(text)
        for name, text in setup.files.items():
            (self.config_file.parent / name).write_text(text)


def _response_to(action_id: str, readline: Callable[[], bytes]) -> str:
    """Return the message that carries *action_id*, past events of others."""
    while True:
        lines: list[str] = []
        while line := readline().rstrip(b"\r\n"):
            lines.append(line.decode(errors="backslashreplace"))
        if not lines:
            raise LabError(f"AMI closed the connection before it answered {action_id}")
        if f"ActionID: {action_id}" in lines:
            return "\n".join(lines)


def installed() -> bool:
    """Tell whether this machine has Asterisk."""
    return has_programs("asterisk")
