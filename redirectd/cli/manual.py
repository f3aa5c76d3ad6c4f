"""Reference pages, man pages and completions, all made from the commands' own help and the configuration's model.

``python -m redirectd.cli.manual FOLDER`` (``make docs``) writes them; a test compares them with what is there.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from redirectd import __version__
from redirectd.cli.main import COMMANDS, cli
from redirectd.config import reference
from redirectd.config.model import Config
from redirectd.config.target_sections import TargetSection
from redirectd.config.values import Section
from redirectd.targets import target_kinds

_MADE = "<!-- Made by 'make docs' from the program itself; edit its help texts, not this file. -->\n\n"
_COMPLETIONS = {"bash": "redirectd.bash", "zsh": "_redirectd", "fish": "redirectd.fish"}
ENVIRONMENT = {
    "REDIRECTD_DATABASE_URL": "The database, before the configuration's url.",
    "REDIRECTD_DATABASE_PASSWORD": "Its password, before the configuration's password_file.",
    "REDIRECTD_TARGET_NAME_PASSWORD": "The password for a target's reload; NAME is the target's name in capitals, "
    "with _ for what is neither letter nor digit.",
    "REDIRECTD_TARGET_NAME_DATABASE_PASSWORD": "The password for a target's database.",
    "REDIRECTD_NOTIFY_NAME_URL": "The URL of a [[notify]]; NAME as above.",
    "REDIRECTD_DEBUG": "Where set, a defect shows its traceback.",
    "NO_COLOR": "Where set, nothing is coloured.",
}
EXAMPLES = {
    "redirectd init && redirectd check": "Write a configuration for this host, and say what to fix in it.",
    "redirectd ingest /var/log/kamailio.log.*": "Read old logs once.",
    "redirectd pending --flag none": "Show what waits for review and is held by nothing.",
    "redirectd review --domain old.example": "Decide on the remaps of one domain, one after another.",
    "redirectd approve 17 --contact 2": "Approve a remap that has several Contacts, to the second one.",
    "redirectd apply --plan $(redirectd plan --checksum)": "Apply exactly the plan that was seen.",
    "redirectd plan --html > plan.html": "Show a plan in a browser.",
    "redirectd lookup sip:alice@old.example": "Show where a call to this URI goes.",
    "redirectd rollback && redirectd revoke 17 && redirectd apply --resume": "Go back to the files before the last "
    "apply, take the approval back that was wrong, and let applies go on.",
    "redirectd status --healthy": "Report to Nagios, Icinga or a container's health check.",
    "redirectd list --state approved --json | jq -r '.remaps[].old_uri'": "Use remaps in a script.",
}
FILES = {
    "/etc/redirectd/redirectd.toml": "The configuration, see redirectd.toml(5).",
    "/var/lib/redirectd/redirectd.db": "The database where none is configured.",
    "/run/redirectd/status.sock": "Where the service answers 'redirectd status'.",
}


def pages() -> dict[str, str]:
    """All generated files: their paths below the folder of the documentation, and their text."""
    return {
        "reference-commands.md": _MADE + _commands(),
        "reference-configuration.md": _MADE + reference.reference(),
        "man/redirectd.1": _man_of_commands(),
        "man/redirectd.toml.5": _man_of_configuration(),
        **{f"completions/{file}": _completion(shell) for shell, file in _COMPLETIONS.items()},
    }


def write(folder: Path) -> None:
    """Write all generated files below `folder`."""
    for name, text in pages().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


def _root() -> click.Context:
    return click.Context(cli, info_name="redirectd", **cli.context_settings)


def _walk() -> Iterator[tuple[str, click.Command, click.Context]]:
    """Every command that does something, by its whole name, in the order of the work."""
    root = _root()
    for name in COMMANDS:
        command = cli.get_command(root, name)
        assert command is not None
        context = click.Context(command, root, info_name=name)
        if isinstance(command, click.Group):
            for inner, leaf in command.commands.items():
                yield f"{name} {inner}", leaf, click.Context(leaf, context, info_name=inner)
        else:
            yield name, command, context


def _usage(name: str, command: click.Command, context: click.Context) -> str:
    return " ".join(["redirectd", name, *command.collect_usage_pieces(context)])


def _paragraphs(command: click.Command) -> list[str]:
    return [" ".join(part.split()) for part in inspect.cleandoc(command.help or "").split("\n\n")]


def _options(command: click.Command, context: click.Context) -> list[tuple[str, str]]:
    found = (param.get_help_record(context) for param in command.get_params(context))
    return [(term, text) for term, text in filter(None, found) if text]


def _commands() -> str:
    lines = ["# Commands", "", "\n\n".join(_paragraphs(cli)), ""]
    lines += [f"- `{text}`: {what}" for text, what in _options(cli, _root())]
    lines += ["", " ".join((cli.epilog or "").split())]
    for name, command, context in _walk():
        lines += ["", f"## `{_usage(name, command, context)}`", "", "\n\n".join(_paragraphs(command)), ""]
        lines += [f"- `{text}`: {what}" for text, what in _options(command, context)]
    return "\n".join(lines) + "\n"


def _roff(text: str) -> str:
    """Text as roff takes it: nothing in it is a request, and what is in backticks is bold."""
    safe = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    safe = re.sub(r"`([^`]+)`", r"\\fB\1\\fR", safe)
    return re.sub(r"(?m)^\.", r"\\&.", safe)


def _head(title: str, section: int, what: str) -> list[str]:
    return [
        f'.TH "{title.upper()}" {section} "" "redirectd {__version__}" "redirectd"',
        ".SH NAME",
        f"{_roff(title)} \\- {_roff(what)}",
    ]


def _terms(entries: list[tuple[str, str]]) -> Iterator[str]:
    for term, text in entries:
        yield from (".TP", f".B {_roff(term)}", _roff(text))


def _man_of_commands() -> str:
    lines = _head("redirectd", 1, "keep SIP routing true to what the network says has moved for good")
    lines += [".SH SYNOPSIS", ".B redirectd", _roff("[--config FILE] COMMAND [ARGS]..."), ".SH DESCRIPTION"]
    for paragraph in _paragraphs(cli):
        lines += [".PP", _roff(paragraph)]
    lines += [".SH OPTIONS", *_terms(_options(cli, _root())), ".SH COMMANDS"]
    for name, command, context in _walk():
        lines += [f".SS {_roff(_usage(name, command, context))}"]
        for paragraph in _paragraphs(command):
            lines += [".PP", _roff(paragraph)]
        lines += _terms(_options(command, context))
    lines += [".SH EXAMPLES", *_terms(list(EXAMPLES.items()))]
    lines += [".SH EXIT STATUS", _roff(" ".join((cli.epilog or "").removeprefix("Exit codes: ").split()))]
    lines += [".SH ENVIRONMENT", *_terms(list(ENVIRONMENT.items())), ".SH FILES", *_terms(list(FILES.items()))]
    lines += [".SH SEE ALSO", _roff("redirectd.toml(5), kamailio(8), asterisk(8), systemd.exec(5)")]
    lines += [
        ".PP",
        _roff(
            "The rules R1 to R46 that messages and flags cite are in rules.md of the documentation, on Debian "
            "/usr/share/doc/redirectd/rules.md."
        ),
    ]
    return "\n".join(lines) + "\n"


def _man_of_configuration() -> str:
    lines = _head("redirectd.toml", 5, "configuration of redirectd")
    lines += [".SH DESCRIPTION", _roff((Config.__doc__ or "").strip()), *_man_keys(Config)]
    for name, field in Config.model_fields.items():
        section = reference.section_of(field)
        if section is not None:
            lines += _man_section(f"[[{name}]]" if reference.is_list(field) else f"[{name}]", name, section)
    lines += [".SH SEE ALSO", _roff("redirectd(1)")]
    return "\n".join(lines) + "\n"


def _man_section(heading: str, name: str, section: type[Section]) -> Iterator[str]:
    yield f".SH {_roff(heading)}"
    for paragraph in inspect.cleandoc(section.__doc__ or "").split("\n\n"):
        yield from (".PP", _roff(" ".join(paragraph.split())))
    yield from _man_keys(section)
    if section is TargetSection:
        for kind in target_kinds.kinds():
            yield from (f".SS {_roff(f'Keys of {kind}')}", *_terms(list(target_kinds.accepted_options(kind).items())))
            if not target_kinds.accepted_options(kind):
                yield "None."
    for key, field in section.model_fields.items():
        inner = reference.section_of(field)
        if inner is not None:
            yield from _man_section(f"[{name}.{key}]", f"{name}.{key}", inner)


def _man_keys(section: type[Section]) -> Iterator[str]:
    for key, field in section.model_fields.items():
        if reference.section_of(field) is None:
            text = f"{field.description} {reference.fallback(key, field)}"
            example = f" Example: `{reference.sample(key, field)}`" if field.examples else ""
            yield from _terms([(key, text + example)])


def _completion(shell: str) -> str:
    kind = get_completion_class(shell)
    assert kind is not None
    script = kind(cli, {}, "redirectd", "_REDIRECTD_COMPLETE")
    # Not source(): it runs the shell to ask for its version, and the machine that builds need not have it.
    return str(script.source_template % script.source_vars()).strip("\n") + "\n"


if __name__ == "__main__":
    write(Path(sys.argv[1]))
