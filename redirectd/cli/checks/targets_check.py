"""The targets: folders, base files, what is in place now, and the servers behind them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from redirectd.apply.control import open_channel
from redirectd.cli.checks.finding import Finding, Level, fault, good
from redirectd.cli.checks.readable import check_readable
from redirectd.cli.checks.serving_check import check_serving
from redirectd.config.model import Config
from redirectd.config.specs import passwords, target_specs
from redirectd.errors import RedirectdError
from redirectd.plan.planning import understood
from redirectd.plan.target_spec import NO_RELOAD, TargetSpec


def check_targets(config: Config) -> Iterator[Finding]:
    """Looks at each target, and once at each server."""
    if not config.target:
        yield Finding("[[target]]", Level.WARNING, "no target is configured: nothing will be routed", "add one")
    try:
        specs, secrets = target_specs(config), passwords(config)
    except RedirectdError as error:
        yield from fault(error)
        return
    for spec in specs:
        yield from _check_files(spec)
    for control in dict.fromkeys(spec.control for spec in specs if spec.control != NO_RELOAD):
        yield from _check_server(control, [spec for spec in specs if spec.control == control], secrets)


def _check_files(spec: TargetSpec) -> Iterator[Finding]:
    where = f"target {spec.name}, {spec.path}"
    path = Path(spec.path)
    folder = path.parent
    if not os.path.isdir(folder):  # noqa: PTH112 - false, too, where one may not look
        yield Finding(
            where,
            Level.FAULT,
            f"its folder {folder} is not there, or this user can't see it",
            f"create it: mkdir -p {folder}",
        )
    elif not os.access(folder, os.W_OK | os.X_OK):
        # The file is put into place by a rename, so the folder itself must be writable.
        yield Finding(
            where,
            Level.FAULT,
            f"this user may not write to the folder {folder}",
            "give the user that runs redirectd the right, or run this as that user",
        )
    else:
        yield from _check_content(where, path, spec)
        yield from check_readable(where, path, spec)
    if spec.base is not None:
        yield _check_base(f"target {spec.name}, base {spec.base}", Path(spec.base))


def _check_content(where: str, path: Path, spec: TargetSpec) -> Iterator[Finding]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        yield good(where, "not there yet; the folder is writable")
        return
    except OSError as error:
        yield Finding(where, Level.FAULT, f"it can't be read: {error.strerror}", "give this user the right to read it")
        return
    entries, why = understood(spec.target, content)
    if why is None:
        yield good(where, f"{len(entries)} entries in place")
    else:
        yield Finding(
            where,
            Level.WARNING,
            f"it is not what redirectd writes: {why}",
            "look at it; 'redirectd plan' shows what would become of it, and apply won't overwrite it without --force",
        )


def _check_base(where: str, path: Path) -> Finding:
    try:
        size = len(path.read_bytes())
    except OSError as error:
        return Finding(where, Level.FAULT, f"it can't be read: {error.strerror}", "name your own list, readable by us")
    return good(where, f"readable, {size:,} bytes")


def _check_server(control: str, specs: Sequence[TargetSpec], secrets: Mapping[str, str]) -> Iterator[Finding]:
    names = ", ".join(spec.name for spec in specs)
    try:
        with closing(open_channel(control, timeout=5.0, password=secrets.get(control))) as channel:
            yield good(f"reload of {names}, {channel.describe()}", channel.probe())
            for spec in specs:
                yield from check_serving(channel, spec)
    except RedirectdError as error:
        yield Finding(f"reload of {names}, {error.where}", Level.FAULT, error.why, error.what_to_do)
