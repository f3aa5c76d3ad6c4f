"""That reading costs linear time, shown by how it is built and not by a clock."""

import importlib
import pkgutil
import re
from collections.abc import Iterator
from typing import Any

import pytest

import redirectd.sip

_parser: Any = importlib.import_module("re._parser")
_MODULES = [f"redirectd.sip.{module.name}" for module in pkgutil.iter_modules(redirectd.sip.__path__)]


def _backtracking(tree: Any) -> Iterator[str]:
    """Name each repeat without a bound that may give back what it took."""
    for operation, argument in tree:
        name = str(operation)
        if name in {"MAX_REPEAT", "MIN_REPEAT"} and argument[1] > 64:
            yield f"{name} up to {argument[1]}"
        children = argument if isinstance(argument, (list, tuple)) else [argument]
        for child in children:
            if isinstance(child, _parser.SubPattern):
                yield from _backtracking(child)
            elif isinstance(child, list):
                for branch in child:
                    if isinstance(branch, _parser.SubPattern):
                        yield from _backtracking(branch)


@pytest.mark.parametrize("name", _MODULES)
def test_no_pattern_can_backtrack(name: str) -> None:
    """Each repeat in the room's patterns is possessive or of a small fixed bound."""
    for pattern in vars(importlib.import_module(name)).values():
        if isinstance(pattern, re.Pattern):
            assert list(_backtracking(_parser.parse(pattern.pattern, pattern.flags))) == [], pattern.pattern


@pytest.mark.parametrize("pattern", ["(a+)+b", "(?:x|a*)b", "a+?b", "(?=a*b)"])
def test_the_check_itself_finds_backtracking(pattern: str) -> None:
    """The check above sees a repeat wherever it hides."""
    assert list(_backtracking(_parser.parse(pattern)))
