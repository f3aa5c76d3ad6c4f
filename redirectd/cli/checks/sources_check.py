"""The sources: readable, and holding what redirectd needs; settings of policy and service that surprise."""

from __future__ import annotations

import errno
import os
import shutil
import socket
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network, collapse_addresses
from pathlib import Path

from redirectd.cli.checks.as_user import SERVICE, Finding, Level, denied_to_service, fault, good
from redirectd.cli.checks.database_check import from_database
from redirectd.config.model import Config
from redirectd.config.sections import SourceSection
from redirectd.dialects import registry
from redirectd.dialects.family import FAMILIES, SAMPLE
from redirectd.errors import RedirectdError
from redirectd.service.collector import family_in
from redirectd.service.control import ask
from redirectd.sources.file import open_fd, open_log
from redirectd.store import settings
from redirectd.store.database import Database


def everybody(networks: Iterable[IPv4Network | IPv6Network]) -> list[IPv4Network | IPv6Network]:
    """The networks of all addresses, of either version, that these come to together (two halves, too)."""
    given = list(networks)
    merged: list[IPv4Network | IPv6Network] = [
        *collapse_addresses(one for one in given if isinstance(one, IPv4Network)),
        *collapse_addresses(one for one in given if isinstance(one, IPv6Network)),
    ]
    return [one for one in merged if one.prefixlen == 0]


def check_policy(config: Config) -> Iterator[Finding]:
    """Looks for what makes redirectd useless or too trusting."""
    policy = config.policy
    if not policy.trusted_peers:
        yield Finding(
            "policy.trusted_peers",
            Level.WARNING,
            "nobody is trusted: every remap will be held as untrusted",
            'name the networks of your carriers and gateways, such as trusted_peers = ["192.0.2.0/24"]',
        )
    auto = policy.auto_approve
    trusting = {"policy.trusted_peers": policy.trusted_peers, "policy.auto_approve.peers": auto.peers if auto else []}
    for where, networks in trusting.items():
        for network in everybody(networks):
            yield Finding(
                where,
                Level.WARNING,
                f"{network} trusts the whole internet, and a 301 is easily forged",
                "name the networks of your carriers and gateways alone",
            )
    if policy.approvals_for is not None and policy.approvals == 1:
        yield Finding(
            "policy.approvals_for", Level.WARNING, "it has no effect while approvals is 1", "set approvals = 2"
        )
    if auto and policy.approvals > 1:
        few = policy.approvals_for is not None
        yield Finding(
            "policy.auto_approve",
            Level.WARNING,
            f"it approves no remap that needs {policy.approvals} people" if few else "it never approves anything",
            "narrow [policy.approvals_for]" if few else "leave it out, or restrict approvals by [policy.approvals_for]",
        )
    if not policy.own_domains and not policy.gateways:
        yield Finding(
            "policy.own_domains",
            Level.WARNING,
            "it is not set: old URIs of any domain are remapped",
            "name your domains in own_domains and the hosts you send calls to in gateways",
        )
    if config.schedule.apply == "":
        yield good("schedule.apply", "applies only by hand: redirectd apply")


TAIL = 4 << 20
"""Bytes at a log's end in which something of SIP is looked for."""

_JOURNALS = ("/var/log/journal", "/run/log/journal")

_SIP = (b"SIP/2.0", b"REDIRECTD v=", b"reply 301")
_NOT_ENOUGH = (b"Now forwarding ", b"Got SIP response 301", b"res_pjsip")


