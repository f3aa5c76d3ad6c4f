"""Asterisk's configuration files: sections with their lines, includes followed, `#exec` never run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from posixpath import join, normpath

from redirectd.serverconf.conf_files import ConfFiles, ConfPlace

_SECTION = re.compile(r"\[([^\]]*+)\]\s*(?:\(([^)]*+)\))?")
_INCLUDE = re.compile(r'#(include|tryinclude|exec)\s+["<]?([^">]+?)[">]?\s*')
_MOST_IN_LINE = 8190
_COMMENT = re.compile(r"(?<!\\);")
_TRUE = frozenset(("yes", "true", "y", "t", "1", "on"))
_FALSE = frozenset(("no", "false", "n", "f", "0", "off"))
"""As Asterisk's ast_true() and ast_false() have them."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A line ``name = value`` or ``name => value``."""

    name: str
    value: str
    place: ConfPlace

    @property
    def is_on(self) -> bool:
        """Whether Asterisk takes its value for a yes."""
        return self.value.lower() in _TRUE

    @property
    def is_off(self) -> bool:
        """Whether Asterisk takes its value for a no."""
        return self.value.lower() in _FALSE


@dataclass(slots=True)
class ConfSection:
    """A section as one header opens it, to the line before the next; `modifiers` are what its parentheses hold."""

    name: str
    modifiers: tuple[str, ...]
    place: ConfPlace
    settings: list[Setting] = field(default_factory=list)
    end: ConfPlace | None = None

    @property
    def adds(self) -> bool:
        """Whether it adds to a section of this name."""
        return "+" in self.modifiers

    def get(self, name: str) -> Setting | None:
        """Give the last line of this name; names are compared without case, as Asterisk does."""
        return next((one for one in reversed(self.settings) if one.name.lower() == name), None)


@dataclass(frozen=True, slots=True)
class AsteriskConf:
    """One configuration file and what it includes; an empty `main` says that it could not be read."""

    main: str = ""
    files: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    sections: tuple[ConfSection, ...] = ()
    includes: tuple[tuple[str, ConfPlace], ...] = ()

    def named(self, name: str) -> list[ConfSection]:
        """Give the sections of a name, in their order."""
        return [section for section in self.sections if section.name == name]

    def get(self, section: str, name: str) -> Setting | None:
        """Give the line that counts in the sections of a name, which is the last."""
        found = [one for each in self.named(section) if (one := each.get(name)) is not None]
        return found[-1] if found else None

    def settings(self, section: str) -> list[Setting]:
        """Give all lines of the sections of a name."""
        return [one for each in self.named(section) for one in each.settings]

    def include(self, path: str) -> ConfPlace | None:
        """Give where a file is included."""
        return next((place for found, place in self.includes if found == normpath(path)), None)


def read_asterisk(main: str, folder: str, files: ConfFiles, without: Sequence[str] = ()) -> AsteriskConf:
    """Read a file and its includes, those without a path from `folder`; a file of `without` is noted and left out."""
    reading = _ConfReading(folder, files, frozenset(map(normpath, without)))
    first = len(files.files)
    reading.read(main, 0, optional=True)
    found = tuple(files.files[first:])
    return AsteriskConf(
        main if found else "", found, tuple(files.doubts), tuple(reading.sections), tuple(reading.includes)
    )


@dataclass
class _ConfReading:
    folder: str
    files: ConfFiles
    without: frozenset[str]
    sections: list[ConfSection] = field(default_factory=list)
    includes: list[tuple[str, ConfPlace]] = field(default_factory=list)

    def read(self, path: str, depth: int, *, optional: bool) -> None:
        text = self.files.text(path, optional=optional, depth=depth)
        if text is None:
            return
        hidden = 0
        for number, raw in enumerate(text.split("\n"), 1):
            if len(raw) > _MOST_IN_LINE:
                self.files.doubt(
                    f"{path}, line {number}: it has over {_MOST_IN_LINE} characters, and Asterisk skips it"
                )
                continue
            line, hidden = _uncommented(raw, hidden)
            if line:
                self._line(line, ConfPlace(path, number), depth)
        if hidden:
            self.files.doubt(f"{path}: a comment ;-- is not closed")

    def _line(self, line: str, place: ConfPlace, depth: int) -> None:
        if line[0] == "#":
            self._include(line, place, depth)
        elif line[0] == "[":
            found = _SECTION.match(line)
            if found is None:
                self.files.doubt(f"{place}: a section's name is not closed, and Asterisk drops what comes after")
                return
            modifiers = tuple(part.strip() for part in (found[2] or "").split(",") if part.strip())
            self.sections.append(ConfSection(found[1], modifiers, place, end=place))
        elif self.sections:
            name, sign, value = line.partition("=")
            if sign:
                section = self.sections[-1]
                section.settings.append(Setting(name.strip(), value.removeprefix(">").strip(), place))
                section.end = place

    def _include(self, line: str, place: ConfPlace, depth: int) -> None:
        found = _INCLUDE.fullmatch(line)
        if found is None or found[1] == "exec":
            self.files.doubt(f"{place}: {line.split(maxsplit=1)[0]} is not followed: what it gives is not known")
            return
        path = normpath(found[2] if found[2].startswith("/") else join(self.folder, found[2]))
        paths = self.files.expand(path) if re.search("[*?[]", path) else [path]
        for each in paths:
            self.includes.append((normpath(each), place))
            if normpath(each) not in self.without:
                self.read(each, depth + 1, optional=found[1] == "tryinclude")


def _uncommented(line: str, hidden: int) -> tuple[str, int]:
    """Take comments out of a line; `hidden` counts the block comments (``;-- ... --;``) that are open."""
    kept = ""
    while line:
        if hidden:
            _, sign, line = line.partition("--;")
            hidden -= bool(sign)
            continue
        found = _COMMENT.search(line)
        if found is None:
            kept += line
            break
        kept += line[: found.start()]
        rest = line[found.start() :]
        if not rest.startswith(";--") or rest.startswith(";---"):
            break
        hidden, line = hidden + 1, rest[3:]
    return kept.strip(), hidden
