"""Every command of README.md and docs/*.md runs, prints what the page shows, and ends as the page says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.elsewhere import ELSEWHERE, reason
from tests.docs.host import Host, first_missing
from tests.docs.page import LANGUAGES, ROOT, blocks, commands, pages
from tests.peers.conftest import postgresql_server, postgresql_url  # noqa: F401 - fixtures

DATABASE_SERVER = ROOT / "docs" / "howto-several-nodes.md"
WITH_MARIADB = [
    ROOT / "docs" / name
    for name in ("tutorial-asterisk-odbc.md", "tutorial-kamailio-mariadb.md", "howto-files-to-tables.md")
]
"""All of it is run by tests/peers/test_tutorials.py, on hosts with MariaDB and a server."""


def stories() -> Iterator[tuple[Path, str | None]]:
    """What is run in one place: whole pages, and README.md section by section, since each begins anew."""
    for page in pages():
        if page.name == "README.md":
            yield from ((page, section) for section in dict.fromkeys(block.section for block in blocks(page)))
        elif page not in (DATABASE_SERVER, *WITH_MARIADB):
            yield page, None


@pytest.fixture
def host(tmp_path: Path, corpus: Path) -> Host:
    """A host with the logs of the corpus and both servers' folders."""
    return Host(tmp_path, corpus)


@pytest.mark.parametrize(
    ("page", "section"), list(stories()), ids=lambda value: value.name if isinstance(value, Path) else str(value)
)
def test_commands_do_what_the_page_shows(page: Path, section: str | None, host: Host) -> None:
    """The commands of a page run in its order, in one place, and show what the page shows."""
    parts = [block for block in blocks(page) if section in {None, block.section}]
    planned = [item for block in parts if block.language == "console" for item in commands(block)]
    assert host.play(parts, page.name) == sum(reason(command.text) is None for command in planned)


@pytest.mark.peer("postgresql")
@pytest.mark.xdist_group("postgresql")
def test_commands_with_a_database_server(host: Host, postgresql_url: str) -> None:  # noqa: F811 - the fixture
    """The page on several nodes, with a PostgreSQL of the test's own."""
    host.replaced = {"postgresql+psycopg://redirectd@db.example.net/redirectd": postgresql_url}
    assert host.play(blocks(DATABASE_SERVER), DATABASE_SERVER.name) > 0


def test_commands_stand_in_console_blocks() -> None:
    """No command hides from these tests: blocks have a language that is known, and `$ ` stands in console blocks."""
    for page in pages():
        for block in blocks(page):
            assert block.language in LANGUAGES, f"{page.name}:{block.line}"
            if block.language != "console":
                assert not re.search(r"(?m)^\$ ", block.text), f"{page.name}:{block.line}"
        outside = re.sub(r"(?ms)^ *```.*?^ *```$", "", page.read_text(encoding="utf-8"))
        assert not re.search(r"(?m)^ {4,}(redirectd|make|systemctl|\$) ", outside), page.name


def test_the_table_of_commands_not_run_is_not_stale() -> None:
    """Every entry of the table is about a command that a page has."""
    texts = [
        command.text
        for page in pages()
        for block in blocks(page)
        if block.language == "console"
        for command in commands(block)
    ]
    unused = [pattern for pattern in ELSEWHERE if not any(re.match(pattern, text) for text in texts)]
    assert unused == []


def test_links_lead_somewhere() -> None:
    """Every relative link of a page, also of those beside README.md, is a file of the project."""
    for page in {*pages(), *ROOT.glob("*.md"), *(ROOT / "docs/decisions").glob("*.md")}:
        prose = re.sub(r"`[^`]*`", "", page.read_text(encoding="utf-8"))  # `[global](+)` is Asterisk's, no link
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", prose):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_contributing_names_what_there_is() -> None:
    """Each path of CONTRIBUTING.md is there, and each table that a recipe adds to has that name in the code."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    paths = re.findall(r"`((?:redirectd|tests|alembic|docs|packaging|systemd)/[\w./-]+)`", text)
    missing = [path for path in paths if not re.search("NAME|NNNN|PROGRAM", path) and not (ROOT / path).exists()]
    assert len(paths) > 40
    assert missing == []
    files = [file for room in ("redirectd", "tests") for file in (ROOT / room).rglob("*.py")]
    assert set(re.findall(r"`([a-z_]+\.py)`", text)) <= {file.name for file in files}
    code = "\n".join(file.read_text() for file in files)
    tables = set(re.findall(r"`(_?[A-Z][A-Z_]{2,})`", text)) - {"SAMPLE"}
    assert len(tables) > 12
    assert {name for name in tables if not re.search(rf"(?m)^ *{name}(?:: .*)? = ", code)} == set()


def test_what_is_shown_is_compared() -> None:
    """The comparison finds a line that is not printed, or not in that order, and takes another time or speed."""
    printed = "read 1,024 bytes in 0.10 s (9 MB/s)\nsecond   line\nthird at 2026-11-22 16:26\n"
    assert first_missing(["read 7 bytes in 2.30 s (1 MB/s)", "...", "third at 2001-01-01 00:00"], printed) is None
    assert first_missing(["third at 2001-01-01 00:00", "second line"], printed) == "second line"
    assert first_missing(["other"], printed) == "other"
