"""The pre-flight on a real Asterisk: what it would not read as it is meant is not installed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from redirectd.apply.applier import Applier, ApplyRequest, Tools
from redirectd.apply.control import Channel, open_channel
from redirectd.apply.files import Files
from redirectd.apply.result import ApplyResult
from redirectd.plan.limits import Limits
from redirectd.plan.route import Route
from redirectd.plan.target import NOTHING, Rendered, Target
from redirectd.plan.target_spec import TargetSpec
from redirectd.store.database import Database
from redirectd.store.schema import metadata
from redirectd.targets.asterisk_dialplan import AsteriskDialplan
from redirectd.targets.asterisk_pjsip_aor import AsteriskPjsipAor
from tests.apply.apply_host import moves, outcomes, table
from tests.peers.conftest import StartAsterisk
from tests.peers.lab.asterisk import AMI_SECRET, AMI_USER, LOOK_UP, Asterisk, Setup

pytestmark = pytest.mark.peer("asterisk")


class Careless(AsteriskDialplan):
    """A target that writes `line` amid its rows and takes no notice of it when it reads its file back."""

    line = b"[unclosed\n"

    def render_over(self, routes: Sequence[Route], base: bytes | None, installed: bytes | None) -> Rendered:
        """Write the file with the line in it."""
        rendered = super().render_over(routes, base, installed)
        head, mark, tail = rendered.content.partition(b"[redirectd-map]")
        return Rendered(head + self.line + mark + tail, rendered.entries, token=rendered.token)

    def parse(self, content: bytes, like: Mapping[str, str] = NOTHING) -> Mapping[str, str]:
        """Read the file without the line."""
        return super().parse(content.replace(self.line, b""), like)


def _apply(server: Asterisk, folder: Path, target: Target, path: Path, count: int = 3) -> ApplyResult:
    def open_with_secret(spec: str, *, timeout: float) -> Channel:
        return open_channel(spec, timeout=timeout, password=AMI_SECRET)

    database = Database(f"sqlite:///{folder}/redirectd.db")
    metadata.create_all(database.engine)
    base = folder / "base.conf"
    control = f"ami://{AMI_USER}@{server.address}:{server.ami_port}"
    spec = TargetSpec("users", str(path), target, control=control, base=str(base) if base.exists() else None)
    tools = Tools(open_with_secret, lambda: datetime.now(UTC), time.monotonic, time.sleep, Files())
    applier = Applier(database, "here", [spec], Limits(), folder / "lock", tools)
    result = applier.apply(lambda: table(moves(count)), ApplyRequest(actor="tester"))
    database.close()
    return result


@pytest.mark.parametrize("line", [b"[unclosed\n", b"[other](unknown-template)\n", b";--\n", b"#include missing.conf\n"])
def test_what_asterisk_would_not_read_is_not_installed(
    start_asterisk: StartAsterisk, tmp_path: Path, line: bytes
) -> None:
    """A file that ends Asterisk's reading is stopped in the check, although it parses back; nothing is reloaded."""
    server = start_asterisk(Setup(LOOK_UP))
    target = Careless()
    target.line = line
    result = _apply(server, tmp_path, target, server.dialplan_file)
    assert (result.generation, outcomes(result)) == (None, {"users": "refused"})
    assert str(result.outcomes["users"].error).startswith("check: ")
    assert "Asterisk" in str(result.error)
    assert not server.dialplan_file.exists()
    assert [path.name for path in server.dialplan_file.parent.iterdir() if "redirectd-" in path.name] == []
    assert "no existence of" in server.rx("dialplan show generation@redirectd-map")


def test_what_asterisk_reads_goes_on(start_asterisk: StartAsterisk, tmp_path: Path) -> None:
    """A dialplan that Asterisk reads to its end is installed, reloaded and proven."""
    server = start_asterisk(Setup(LOOK_UP))
    assert outcomes(_apply(server, tmp_path, AsteriskDialplan(), server.dialplan_file)) == {"users": "verified"}


def test_aors_that_asterisk_reads_go_on(start_asterisk: StartAsterisk, tmp_path: Path) -> None:
    """So is a file of AORs, with parameters, comments and settings of the operator's."""
    server = start_asterisk(Setup(LOOK_UP))
    base = "[one]\ntype = aor\ncontact=sip:192.0.2.1\n[two]\ntype=aor ; mine\nqualify_frequency=0\n"
    base += "contact = sip:192.0.2.2:5070\\;transport=tcp\ncontact => sip:192.0.2.3\n"
    (tmp_path / "base.conf").write_text(base)
    result = _apply(server, tmp_path, AsteriskPjsipAor(), server.pjsip_file)
    assert (result.error, outcomes(result)) == (None, {"users": "verified"})
