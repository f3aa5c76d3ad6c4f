"""Text from the network (R25): reversible, printable, unfolded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redirectd.sip.text import control_escape, printable, to_bytes, to_text, unescape_percent, unfold
from tests.sip.strategies import hostile_text


@given(st.binary())
def test_r25_bytes_come_back(raw: bytes) -> None:
    """R25: any bytes survive the way to text and back."""
    assert to_bytes(to_text(raw)) == raw


@given(hostile_text)
def test_r25_to_bytes_never_raises(text: str) -> None:
    """R25: surrogates that no byte stands behind do not stop the writing of the rest."""
    to_bytes(text).decode("utf-8", "surrogateescape")


@given(hostile_text, st.integers(0, 100))
def test_printable_is_safe_and_bounded(text: str, limit: int) -> None:
    """What is printed holds printable characters only, encodes to UTF-8, and keeps the bound."""
    shown = printable(text, limit)
    assert shown.isprintable()
    assert len(shown) <= limit
    shown.encode()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("René 日本", "René 日本"),
        ("a\r\nb\x1b[31m\x7f", "a\\x0d\\x0ab\\x1b[31m\\x7f"),
        ("csi\u009b31m", "csi\\u009b31m"),
        ("\u202egnp.exe\u2028", "\\u202egnp.exe\\u2028"),
        ("caf\udce9", "caf\\xe9"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_printable_shows_by_number(text: str, shown: str) -> None:
    """Controls, bidi overrides and undecodable bytes are shown by their number."""
    assert printable(text) == shown


def test_printable_marks_a_cut() -> None:
    """Cut text ends in a mark, and an escape is never cut in its middle."""
    assert printable("abcdefgh", 8) == "abcdefgh"
    assert printable("abcdefghi", 8) == "abcde..."
    assert printable("ab\x1b\x1b\x1b", 10) == "ab\\x1b..."


def test_unescape_percent() -> None:
    """Escapes decode to bytes and these to text; a lone percent sign stays."""
    assert unescape_percent("j%40hn%3A%22%C3%A9%e9%zz%") == 'j@hn:"é\udce9%zz%'


@pytest.mark.parametrize(
    ("text", "found"),
    [("x%0d%0ay", "U+000D"), ("%00", "U+0000"), ("%7f", "U+007F"), ("%C2%9B", "U+009B"), ("%E2%80%AE", "U+202E")],
)
def test_control_escapes_are_found(text: str, found: str) -> None:
    """R27: an escape that decodes to a control character is named."""
    assert control_escape(text) == found


@pytest.mark.parametrize("text", ["", "a%20b", "%C3%A9", "%E9", "%C2%A0", "0d"])
def test_harmless_escapes_are_not(text: str) -> None:
    """A space, a letter, a Latin-1 byte or a no-break space is not a control character."""
    assert control_escape(text) is None


@pytest.mark.parametrize(
    ("text", "flat"),
    [
        ("plain", "plain"),
        ('"Folded"\r\n <sip:a@b>\r\n\t;q=0.5', '"Folded" <sip:a@b> ;q=0.5'),
        ("a  \r\n   b", "a b"),
        ("a\n b\r\n", "a b"),
        ("a\r\n \r\n b", "a  b"),
        ("a\r\nb", "a\nb"),
    ],
)
def test_r14_folds_become_one_space(text: str, flat: str) -> None:
    """R14: a folded line end becomes one space; a line end that is not a fold stays and is a fault later."""
    assert unfold(text) == flat
