"""Logs that something else went over: line ends of another system, a container runtime's prefixes, a cut record."""

from __future__ import annotations

from pathlib import Path

import pytest

from redirectd.collect.verdict import Learnt
from tests.collect.logs import read, record

CORPUS = Path(__file__).parents[1] / "corpus"


@pytest.mark.parametrize(("name", "calls"), [("ast22-iso-ms.plain.log", 3), ("ast22-pjsip.full.log", 10)])
def test_line_ends_of_another_system_change_nothing(name: str, calls: int) -> None:
    """R6: with CR LF at each line end the same blocks are read, by the same counts."""
    log = (CORPUS / "asterisk" / name).read_bytes()
    converted = log.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    as_it_was, found = read(log), read(converted)
    assert len(found.batch.verdicts) == calls
    assert found.batch.verdicts.keys() == as_it_was.batch.verdicts.keys()
    assert not found.batch.quarantined


@pytest.mark.parametrize("prefix", [b"2026-11-22T16:26:03.123456789Z stdout F ", b"asterisk-1  | "])
@pytest.mark.parametrize(
    ("name", "answers"), [("asterisk/ast22-console-ansi.log", 1), ("asterisk/ast22-iso-ms.plain.log", 3)]
)
def test_answers_behind_foreign_prefixes_are_kept_as_unreadable(name: str, answers: int, prefix: bytes) -> None:
    """A 301 whose every line has a foreign prefix can't be read, and is quarantined and counted, not passed over."""
    log = (CORPUS / name).read_bytes()
    found = read(b"".join(prefix + line for line in log.splitlines(keepends=True)))
    assert not found.batch.verdicts
    assert len(found.batch.quarantined) == answers


def test_a_status_line_that_is_only_spoken_of_is_no_answer() -> None:
    """Text that quotes a status line in the middle of a line, with no headers below, is not quarantined."""
    log = b"tail: asked for SIP/2.0 301 Moved Permanently\nand found nothing of the kind\nVia: us\n"
    assert not read(log).batch.quarantined


def test_a_record_cut_before_its_branch_is_no_second_sighting() -> None:
    """R8: what a cut line can't tell apart from another telling of the same call is not counted beside it."""
    whole = record("<sip:new@place.test>", call="one", buri="sip:old@gw.test")
    cut = whole[: whole.index(b" br=")] + b"\n"
    found = read(whole + cut)
    assert len(found.batch.verdicts) == 1
    assert all(isinstance(one, Learnt) for one in found.batch.verdicts.values())
