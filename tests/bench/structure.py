"""How far the package is chopped up, and how many of its files one piece of work runs through.

`python -m tests.bench.structure` prints it and asserts nothing; docs/decisions/one-concept-a-file.md has its figures.
"""

from __future__ import annotations

import ast
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from types import CodeType, FrameType

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "redirectd"
SHORT = 40
"""Lines; a file with fewer is short."""

LOG = ROOT / "tests" / "corpus" / "kamailio" / "snippet-all-cases.log"
CONFIG = """
node = "sip1"
[database]
url = "sqlite:///redirectd.db"
[policy]
trusted_peers = ["127.0.0.0/8"]
allowed_target_networks = ["127.0.0.0/8"]
[[target]]
name = "users"
kind = "kamailio-htable"
path = "redirectd_htable"
reload = "none"
"""


def modules() -> dict[str, Path]:
    """The package's modules by their dotted names, without the faces of folders."""
    files = [file for file in PACKAGE.rglob("*.py") if file.stem not in {"__init__", "__main__"}]
    return {".".join(file.relative_to(ROOT).with_suffix("").parts): file for file in files}


def users(files: dict[str, Path]) -> Counter[str]:
    """By module, how many others import it, within functions too."""
    found: Counter[str] = Counter()
    for name, file in files.items():
        used: set[str] = set()
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom):
                room = node.module or ""
                used |= {room, *(f"{room}.{alias.name}" for alias in node.names)} & files.keys()
        found.update(used - {name})
    return found


@contextmanager
def visited() -> Iterator[set[str]]:
    """The package's files whose functions are called meanwhile, in all threads; what imports run is left out."""
    found: set[str] = set()
    codes: set[CodeType] = set()
    inside = f"{PACKAGE}/"

    def see(frame: FrameType, event: str, _argument: object) -> None:
        code = frame.f_code
        if event != "call" or code in codes:
            return
        codes.add(code)
        if code.co_filename.startswith(inside) and not _is_of_import(frame):
            found.add(code.co_filename.removeprefix(inside))

    threading.setprofile(see)
    sys.setprofile(see)
    try:
        yield found
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def _is_of_import(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_name in {"<module>", "_find_and_load"} and frame.f_code.co_filename != __file__:
            return not frame.f_code.co_filename.endswith("runpy.py")
        if frame.f_code.co_filename == __file__:
            return False
        frame = frame.f_back
    return False


def walks() -> Iterator[tuple[str, set[str]]]:
    """What is done, and the files it ran through."""
    from redirectd.cli.main import run

    with tempfile.TemporaryDirectory(prefix="redirectd-structure-") as folder:
        config = Path(folder) / "redirectd.toml"
        config.write_text(CONFIG)

        def command(*words: str) -> Callable[[], int]:
            return lambda: run(["--config", str(config), *words])

        for name, act in (
            ("ingest", command("ingest", "--accept-unkeyed", str(LOG))),
            ("approve", command("approve", "1", "--reason", "a walk", "--force")),
            ("plan", command("plan")),
            ("apply", command("apply")),
        ):
            with visited() as files, redirect_stdout(StringIO()):
                code = act()
            yield f"{name} (ends with {code})", files


def main() -> None:
    """Prints the counts."""
    files = modules()
    lengths = {name: len(file.read_text().splitlines()) for name, file in files.items()}
    once = [name for name, count in users(files).items() if count == 1]
    for what, count in (
        ("files", len(files)),
        ("lines", sum(lengths.values())),
        (f"files under {SHORT} lines", sum(count < SHORT for count in lengths.values())),
        ("files imported by exactly one other", len(once)),
        ("of these under 60 lines", sum(lengths[name] < 60 for name in once)),
        *((f"files that {what} runs through", len(seen)) for what, seen in walks()),
    ):
        sys.stdout.write(f"{what}: {count}\n")


if __name__ == "__main__":
    main()
