"""The service's log stream outlives what it is written to."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TextIO, cast

import structlog

from redirectd.service.log_records import EnduringStream, configure


def test_dropped_records_are_told(tmp_path: Path) -> None:
    """Records that a full disk does not take raise nothing and are counted; the first that is taken tells of them."""
    log = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    full = os.open("/dev/full", os.O_WRONLY)
    target = os.dup(log)
    configure("info", stream=cast("TextIO", EnduringStream(target)), json=True)
    try:
        for number, name in ((log, "first"), (full, "lost"), (full, "lost"), (log, "last"), (log, "more")):
            os.dup2(number, target)
            structlog.get_logger().info(name)
    finally:
        structlog.reset_defaults()
        for number in (log, full, target):
            os.close(number)
    records = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [record["event"] for record in records] == ["first", "last", "log_records_dropped", "more"]
    assert records[2]["records"] == 2


def test_what_is_no_character(tmp_path: Path) -> None:
    """R25: a lone surrogate is written as its number."""
    with (tmp_path / "log").open("wb") as log:
        assert EnduringStream(log.fileno()).write("\udcff\n") == 2
    assert (tmp_path / "log").read_bytes() == b"\\udcff\n"


def test_a_record_of_which_a_part_was_taken() -> None:
    """What a full pipe took of a record stays a line of its own, and the record counts as dropped."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    stream = EnduringStream(writer)
    filled = os.write(writer, b"x" * 61_440)  # a page is left of 64 kB
    stream.write("y" * 10_000 + "\n")
    taken = os.read(reader, 100_000)
    stream.write("z\n")
    part, record, told = os.read(reader, 100_000).split(b"\n", 2)
    os.close(reader)
    os.close(writer)
    assert set(taken[filled:]) == set(b"y")
    assert (part, record, json.loads(told)["records"]) == (b"", b"z", 1)
