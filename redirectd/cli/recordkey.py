"""Making the secret that Kamailio proves its records with (R39), in its two copies; it is never shown."""

from __future__ import annotations

import grp
import os
import re
import secrets
from pathlib import Path

from redirectd.config.secrets import DEFAULT, read_key

KAMAILIO_COPY = Path("/etc/kamailio/redirectd-key.cfg")

_MODE = 0o640
_IN_CFG = re.compile(rb'\$var\(rd_mac\) = "([0-9a-f]{64})";')
_CFG = """#!define REDIRECTD_KEYED
# Written by redirectd; mode 0640, root:kamailio. $var(rd_rec) is the record, $var(rd_mac) its proof.
route[REDIRECTD_PROOF] {{
  $var(rd_mac) = "{key}";
  $var(rd_mac) = $_s($var(rd_mac)$var(rd_rec));
  $var(rd_mac) = $(var(rd_mac){{s.sha512}}{{s.substr,0,40}});
}}
"""


def key_in_cfg(file: Path) -> bytes | None:
    """The key in Kamailio's copy; None where it can't be read or holds none."""
    try:
        found = _IN_CFG.search(file.read_bytes())
    except OSError:
        return None
    return found[1] if found else None


def make_copies(own: Path = DEFAULT, kamailio: Path = KAMAILIO_COPY) -> list[str]:
    """Makes what is missing of both copies, overwrites nothing, and gives a line for each thing done or left.

    Needs root. Raises OSError for a folder that can't be written.
    """
    if not kamailio.parent.is_dir():
        return []
    key = read_key(own) or key_in_cfg(kamailio)
    if key is None:
        if os.path.lexists(own) or os.path.lexists(kamailio):
            return [f"{own} or {kamailio} is there and holds no key of 64 hex digits: it was left as it is"]
        key = secrets.token_hex(32).encode()
    done = [
        _create(file, text, group)
        for file, text, group in (
            (own, key + b"\n", "redirectd"),
            (kamailio, _CFG.format(key=key.decode()).encode(), "kamailio"),
        )
        if not os.path.lexists(file)
    ]
    if read_key(own) != key_in_cfg(kamailio):
        done.append(f"{own} and {kamailio} hold different keys: both were left as they are")
    return done


def _create(file: Path, text: bytes, group: str) -> str:
    """Creates the file, readable for root and the group alone; for root alone where the group does not exist."""
    try:
        gid = grp.getgrnam(group).gr_gid
    except KeyError:
        gid = None
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as out:
        out.write(text)
        if gid is not None:
            os.fchown(out.fileno(), 0, gid)
            os.fchmod(out.fileno(), _MODE)
    if gid is None:
        return (
            f"wrote {file} for root alone: there is no group {group}; then: chgrp {group} {file} && chmod 0640 {file}"
        )
    return f"wrote {file} (root:{group}, 0640)"
