"""The container's files: the entrypoint keeps approvals from being lost, and the compose files mount folders alone."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

FILES = Path(__file__).parents[2] / "packaging" / "container"
MOUNTED = "36 35 98:0 /v {} rw - ext4 /dev/sda1 rw\n"


def entrypoint(folder: Path, mounts: str, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Runs the entrypoint with a `redirectd` that prints its arguments."""
    (folder / "redirectd").write_text('#!/bin/sh\necho "redirectd $*"\n')
    (folder / "redirectd").chmod(0o755)
    (folder / "mountinfo").write_text(mounts)
    known = {"PATH": f"{folder}:{os.environ['PATH']}", "REDIRECTD_MOUNTS": str(folder / "mountinfo")}
    command = [str(FILES / "entrypoint"), *words]
    return subprocess.run(command, env={**known, **environ}, capture_output=True, text=True, check=False)


def test_the_service_wants_a_volume(tmp_path: Path) -> None:
    """Without a volume for the database, or one elsewhere, the service does not start and says why; commands do."""
    refused = entrypoint(tmp_path, MOUNTED.format("/var/lib/redirectd/x") + MOUNTED.format("/"), "run")
    assert refused.returncode == 2
    assert "approval would be gone" in refused.stderr
    assert entrypoint(tmp_path, MOUNTED.format("/"), "status").stdout == "redirectd status\n"
    assert entrypoint(tmp_path, MOUNTED.format("/var/lib/redirectd"), "run").stdout == "redirectd run\n"
    url = "postgresql+psycopg://redirectd@db/redirectd"
    assert entrypoint(tmp_path, "", "run", REDIRECTD_DATABASE_URL=url).stdout == "redirectd run\n"


@pytest.mark.parametrize("name", ["compose.kamailio.yaml", "compose.asterisk.yaml"])
def test_compose_files(name: str) -> None:
    """redirectd runs as a number, without rights and with a read-only root; no routing file is mounted by itself."""
    text = (FILES / name).read_text()
    own = text.partition("\n  redirectd:\n")[2].partition("\nvolumes:\n")[0]
    for line in ('user: "870:870"', "read_only: true", "cap_drop: [ALL]", "no-new-privileges:true"):
        assert line in own, line
    mounts = re.findall(r"^      - ([^\s:]+):([^\s:]+)", text, re.MULTILINE)
    assert [inside for _, inside in mounts if re.search(r"\.(conf|cfg|list)$|_htable$", inside)] == []
    named = {volume for volume, _ in mounts if not volume.startswith((".", "/"))}
    assert named == set(re.findall(r"^  (\w+):$", text.partition("\nvolumes:\n")[2], re.MULTILINE))


def test_the_containerfile_runs_as_a_number() -> None:
    """The image's user is that of the compose files, and its health is the one command for that."""
    text = (FILES / "Containerfile").read_text()
    assert "USER 870:870" in text
    assert '"status", "--healthy"' in text
    copied = re.findall(r"^COPY(?: --\S+)* (\S+) ", text, re.MULTILINE)
    assert [path for path in copied if not (FILES.parents[1] / path).exists()] == []
