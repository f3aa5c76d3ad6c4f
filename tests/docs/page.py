"""A Markdown page as a list of things to do: files to write and commands to run, in their order.

Commands stand in ``console`` blocks, behind ``$ ``; the lines below a command are what it prints, ``...`` standing for
any lines. A comment right above a block says more: ``<!-- file PATH -->`` and ``<!-- append PATH -->`` make a file of
it, ``<!-- exit N -->`` is the exit code of its last command, ``<!-- operator NAME -->`` names a server's part.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
LANGUAGES = frozenset(
    {"console", "toml", "kamailio", "asterisk", "lua", "sh", "text", "json", "csv", "jinja", "xml", "conf"}
)
_FENCE = re.compile(r"^( *)```(\w*)\s*$")
_MARK = re.compile(r"^ *<!-- (file|append|exit|operator) (\S+) -->$")


@dataclass(frozen=True)
class Block:
    """A fenced block: its first line's number, language, mark, text without indentation, and ``##`` section."""

    line: int
    language: str
    mark: tuple[str, str]
    text: str
    section: str = ""


@dataclass(frozen=True)
class Command:
    """A command line, the lines it is shown to print, and its exit code."""

    line: int
    text: str
    shown: list[str] = field(default_factory=list)
    code: int = 0


def pages() -> list[Path]:
    """README.md and all pages of docs/."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page."""
    found: list[Block] = []
    lines = page.read_text(encoding="utf-8").splitlines()
    begin: tuple[int, str, str] | None = None
    section = ""
    for number, line in enumerate(lines, 1):
        if begin is None and line.startswith("## "):
            section = line[3:]
        fence = _FENCE.match(line)
        if fence is None:
            continue
        if begin is None:
            begin = (number, fence[1], fence[2])
            continue
        first, indent, language = begin
        mark = _MARK.match(lines[first - 2]) if first > 1 else None
        inner = [text.removeprefix(indent) for text in lines[first : number - 1]]
        found.append(Block(first, language, (mark[1], mark[2]) if mark else ("", ""), "\n".join(inner) + "\n", section))
        begin = None
    assert begin is None, f"{page.name}:{begin}: the block has no end"
    return found


def commands(block: Block) -> list[Command]:
    """The commands of a console block."""
    found: list[Command] = []
    for number, line in enumerate(block.text.splitlines(), block.line + 1):
        if line.startswith("$ "):
            found.append(Command(number, line[2:]))
        elif found and found[-1].text.endswith("\\") and not found[-1].shown:
            last = found.pop()
            found.append(Command(last.line, last.text[:-1] + line.strip()))
        elif found and line.strip():
            found[-1].shown.append(line)
        else:
            assert not line.strip(), f"line {number}: output without a command"
    if found and block.mark[0] == "exit":
        last = found.pop()
        found.append(Command(last.line, last.text, last.shown, int(block.mark[1])))
    return found
