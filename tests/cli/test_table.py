"""Tables: aligned columns, nothing lost where the terminal is narrow."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from redirectd.cli.table import table_lines

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


def test_a_narrow_terminal_folds_the_widest_columns() -> None:
    """What does not fit goes on below, in its own column, at a blank where there is one."""
    rows = [["1", "sip:alice@example.net", "method, untrusted"]]
    assert list(table_lines(["id", "old", "flags"], rows, width=27)) == [
        "id  old         flags",
        "1   sip:alice@  method,",
        "    example.ne  untrusted",
        "    t",
    ]


@given(_ROWS, st.integers(20, 60))
def test_no_line_is_wider_than_the_terminal_and_no_text_is_lost(rows: list[tuple[str, str, str]], width: int) -> None:
    """Whatever the cells hold, each line fits, and the columns read downwards give all texts back but for blanks."""
    lines = list(table_lines(["x", "yy", "zzz"], rows, width=width))
    assert all(cell_len(line) <= width for line in lines)
    told = "".join(lines).replace(" ", "")
    assert sorted(told) == sorted("xyyzzz" + "".join("".join(row) for row in rows).replace(" ", ""))
