"""The metrics page is what Prometheus reads, written by hand."""

from __future__ import annotations

import re
import stat
import urllib.request
from pathlib import Path

import pytest

from redirectd.errors import ConfigError, InstallError
from redirectd.service.metrics import Family, Sample, render, write_textfile
from redirectd.service.metrics_http import MetricsServer

PAGE = [
    Family("redirectd_remaps", "gauge", "Remaps by state.", (Sample(3, {"state": "pending"}), Sample(0.25))),
    Family("redirectd_nothing", "gauge", "Left out.", ()),
]


def test_text_format() -> None:
    """HELP, TYPE and one line a sample; whole numbers without a point; nothing for what is not known."""
    assert render(PAGE) == (
        "# HELP redirectd_remaps Remaps by state.\n"
        "# TYPE redirectd_remaps gauge\n"
        'redirectd_remaps{state="pending"} 3\n'
        "redirectd_remaps 0.25\n"
    )


def test_label_values_are_escaped() -> None:
    """A hostile source name or kind can't end the line or the label."""
    text = render([Family("m", "gauge", "h", (Sample(1, {"l": 'a"b\\c\nd\ud800'}),))])
    (line,) = [line for line in text.splitlines() if not line.startswith("#")]
    assert re.fullmatch(r'm\{l="(?:[^"\\\n]|\\["\\n])*"\} 1', line)
    text.encode("utf-8")


def test_textfile_is_whole_readable_and_alone(tmp_path: Path) -> None:
    """node_exporter, another user, finds the whole page, and nothing else is left in its folder."""
    path = tmp_path / "redirectd.prom"
    write_textfile(path, "a 1\n")
    write_textfile(path, "b 2\n")
    assert path.read_text() == "b 2\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert list(tmp_path.iterdir()) == [path]


def test_textfile_that_cannot_be_written_says_what_to_do(tmp_path: Path) -> None:
    """A folder that is not there is named with a remedy."""
    with pytest.raises(InstallError) as caught:
        write_textfile(tmp_path / "none" / "redirectd.prom", "a 1\n")
    assert str(tmp_path / "none") in caught.value.what_to_do


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_http(host: str) -> None:
    """A scrape over HTTP gives the page in the format's content type; other paths give 404; closing frees the port."""
    server = MetricsServer(f"{host}:0", lambda: render(PAGE))
    server.start()
    with urllib.request.urlopen(f"http://{host}:{server.port}/metrics", timeout=5) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert answer.read().decode() == render(PAGE)
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"http://{host}:{server.port}/etc", timeout=5)
    port = server.port
    server.close()
    MetricsServer(f"{host}:{port}", lambda: "").close()


def test_http_port_in_use_is_a_configuration_fault() -> None:
    """A port that somebody else has is refused with the key's name."""
    server = MetricsServer("127.0.0.1:0", lambda: "")
    with pytest.raises(ConfigError, match=r"daemon\.metrics_listen"):
        MetricsServer(f"127.0.0.1:{server.port}", lambda: "")
    server.close()
