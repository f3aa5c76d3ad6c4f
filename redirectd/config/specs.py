"""From `[[target]]` tables to the targets that plan and apply take, and to the passwords of their servers."""

from __future__ import annotations

import os
from collections.abc import Mapping

from redirectd.config.model import Config
from redirectd.config.secrets import in_capitals, read_secret
from redirectd.config.target_sections import WAYS_TO_KEEP, TargetSection
from redirectd.errors import ConfigError
from redirectd.plan.target import TargetOptions
from redirectd.plan.target_spec import NO_RELOAD, OWN_PROGRAMS, RELOAD_FORMS, TargetSpec
from redirectd.sip.text import mask_url
from redirectd.targets import target_kinds


def target_specs(config: Config) -> tuple[TargetSpec, ...]:
    """All targets, in the order of the file.

    Raises ConfigError for options that a kind can't take, and for a file that two would write or that is also a base.
    """
    specs = tuple(_spec(config, target) for target in config.target)
    bases = {os.path.realpath(spec.base): spec.name for spec in specs if spec.base is not None}
    written: dict[str, str] = {}
    for spec in specs:
        if spec.database is not None:
            continue
        path = os.path.realpath(spec.path)  # by whatever spelling or symbolic link
        other = written.setdefault(path, spec.name)
        if other != spec.name:
            raise _same_file(spec, f"it is the file that the target {other} writes, too")
        if path in bases:
            raise _same_file(spec, f"it is the base of the target {bases[path]}, which is only read")
    return specs


def _same_file(spec: TargetSpec, why: str) -> ConfigError:
    return ConfigError(f"[[target]] {spec.name}, path {spec.path}", why, "give each target a file of its own")


def _spec(config: Config, target: TargetSection) -> TargetSpec:
    table = _table(target)
    if table is None:
        base = None if target.base is None else str(config.resolve(target.base))
    else:
        base = (
            str(target.base or target_kinds.usual_base(target.kind)) if target_kinds.needs_base(target.kind) else None
        )
    extra = dict(target.options)
    if base is not None and "base" in target_kinds.accepted_options(target.kind):
        extra["base"] = base
    if table is None and target.table is not None:
        extra["table"] = target.table
    if table is not None and target.mode in WAYS_TO_KEEP:
        extra["mode"] = target.mode
    control = _control(target, extra)
    place = mask_url(target.database or "")
    return TargetSpec(
        name=target.name,
        path=f"{place}#{table}" if target.path is None else str(config.resolve(target.path)),
        target=target_kinds.build(
            target.kind, TargetOptions(target.name, target.match, extra, target.program or ()), table
        ),
        base=base if table is None or base is None else f"{place}#{base}",
        control=target.nodes[0] if target.nodes else control,
        timeout=target.timeout.total_seconds(),
        mode=0 if target.mode in WAYS_TO_KEEP else int(target.mode, 8),
        owner=target.owner,
        group=target.group,
        server=target.server,
        database=target.database,
        nodes=tuple(target.nodes),
    )


def _with_programs() -> str:
    """Name the kinds that run the operator's programs."""
    *names, last = [kind for kind in target_kinds.kinds() if "verify" in target_kinds.accepted_options(kind)]
    return f"{', '.join(names)} and {last}"


def _control(target: TargetSection, extra: Mapping[str, object]) -> str:
    """Give the way to a target's server, or to its own programs; raises ConfigError for a kind that runs none."""
    program = target.program
    takes = "verify" in target_kinds.accepted_options(target.kind) if target.kind in target_kinds.kinds() else True
    if program is not None and not takes:
        raise ConfigError(
            f"[[target]] {target.name}, reload",
            f"a program is for the kinds {_with_programs()}",
            f"use one of: {', '.join(RELOAD_FORMS)}",
        )
    if not takes or not (program or extra.keys() & {"check", "verify"}):
        return target.reload
    if program is None and target.reload != NO_RELOAD:
        raise ConfigError(
            f"[[target]] {target.name}, reload",
            "check and verify are programs, and this is not one",
            'make it a program, too, as ["/usr/local/sbin/reload-it"], or leave it out',
        )
    return OWN_PROGRAMS + target.name


def _table(target: TargetSection) -> str | None:
    """Give the name of the table of a target that is kept in a database."""
    usual = target_kinds.sql_table(target.kind) if target.database is not None else None
    return None if usual is None else target.table or usual.name


def passwords(config: Config, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The password of each `reload` that has one. Raises ConfigError for a password file that can't be read.

    It comes from the environment's REDIRECTD_TARGET_NAME_PASSWORD (the name in capitals, with _ for what is neither
    letter nor digit), the systemd credential `target-NAME-password`, or the target's `password_file`.
    """
    found: dict[str, str] = {}
    for target in config.target:
        secret = _password(config, target, environ)
        if secret is not None:
            found |= dict.fromkeys(target.ways, secret)
    return found


def password_of(config: Config, reload: str) -> str | None:
    """The password of one `reload`; None where it has none. Raises ConfigError for a file that can't be read."""
    secrets = [_password(config, target, os.environ) for target in config.target if reload in target.ways]
    return next((secret for secret in reversed(secrets) if secret is not None), None)


def _password(config: Config, target: TargetSection, environ: Mapping[str, str]) -> str | None:
    file = config.resolve(target.password_file) if target.password_file else None
    return read_secret(
        f"target-{target.name}-password", f"REDIRECTD_TARGET_{in_capitals(target.name)}_PASSWORD", file, environ
    )
