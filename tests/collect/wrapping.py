"""Console text as container runtimes and the journal write it, line by line, each in its own form."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

BEGIN = datetime(2026, 11, 22, 16, 26, 3, tzinfo=UTC)
PART = 4_000
"""Bytes after which a line is divided; Docker and containerd do that at 16 KiB."""


def _stamp(number: int) -> str:
    return (BEGIN + timedelta(milliseconds=number)).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")


def _parts(line: bytes) -> list[bytes]:
    return [line[at : at + PART] for at in range(0, len(line), PART)] or [b""]


def _text(part: bytes) -> str:
    return part.decode("utf-8", "replace")


def docker(text: bytes, name: str = "stdout") -> list[bytes]:
    """json-file; Go writes `<`, `>` and `&` as escapes."""
    out = []
    for number, line in enumerate(text.removesuffix(b"\n").split(b"\n")):
        parts = _parts(line)
        for at, part in enumerate(parts):
            log = _text(part) + ("\n" if at == len(parts) - 1 else "")
            entry = json.dumps({"log": log, "stream": name, "time": _stamp(number)}, separators=(",", ":"))
            out.append(entry.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026").encode() + b"\n")
    return out


def cri(text: bytes, name: str = "stdout") -> list[bytes]:
    """CRI: a line's last CR is dropped, parts have P."""
    out = []
    for number, line in enumerate(text.removesuffix(b"\n").split(b"\n")):
        parts = _parts(line.removesuffix(b"\r"))
        for at, part in enumerate(parts):
            tag = b"F" if at == len(parts) - 1 else b"P"
            out.append(b"%s %s %s %s\n" % (_stamp(number).encode(), name.encode(), tag, part))
    return out


def compose(text: bytes, name: str = "asterisk-1") -> list[bytes]:
    """`docker compose logs`."""
    return [b"%-12s | %s\n" % (name.encode(), line) for line in text.removesuffix(b"\n").split(b"\n")]


def compose_dated(text: bytes, name: str = "asterisk-1") -> list[bytes]:
    """`docker compose logs -t`, as on a terminal in colour."""
    lines = enumerate(text.removesuffix(b"\n").split(b"\n"))
    head = b"\x1b[36m%-12s | \x1b[0m" % name.encode()
    return [head + b"%s %s\n" % (_stamp(number).encode(), line) for number, line in lines]


def docker_logs(text: bytes, _name: str = "") -> list[bytes]:
    """`docker logs -t`."""
    lines = enumerate(text.removesuffix(b"\n").split(b"\n"))
    return [b"%s %s\n" % (_stamp(number).encode(), line) for number, line in lines]


def journal(text: bytes, name: str = "asterisk") -> list[bytes]:
    """`journalctl -o json -a` of a unit's console: an entry a line, byte values where one holds CR or ESC."""
    out = []
    for number, line in enumerate(text.removesuffix(b"\n").split(b"\n")):
        plain = all(byte >= 32 for byte in line)
        entry = {
            "__CURSOR": f"s=1;i={number:x}",
            "__REALTIME_TIMESTAMP": str(int((BEGIN + timedelta(milliseconds=number)).timestamp() * 1e6)),
            "_TRANSPORT": "stdout",
            "_SYSTEMD_UNIT": f"{name}.service",
            "SYSLOG_IDENTIFIER": name,
            "_PID": "77",
            "MESSAGE": _text(line) if plain else list(line),
        }
        out.append(json.dumps(entry).encode() + b"\n")
    return out


def _journalctl(stamp: Callable[[datetime], str]) -> Callable[[bytes, str], list[bytes]]:
    def write(text: bytes, name: str = "asterisk") -> list[bytes]:
        out = []
        for number, line in enumerate(text.removesuffix(b"\n").split(b"\n")):
            head = f"{stamp(BEGIN + timedelta(milliseconds=number))} vm {name}[77]: "
            out.append(head.encode() + line + b"\n")
        return out

    return write


short = _journalctl(lambda when: when.strftime("%b %e %H:%M:%S"))
short_precise = _journalctl(lambda when: when.strftime("%b %e %H:%M:%S.%f"))
short_iso = _journalctl(lambda when: when.strftime("%Y-%m-%dT%H:%M:%S+0000"))

WRITERS: dict[str, Callable[[bytes, str], list[bytes]]] = {
    "docker json-file": docker,
    "CRI": cri,
    "docker compose logs": compose,
    "docker compose logs -t": compose_dated,
    "docker logs -t": docker_logs,
    "journal": journal,
    "journalctl -o short": short,
    "journalctl -o short-precise": short_precise,
    "journalctl -o short-iso": short_iso,
}
SEVERAL = {"docker json-file", "CRI", "docker compose logs", "docker compose logs -t", "journal"} | {
    "journalctl -o short",
    "journalctl -o short-precise",
    "journalctl -o short-iso",
}
"""Those that tell several consoles apart."""


def interleaved(name: str, texts: dict[str, bytes]) -> bytes:
    """Several consoles in one log, line by line in turn."""
    logs = [WRITERS[name](text, console) for console, text in texts.items()]
    out = []
    for number in range(max(map(len, logs))):
        out += [log[number] for log in logs if number < len(log)]
    return b"".join(out)
