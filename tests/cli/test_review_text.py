"""The text of the review's cards: whatever it is, it keeps to the columns and rows, and loses nothing unsaid."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from redirectd.cli.reviewing.card import Ink, LineGroup, chopped, cut, fitted, marked, wrapped
from redirectd.sip.compare import pieces
from redirectd.sip.text import elided, shown
from redirectd.sip.uri import SipUri, parse_uri

anything = st.text(max_size=300)
room = st.integers(10, 60)


@given(text=anything)
def test_shown_is_harmless(text: str) -> None:
    """No control, bidi control, right-to-left letter or combining mark is left, and no lone surrogate."""
    safe = shown(text)
    assert safe.isprintable()
    assert shown(safe) == safe
    safe.encode()
    assert cell_len(safe) >= len(safe)


@given(text=anything, width=room)
def test_lines_keep_to_their_columns(text: str, width: int) -> None:
    """Wrapped, chopped and cut text fits; wrapping loses only blanks, and chopping nothing."""
    safe = shown(text)
    for lines in (wrapped(safe, width), chopped(safe, width), [cut(safe, width)]):
        assert all(cell_len(line) <= width for line in lines)
    assert "".join(chopped(safe, width)) == safe
    assert "".join(wrapped(safe, width)).replace(" ", "") == "".join(safe.split())


@given(text=anything)
def test_elided_text_shows_both_ends(text: str) -> None:
    """A text is shown whole, or by both its ends and the number of characters between them."""
    short = elided(text)
    if short != text:
        assert len(short) < len(text)
        assert short.startswith(text[:60])
        assert short.endswith(text[-30:])
        assert f"[{len(text) - 90} characters]" in short


uris = st.builds(
    "sip:{}@{}{}{}".format,
    st.text("abc漢%", min_size=1, max_size=200).map(lambda user: user.replace("%", "%41").replace("漢", "%E6%BC%A2")),
    st.text("abcxyz", min_size=1, max_size=60),
    st.sampled_from(["", ":5060", ":1"]),
    st.sampled_from(["", ";transport=tcp", ";user=phone;x=" + "y" * 90]),
)


@given(old=uris, new=uris, width=st.integers(40, 120))
def test_carets_stand_below_what_differs(old: str, new: str, width: int) -> None:
    """The lines of a URI put together are that URI, and each caret is below a character of a part that differs."""
    parts = [parse_uri(text) for text in (old, new)]
    assert isinstance(parts[0], SipUri)
    assert isinstance(parts[1], SipUri)
    found = pieces(parts[0], parts[1])
    lines = marked("old", found, width, Ink(), whole=True)
    assert all(len(line) <= width for line in lines)
    texts, marks = "", ""
    for line in lines:
        if line.strip("^ "):
            texts += line[11:]
            marks = marks.ljust(len(texts) - len(line[11:]))
        else:
            marks += line[11:]
    assert texts == str(parts[0])
    assert marks.ljust(len(texts)) == "".join(("^" if differs else " ") * len(text) for text, differs in found)


@given(
    sections=st.lists(st.tuples(st.integers(0, 30), st.integers(1, 5), st.integers(0, 5)), max_size=8),
    rows=st.integers(3, 60),
)
def test_a_card_keeps_to_its_rows(sections: list[tuple[int, int, int]], rows: int) -> None:
    """However much there is, it takes no more rows than there are, and what is left out is counted."""
    made = [
        LineGroup([f"{place} {line}" for line in range(count)], least, rank)
        for place, (count, least, rank) in enumerate(sections)
    ]
    total = sum(len(one.lines) for one in made)
    whole = [line for one in made for line in one.lines]
    lines = fitted(made, rows)
    assert len(lines) <= rows
    assert (lines == whole) is (total <= rows)
    assert fitted([LineGroup(whole, 1, 0)], None) == whole
