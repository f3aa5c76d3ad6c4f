"""Random approved remaps, random Request-URIs around them, and where real servers send those (R41).

The property is that a server sends a call where `redirectd lookup` says that the server of this target does. Targets
are asked by their own printed lines.
"""

from __future__ import annotations

import re
import socket
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from redirectd.plan.effective_table import effective
from redirectd.plan.route import Approved, Route
from redirectd.plan.target import LookedUp, TargetAnswer
from redirectd.sip.uri import SipUri, UriError, parse_uri
from redirectd.targets.asterisk_astdb import AsteriskAstdb
from redirectd.targets.asterisk_dialplan import AsteriskDialplan
from redirectd.targets.kamailio_alias_db import KamailioAliasDb
from redirectd.targets.kamailio_dialplan import KamailioDialplan
from redirectd.targets.kamailio_htable import KamailioHtable
from tests.peers.lab.asterisk import AMI_SECRET, AMI_USER, Asterisk, Setup
from tests.peers.lab.kamailio import Kamailio, Script
from tests.peers.lab.loopback import own_address
from tests.peers.lab.process import LabError, wait_until

TARGETS: Mapping[str, type[LookedUp]] = {
    "kamailio-htable": KamailioHtable,
    "kamailio-dialplan": KamailioDialplan,
    "kamailio-alias_db": KamailioAliasDb,
    "asterisk-dialplan": AsteriskDialplan,
    "asterisk-astdb": AsteriskAstdb,
}
MODULES = {
    "kamailio-dialplan": 'loadmodule "dialplan.so"\nmodparam("dialplan", "db_url", "text://FOLDER/dbtext")\n'
    'modparam("dialplan", "table_name", "redirectd_dialplan")',
    "kamailio-alias_db": 'loadmodule "alias_db.so"\nmodparam("alias_db", "db_url", "text://FOLDER/dbtext")\n'
    'modparam("alias_db", "use_domain", 1)',
}
TABLES = {
    "kamailio-htable": ("redirectd_htable", ""),
    "kamailio-dialplan": ("redirectd_dialplan", "redirectd_dialplan:2\n"),
    "kamailio-alias_db": ("redirectd_aliases", "redirectd_aliases:1\n"),
}

ATTEMPTS = 20
"""Calls of one URI to an Asterisk that is overloaded."""

USERS = [
    "alice",
    "Alice",
    "bob-x",
    "bobx",
    "b-obx",
    "bob-",
    "+4930123456",
    "0049-30-123456",
    "*21%23",
    "%2321%23",
    "a+b",
    "a%2Bb",
    "a%2bb",
    "u.n_i~x",
    "a%40b",
    "100%25",
    "a%2541b",
    "aAb",
    "1234;phone-context=+49",
    "1234",
    "a$b",
    "a!b",
    "a'b",
    "a(b)c",
    "a,b",
    "a=b",
    "a&b",
    "a/b",
    "a?b",
    "a%20b",
    "a%22b",
    "a%5B1%5D",
    "_X.",
    "_.",
    "s",
    "i",
    "t",
    "T",
    "o",
    "a%3Ab",
    "%61lice",
    "ALICE",
    "3%2E5",
    "x%2Dy",
    "x-y",
    "a%7Cb",
]
HOSTS = ["h.test", "H.test", "h.test.", "other.test", "192.0.2.1", "[2001:db8::1]", "[2001:DB8:0:0:0:0:0:1]"]
PORTS = ["", ":5060", ":6003", ":6004", ":5061", ":06003"]
PARAMS = ["", ";transport=tls", ";transport=tcp", ";transport=UDP", ";TRANSPORT=tls", ";transport=%74ls", ";user=phone"]
MORE = ["", "", "", ";lr", ";x=%41", ";%78=1", ";foo=transport", ";maddr=192.0.2.7"]
_PLAIN = "abcxyzABC0123456789-_.~*+"


@dataclass
class Tally:
    """What came of the questions to one target; `differences` has the pairs where server and lookup disagree."""

    pairs: int = 0
    moved: int = 0
    misses: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)

    def count(self, uri: str, answer: TargetAnswer, given: str | None) -> None:
        """Take one pair in."""
        self.pairs += 1
        self.moved += answer.result is not None
        if answer.why and answer.why.startswith("a known miss: "):
            self.misses[re.sub(r" than .*", " than its entry's", answer.why.removeprefix("a known miss: "))] += 1
        if answer.result != given:
            self.differences.append(f"{uri}: lookup says {answer.result} ({answer.why}), the server {given}")


def remaps(rand: Random, number: int) -> Sequence[Route]:
    """Give the routes of `number` approved remaps, some of them chains and rivals."""
    approved: list[Approved] = []
    while len(approved) < number:
        old = _parsed(_uri(rand))
        new = _parsed(f"sip:n{len(approved)}@new.test:{7000 + len(approved)}")
        if old is not None and new is not None:
            approved.append(Approved(len(approved) + 1, "user", old, new))
    return effective(approved).routes


