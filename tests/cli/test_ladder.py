"""Text ladders: who sent what to whom, in 80 columns, whatever the text of the messages is."""

from __future__ import annotations

import subprocess
import sys
from io import BytesIO, TextIOWrapper

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from redirectd.cli.ladder import ASCII, BOXES, LEAST_WIDTH, MAX_ARROWS, Pen, ladder, pen_of
from redirectd.review.case import Arrow
from tests.cli.conftest import Cli

HOSTILE = st.text(max_size=300) | st.sampled_from(["\x1b[2J", "\u202e" * 90, "\u6f22" * 200, "a\u0301" * 80, "\r\n|"])
WIDTHS = st.integers(min_value=0, max_value=200)


@given(
    lanes=st.lists(HOSTILE, min_size=2, max_size=4),
    arrows=st.lists(st.tuples(st.integers(0, 1), HOSTILE, HOSTILE, HOSTILE), max_size=6),
    width=WIDTHS,
    pen=st.sampled_from([ASCII, BOXES]),
)
def test_hostile_text_stays_in_its_columns(
    lanes: list[str], arrows: list[tuple[int, str, str, str]], width: int, pen: Pen
) -> None:
    """Whatever a caller writes, no line is wider than the terminal, and none has a control or moves other text."""
    drawn = ladder(lanes, [Arrow(one, 1 - one, label, (note,), at) for one, label, note, at in arrows], width, pen)
    for line in drawn:
        assert cell_len(line) <= max(width, LEAST_WIDTH)
        assert line.isprintable()
        assert "\u202e" not in line


def test_a_storm_of_messages_is_cut_short() -> None:
    """A transaction of a hundred thousand messages is not an endless ladder: the rest is counted."""
    drawn = ladder(["a", "b"], [Arrow(0, 1, "INVITE")] * 100_000)
    assert len(drawn) == MAX_ARROWS + 2
    assert drawn[-1].strip() == f"... {100_000 - MAX_ARROWS:,} more messages"


@pytest.mark.parametrize(("encoding", "pen"), [("utf-8", BOXES), ("ascii", ASCII), ("latin-1", ASCII)])
def test_a_terminal_without_utf_8_gets_ascii(encoding: str, pen: Pen) -> None:
    """What the terminal can't show is not drawn with."""
    assert pen_of(TextIOWrapper(BytesIO(), encoding=encoding)) is pen


def test_a_ladder_as_it_looks() -> None:
    """Arrows carry their label where it fits, else it is above; notes are below."""
    arrows = [
        Arrow(0, 1, "INVITE sip:bob@example.net", ("offer: PCMA, PCMU",), "0.000"),
        Arrow(1, 0, "183 Session Progress", (), "+0.020"),
        Arrow(0, 1, f"INVITE sip:{'b' * 50}@example.net"),
    ]
    assert ladder(["this host", "192.0.2.7:5060"], arrows, 60) == [
        "          this host                          192.0.2.7:5060",
        "0.000     |-- INVITE sip:bob@example.net ---------------->|",
        "          |  offer: PCMA, PCMU                            |",
        "+0.020    |<-- 183 Session Progress ----------------------|",
        "          |  INVITE sip:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb|",
        "          |  bbbbbbbbbbbbbbbb@example.net                 |",
        "          |---------------------------------------------->|",
    ]


def test_show_draws_the_newest_sighting(cli: Cli) -> None:
    """`show ID --ladder` draws the request, its answer and the request that would follow, three lanes in 80 columns."""
    cli.ingest("asterisk/ast22-pjsip.full.log")
    numbers = {one["old_uri"]: one["id"] for one in cli("list", "--json").json["remaps"]}
    out = cli("show", numbers["sip:alice@127.0.31.1:6003"], "--ladder").out
    assert max(map(cell_len, out.splitlines())) <= 80
    told = [line.strip(" |\u2502") for line in out.splitlines()]
    assert any(line.startswith("INVITE sip:alice@127.0.31.1:6003") for line in told)
    assert "301 Moved Permanently" in out
    assert "Contact: <sip:newuser@127.0.30.2:5060>" in told
    assert "INVITE sip:newuser@127.0.30.2:5060" in out
    assert "(pending: not routed)" in told
    assert "2 earlier sightings stored, not drawn" in told
    both = cli("show", numbers["sip:alice@127.0.31.1:6004"], "--ladder").out
    assert "one of 3 Contacts: choose one (R15)" in both


def test_review_draws_it_before_all_evidence(cli: Cli) -> None:
    """The key `e` shows the ladder, then the whole card."""
    cli.ingest("kamailio/snippet-all-cases.log")
    command = [sys.executable, "-m", "redirectd", "--config", str(cli.config), "review"]
    out = subprocess.run(command, input="e\nq\n", text=True, capture_output=True, check=True).stdout
    assert "301 (one-line record)" in out
    assert out.index("this host") < out.rindex("REDIRECTD v=1")
    assert max(map(cell_len, out.splitlines())) <= 80
