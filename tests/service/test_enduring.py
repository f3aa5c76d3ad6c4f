"""The service's log stream outlives what it is written to."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import TextIO, cast

import pytest
import structlog

from redirectd.service.enduring import EnduringStream
from redirectd.service.log import configure

PAGE = 4096
PIPE = 16 * PAGE


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe that takes PIPE bytes and then refuses, as a full disk does."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    yield reader, writer
    os.close(writer)
    os.close(reader)
    structlog.reset_defaults()


def test_dropped_records_are_told(pipe: tuple[int, int]) -> None:
    """Records that are not taken are counted; others stay lines of their own, and the next tells of it."""
    reader, writer = pipe
    configure("info", stream=cast("TextIO", EnduringStream(writer)), json=True)
    logger = structlog.get_logger()
    logger.info("first")
    os.write(writer, b"x" * (PIPE - 3 * PAGE))
    logger.info("torn", long=["y" * 1000] * 20)
    logger.info("lost")
    first, rest = os.read(reader, PIPE).split(b"\n", 1)
    assert json.loads(first)["event"] == "first"
    assert rest.endswith(b"y")
    assert b"\n" not in rest
    logger.info("last")
    empty, *lines = os.read(reader, PIPE).splitlines()
    assert empty == b""
    records = [json.loads(line) for line in lines]
    assert [record["event"] for record in records] == ["last", "log_records_dropped"]
    assert records[1]["records"] == 2


def test_reader_that_has_gone() -> None:
    """A pipe without a reader raises nothing; what is no character is written as its number."""
    reader, writer = os.pipe()
    stream = EnduringStream(writer)
    assert stream.write("\udcff\n") == 2
    assert os.read(reader, 100) == b"\\udcff\n"
    os.close(reader)
    assert stream.write("x") == 1
    os.close(writer)
