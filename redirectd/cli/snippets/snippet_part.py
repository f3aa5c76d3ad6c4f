"""What a server's configuration lacks: parts with the place for each, and what is wrong in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from redirectd.serverconf.conf_files import ConfPlace
from redirectd.sip.text import printable

_SHOWN = 6
Position = Literal["before", "after", "replace", "end", "by-hand"]

_AT_ONE_LINE: dict[Position, int] = {"after": 0, "replace": 1}
"""What goes first where several parts are for one line, so that it keeps its number."""


@dataclass(frozen=True, slots=True)
class Part:
    """Lines for one place of a file.

    `place` says it in words; `line` (and `to_line`, for what is replaced) as a number where it is known. `why` says
    what the lines are for.
    """

    file: str
    position: Position
    place: str
    text: str
    line: int | None = None
    to_line: int | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Wrong:
    """What contradicts redirectd in a configuration."""

    where: str
    why: str
    what_to_do: str


@dataclass(slots=True)
class Fit:
    """What one server's configuration needs; `doubts` say what of it could not be found out."""

    comment: str
    files: Sequence[str] = ()
    doubts: Sequence[str] = ()
    parts: list[Part] = field(default_factory=list)
    wrong: list[Wrong] = field(default_factory=list)
    warnings: list[Wrong] = field(default_factory=list)
    """What works, and has a risk."""
    notes: list[str] = field(default_factory=list)
    block: str = ""
    """Of all parts that which may be in a file of its own, whole; a part says how it gets there."""

    def add(self, place: ConfPlace | None, position: Position, words: str, text: str, why: str = "") -> None:
        """Add a part at a line, or by hand where there is none."""
        if place is None:
            self.parts.append(Part("", "by-hand", words, text, why=why))
        else:
            self.parts.append(Part(place.file, position, words, text, place.line, why=why))

    def change(self, place: ConfPlace, text: str, why: str) -> None:
        """Say that a line is wrong, and what it has to be."""
        self.parts.append(Part(place.file, "replace", "in place of that line", text, place.line, place.line, why))
        self.wrong.append(Wrong(str(place), why, f"change the line to: {text}"))

    def ordered(self) -> list[Part]:
        """Give the parts file by file, from the last line to the first, so that numbers stay true while one pastes."""
        files = list(dict.fromkeys(part.file for part in self.parts))

        def order(part: Part) -> tuple[int, int, int]:
            line = part.line if part.line is not None else 1 << 30
            return files.index(part.file), -line, _AT_ONE_LINE.get(part.position, 2)

        return sorted(self.parts, key=order)


def printed(fit: Fit, name: str) -> str:
    """Give the text of a fit: comments of the server's own kind, and the lines between them."""
    sign = fit.comment
    lines = []
    if fit.files:
        more = f" and {len(fit.files) - _SHOWN} more" if len(fit.files) > _SHOWN else ""
        lines.append(f"{sign} Read: {', '.join(map(printable, fit.files[:_SHOWN]))}{more}. Nothing was changed.")
    else:
        lines.append(f"{sign} The configuration of {name} was not found or not understood: this is all that it needs.")
    lines += [f"{sign} NOT KNOWN: {doubt}" for doubt in fit.doubts]
    lines += [f"{sign} WRONG: {printable(one.where)}: {one.why}; {one.what_to_do}" for one in fit.wrong]
    lines += [f"{sign} WARNING: {printable(one.where)}: {one.why}; {one.what_to_do}" for one in fit.warnings]
    lines += [f"{sign} {note}" for note in fit.notes]
    if not fit.parts and not fit.wrong:
        lines.append(f"{sign} {name} has all that redirectd needs.")
    elif fit.files:
        lines.append(f"{sign} From the last line to the first, so that the numbers stay true while you paste.")
    for number, part in enumerate(fit.ordered(), 1):
        lines += ["", f"{sign} ==== {number}. {heading(part)} ===="]
        lines += [f"{sign} {line}" for line in part.why.split("\n") if line]
        lines += ["", *part.text.rstrip("\n").split("\n")]
    return "\n".join(lines)


def heading(part: Part) -> str:
    """Name the place of a part."""
    file = f"{printable(part.file)}, " if part.file else ""
    if part.line is None:
        return f"{file}{part.place}"
    numbers = f"line {part.line}" if part.to_line in {None, part.line} else f"lines {part.line} to {part.to_line}"
    position = {"before": "before ", "after": "after "}.get(part.position, "")
    return f"{file}{position}{numbers}: {part.place}"
