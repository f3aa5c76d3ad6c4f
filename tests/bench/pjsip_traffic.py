"""A process that writes an Asterisk log and rotates it in every style, and knows each move that it wrote."""

from __future__ import annotations

import gzip
import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from redirectd.sources.file import siblings
from tests.sources.rotator import Writer

STYLES = ("rename", "rename-later", "rename-gz", "dated", "copytruncate", "copytruncate-gz")
KEPT = 60
"""Rotated files that are left on disk: more than are written between two kills, also of services that read little."""

_HEAD = "[{stamp}] VERBOSE[2630] res_pjsip_logger.c: <--- {kind} ({size} bytes) {way} UDP:192.0.2.7:5060 --->\n"
_NOISE = "[{stamp}] VERBOSE[3170][C-0000{number:04x}] app_dial.c: Called PJSIP/trunk/sip:{number}@192.0.2.7\n"


class Traffic(Writer):
    """Calls as they appear in a log: INVITE, now and then a 183, and a 301 to a number of its own.

    `moves` counts the calls by old and new URI: what a reader must have counted in the end, once each.
    """

    def __init__(self, path: Path, rng: random.Random) -> None:
        super().__init__(path)
        self.moves: Counter[tuple[str, str]] = Counter()
        self.rotations: Counter[str] = Counter()
        self.repeated = 0
        self._random = rng
        self._call = 0
        self._due: list[Iterator[bytes]] = []  # calls whose rest is still to be written

    def turn(self) -> None:
        """Write a few messages of calls that are under way, some of them in two halves."""
        if len(self._due) < 20:
            self._due += [self._new_call() for _ in range(self._random.randint(1, 4))]
        for call in self._random.sample(self._due, min(len(self._due), 6)):
            self._next_of(call)

    def finish(self) -> None:
        """Write what every call under way still owes."""
        while self._due:
            self._next_of(self._due[0])

    def rotate(self) -> None:
        """Rotate in some style, compress an older file now and then, and drop the oldest."""
        style = self._random.choice(STYLES)
        self.rotations[style] += 1
        if not self.path.exists():
            return
        if style.startswith("copytruncate"):
            self.copytruncate(packed=".gz" if style.endswith("gz") else "")
        else:
            to = self.dated() if style == "dated" else None
            self.rename(to=to, create=style != "rename-later", packed=".gz" if style.endswith("gz") else "")
        plain = [sibling.path for sibling in siblings(self.path) if sibling.path.suffix != ".gz"]
        if len(plain) > 2 and self._random.random() < 0.5:
            self.pack(plain[0])
        for sibling in siblings(self.path)[:-KEPT]:
            sibling.path.unlink()

    def pack(self, path: Path, suffix: str = ".gz") -> Path:
        """Compress as gzip(1) does, in steps: for a while both files are there, the packed one cut off."""
        packed = path.with_name(path.name + suffix)
        data, status = gzip.compress(path.read_bytes()), path.stat()
        with packed.open("wb") as sink:
            sink.write(data[: len(data) // 2])
            sink.flush()
            time.sleep(0.005)
            sink.write(data[len(data) // 2 :])
        os.utime(packed, ns=(status.st_atime_ns, status.st_mtime_ns))
        path.unlink()
        return packed

    def _next_of(self, call: Iterator[bytes]) -> None:
        block = next(call, None)
        if block is None:
            self._due.remove(call)
        elif self._random.random() < 0.2:
            cut = self._random.randrange(len(block))
            self._append(block[:cut])
            time.sleep(self._random.random() * 0.01)
            self._append(block[cut:])
        else:
            self._append(block)

    def _new_call(self) -> Iterator[bytes]:
        self._call += 1
        number = self._call
        # Every tenth call is one more to a number that has moved already.
        user = self._random.randint(1, number) if number > 10 and number % 10 == 0 else number
        old, new = f"sip:u{user:07d}@gw.example.test", f"sip:n{user:07d}@192.0.2.99"
        call = _Call(number, old)
        yield call.block("Transmitting SIP request", "to", f"INVITE {old} SIP/2.0")
        if self._random.random() < 0.5:
            yield _NOISE.format(stamp=_stamp(), number=number & 0xFFFF).encode()
        if self._random.random() < 0.3:
            yield call.block("Received SIP response", "from", "SIP/2.0 183 Session Progress", tag=";tag=peer")
        # Counted before it is written: the writer ends only behind a whole message.
        self.moves[old, new] += 1
        answer = ("Received SIP response", "from", "SIP/2.0 301 Moved Permanently")
        yield call.block(*answer, tag=";tag=peer", contact=new)
        for _ in range(self._random.choice([0, 0, 0, 1, 3])):
            self.repeated += 1
            yield call.block(*answer, tag=";tag=peer", contact=new)


class _Call:
    """One transaction, whose messages share all but the first line."""

    def __init__(self, number: int, old: str) -> None:
        self._number = number
        self._old = old

    def block(self, kind: str, way: str, first: str, *, tag: str = "", contact: str = "") -> bytes:
        """One message as pjsip's logger writes it: a counted block with CR LF inside and one LF behind."""
        lines = [
            first,
            f"Via: SIP/2.0/UDP 192.0.2.1:5060;rport;branch=z9hG4bKPj{self._number:032x}",
            f'From: "caller" <sip:caller@192.0.2.1>;tag=f{self._number}',
            f"To: <{self._old}>{tag}",
            f"Call-ID: {self._number:08x}-6a1c-4b7e-9f6e-a2c9d64b8e13",
            "CSeq: 1229 INVITE",
            *([f"Contact: <{contact}>"] if contact else []),
            "Content-Length:     0",
        ]
        message = "".join(f"{line}\r\n" for line in [*lines, ""])
        return (_HEAD.format(stamp=_stamp(), kind=kind, way=way, size=len(message)) + message + "\n").encode()


def _stamp() -> str:
    return time.strftime("%b %d %H:%M:%S")


def write_until(path: Path, written: Path, seed: int, due: Callable[[], int | None]) -> None:
    """Write and rotate until `due` gives None, then leave in `written` what was written, as JSON.

    `due` is how many turns may have been taken by now: a slow machine gets no more to read between two kills.
    """
    rng = random.Random(seed)
    traffic = Traffic(path, rng)
    turns = next_rotation = 0
    while (allowed := due()) is not None:
        if turns < allowed:
            traffic.turn()
            if turns >= next_rotation:
                traffic.rotate()
                next_rotation = turns + rng.choice([0, 3, 13, 25, 50])
            turns += 1
        time.sleep(rng.random() * 0.08)
    traffic.finish()
    written.write_text(
        json.dumps(
            {
                "moves": [[old, new, calls] for (old, new), calls in traffic.moves.items()],
                "rotations": dict(traffic.rotations),
                "repeated": traffic.repeated,
            }
        )
    )
