"""Hostile messages through every dialect: `python -m tests.bench.hostile_campaign --messages 1000000`, JSON out.

Each log is of one writer. Strangers' messages in it carry forged entries of every other writer in their body, headers,
folded headers and Call-ID, with right and lying lengths; between them are calls that are really answered 301.
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
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_network

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
PER_LOG = 40

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


def stranger(rng: random.Random, number: int, forged: bytes) -> bytes:
    """A stranger's OPTIONS with a forged entry somewhere in it."""
    line = forged.partition(b"\n")[0].rstrip(b"\r")[:4000]
    call_id, headers, body = b"stranger-%d" % number, b"", b""
    place = rng.randrange(4)
    if place == 0:
        body = forged
    elif place == 1:
        headers = b"User-Agent: " + line + b"\r\n"
    elif place == 2:
        headers = b"Subject: x\r\n" + b"".join(b" " + one + b"\r\n" for one in forged.splitlines()[:40])
    else:
        call_id += b" " + line
    length = rng.choice((len(body), len(body), len(body), 0, 60_000, 999_999_999))
    return (
        b"OPTIONS sip:100@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.66:5060;branch=z9hG4bKs%d\r\n"
        b"From: <sip:x@192.0.2.66>;tag=1\r\nTo: <sip:100@192.0.2.1>\r\nCall-ID: %b\r\nCSeq: 1 OPTIONS\r\n"
        b"%bContent-Length: %d\r\n\r\n%b"
    ) % (number, call_id, headers, length, body)


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


def campaign(messages: int, seed: int) -> dict[str, object]:
    """Runs it; what was believed and not counted, in all and by writer."""
    rng = random.Random(seed)
    believed: Counter[str] = Counter()
    uncounted: Counter[str] = Counter()
    held = real = 0
    for name, log, calls in logs(rng, messages):
        batch = read(log)
        forged = [one for one in batch.verdicts.values() if one.answer.call_id.startswith(EVIL)]
        authentic = [one for one in forged if isinstance(one, Learnt) and one.answer.authenticity.is_authentic]
        believed[name] += len(authentic)
        held += len(forged) - len(authentic)
        seen = {one.answer.call_id for one in batch.verdicts.values()} & {f"real{number}" for number in range(calls)}
        left = sum(b"real" in one.content for one in batch.quarantined) + batch.losses.get(AMBIGUOUS, 0)
        if name not in SENT:
            uncounted[name] += max(0, calls - len(seen) - left)
            real += calls
    return {
        "messages": messages,
        "real": real,
        "held": held,
        "believed": believed.total(),
        "uncounted": uncounted.total(),
        "by_writer": {
            name: [believed[name], uncounted[name]] for name in sorted(believed) if believed[name] + uncounted[name]
        },
    }


def main(arguments: Sequence[str]) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    found = campaign(options.messages, options.seed)
    sys.stdout.write(json.dumps(found, indent=1) + "\n")
    return int(bool(found["believed"] or found["uncounted"]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