def questions(rand: Random, routes: Sequence[Route], number: int) -> list[str]:
    """Give Request-URIs, most of them close to an old URI: other ports, schemes, case, escapes, dashes, parameters."""
    found: list[str] = []
    while len(found) < number:
        text = str(rand.choice(routes).old) if rand.random() < 0.85 else _uri(rand)
        for _ in range(rand.choice([0, 0, 1, 1, 1, 2, 3])):
            text = rand.choice(CHANGES)(rand, text)
        # A server may not take a request that is too large for its own parser; what SIP does not allow is not asked.
        if (uri := _parsed(text)) is not None and uri.headers is None and not re.search("%00", text):
            found.append(text)
    return found


def _uri(rand: Random) -> str:
    user = (
        rand.choice(USERS) if rand.random() < 0.8 else "".join(rand.choices(_PLAIN, k=rand.choice([1, 3, 12, 78, 81])))
    )
    scheme = "sips" if rand.random() < 0.1 else "sip"
    return f"{scheme}:{user}@{rand.choice(HOSTS)}{rand.choice(PORTS)}{rand.choice(PARAMS)}"


def _parsed(text: str) -> SipUri | None:
    try:
        uri = parse_uri(text)
    except UriError:
        return None
    return uri if isinstance(uri, SipUri) and uri.user is not None else None


def _other_scheme(rand: Random, text: str) -> str:
    return f"{rand.choice(['sip', 'sips', 'SIP', 'SiPs'])}:{text.partition(':')[2]}"


def _other_host(rand: Random, text: str) -> str:
    return f"{text.partition('@')[0]}@{rand.choice(HOSTS)}{rand.choice(PORTS)}{rand.choice(PARAMS)}"


def _other_end(rand: Random, text: str) -> str:
    uri = _parsed(text)
    if uri is None:
        return text
    return f"{uri.scheme}:{uri.user}@{uri.host}{rand.choice(PORTS)}{rand.choice(PARAMS)}{rand.choice(MORE)}"


def _escaped(rand: Random, text: str) -> str:
    return _in_user(text, lambda user, at: f"{user[:at]}%{ord(user[at]):02{rand.choice('xX')}}{user[at + 1 :]}", rand)


def _other_case(rand: Random, text: str) -> str:
    return _in_user(text, lambda user, _: user.swapcase(), rand)


def _dashed(rand: Random, text: str) -> str:
    return _in_user(text, lambda user, at: f"{user[:at]}-{user[at:]}", rand)


def _undashed(rand: Random, text: str) -> str:
    return _in_user(text, lambda user, _: user.replace("-", ""), rand)


def _more(rand: Random, text: str) -> str:
    return text + rand.choice(MORE)


def _password(rand: Random, text: str) -> str:
    return text.replace("@", ":secret@", 1)


def _in_user(text: str, change: object, rand: Random) -> str:
    scheme, _, rest = text.partition(":")
    user, at, end = rest.partition("@")
    if not user or not at:
        return text
    changed = change(user, rand.randrange(len(user)))  # type: ignore[operator] # one of the functions above
    return f"{scheme}:{changed}@{end}"


CHANGES = [
    _other_scheme,
    _other_host,
    _other_end,
    _other_end,
    _escaped,
    _escaped,
    _other_case,
    _dashed,
    _undashed,
    _more,
]
CHANGES += [_password]


def ask(kind: str, folder: Path, routes: Sequence[Route], uris: Sequence[str]) -> Sequence[str | None]:
    """Start the server of a target with the routes written, and give where it sends each of the URIs; None: nowhere."""
    target = TARGETS[kind]()
    rendered = target.render(routes, None)
    if isinstance(target, (AsteriskDialplan, AsteriskAstdb)):
        return _ask_asterisk(folder, target, rendered.entries, rendered.content, uris)
    return _ask_kamailio(kind, folder, target, rendered.content, uris)


def _ask_kamailio(
    kind: str, folder: Path, target: LookedUp, content: bytes, uris: Sequence[str]
) -> Sequence[str | None]:
    call = target.lines().call.replace("$du = $null;", '$du = $null; append_to_reply("X-Moved: $ru\\r\\n");')
    script = Script(incoming=f'{call}    sl_send_reply("200", "Told"); exit;\n')
    proxy = Kamailio(folder, own_address(), script, modules=MODULES.get(kind, "").replace("FOLDER", str(folder)))
    table, version = TABLES[kind]
    versions = proxy.htable_file.with_name("version")
    versions.write_text(versions.read_text() + version)
    proxy.htable_file.with_name(table).write_bytes(content)
    proxy.start()
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as caller:
            caller.bind((proxy.address, 0))
            caller.settimeout(30)
            return [_moved(proxy, caller, uri, number) for number, uri in enumerate(uris, 1)]
    finally:
        proxy.stop()


