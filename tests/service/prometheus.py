"""A real Prometheus and a real node_exporter beside the service, and their answers."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.peers.lab.loopback import free_port, own_address
from tests.service.service import until

PROGRAMS = ("prometheus", "prometheus-node-exporter", "promtool")


def missing() -> list[str]:
    """The programs that are not installed, of Debian's packages prometheus and prometheus-node-exporter."""
    return [program for program in PROGRAMS if shutil.which(program) is None]


def new_address(start: int) -> str:
    """An address and port of this machine that nobody uses."""
    address = own_address()
    return f"{address}:{free_port(address, start=start)}"


class Prometheus:
    """Scrapes each second what it is told to."""

    def __init__(self, address: str) -> None:
        self._address = address

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that an expression gives now."""
        answer = self._ask("query?" + urllib.parse.urlencode({"query": expression}))
        found: list[dict[str, Any]] = answer["result"]
        return found

    def rules(self) -> dict[str, dict[str, Any]]:
        """The loaded alert rules by name, with their health."""
        return {rule["name"]: rule for group in self._ask("rules")["groups"] for rule in group["rules"]}

    def ready(self) -> bool:
        """Whether it answers."""
        try:
            return bool(self.query("vector(1)"))
        except OSError:
            return False

    def _ask(self, what: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://{self._address}/api/v1/{what}", timeout=30) as answer:
            data: dict[str, Any] = json.load(answer)["data"]
            return data


@contextmanager
def prometheus(folder: Path, rules: Path, jobs: dict[str, str]) -> Iterator[Prometheus]:
    """One that loads `rules` and scrapes the address of each job."""
    address = new_address(9500)
    scrapes = [{"job_name": job, "static_configs": [{"targets": [target]}]} for job, target in jobs.items()]
    config = folder / "prometheus.yml"  # JSON is YAML, too
    times = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config.write_text(json.dumps({"global": times, "rule_files": [str(rules)], "scrape_configs": scrapes}))
    command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}"]
    with _running([*command, f"--web.listen-address={address}"], folder / "prometheus.log"):
        server = Prometheus(address)
        until(server.ready, "Prometheus answers")
        yield server


@contextmanager
def node_exporter(folder: Path) -> Iterator[str]:
    """One that shows the files of `folder` and nothing else; its address."""
    address = new_address(9700)
    command = ["prometheus-node-exporter", f"--web.listen-address={address}", "--collector.disable-defaults"]
    command += ["--collector.textfile", f"--collector.textfile.directory={folder}"]
    with _running(command, folder / "node-exporter.log"):
        yield address


@contextmanager
def _running(command: list[str], log: Path) -> Iterator[None]:
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            yield
        finally:
            process.terminate()
            process.wait(30)
