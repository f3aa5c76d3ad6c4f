"""Tables: aligned columns, nothing lost where the terminal is narrow."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from redirectd.cli.output import table_lines

_CELL = st.text(st.sampled_from("ab@:. 漢é"), max_size=14).map(str.strip)
_ROWS = st.lists(st.tuples(_CELL, _CELL, _CELL), min_size=1, max_size=5)


def test_columns_are_aligned_and_nothing_is_cut() -> None:
    """Numbers stand to the right, wide characters count twice, and lines have no blanks at their end."""
    rows = [["7", "sip:漢@h", ""], ["1000", "sip:a@h", "untrusted"]]
    assert list(table_lines(["id", "old", "flags"], rows, right=["id"])) == [
        "  id  old       flags",
        "   7  sip:漢@h",
        "1000  sip:a@h   untrusted",
    ]


def test_a_narrow_terminal_wraps_the_last_column() -> None:
    """What does not fit goes on below, in its own column, between words."""
    rows = [["1", "sip:alice@h", "method, untrusted, expiring"]]
    assert list(table_lines(["id", "old", "flags"], rows, width=36)) == [
        "id  old          flags",
        "1   sip:alice@h  method, untrusted,",
        "                 expiring",
    ]


def test_a_row_that_does_not_fit_goes_on_below() -> None:
    """Where that does not do, each row goes on in the next line from cell to cell, and no heading or URI is broken."""
    rows = [["1", "sip:alice@example.net", "sip:bob@example.net;transport=tcp", "3"]]
    assert list(table_lines(["id", "old", "new", "calls"], rows, width=30)) == [
        "id  old  new  calls",
        "1  sip:alice@example.net",
        "    sip:bob@example.net;transport=tcp",
        "    3",
    ]


@given(_ROWS, st.integers(20, 60))
def test_no_line_is_wider_than_the_terminal_and_no_text_is_lost(rows: list[tuple[str, str, str]], width: int) -> None:
    """Whatever the cells hold, each line fits that is not one long word, and no word is broken or lost."""
    lines = list(table_lines(["x", "yy", "zzz"], rows, width=width))
    assert all(cell_len(line) <= width or len(line.split()) == 1 for line in lines)
    words = [word for cell in ("x", "yy", "zzz", *(cell for row in rows for cell in row)) for word in cell.split()]
    assert sorted(words) == sorted(word for line in lines for word in line.split())
    told = "".join(lines).replace(" ", "")
    assert sorted(told) == sorted("xyyzzz" + "".join("".join(row) for row in rows).replace(" ", ""))