def _moved(proxy: Kamailio, caller: socket.socket, uri: str, number: int) -> str | None:
    own = f"{caller.getsockname()[0]}:{caller.getsockname()[1]}"
    head = (
        f"OPTIONS {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK{number}\r\nMax-Forwards: 9\r\n"
        f"From: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: {number}@t\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    )
    caller.sendto(head.encode("ascii"), (proxy.address, proxy.port))
    answer = caller.recv(65536).decode("latin-1")
    assert f"Call-ID: {number}@t" in answer
    found = [line.partition(": ")[2] for line in answer.split("\r\n") if line.startswith("X-Moved")]
    return found[0] if found else None


ASKS = """
[asked]
exten => h,1,Hangup()
exten => _.,1,NoOp()
{call} same => n,Log(NOTICE,ASKED ${{CHANNEL(pjsip,call-id)}} <>)
 same => n,Hangup()
 same => n(moved),Log(NOTICE,ASKED ${{CHANNEL(pjsip,call-id)}} <${{GOSUB_RETVAL}}>)
 same => n,Hangup()

{beside}"""


def _ask_asterisk(
    folder: Path,
    target: AsteriskDialplan | AsteriskAstdb,
    entries: Mapping[str, str],
    content: bytes,
    uris: Sequence[str],
) -> Sequence[str | None]:
    lines = target.lines()
    server = Asterisk(folder, own_address(), Setup(ASKS.format(call=lines.call, beside=lines.beside), context="asked"))
    if isinstance(target, AsteriskDialplan):
        server.dialplan_file.write_bytes(content)
    server.start()
    try:
        if isinstance(target, AsteriskAstdb):
            _fill(server, target, entries)
        given: dict[int, str | None] = {}
        for attempt in range(
            3
        ):  # what has no line was refused by Asterisk, or the line was lost: its logger may do that
            left = {number: uri for number, uri in enumerate(uris) if number not in given}
            given |= _asked_of(server, left, attempt)
    finally:
        server.stop()
    return [given.get(number) for number in range(len(uris))]


def _asked_of(server: Asterisk, uris: Mapping[int, str], attempt: int) -> dict[int, str | None]:
    """Give where Asterisk sends each of the URIs, by its log."""
    last = f"asked-last-{attempt}"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as caller:
        caller.bind((own_address(), 0))
        for number, uri in uris.items():
            _call(caller, (server.address, server.port), uri, f"asked-{number}-{attempt}")
        _call(caller, (server.address, server.port), "sip:the-last-one@h.test", last)
    wait_until(lambda: f"ASKED {last}-" in server.full_log.read_text(errors="replace"), "all calls are logged")
    log = server.full_log.read_text(errors="replace")
    return {int(call): value or None for call, value in re.findall(r"ASKED asked-(\d+)[-\d]* <(.*)>", log)}


def _fill(server: Asterisk, target: AsteriskAstdb, entries: Mapping[str, str]) -> None:
    from redirectd.apply.control import open_channel
    from redirectd.apply.control.channel import Pipelined

    channel = open_channel(f"ami://{AMI_USER}@{server.address}:{server.ami_port}", timeout=20, password=AMI_SECRET)
    assert isinstance(channel, Pipelined)
    channel.act(target.replace(entries, channel.ask(target.listing())))


def _call(caller: socket.socket, server: tuple[str, int], uri: str, call_id: str) -> None:
    """Call, again where Asterisk has too much to do and answers 503 before it looks anything up."""
    for attempt in range(ATTEMPTS):
        if _called(caller, server, uri, f"{call_id}-{attempt}") != 503:
            return
        time.sleep(0.5)
    raise LabError(f"Asterisk answers 503 to {uri}")


def _called(caller: socket.socket, server: tuple[str, int], uri: str, call_id: str) -> int:
    """Call once, wait for the final answer, acknowledge it, and give its status."""
    own = f"{caller.getsockname()[0]}:{caller.getsockname()[1]}"
    scheme = "sips" if uri.lower().startswith("sips") else "sip"
    top = f"{{}} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK{call_id}\r\nMax-Forwards: 9\r\n"
    top += f"From: <sip:a@b>;tag=1\r\nCall-ID: {call_id}\r\nCSeq: 1 {{}}\r\nContent-Length: 0\r\n"
    caller.settimeout(30)
    caller.sendto(
        f"{top.format('INVITE', 'INVITE')}Contact: <{scheme}:a@{own}>\r\nTo: <sip:a@b>\r\n\r\n".encode(), server
    )
    while True:
        answer = caller.recv(65536).decode("latin-1")
        if f"Call-ID: {call_id}\r" in answer and int(answer.split(" ")[1]) >= 200:
            break
    to = re.search(r"(?mi)^To: .*$", answer)
    assert to
    caller.sendto(f"{top.format('ACK', 'ACK')}{to[0].strip()}\r\n\r\n".encode(), server)
    return int(answer.split(" ")[1])


def tally(kind: str, folder: Path, seed: int, pairs: int) -> Tally:
    """Ask one target about `pairs` URIs around a third as many remaps, and compare with what lookup says."""
    rand = Random(f"{kind} {seed}")
    routes = remaps(rand, max(10, pairs // 3))
    uris = questions(rand, routes, pairs)
    answers = TARGETS[kind]().answers(routes, None, None, uris)
    found = Tally()
    for uri, answer, given in zip(uris, answers, ask(kind, folder, routes, uris), strict=True):
        found.count(uri, answer, given)
    return found
