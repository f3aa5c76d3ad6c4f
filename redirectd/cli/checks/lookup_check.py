"""Whether the lines pasted into a server look up what its target writes, and only that (R41)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from redirectd.apply.control import Channel
from redirectd.apply.servers import judged
from redirectd.cli.checks.finding import Finding, Level, good
from redirectd.errors import RedirectdError
from redirectd.plan.target import Answering, LookedUp
from redirectd.plan.target_spec import TargetSpec
from redirectd.sip.text import printable
from redirectd.targets.target_kinds import accepted_options

CONFIGURATIONS = {
    "kamailio": ("/etc/kamailio", "/usr/local/etc/kamailio", ".cfg"),
    "asterisk": ("/etc/asterisk", ".conf"),
}
"""Where a server's configuration is, and how its files' names end."""

_MOST_FILES = 500
_MOST_BYTES = 2 * 1024 * 1024


def check_width(spec: TargetSpec) -> Iterator[Finding]:
    """A target that moves more than route keys and does not say so in its configuration takes nothing new."""
    target = spec.target
    if isinstance(target, Answering) and target.WIDTH and not target.width:
        yield Finding(
            f"target {spec.name}, width",
            Level.WARNING,
            "it is missing, so that nothing new goes into this target: its server can't match on a whole URI",
            f'add width = "{target.WIDTH}" to it, see docs/targets.md for what an entry then moves',
        )


def check_lines(channel: Channel, spec: TargetSpec) -> Iterator[Finding]:
    """Asks the running server whether it has the lookup that goes with the target."""
    lines = spec.target.lines() if isinstance(spec.target, LookedUp) else None
    if lines is None or lines.asks is None:
        return
    where = f"target {spec.name}, lookup"
    try:
        doubt = judged(channel, lines.asks)
    except RedirectdError:
        return  # the server can't be asked, which its own check says
    if doubt is None:
        yield good(where, "the server has the lookup of this version")
    else:
        yield Finding(where, Level.WARNING, f"{doubt}: moves approved since the upgrade are not found", _change(spec))


def check_configuration(spec: TargetSpec, folders: Sequence[str] = ()) -> Iterator[Finding]:
    """Seeks lines of an earlier version in the server's configuration, where it is on this host and can be read."""
    if not isinstance(spec.target, LookedUp):
        return
    *usual, ending = CONFIGURATIONS[spec.kind.partition("-")[0]]
    old = spec.target.lines().old
    for file in _files(folders or usual, ending):
        try:
            text = file.read_bytes()[:_MOST_BYTES].decode("utf-8", "replace")
        except OSError:
            continue
        if found := old.search(text):
            number = text.count("\n", 0, found.start()) + 1
            line = printable(found[0].strip(), 120)
            yield Finding(
                f"target {spec.name}, {file}, line {number}", Level.WARNING, f"an old lookup: {line}", _change(spec)
            )


def _files(folders: Sequence[str], ending: str) -> list[Path]:
    found: list[Path] = []
    for folder in folders:
        try:
            found += sorted(file for file in Path(folder).rglob(f"*{ending}") if file.is_file())[:_MOST_FILES]
        except OSError:
            continue
    return found


def _change(spec: TargetSpec) -> str:
    server = spec.kind.partition("-")[0]
    ends = ", then set legacy_keys = false" if "legacy_keys" in accepted_options(spec.kind) else ""
    return f"put the lookup of 'redirectd snippet {server}' in place of the old lines and reload or restart{ends}"
