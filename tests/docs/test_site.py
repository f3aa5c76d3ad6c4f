"""The documentation as a site."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.docs.page import ROOT, pages


def test_the_site_builds_strictly(tmp_path: Path) -> None:
    """Each page is in the navigation, and each link and anchor leads somewhere."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    assert (tmp_path / "site" / "search" / "search_index.json").stat().st_size > 0


def test_the_index_leads_to_every_page() -> None:
    """A reader of docs/index.md, without the site, finds each page by what he wants to do."""
    linked = set(re.findall(r"\]\(([\w-]+\.md)", (ROOT / "docs" / "index.md").read_text(encoding="utf-8")))
    assert {page.name for page in pages() if page.parent.name == "docs"} - linked == {"index.md"}
