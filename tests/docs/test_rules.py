"""docs/rules.md defines every rule that the project cites, and every rule has a test that proves it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from redirectd.review.holds import ALL_FLAGS, LOOKS, NEED_FORCE, NEED_REASON
from tests.docs.page import ROOT

PAGE = ROOT / "docs" / "rules.md"
LAST = 46

_CITED = re.compile(r"\bR([1-9]\d?)\b")
_RANGE = re.compile(r"\bR\d+ to R\d+\b")


def defined() -> list[str]:
    """The rules that have a heading of their own, in the page's order."""
    return re.findall(r"(?m)^### (R\d+)$", PAGE.read_text(encoding="utf-8"))


def every_test() -> Iterator[tuple[str, str]]:
    """By file, the name and docstring of each test."""
    for file in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                yield node.name, ast.get_docstring(node) or ""


def cited(file: Path) -> set[str]:
    """The rules that a file cites."""
    return {f"R{number}" for number in _CITED.findall(file.read_text(encoding="utf-8"))}


def test_every_rule_is_defined_once_and_in_order() -> None:
    """R1 to R46 each have a heading, so that `docs/rules.md#r13` is a link, and words of their own below it."""
    assert defined() == [f"R{number}" for number in range(1, LAST + 1)]
    parts = re.split(r"(?m)^### R\d+$", PAGE.read_text(encoding="utf-8"))[1:]
    assert all(len(part.strip()) > 40 for part in parts)


def test_every_rule_that_is_cited_is_defined() -> None:
    """Whatever number the code, the documentation or a test names can be looked up."""
    known = set(defined())
    files = [
        *(ROOT / "redirectd").rglob("*.py"),
        *(ROOT / "tests").rglob("*.py"),
        *(ROOT / "docs").rglob("*.md"),
        *ROOT.glob("*.md"),
    ]
    unknown = {str(file.relative_to(ROOT)): missing for file in files if (missing := cited(file) - known)}
    assert unknown == {}


def test_every_rule_is_proven_by_a_test() -> None:
    """Each rule is named by a test."""
    proven = {f"R{number}" for _, text in every_test() for number in _CITED.findall(_RANGE.sub("", text))}
    proven |= {name.upper() for one, _ in every_test() for name in re.findall(r"(?i)(?<![a-z])r\d+(?![a-z\d])", one)}
    assert set(defined()) - proven == set()


def test_every_flag_is_explained() -> None:
    """A person who meets a flag finds in the page on review what it means and what approving it needs."""
    page = (ROOT / "docs" / "howto-review.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"(?m)^\| `([a-z-]+)` \|.*\|(.*)\|$", page))
    assert {flag for flag in ALL_FLAGS if f"`{flag}`" not in page} == set()
    assert {flag for flag in ALL_FLAGS - LOOKS if flag not in rows} == set()
    assert {flag for flag, approving in rows.items() if "--force" in approving} >= set(NEED_FORCE)
    assert {flag for flag, approving in rows.items() if "--reason" in approving} >= {*NEED_REASON, *NEED_FORCE}