def check_sources(config: Config) -> Iterator[Finding]:
    """Looks at each source."""
    if not config.source:
        yield Finding(
            "[[source]]", Level.WARNING, "no source is configured", "add one, or read logs with 'ingest FILE'"
        )
    pinned = _pinned(config)
    for source in config.source:
        where = f"source {source.name}"
        if source.dialect != "auto":
            try:
                registry.chosen(source.dialect)
            except RedirectdError as error:
                yield Finding(f"{where}, dialect", Level.FAULT, error.why, error.what_to_do)
        if source.kind == "file" and source.path is not None:
            yield from _check_file(where, config.resolve(source.path))
            yield from _check_family(where, config.resolve(source.path), source.dialect, pinned.get(source.name, ""))
        elif source.kind == "journal":
            yield _check_journal(where)
        elif source.listen is not None:
            yield _check_listen(where, source.listen, config.resolve(config.daemon.socket))
            for network in everybody(source.allowed_senders):
                yield Finding(
                    f"{where}, allowed_senders",
                    Level.WARNING,
                    f"{network} lets the whole internet send, and whoever sends HEP can forge a 301 of any peer",
                    "name the addresses of your capture agents alone",
                )
        yield from _check_clock(where, source)


def _check_file(where: str, path: Path) -> Iterator[Finding]:
    try:
        fd = open_fd(str(path))
    except RedirectdError as error:
        absent = "let the server write it ('redirectd snippet ...'), or name the file that it writes"
        for one in fault(error):
            what_to_do = absent if os.strerror(errno.ENOENT) in one.why else one.what_to_do
            yield Finding(f"{where}, {one.where}", one.level, one.why, what_to_do)
        return
    try:
        size = os.fstat(fd).st_size
        tail = os.pread(fd, TAIL, max(0, size - TAIL))
    finally:
        os.close(fd)
    place = f"{where}, {path}"
    if denied_to_service(str(path), os.R_OK):
        why = f"root reads it, and the service's user {SERVICE} may not"
        way = "install the drop-in of its server, which adds the group ('redirectd init --systemd' prints how)"
        yield Finding(place, Level.WARNING, why, f"{way}; then: redirectd check --as {SERVICE}")
    if not tail:
        yield Finding(
            place, Level.WARNING, "the log is empty", "see that the server logs to it ('redirectd snippet ...')"
        )
    elif any(mark in tail for mark in _SIP):
        yield good(place, f"readable, {size:,} bytes, with SIP in its last part")
        yield from _check_proof(place, tail)
    elif any(mark in tail for mark in _NOT_ENOUGH):
        yield Finding(
            place,
            Level.WARNING,
            "it shows that calls were forwarded, not by which code nor to which URI",
            "switch the pjsip logger on: see 'redirectd snippet asterisk'",
        )
    else:
        yield Finding(
            place,
            Level.WARNING,
            "there is no SIP message in its last part",
            "let the server log them: see 'redirectd snippet kamailio' and 'redirectd snippet asterisk'",
        )


def _check_family(where: str, path: Path, dialect: str, pinned: str) -> Iterator[Finding]:
    """R38: what the file is read as, by whose decision, and whether it begins as that."""
    try:
        with open_log(path) as log:
            seen = registry.envelope_of(log.read(log.start, SAMPLE))
    except RedirectdError:
        return  # it is said already
    place, read_as = f"{where}, dialect", (pinned if dialect == "auto" else dialect) or seen
    if seen in FAMILIES and not _reads(read_as, seen):
        by = "decided when it was read first" if dialect == "auto" else "configured"
        why = f"the log is read as {read_as} ({by}), and begins with entries of {seen}, which are not read"
        yield Finding(place, Level.WARNING, why, f'if that program writes it now: dialect = "{seen}"')
    elif read_as:
        by = "configured" if dialect != "auto" else "decided" if pinned else "as it begins now"
        yield good(place, f"read as {read_as} ({by})")
    elif log.losses == []:
        why = "auto: its first entries show no format, so all are tried"
        yield Finding(place, Level.OK, why, "'redirectd explain' shows what is found; dialect = \"...\" decides")


def _reads(read_as: str, seen: str) -> bool:
    """Whether entries of the family `seen` are read by a source that is pinned to `read_as`."""
    if read_as in FAMILIES:
        return read_as == seen
    return read_as in registry.ENVELOPES or read_as in FAMILIES[seen]


