"""The metrics page is what Prometheus reads."""

from __future__ import annotations

import re
import socket
import stat
import urllib.request
from contextlib import ExitStack
from pathlib import Path

import pytest
from prometheus_client import Metric

from redirectd.errors import ConfigError, InstallError
from redirectd.service.metrics import ASKERS, MetricsServer, families, page, write_textfile
from tests.service.test_examples import STATUS


def metric(value: float, label: str = "pending") -> Metric:
    made = Metric("redirectd_remaps", "Remaps by state.", "gauge")
    made.add_sample(made.name, {"state": label}, value)
    return made


def test_text_format() -> None:
    """HELP, TYPE and one line a sample; nothing for what is not known."""
    assert page([metric(3), Metric("redirectd_nothing", "Left out.", "gauge")]) == (
        "# HELP redirectd_remaps Remaps by state.\n"
        "# TYPE redirectd_remaps gauge\n"
        'redirectd_remaps{state="pending"} 3.0\n'
    )


def test_label_values_are_escaped() -> None:
    """A hostile source name or kind can't end the line or the label."""
    hostile = STATUS["sources"][0] | {"name": 'a"b\\c\nd\ud800'}
    text = page(families(STATUS | {"sources": [hostile]}))
    (line,) = [line for line in text.splitlines() if line.startswith("redirectd_source_up")]
    assert re.fullmatch(r'redirectd_source_up\{source="(?:[^"\\\n]|\\["\\n])*"\} 0.0', line)
    text.encode("utf-8")


def test_textfile_is_whole_readable_and_alone(tmp_path: Path) -> None:
    """node_exporter, another user, finds the whole page, and nothing else is left in its folder."""
    path = tmp_path / "redirectd.prom"
    write_textfile(path, [metric(1)])
    write_textfile(path, [metric(2)])
    assert path.read_text() == page([metric(2)])
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert list(tmp_path.iterdir()) == [path]


def test_textfile_that_cannot_be_written_says_what_to_do(tmp_path: Path) -> None:
    """A folder that is not there is named with a remedy."""
    with pytest.raises(InstallError) as caught:
        write_textfile(tmp_path / "none" / "redirectd.prom", [metric(1)])
    assert str(tmp_path / "none") in caught.value.what_to_do


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_http(host: str) -> None:
    """A scrape over HTTP gives the page in the format's content type; other paths give 404; closing frees the port."""
    server = MetricsServer(f"{host}:0", lambda: [metric(3)])
    server.start()
    with urllib.request.urlopen(f"http://{host}:{server.port}/metrics", timeout=5) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert answer.read().decode() == page([metric(3)])
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"http://{host}:{server.port}/etc", timeout=5)
    port = server.port
    server.close()
    MetricsServer(f"{host}:{port}", list).close()


def test_http_port_in_use_is_a_configuration_fault() -> None:
    """A port that somebody else has is refused with the key's name."""
    server = MetricsServer("127.0.0.1:0", list)
    with pytest.raises(ConfigError, match=r"daemon\.metrics_listen"):
        MetricsServer(f"127.0.0.1:{server.port}", list)
    server.close()


def test_slow_askers_keep_nobody_out() -> None:
    """One that says nothing, or half a request, does not hold up a scrape; more than the bound are hung up on."""
    server = MetricsServer("127.0.0.1:0", lambda: [metric(3)])
    server.start()
    with ExitStack() as slow:
        for _ in range(ASKERS - 1):
            asker = slow.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            asker.sendall(b"GET /metrics HTTP/1.1\r\nX: ")
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=5) as answer:
            assert answer.read().decode() == page([metric(3)])
        asker.settimeout(30)
        assert asker.recv(1) == b"", "its deadline has passed"
    server.close()
