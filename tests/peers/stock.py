"""The configuration files as Debian's packages bring them, and what an operator does with a printed snippet."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

ASTERISK_ROOT = Path(os.environ.get("ASTERISK_ROOT", "/"))
"""The root of the Debian whose Asterisk runs: another one's with `make asterisk22`."""

KAMAILIO_CFG = Path("/etc/kamailio/kamailio.cfg")
ASTERISK_FOLDER = Path("/etc/asterisk")
KAMAILIO_TARGET = """
[[source]]
name = "kamailio"
path = "{folder}/kamailio.stderr"
record_keys = ["{folder}/record.key"]
[[target]]
name = "users"
kind = "kamailio-htable"
path = "{folder}/tables/redirectd_htable"
reload = "jsonrpc:unix:{folder}/run/kamailio_rpc.sock"
"""
# Phones on loopback, and a carrier whose 301 Asterisk follows.
PHONES = """
[transport]
type=transport
protocol=udp
bind={address}:{port}
[phone]
type=endpoint
context=from-phones
disallow=all
allow=ulaw
[phone]
type=identify
endpoint=phone
match=127.0.0.0/8
[carrier]
type=endpoint
context=nowhere
disallow=all
allow=ulaw
aors=carrier
redirect_method=uri_core
[carrier]
type=aor
contact=sip:{gateway}
"""


def pristine(package: str, file: Path) -> bytes:
    """The file as the package brings it, as its checksum proves; a skip (under CI a failure) where there is none."""
    root = ASTERISK_ROOT if package.startswith("asterisk") else Path("/")
    listed = subprocess.run(
        ["dpkg-query", f"--admindir={root}/var/lib/dpkg", "-W", "-f=${Conffiles}\n", package],
        capture_output=True, text=True, check=False,
    ).stdout  # fmt: skip
    sums = dict(line.split()[:2] for line in listed.splitlines() if line.strip())
    try:
        content = (root / file.relative_to("/")).read_bytes()
    except OSError:
        content = b""
    if hashlib.md5(content, usedforsecurity=False).hexdigest() == sums.get(str(file)):
        return content
    reason = f"{file} of the package {package} is not here as it came"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def paste(parts: Sequence[Mapping[str, Any]]) -> None:
    """Does in each file what `snippet --json` says, from the last line to the first, as a person would."""
    for part in parts:
        file = Path(part["file"])
        lines = file.read_text().split("\n")
        text = part["text"].rstrip("\n").split("\n")
        line = part["line"]
        match part["position"]:
            case "end":
                lines += text
            case "before":
                lines[line - 1 : line - 1] = text
            case "after":
                lines[line:line] = text
            case "replace":
                lines[line - 1 : part["to_line"]] = text
            case other:
                raise AssertionError(f"a person has to look: {other}, {part}")
        file.write_text("\n".join(lines) + "\n")
