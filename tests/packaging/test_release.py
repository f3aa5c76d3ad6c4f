"""A release: made from a tag into a folder, and refused where it would not be what it says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from tests.packaging.conftest import ROOT

pytestmark = pytest.mark.xdist_group("packaging")

VERSION = "0.888.0"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository of this tree at another version, whose changelog has a part for it; committed and tagged."""
    made = tmp_path / "tree"
    made.mkdir()
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, made / name, follow_symlinks=False)
    for name, old, new in (
        ("pyproject.toml", r'(?m)^version = ".*"$', f'version = "{VERSION}"'),
        ("CHANGELOG.md", r"## Unreleased", f"## {VERSION} (2027-01-31)"),
    ):
        text, found = re.subn(old, new, (made / name).read_text(), count=1)
        assert found == 1
        (made / name).write_text(text)
    git(made, "init", "--quiet")
    git(made, "add", "--all")
    git(made, "commit", "--quiet", "-m", "Release")
    git(made, "tag", "-a", f"v{VERSION}", "-m", f"redirectd {VERSION}")
    return made


def git(tree: Path, *arguments: str) -> None:
    """Runs git there as somebody."""
    somebody = ("-c", "user.name=t", "-c", "user.email=t@example.invalid")
    subprocess.run(["git", *somebody, *arguments], cwd=tree, check=True)


def release(tree: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Makes the release; the Debian package has tests of its own."""
    environment = os.environ | {"PYTHON": sys.executable, "WITHOUT_DEB": "1"}
    command = [str(tree / "packaging/release"), str(folder)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)


def test_a_release_from_its_tag(tree: Path, tmp_path: Path) -> None:
    """All parts are there, checksums hold, SBOM and provenance name what is in them, the notes are the version's."""
    folder = tmp_path / "out"
    done = release(tree, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    parts = {
        f"redirectd-{VERSION}.tar.gz",
        f"redirectd-{VERSION}-py3-none-any.whl",
        "sbom.json",
        "NOTES.md",
        "provenance.json",
    }
    assert {one.name for one in folder.iterdir()} == parts | {"SHA256SUMS"}
    sums = (folder / "SHA256SUMS").read_text().splitlines()
    assert set(sums) == {f"{sha256((folder / name).read_bytes()).hexdigest()}  {name}" for name in parts}
    bom = json.loads((folder / "sbom.json").read_text())
    assert (bom["bomFormat"], bom["metadata"]["component"]["name"]) == ("CycloneDX", "redirectd")
    assert {"sqlalchemy", "alembic", "psycopg"} <= {one["name"] for one in bom["components"]}
    statement = json.loads((folder / "provenance.json").read_text())
    digests = {one["name"]: one["digest"]["sha256"] for one in statement["subject"]}
    archives = parts - {"provenance.json"}
    assert digests == {name: sha256((folder / name).read_bytes()).hexdigest() for name in archives}
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=tree, capture_output=True, text=True, check=True).stdout
    [source] = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert source["digest"] == {"gitCommit": commit.strip()}
    notes = (folder / "NOTES.md").read_text()
    assert "301" in notes
    assert not re.search(r"(?m)^## ", notes)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        ("echo >>README.md", "changes that are not committed"),
        (f"git tag -d v{VERSION}", "does not have the tag"),
        ("sed -i 's/^## 0.888.0.*/## Unreleased/' CHANGELOG.md; git commit -qam x; git tag -fam x v0.888.0", "no part"),
        ("mkdir -p ../out; touch ../out/old.whl", "is not empty"),
    ],
)
def test_what_would_not_be_the_release_is_refused(tree: Path, tmp_path: Path, spoil: str, why: str) -> None:
    """A changed tree, a commit without the tag, a changelog without the version, a folder with something in it."""
    somebody = {"GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@example.invalid"}
    somebody |= {name.replace("AUTHOR", "COMMITTER"): value for name, value in somebody.items()}
    subprocess.run(["sh", "-ec", spoil], cwd=tree, env=os.environ | somebody, check=True, capture_output=True)
    done = release(tree, tmp_path / "out")
    assert done.returncode == 1
    assert why in done.stderr
    assert "what to do:" in done.stderr
    assert not list((tmp_path / "out").glob("redirectd-*"))
