"""Escaping for the grammars that templates write, each with its inverse for the parse-back.

What is escaped is a URI or a key of a route: printable ASCII without blanks, double quotes or backslashes. So each
pair covers what is left of its grammar's special characters.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable

_BACKSLASHED = re.compile(r"\\(.)")


def _pcre(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_@%]", r"\\\g<0>", text)


def _unbackslash(text: str) -> str:
    return _BACKSLASHED.sub(r"\1", text)


ESCAPES: dict[str, tuple[Callable[[str], str], Callable[[str], str]]] = {
    "none": (str, str),
    "asterisk": (lambda text: text.replace(";", "\\;"), _unbackslash),
    "db_text": (lambda text: text.replace(":", "\\:"), _unbackslash),
    "xml": (html.escape, html.unescape),
    "json": (lambda text: json.dumps(text)[1:-1], lambda text: str(json.loads(f'"{text}"'))),
    "sql": (lambda text: text.replace("'", "''"), lambda text: text.replace("''", "'")),
    "pcre": (_pcre, _unbackslash),
}
"""Name to escape and unescape."""
