"""An approved target that answers 404, 410, 604 or 301 again, followed by the real service to its next apply."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.collect.logs import received, request, response, sent
from tests.service.service import Service, until

CONFIG = """
node = "test"
[database]
url = "sqlite:///redirectd.db"
[daemon]
socket = "status.sock"
[schedule]
apply = "* * * * *"
[limits]
max_change_percent = 100
[[source]]
name = "full"
path = "full.log"
timezone = "UTC"
[[target]]
name = "moved"
kind = "kamailio-htable"
path = "moved.txt"
reload = "none"
[policy]
trusted_peers = ["192.0.2.0/24"]
{policy}
"""
OLD, NEW, NEXT = "sip:old@gw.test", "sip:new@place.test", "sip:newest@place.test"
OTHER_OLD, OTHER_NEW = "sip:fine@gw.test", "sip:fine@place.test"


class Host(Service):
    """A service, its log and its commands."""

    def redirectd(self, *words: str) -> Any:
        """What a command answers as JSON."""
        command = [sys.executable, "-m", "redirectd", "--config", str(self.config), *words, "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def answer(self, name: str, status: str, uri: str, *contacts: str) -> None:
        """Asterisk writes down a call and its answer, now."""
        stamp = f"{datetime.now(UTC):%b %d %H:%M:%S}"
        branch = f"z9hG4bKPj{name}"
        asked = request(uri, call=name, branch=branch)
        told = response(status, *(f"<{contact}>" for contact in contacts), call=name, branch=branch)
        with self.log.open("ab") as log:
            log.write(sent(asked, stamp=stamp) + received(told, stamp=stamp))

    def remap(self, old: str) -> dict[str, Any]:
        """The newest remap of an old URI."""
        found = [one for one in self.redirectd("list")["remaps"] if one["old_uri"] == old]
        return found[-1] if found else {}

    def routed(self) -> str:
        """The file that is installed."""
        file = self.folder / "moved.txt"
        return file.read_text() if file.exists() else ""

    def applies(self) -> int:
        """Scheduled applies so far."""
        document = self.until_status(lambda status: status["jobs"], "its jobs")
        return int(next(job["runs"] for job in document["jobs"] if job["name"] == "apply"))


def host(folder: Path, name: str, policy: str) -> Host:
    (folder / name).mkdir()
    (folder / name / "redirectd.toml").write_text(CONFIG.format(policy=policy))
    return Host(folder / name)


def begin(one: Host) -> None:
    """Two moves are learnt, approved and installed."""
    one.answer("first", "301 Moved Permanently", OLD, NEW)
    one.answer("second", "301 Moved Permanently", OTHER_OLD, OTHER_NEW)
    until(lambda: one.remap(OTHER_OLD), "the 301s are read")
    one.redirectd("approve", str(one.remap(OLD)["id"]), str(one.remap(OTHER_OLD)["id"]))
    one.redirectd("apply")
    assert "new@place.test" in one.routed()
    time.sleep(6)  # the log tells whole seconds, and the service looks for new decisions every five


def fail(one: Host) -> None:
    """Five calls to the new URI: each of the answers that say that it is none, one of them twice, and a busy one."""
    for number, status in enumerate(["404 Not Found", "404 Not Found", "410 Gone", "604 Does Not Exist Anywhere"]):
        one.answer(f"dead{number}", status, NEW)
    one.answer("dead0", "404 Not Found", NEW)
    one.answer("busy", "486 Busy Here", NEW)
    one.answer("again", "301 Moved Permanently", NEW, NEXT)
    until(lambda: one.remap(NEW), "the 301 of the target is read")


def test_a_failing_target_leaves_routing_at_the_next_apply_where_configured(tmp_path: Path) -> None:
    """R35: flagged with its figures, shown first, suspended by the scheduled apply only where the policy says so."""
    kept, suspended = host(tmp_path, "kept", ""), host(tmp_path, "suspended", "suspend_failing_after = 4")
    with kept, suspended:
        for one in (kept, suspended):
            one.until_notified("READY")
            begin(one)
        for one in (kept, suspended):
            fail(one)
        waiting = kept.remap(NEW)["id"]
        first = kept.redirectd("pending")["remaps"][0]
        assert (first["old_uri"], first["state"]) == (OLD, "approved")
        told = first["reasons"]["failing"]
        assert told.startswith("its target has answered 404 in 2 calls, last ")
        for figure in ("; 410 in one call, ", "; 604 in one call, ", "; 301 in one call, ", f" (see remap {waiting})"):
            assert figure in told
        assert [one["id"] for one in kept.redirectd("list", "--flag", "failing")["remaps"]] == [first["id"]]
        assert kept.redirectd("status")["failing"]["worst"] == [first["id"]]

        before = kept.applies()
        until(lambda: "new@place.test" not in suspended.routed(), "the apply that suspends", 90)
        until(lambda: kept.applies() > before, "the apply that does not", 90)

        assert "fine@place.test" in suspended.routed()
        gone = suspended.remap(OLD)
        assert gone["state"] == "revoked"
        entry = suspended.redirectd("show", str(gone["id"]))["audit"][-1]
        assert (entry["actor"], entry["action"]) == ("redirectd", "revoke")
        assert "suspend_failing_after = 4" in entry["reason"]
        assert "604 in one call" in entry["reason"]
        assert kept.remap(OLD)["state"] == "approved"
        assert "new@place.test" in kept.routed()