def _pinned(config: Config) -> dict[str, str]:
    """The stored decisions by source."""

    def ask(database: Database) -> dict[str, str]:
        with database.read() as connection:
            stored = {one.name: settings.load_position(connection, config.node, one.name) for one in config.source}
        return {name: family_in(value) for name, value in stored.items()}

    return from_database(config, ask, {})


def _check_proof(place: str, tail: bytes) -> Iterator[Finding]:
    """R39: whether Kamailio's newest record carries a proof; text in a caller's Call-ID gives a false hint at worst."""
    newest = tail.rfind(b"REDIRECTD v=")
    if tail.startswith(b"REDIRECTD v=1 ", newest):
        why = "Kamailio writes records without a proof (v=1): what is known only from them is held as unkeyed"
        fix = "replace what was pasted into kamailio.cfg by what 'redirectd snippet kamailio' prints, then restart it"
        yield Finding(f"{place}, records", Level.WARNING, why, fix)
    elif newest >= 0 and b" mac=none " in tail[newest : newest + 16_384].partition(b"\n")[0]:
        why = "Kamailio has no key for its records (mac=none): what is known only from them is held as unkeyed"
        fix = "as root: redirectd init; see that kamailio.cfg has the import_file line of 'redirectd snippet kamailio'"
        yield Finding(f"{place}, records", Level.WARNING, why, fix)


def _check_listen(where: str, listen: str, status_socket: Path) -> Finding:
    """Whether the address could be listened on now, or is by the service itself; it is let go of at once."""
    address, _, port = listen.rpartition(":")
    host = address.strip("[]")
    running = ask(status_socket, seconds=2.0) is not None
    try:
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind) as trial:
                if kind is socket.SOCK_STREAM:
                    trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the listener does
                trial.bind((host, int(port)))
    except OSError as error:
        if error.errno == errno.EADDRINUSE and running:
            return good(where, f"{listen} is in use, UDP and TCP, and 'redirectd run' is running")
        fix = "see which program has it with 'ss -lunpt', or name another port, in the capture agents too"
        if error.errno != errno.EADDRINUSE:
            fix = "name an address of this host and a port that this user may listen on"
        return Finding(f"{where}, listen", Level.FAULT, f"{listen} can't be listened on: {error.strerror}", fix)
    return good(where, f"{listen} is free, UDP and TCP, for 'redirectd run'")


def _check_journal(where: str) -> Finding:
    if shutil.which("journalctl") is None:
        return Finding(
            where, Level.FAULT, "there is no journalctl on this host", "install systemd, or read the file syslog writes"
        )
    # The folder of each machine's journal may be closed to this user as well as the files in it.
    folders = [folder for root in _JOURNALS for folder in Path(root).glob("*")]
    if not folders:
        return Finding(
            where,
            Level.WARNING,
            f"there is no journal of the system in {' or '.join(_JOURNALS)}",
            "see that systemd-journald runs: systemctl status systemd-journald",
        )
    if not any(os.access(file, os.R_OK) for folder in folders for file in folder.glob("system*.journal")):
        return Finding(
            where,
            Level.FAULT,
            f"this user may not read the system's journal in {folders[0]}",
            "add the user that runs redirectd to the group systemd-journal, or run this as that user",
        )
    return good(where, "the journal is there and readable")


def _check_clock(where: str, source: SourceSection) -> Iterator[Finding]:
    """A missing zone matters where a log has neither year nor zone (R37); only worth saying on such a host."""
    if source.kind == "file" and not source.timezone and os.environ.get("TZ"):
        yield Finding(
            f"{where}, timezone",
            Level.WARNING,
            f"it is not set, and this process has TZ={os.environ['TZ']}, which the service may not have",
            'name the zone of the log, such as timezone = "Europe/Berlin"',
        )
