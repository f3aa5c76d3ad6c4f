"""What the package page shows: README.md with its links made absolute, and the project's addresses.

A package page has no files beside it, so a relative link leads nowhere there. `home` of pyproject.toml is where the
repository is browsed; without it a link becomes its text, and the page says where the documentation is.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|#)([^)\s]+)\)")
_CODE = re.compile(r"(?ms)^ *```.*?^ *```$|`[^`\n]*`")
_BESIDE = (
    "The documentation is in `docs/` of the source archive; the Debian package has it in /usr/share/doc/redirectd.\n"
)


def on_page(text: str, home: str, version: str) -> str:
    """The text for a package page: pages and pictures are those of the version's tag below `home`."""

    def written(match: re.Match[str]) -> str:
        mark, words, path = match.groups()
        if home:
            return f"{mark}[{words}]({home}/{'raw' if mark else 'blob'}/v{version}/{path})"
        return "" if mark else words

    parts, done = [], 0
    for code in _CODE.finditer(text):  # what is shown as code has no links
        parts += [_LINK.sub(written, text[done : code.start()]), code[0]]
        done = code.end()
    page = "".join([*parts, _LINK.sub(written, text[done:])])
    return page if home else f"{page}\n{_BESIDE}"


def addresses(home: str) -> dict[str, str]:
    """The `[project.urls]` of a repository."""
    return {
        "Homepage": home,
        "Documentation": f"{home}/blob/HEAD/docs/index.md",
        "Changelog": f"{home}/blob/HEAD/CHANGELOG.md",
        "Issues": f"{home}/issues",
        "Security": f"{home}/blob/HEAD/SECURITY.md",
    }


class PageMetadata(MetadataHookInterface):
    """Gives hatchling the two fields."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set `readme` and, where `home` is known, `urls`."""
        home = str(self.config.get("home", "")).rstrip("/")
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        page = on_page(text, home, str(metadata["version"]))
        metadata["readme"] = {"content-type": "text/markdown", "text": page}
        metadata["urls"] = addresses(home) if home else {}
