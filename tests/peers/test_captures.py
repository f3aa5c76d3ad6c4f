"""The same packets read from a capture file and from what the real ngrep and sngrep made of it."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import pexpect
import pyte
import pytest

from tests.peers.lab.process import LabError
from tests.peers.operator import Operator

CAPTURES = Path(__file__).parents[1] / "corpus" / "captures"
MOVED = {
    "tcp": "sip:bob@127.9.0.3:5070;transport=tcp",
    "ipv6": "sip:bob@[::1]:5070",
    "topoh": "sip:bob@127.9.0.3:5070",
}
"""By capture: the URI that its answering side was asked for three times, which answered 183 and 301 each time."""
F2 = "\x1bOQ"
"""As the terminal type sends it that sngrep is given."""

FIELDS_TO_TXT = 5
"""From the file name over the choices of dialogs and the pcap formats."""


def ngrep(capture: Path, folder: Path, *switches: str) -> Path:
    """The text of `ngrep -W byline`."""
    out = folder / "ngrep.txt"
    with out.open("wb") as text:
        subprocess.run(
            ["ngrep", "-I", str(capture), "-W", "byline", *switches],
            stdout=text,
            stderr=subprocess.DEVNULL,
            timeout=60,
            check=True,
        )
    return out


def sngrep(capture: Path, folder: Path) -> Path:
    """What a person gets who opens a capture, presses F2, types a file name, chooses `.txt` and saves."""
    with Sngrep(capture, folder) as screen:
        screen.until("bob@lab.test")
        screen.press(F2, "Save capture")
        screen.press("s", "Filename: s ")
        for _ in range(FIELDS_TO_TXT):
            screen.press("\t")
        screen.press(" ", "(*) .txt")
        screen.press("\t")
        screen.press("\r", "s.txt")
    return folder / "s.txt"


class Sngrep:
    """sngrep on a terminal of its own, whose screen is looked at until it shows what a key should have done."""

    def __init__(self, capture: Path, folder: Path) -> None:
        environ = {**os.environ, "TERM": "xterm", "HOME": str(folder)}
        self._child: pexpect.spawn[bytes] = pexpect.spawn(
            "sngrep", ["-I", str(capture)], dimensions=(40, 120), env=environ, cwd=str(folder)
        )
        self._screen = pyte.Screen(120, 40)
        self._stream = pyte.ByteStream(self._screen)

    def press(self, key: str, shown: str = "") -> None:
        """Sends a key and waits for what it shows."""
        self._child.send(key)
        self.until(shown)

    def until(self, shown: str) -> None:
        """Waits, a tenth of a second at least, until a text stands on the screen."""
        deadline = time.monotonic() + 20
        while True:
            self._look()
            if shown in "\n".join(self._screen.display):
                return
            if time.monotonic() > deadline:
                raise LabError(f"sngrep does not show {shown!r}:\n" + "\n".join(self._screen.display))

    def _look(self) -> None:
        until = time.monotonic() + 0.1
        while (left := until - time.monotonic()) > 0:
            with suppress(pexpect.TIMEOUT):
                self._stream.feed(self._child.read_nonblocking(65_536, timeout=left))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._child.close(force=True)


EXPORTS: dict[str, Callable[[Path, Path], Path]] = {
    "capture": lambda capture, folder: capture,
    "ngrep -t -q": lambda capture, folder: ngrep(capture, folder, "-t", "-q"),
    "ngrep -q": lambda capture, folder: ngrep(capture, folder, "-q"),
    "ngrep": ngrep,
    "sngrep": sngrep,
}


@pytest.mark.peer("ngrep", "sngrep")
@pytest.mark.parametrize("export", EXPORTS.values(), ids=EXPORTS.keys())
@pytest.mark.parametrize("name", MOVED)
def test_a_capture_tells_the_same_in_every_spelling(
    name: str, export: Callable[[Path, Path], Path], operator: Operator
) -> None:
    """R8: two Kamailios relayed three calls by TCP, IPv6, or with hidden Vias (topoh); each 301 counts once."""
    operator.configure()
    read = operator.json("ingest", str(export(CAPTURES / f"{name}.pcap", operator.folder)))
    assert (read["sightings"], read["refused"], read["session_progress"]) == (3, 0, 3)
    [remap] = operator.pending()
    assert (remap["old_uri"], remap["new_uri"]) == (MOVED[name], "sip:new@127.9.0.7:5090")
