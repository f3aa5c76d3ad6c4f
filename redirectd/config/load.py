"""Finding and reading the configuration file; all its faults are reported at once, each with its place."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from redirectd.config.model import Config
from redirectd.config.rawchecks import ConfigFault, misspelt, raw_faults
from redirectd.config.section import Section
from redirectd.config.toml_lines import Place, line_of, show_place
from redirectd.errors import ConfigError

DEFAULT_FILES = (Path("/etc/redirectd/redirectd.toml"), Path("redirectd.toml"))


def find(path: Path | None) -> Path | None:
    """The file to read: the one asked for, else the first of DEFAULT_FILES that exists, else None."""
    if path is not None:
        return path
    return next((file for file in DEFAULT_FILES if file.exists()), None)


def load(path: Path | None = None) -> Config:
    """The configuration of `path`, else of the default files, else the built-in defaults.

    Raises ConfigError for a file that can't be read, and one with all `faults` for a file that is wrong.
    """
    file = find(path)
    if file is None:
        return Config()
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(
            str(file),
            f"the configuration can't be read: {error.strerror}",
            "name an existing file that this user may read with --config, or write one with 'redirectd init'",
        ) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(f"{file}:{line}", "the file is not UTF-8, as TOML must be", "save it as UTF-8") from error
    return parse(text, file)


def parse(text: str, file: Path) -> Config:
    """The configuration in `text`; `file` is named in faults and is where relative paths start. Raises ConfigError."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(error, file) from error
    faults = list(raw_faults(data))
    config = None
    try:
        config = Config.model_validate(data)
    except ValidationError as error:
        faults += _field_faults(error)
    if config is None or faults:
        raise _config_error(faults, text, file)
    return config.of_file(file)


def _syntax_error(error: tomllib.TOMLDecodeError, file: Path) -> ConfigError:
    why, _, position = str(error).partition(" (at ")
    line = position.removeprefix("line ").partition(",")[0] if position.startswith("line ") else ""
    return ConfigError(
        f"{file}:{line}" if line else str(file),
        f"this is no TOML: {why}",
        "fix that line; texts are in quotes, tables in [brackets], repeated tables in [[double brackets]]",
    )


def _config_error(faults: list[ConfigFault], text: str, file: Path) -> ConfigError:
    placed = []
    for fault in faults:
        line = line_of(text, fault.place)
        where = f"{file}:{line}: {show_place(fault.place)}" if line else f"{file}: {show_place(fault.place)}"
        placed.append((line or 0, ConfigError(where, fault.why, fault.what_to_do)))
    placed.sort(key=lambda item: item[0])
    errors = tuple(error for _, error in placed)
    if len(errors) == 1:
        return ConfigError(errors[0].where, errors[0].why, errors[0].what_to_do, errors)
    return ConfigError(str(file), f"{len(errors)} faults", "fix each of them", errors)


def _field_faults(error: ValidationError) -> Iterator[ConfigFault]:
    for item in error.errors(include_url=False):
        place: Place = item["loc"]
        why, what_to_do = _words(item["type"], item["msg"], place, item.get("ctx") or {})
        yield ConfigFault(place, why, what_to_do)


def _words(kind: str, message: str, place: Place, context: dict[str, Any]) -> tuple[str, str]:
    name = str(place[-1])
    if kind == "extra_forbidden":
        return "there is no such key", misspelt(name, _keys_at(place[:-1]))
    if kind == "missing":
        return "missing required key", _advice(place)
    if kind == "value_error":
        return str(context["error"]), _advice(place)
    if kind == "model_type":
        return "it is a table, not a single value", f"write {_header(place)} and its keys below"
    if kind == "list_type" and len(place) == 1:
        return "it is one table, and there can be several", f"write [[{name}]] in double brackets"
    return message[:1].lower() + message[1:], _advice(place)


def _header(place: Place) -> str:
    """The line that a table begins with, as in `[policy.auto_approve]` and `[[source]]`."""
    name = ".".join(part for part in place if isinstance(part, str))
    return f"[[{name}]]" if isinstance(place[-1], int) else f"[{name}]"


def _advice(place: Place) -> str:
    """The description of a key and how it looks."""
    from redirectd.config.reference import sample, section_of

    keys = [part for part in place if isinstance(part, str)]
    model: type[Section] = Config
    for key in keys[:-1]:
        model = section_of(model.model_fields[key]) or model
    field = model.model_fields.get(keys[-1]) if keys else None
    if field is None:
        return "see 'redirectd init --reference'"
    return f"{field.description} For example: {sample(keys[-1], field)}"


def _keys_at(place: Place) -> set[str]:
    from redirectd.config.reference import section_of

    model: type[Section] = Config
    for part in place:
        if isinstance(part, str):
            model = section_of(model.model_fields[part]) or model
    return set(model.model_fields)
