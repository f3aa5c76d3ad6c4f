"""Hostile messages through every dialect: `python -m tests.bench.hostile_campaign --messages 1000000`, JSON out.

Each log is of one writer. Strangers' messages in it carry forged entries of every other writer in their body or in
any other part (`PLACES`), with right and lying lengths (`LIES`); between them are calls that are really answered 301.
`believed` are forged 301s that were learnt as authentic (R38, R39), `uncounted` are real ones of which nothing is left:
no sighting, no quarantined text and no loss (R40). Both must be 0; the exit code says so.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from ipaddress import ip_network
from time import monotonic

from redirectd.collect.batch import Batch
from redirectd.collect.console_streams import reader_of
from redirectd.collect.policy import Policy
from redirectd.collect.reading import Reading
from redirectd.collect.verdict import Learnt
from redirectd.dialects import registry
from tests.collect.logs import MemoryLog, record
from tests.dialects.writers import WRITERS, Writer

NOW = datetime(2026, 11, 30, tzinfo=UTC)
POLICY = Policy(trusted_peers=(ip_network("0.0.0.0/0"),))
EVIL = "evil"
AMBIGUOUS = "ambiguous-frame"
"""The kind under which a place is counted where a length hides what may be entries (R40)."""
PER_LOG = 160
PART = 8_000
"""Messages of one seed."""


SENT = {"asterisk-chan-sip/chan_sip_sent"}
"""Whose entries are what the host itself sent: such an answer is not a sighting (R8)."""

EVERY: tuple[tuple[str, Writer], ...] = tuple((name, one) for name, writers in WRITERS.items() for one in writers)


def answer(call: str, contact: str, *, length: str = "0") -> bytes:
    """A 301."""
    return (
        f"SIP/2.0 301 Moved Permanently\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK{call}\r\n"
        f"From: <sip:a@b.example>;tag=1\r\nTo: <sip:c@d.example>;tag=2\r\nCall-ID: {call}\r\nCSeq: 1 INVITE\r\n"
        f"Contact: <{contact}>\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


_LONG, _SHORT = "Content-Length: 60000", "Content-Length: 5"
LIES = (
    "Content-Length: %d",
    "Content-Length: %d",
    "Content-Length: 0",
    _SHORT,
    _LONG,
    "Content-Length: 999999999999",
    "l: 5",
    "l: 60000",
    "Content-Length: -5",
    "Content-Length: +5",
    "Content-Length: five",
    "Content-Length : 5",
    "Content-Length: 5 900",
    "Content-Length:\r\n 60000",
    f"{_SHORT}\r\n{_LONG}",
    f"{_LONG}\r\n{_SHORT}",
    f"l: 60000\r\n{_SHORT}",
    "X-Length: 5",
)
"""Header lines for a length; the first ones are true."""
PLACES = ("body", "first line", "Via", "display name", "user part", "Call-ID", "Contact", "parameter", "header", "fold")


def stranger(rng: random.Random, number: int, forged: bytes) -> bytes:
    """A stranger's message with a forged entry somewhere in it, and a length that is true or not."""
    place, lie = rng.choice(("body", *PLACES)), rng.choice(LIES).encode()
    line = forged.partition(b"\n")[0].rstrip(b"\r")[:4000]
    put = dict.fromkeys(PLACES, b"") | {place: line}
    if place == "body":
        put["body"] = rng.choice((b"", b"x\r\n", b"v=0\r\n")) + forged
    elif place == "fold":
        put["fold"] = b"\r\n ".join(forged.splitlines()[:40])
    via, name, user, call_id, contact, value, agent, fold = (put[one] for one in PLACES[2:])
    first = rng.choice((b"OPTIONS sip:%b@192.0.2.1 SIP/2.0\r\n", b"SIP/2.0 200 %b\r\n", b"SIP/2.0 183 %b\r\n"))
    head = (first % (put["first line"] or b"x")) + (
        b'Via: SIP/2.0/UDP 192.0.2.66:5060;branch=z9hG4bKs%d;x=%b\r\nFrom: "%b" <sip:x@192.0.2.66>;tag=1\r\n'
        b'To: <sip:%b@192.0.2.1>\r\nCall-ID: stranger-%d %b\r\nCSeq: 1 OPTIONS\r\nContact: <sip:s%b@t>;x="%b"\r\n'
        b"User-Agent: %b\r\nSubject: x\r\n %b\r\n"
    ) % (number, via, name, user, number, call_id, contact, value, agent, fold)
    lie = lie % len(put["body"]) if b"%d" in lie else lie
    ending = rng.choice((b"\r\n\r\n",) * 9 + (b"\r\n",))  # or headers that do not end
    return head + lie + ending + put["body"]


