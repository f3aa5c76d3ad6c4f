"""The same call read from Asterisk's log and from its consoles: kept by systemd or `tee`, or watched on a terminal."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pexpect
import pytest

from tests.peers.conftest import Answer, StartAsterisk
from tests.peers.lab.asterisk import Asterisk, Setup, dial_plan
from tests.peers.lab.process import LabError
from tests.peers.lab.sip_message import Message
from tests.peers.lab.sip_peers import RINGS_AND_ANSWERS, Reply, moved_to, place_call
from tests.peers.operator import Operator

DATED_HEADER = b"] <--- "

pytestmark = pytest.mark.peer("asterisk")


@contextmanager
def watched(server: Asterisk, kept: Path, switch: str) -> Iterator[None]:
    """A terminal with a remote console on it, all it shows going to `kept` until both calls' messages are there."""
    with kept.open("wb") as out:
        console: pexpect.spawn[bytes] = pexpect.spawn(
            "asterisk",
            ["-C", str(server.config_file), switch],
            dimensions=(50, 160),
            env={**os.environ, "TERM": "xterm"},
        )
        console.logfile_read = out
        try:
            console.expect_exact("CLI> ", timeout=20)
            yield
            deadline = time.monotonic() + 20
            while kept.read_bytes().count(b"BYE sip:") < 2:
                if time.monotonic() > deadline:
                    raise LabError(f"the console does not show the end of the call: {kept.read_bytes()[-2000:]!r}")
                with suppress(pexpect.TIMEOUT):
                    console.read_nonblocking(65_536, timeout=0.2)
                out.flush()
        finally:
            console.close(force=True)


@pytest.mark.parametrize("dated", [False, True])
def test_a_console_tells_what_the_log_tells(
    dated: bool, start_asterisk: StartAsterisk, answering_side: Answer, loopback_address: str, tmp_path: Path
) -> None:
    """R1, R3: a 301 and a 183 are read from standard output and a terminal as from the log, with `-T` and without."""
    new = answering_side(RINGS_AND_ANSWERS)

    def moves(_: Message) -> list[Reply]:
        moved = moved_to(f"<sip:new@{new.address}:{new.port}>")
        return [Reply(183, "Session Progress", with_sdp=True), *moved]

    old = answering_side(moves)
    dates = ("-T",) if dated else ()
    plan = dial_plan((old.address, old.port))
    server = start_asterisk(Setup(plan, redirect_method="uri_pjsip", switches=("-vvv", *dates)))
    server.rx("pjsip set logger on")
    terminal = tmp_path / "terminal"
    with watched(server, terminal, "-rvvvT" if dated else "-rvvv"):
        assert place_call(loopback_address, (server.address, server.port), "sip:bob@lab.test").status == 200
    server.stop()  # what is on its way to a file is there then
    assert (DATED_HEADER in server.output.read_bytes(), DATED_HEADER in terminal.read_bytes()) == (dated, dated)
    for source in (server.full_log, server.output, terminal):
        folder = tmp_path / f"of-{source.name}"
        folder.mkdir()
        operator = Operator(folder)
        operator.configure()
        read = operator.json("ingest", str(source))
        assert (source.name, read["sightings"], read["session_progress"]) == (source.name, 1, 1)
        [remap] = operator.pending()
        assert remap["old_uri"] == f"sip:bob@{old.address}:{old.port}"
        assert remap["new_uri"] == f"sip:new@{new.address}:{new.port}"
