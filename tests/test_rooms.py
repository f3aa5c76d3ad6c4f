"""Which room of redirectd uses which: what CONTRIBUTING.md says."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "redirectd"


def order() -> list[set[str]]:
    """The rooms as CONTRIBUTING.md orders them, those that stand side by side together, the uppermost first."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    told = re.search(r"^    (cli .*)$", text, re.MULTILINE)
    assert told is not None
    return [set(floor.split(", ")) for floor in told[1].split(" > ")]


def used(room: Path) -> dict[str, set[str]]:
    """By file of a room, the rooms it imports from."""
    files = [room] if room.is_file() else sorted(room.rglob("*.py"))
    return {str(file.relative_to(ROOT)): set(_imported(file)) for file in files}


def _imported(file: Path) -> list[str]:
    modules: list[str] = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "redirectd":
            modules += [f"redirectd.{alias.name}" for alias in node.names if not alias.name.startswith("__")]
        elif isinstance(node, ast.ImportFrom):
            modules.append(node.module or "")
        elif isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
    return [module.split(".")[1] for module in modules if module.startswith("redirectd.")]


def test_every_room_has_its_place() -> None:
    """Every folder and module at the top of the package stands in the order, once."""
    rooms = [one.stem for one in PACKAGE.iterdir() if one.suffix == ".py" or (one / "__init__.py").exists()]
    named = [room for floor in order() for room in floor]
    assert sorted(named) == sorted(set(rooms) - {"__init__", "__main__"})


def test_no_room_reaches_up() -> None:
    """A room imports from itself and from what stands below it; rooms side by side don't know each other."""
    below = {room for floor in order() for room in floor}
    for floor in order():
        below -= floor
        for room in floor:
            path = PACKAGE / room
            for file, rooms in used(path if path.is_dir() else path.with_suffix(".py")).items():
                assert rooms <= below | {room}, file


def test_no_file_and_no_class_is_named_twice() -> None:
    """A name leads to one place: no two modules and no two classes of the package share theirs."""
    files = [file for file in PACKAGE.rglob("*.py") if file.stem not in {"__init__", "__main__"}]
    classes = [
        node.name for file in files for node in ast.parse(file.read_text()).body if isinstance(node, ast.ClassDef)
    ]
    assert _twice([file.stem for file in files]) == []
    assert _twice(classes) == []


def _twice(names: list[str]) -> list[str]:
    return sorted(name for name, count in Counter(names).items() if count > 1)