def logs(rng: random.Random, messages: int) -> Iterator[tuple[str, bytes, int]]:
    """The writer's name, a log of its entries, and the number of its real calls, until there are that many messages."""
    made = 0
    while made < messages:
        name, outer = EVERY[made // PER_LOG % len(EVERY)]
        entries, real = [outer(answer("real0", "sip:new@place.example")).log], 1
        for number in range(PER_LOG):
            forged = _forged(rng)
            if "json" in outer.__name__ or name == "kamailio-journal":
                forged = forged.decode("ascii", "replace").encode("ascii", "replace")  # such a log is valid UTF-8
            entries.append(outer(stranger(rng, number, forged)).log)
            if number % 8 == 7:
                entries.append(outer(answer(f"real{real}", "sip:new@place.example")).log)
                real += 1
        made += PER_LOG
        yield f"{name}/{outer.__name__}", b"".join(entries), real


def _forged(rng: random.Random) -> bytes:
    if rng.randrange(4) == 0:
        one = record("<sip:evil@192.0.2.66>", call=EVIL, ts="1795880000.1", key=rng.choice((None, b"0" * 64)))
        return b"".join(
            [one[one.index(b"REDIRECTD") :], one, b" 2(17408) NOTICE: <script>: " + one[one.index(b"REDI") :]]
        )
    _, other = rng.choice(EVERY)
    return other(answer(EVIL, "sip:evil@192.0.2.66")).log * rng.randrange(1, 3)


def read(log: bytes) -> Batch:
    """What reading a log with `dialect = "auto"` comes to, as `ingest` does it."""
    family = registry.envelope_of(log[: 1 << 18])
    how = Reading("campaign", registry.detect(log[: 1 << 20]), UTC, POLICY)
    reader = reader_of(MemoryLog(log), replace(how, family=family), clock=lambda: NOW)
    batch = Batch("campaign")
    while reader.read(batch, final=True):
        reader.confirm()
    return batch


@dataclass
class Outcome:
    """What a part of the campaign came to; `believed` and `uncounted` are by writer."""

    messages: int = 0
    real: int = 0
    held: int = 0
    believed: Counter[str] = field(default_factory=Counter)
    uncounted: Counter[str] = field(default_factory=Counter)

    def add(self, other: Outcome) -> None:
        """Counts another part in."""
        self.messages += other.messages
        self.real += other.real
        self.held += other.held
        self.believed += other.believed
        self.uncounted += other.uncounted

    def shown(self) -> dict[str, object]:
        """As it is printed: what was believed and not counted, in all and by writer."""
        writers = sorted(self.believed.keys() | self.uncounted.keys())
        return {
            "messages": self.messages,
            "real": self.real,
            "held": self.held,
            "believed": self.believed.total(),
            "uncounted": self.uncounted.total(),
            "by_writer": {name: [self.believed[name], self.uncounted[name]] for name in writers},
        }


def part(messages: int, seed: int) -> Outcome:
    """As many messages from one seed."""
    rng = random.Random(seed)
    outcome = Outcome()
    for name, log, calls in logs(rng, messages):
        batch = read(log)
        forged = [one for one in batch.verdicts.values() if one.answer.call_id.startswith(EVIL)]
        authentic = [one for one in forged if isinstance(one, Learnt) and one.answer.authenticity.is_authentic]
        outcome.messages += PER_LOG
        outcome.believed += Counter({name: len(authentic)})
        outcome.held += len(forged) - len(authentic)
        seen = {one.answer.call_id for one in batch.verdicts.values()} & {f"real{number}" for number in range(calls)}
        left = sum(b"real" in one.content for one in batch.quarantined) + batch.losses.get(AMBIGUOUS, 0)
        if name not in SENT:
            outcome.uncounted += Counter({name: max(0, calls - len(seen) - left)})
            outcome.real += calls
    return outcome


def campaign(messages: int, seed: int, processes: int = 1, seconds: float = float("inf")) -> Outcome:
    """Runs it in parts, each of a seed of its own from `seed` on; none begins once `seconds` are over."""
    until = monotonic() + seconds
    outcome = Outcome()
    parts = -(-messages // PART)
    sizes = [min(PART, messages - PART * number) for number in range(parts)]
    if processes == 1:
        for number, size in enumerate(sizes):
            if monotonic() < until:
                outcome.add(part(size, seed + number))
        return outcome
    with ProcessPoolExecutor(processes) as pool:
        running: set[Future[Outcome]] = set()
        for number, size in enumerate(sizes):
            if len(running) == processes:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for one in done:
                    outcome.add(one.result())
                _say(outcome)
            if monotonic() >= until:
                break
            running.add(pool.submit(part, size, seed + number))
        for one in running:
            outcome.add(one.result())
    return outcome


def _say(outcome: Outcome) -> None:
    figures = f"{outcome.believed.total()} believed, {outcome.uncounted.total()} uncounted"
    sys.stderr.write(f"{outcome.messages:,} messages: {figures}\n")


def main(arguments: Sequence[str]) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1, help="of the first part; the next have the next ones")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="after which no part begins")
    options = parser.parse_args(arguments)
    found = campaign(options.messages, options.seed, options.processes, options.seconds)
    sys.stdout.write(json.dumps(found.shown(), indent=1) + "\n")
    return int(bool(found.believed or found.uncounted))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
