"""Every dialect reads at about the same speed: the same calls, as each program writes them."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.bench import logs
from tests.bench.bench import MB, Bench, Line, ingested, rate
from tests.bench.process import run
from tests.dialects.logfiles import Logged, entry
from tests.dialects.writers import NOISE, WRITERS, Writer, chan_sip_received, chan_sip_sent


def dialects(bench: Bench) -> Iterator[Line]:
    """MB/s by dialect beside the best of them, 183s counted, the start of the program left out."""
    size = bench.size / 16
    makers = {name: _maker(name, writers[0]) for name, writers in WRITERS.items()} | {"kamailio-record": logs.kamailio}
    rates = {}
    for name, maker in makers.items():
        path = bench.log(f"dialect-{name}", maker, size)
        took = min(ingested(run(bench.ingest(path)))["seconds"] for _ in range(bench.times))
        rates[name] = rate(path.stat().st_size, took)
    best = max(rates.values())
    for name, found in sorted(rates.items(), key=lambda each: -each[1]):
        yield Line(
            f"dialect {name}, {size * MB / 1e6:.0f} MB", f"{found:.0f} MB/s", "the best", f"{found / best:.2f}", "0.5"
        )


def _maker(name: str, writer: Writer) -> logs.Maker:
    """The calls of `logs.messages`, each message as `writer` writes it."""
    noise = NOISE["asterisk" if name.startswith("asterisk") else "kamailio"]
    noisy = name not in {"sipdump", "hep", "sngrep", "ngrep"}  # no other lines stand in what these write
    between = noise * 2 if noisy else b""

    def make(chosen: random.Random, number: int) -> bytes:
        return between.join(_written(writer, one) for one in logs.messages(chosen, number))

    return make


def _written(writer: Writer, message: bytes) -> bytes:
    """A request as a log has it that was sent, all else as it was received: else no 301 finds its request."""
    if message.startswith(b"SIP/2.0"):
        return writer(message).log
    if writer is chan_sip_received:
        return chan_sip_sent(message).log
    return entry(writer, Logged(message, was_sent=True))
