"""A remap past its review date is told everywhere, and keeps routing."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

from tests.peers.lab.loopback import free_port, own_address
from tests.service.service import ROOT, Service, until

POLICY = """
[policy]
trusted_peers = ["127.0.0.0/8"]
allowed_target_networks = ["127.0.0.0/8"]
revalidate_after = "1s"
[[target]]
name = "moved"
kind = "kamailio-htable"
path = "moved.txt"
reload = "none"
"""


def redirectd(service: Service, *words: str) -> str:
    command = [sys.executable, "-m", "redirectd", "--config", str(service.config), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_r36_stale_is_shown_by_status_pending_and_metrics_and_routes_on(tmp_path: Path, corpus: Path) -> None:
    """R36: a second after its approval the remap is due for review: status, pending, the metrics say so; it routes."""
    address = own_address()
    listen = f"{address}:{free_port(address, start=9400)}"
    service = Service(tmp_path)
    service.configure(POLICY)
    service.config.write_text(
        service.config.read_text().replace("[daemon]\n", f'[daemon]\nmetrics_listen = "{listen}"\n')
    )
    service.log.write_bytes((corpus / "kamailio/snippet-all-cases.log").read_bytes())

    def metric() -> str:
        with urllib.request.urlopen(f"http://{listen}/metrics", timeout=30) as page:
            lines: list[str] = page.read().decode().splitlines()
        return next(line for line in lines if line.startswith("redirectd_remaps_stale "))

    def asked(*words: str) -> Any:
        return json.loads(redirectd(service, *words, "--json"))

    with service:
        service.until_status(lambda status: (status["remaps"] or {}).get("pending"), "it reads")
        assert metric() == "redirectd_remaps_stale 0.0"
        chosen = next(one for one in asked("pending")["remaps"] if set(one["flags"]) <= {"unkeyed"})
        redirectd(service, "approve", str(chosen["id"]), "--reason", "test")
        service.until_status(lambda status: status["stale"] == 1, "the status tells it")
        until(lambda: metric() == "redirectd_remaps_stale 1.0", "the metrics tell it")
        assert "past their review date: 1" in redirectd(service, "status")
        assert "stale" in redirectd(service, "pending")
        assert asked("list", "--state", "approved")["remaps"][0]["flags"] == ["stale", "unkeyed"]
        assert asked("plan")["targets"][0]["create"] == 1
        assert service.stop() == 0
