"""The part of extensions.conf that a generated file may use, read as Asterisk's config.c and pbx_config.c read it.

A reader of the server's grammar, not of what the writer happens to write: comments, escaped semicolons, sections
and fields are taken apart in Asterisk's order. What Asterisk would act on beyond plain ``Return`` rows (includes,
templates, block comments, variables, patterns, other applications) is an error here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from redirectd.plan.target import TargetError
from redirectd.targets.lines import text_lines

MAX_LINE = 8190
"""Longest line, in bytes: Asterisk reads into a buffer of 8,192 and skips what is longer."""

_USUAL = re.compile(
    r"exten => ([A-Za-z0-9+*#.~_\-]++),1,Return\(((?:[A-Za-z0-9+*#.~_\-%=@:\[\]]|\\;)++)\)"
    r"(?: ; ([A-Za-z0-9+*#.~_%\-]++))?"
)
"""A row as it is nearly always written; any other is read the long way."""

_READ = re.compile(r"[()&|\"'<>{}, \t]")
"""Characters that the dialplan or Return() would read."""

_SECTION = re.compile(r"\[([A-Za-z0-9_\-]{1,79})\]")


def read_returns(content: bytes) -> Iterator[tuple[int, str, str, str, str]]:
    """Give line number, context, extension, value and comment of each ``exten => EXTENSION,1,Return(VALUE)``."""
    context: str | None = None
    for number, line in enumerate(text_lines(content), 1):
        if len(line) > MAX_LINE:
            raise TargetError(f"line {number}: over {MAX_LINE} bytes, and Asterisk would skip it")
        usual = _USUAL.fullmatch(line) if context is not None else None
        if usual is not None and context is not None:
            yield number, context, usual[1], usual[2].replace("\\;", ";"), usual[3] or ""
            continue
        text, comment = _uncommented(number, line)
        text = text.strip(" \t")
        if not text:
            continue
        if text[0] == "[":
            section = _SECTION.fullmatch(text)
            if section is None:
                raise TargetError(f"line {number}: not a plain section")
            context = section[1]
        elif context is None:
            raise TargetError(f"line {number}: stands before the first section")
        else:
            yield (number, context, *_row(number, text), comment.strip(" \t"))


def _uncommented(number: int, line: str) -> tuple[str, str]:
    """Cut the comment off, and give it too; undo ``\\;``, as config.c does before anything else."""
    kept: list[str] = []
    pieces = line.split(";")
    for i, piece in enumerate(pieces):
        last = i == len(pieces) - 1
        if not last and piece.endswith("\\"):
            kept.append(piece[:-1] + ";")
            continue
        kept.append(piece)
        if not last and pieces[i + 1].startswith("--"):
            raise TargetError(f"line {number}: a block comment, which could swallow the rest of the file")
        break
    text = "".join(kept)
    if "\\" in text:
        raise TargetError(f"line {number}: a backslash that escapes no semicolon")
    return text, ";".join(pieces[i + 1 :])


def _row(number: int, text: str) -> tuple[str, str]:
    if text[0] == "#":
        raise TargetError(f"line {number}: a directive")
    keyword, equals, rest = text.partition("=")
    if keyword.strip(" \t") != "exten" or not equals:
        raise TargetError(f"line {number}: not an extension")
    fields = rest.removeprefix(">").strip(" \t").split(",", 2)
    if len(fields) != 3 or fields[1] != "1":
        raise TargetError(f"line {number}: not the fields of an extension's first priority")
    extension, _, application = fields
    name, opening, data = application.partition("(")
    if name != "Return" or not opening or not data.endswith(")"):
        raise TargetError(f"line {number}: not an application Return with its value")
    value = data[:-1]
    if _READ.search(extension + value) or "$" in text or not value:
        raise TargetError(f"line {number}: a character that the dialplan would read")
    return extension, value
