"""Wheel and source archive: everything that is needed is in them, and the wheel works where no tree is."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path
from runpy import run_path

import pytest

from redirectd.store import migrate
from tests.packaging.conftest import ROOT

pytestmark = pytest.mark.xdist_group("packaging")


def tracked(*folders: str) -> set[str]:
    """The files under version control in these folders."""
    done = subprocess.run(["git", "-C", str(ROOT), "ls-files", *folders], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("this is not a git checkout")
    return {name for name in done.stdout.splitlines() if (ROOT / name).exists()}


def test_the_wheel_holds_the_program_and_its_migrations(archives: Path) -> None:
    """Every file of redirectd/ (snippets, demo logs, py.typed), the migrations in redirectd/migrations, no tests."""
    (wheel,) = archives.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert tracked("redirectd") <= names
    assert {"redirectd/migrations/" + name.partition("/")[2] for name in tracked("alembic")} <= names
    assert {f"redirectd/{name}" for name in tracked("systemd", "examples")} <= names, "for redirectd init --systemd"
    assert "redirectd/py.typed" in names
    assert not [name for name in names if name.startswith(("tests/", "alembic/")) or "__pycache__" in name]


def test_the_source_archive_holds_what_builds_and_tests_it(archives: Path) -> None:
    """All that is under version control but what belongs to the repository alone; `make test` needs .ci, too."""
    (archive,) = archives.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    wanted = {name for name in tracked() if not name.startswith(".") or name.startswith(".ci/")}
    assert wanted <= names, sorted(wanted - names)[:10]


def page_of(home: str) -> str:
    """README.md as a package page shows it."""
    found: str = run_path(str(ROOT / "packaging/metadata.py"))["on_page"]((ROOT / "README.md").read_text(), home, "9.9")
    return found


def test_no_link_of_the_package_page_leads_nowhere(archives: Path) -> None:
    """A package page has no files beside it: no link or picture of it is relative."""
    (wheel,) = archives.glob("*.whl")
    (name,) = [one for one in zipfile.ZipFile(wheel).namelist() if one.endswith(".dist-info/METADATA")]
    page = zipfile.ZipFile(wheel).read(name).decode()
    assert "Five minutes" in page
    assert not re.findall(r"\]\((?!https://)[^)]*\)", page)


def test_links_of_the_package_page_are_of_the_release() -> None:
    """With the repository's address each link is absolute and of the version's tag, and leads to a file."""
    home = "https://git.example.net/x/redirectd"
    page = page_of(home)
    links = re.findall(r"\]\((\S*?)(?:#\S*)?\)", page)
    paths = [re.sub(rf"^{home}/(?:blob|raw)/v9\.9/", "", one) for one in links]
    assert len(paths) > 30
    assert all((ROOT / path).exists() for path in paths), paths
    assert f"]({home}/raw/v9.9/docs/pictures/" in page


def test_the_wheel_works_by_itself(archives: Path, tmp_path: Path) -> None:
    """Installed in an environment of its own, away from the tree: version, upgrade of a database, and the demo."""
    (wheel,) = archives.glob("*.whl")
    home = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    python = home / "bin/python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, "--no-index", "--no-deps", str(wheel)], check=True)
    # The dependencies are those of this test run; that they are named rightly the Debian package shows.
    (site,) = home.glob("lib/python3*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    config = tmp_path / "redirectd.toml"
    config.write_text('[database]\nurl = "sqlite:///new.db"\n')

    def redirectd(*words: str) -> str:
        done = subprocess.run(
            [home / "bin/redirectd", *words], capture_output=True, text=True, cwd=tmp_path, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = subprocess.run(
        [python, "-c", "import redirectd; print(redirectd.__file__)"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    assert where.stdout.startswith(str(home))
    assert json.loads(redirectd("--config", str(config), "db", "upgrade", "--json"))["after"] == migrate.head()
    assert "modparam" in redirectd("snippet", "kamailio")
    redirectd("demo", "--folder", str(tmp_path / "demo"))
