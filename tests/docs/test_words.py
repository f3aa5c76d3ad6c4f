"""The words of the documentation and the docstrings are those of the field, not a vocabulary of our own."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.docs.page import ROOT

OURS = re.compile(r"(?i)\b(?:tell|tells|told|tellings?|stands?|stood|mend|mends|mended|so many|whom|is no)\b")
"""Words that a native engineer of this field would put otherwise; none is wrong by itself, many of them are."""

MOST = 2.0
"""Of 10,000 words; comparable projects have 0 to 1.4."""

FENCED = re.compile(r"(?ms)^```.*?^```$")


def prose() -> Iterator[tuple[Path, str]]:
    """The pages without their code, and every docstring."""
    for page in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")):
        yield page, FENCED.sub("", page.read_text())
    for file in (ROOT / "redirectd").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield file, ast.get_docstring(node) or ""


def test_the_words_are_the_fields() -> None:
    """At most two in 10,000 words of pages and docstrings are of the private vocabulary."""
    words = 0
    found = []
    for file, text in prose():
        words += len(re.findall(r"[A-Za-z']+", text))
        found += [f"{file.relative_to(ROOT)}: {one[0]}" for one in OURS.finditer(text)]
    assert words > 50_000
    assert len(found) / words * 10_000 <= MOST, "\n".join(found)
