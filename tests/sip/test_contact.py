"""Contacts (R13 to R16, R18): the grammar of RFC 3261 20.10, and what real systems and attackers send."""

from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest
import sipmessage
from hypothesis import given
from hypothesis import strategies as st

from redirectd.sip.contact import MAX_CONTACTS, Contact, parse_contacts, split_commas, unquote
from redirectd.sip.text import to_text
from tests.sip.strategies import hostile_text


def _uris(*values: str) -> list[str | None]:
    return [str(contact.uri) if contact.uri else None for contact in parse_contacts(values)]


def _one(value: str) -> Contact:
    (contact,) = parse_contacts([value])
    return contact


def test_r14_display_name_with_commas_and_quotes() -> None:
    """R14: commas, semicolons, escaped quotes and <> in a quoted display name separate nothing."""
    contact = _one('"Smith, John; \\"JS\\" <x>" <sip:new10@127.0.0.1:20001>;q=1.0;expires=3600')
    assert contact.display == 'Smith, John; "JS" <x>'
    assert contact.uri_text == "sip:new10@127.0.0.1:20001"
    assert contact.params == (("q", "1.0"), ("expires", "3600"))
    assert (contact.q, contact.expires, contact.fault) == (1.0, 3600, None)


def test_r14_several_lines_and_commas_are_alike() -> None:
    """R14: several header lines and comma-separated values give the same Contacts in their order."""
    assert _uris("<sip:a@h.example>;q=0.3, <sip:b@h.example>", "sip:c@h.example") == _uris(
        "<sip:a@h.example>;q=0.3", "<sip:b@h.example>", "sip:c@h.example"
    )


def test_r14_without_brackets_params_are_the_headers() -> None:
    """R14: without <>, what follows ';' belongs to the header; within, to the URI."""
    bare = _one("sip:new19@127.0.0.1:20001;q=0.5;transport=tcp")
    assert str(bare.uri) == "sip:new19@127.0.0.1:20001"
    assert bare.params == (("q", "0.5"), ("transport", "tcp"))
    inside = _one("<sip:new19@127.0.0.1:20001;q=0.5>")
    assert str(inside.uri) == "sip:new19@127.0.0.1:20001;q=0.5"
    assert inside.params == ()


def test_r14_star_is_no_target() -> None:
    """R14: '*' is a Contact without a URI and without a fault."""
    star = _one(" * ")
    assert star.is_star
    assert star.uri is None
    assert star.fault is None


def test_r14_folded_value() -> None:
    """R14: a value with folds in it is unfolded first; `raw` is the unfolded entry."""
    contact = _one('"Folded"\r\n <sip:new17@127.0.0.1:20001>\r\n\t;q=0.5')
    assert contact.raw == '"Folded" <sip:new17@127.0.0.1:20001> ;q=0.5'
    assert (contact.display, contact.q) == ("Folded", 0.5)


@pytest.mark.parametrize(
    "value",
    [
        "<sip:new28@127.0.0.1:20001",
        '"no end <sip:a@h.example>',
        '"no end\\" <sip:a@h.example>',
        "<sip:a@h.example> trailing",
        "<sip:a@h.example><sip:b@h.example>",
        "sip:a@h.example?Route=%3Csip:sip.example.com%3E",
        "Bell",
        "<>",
        "sip:a b@h.example",
        "<sip:new24bad@[::zz>",
        '<sip:a"b|c\\\\d@127.0.0.1:20001>',
        "sip:a@h.example\r\nEvil: yes",
    ],
)
def test_r14_unreadable_contact_has_a_fault(value: str) -> None:
    """R14: what is not a Contact says why and has no URI, and the next header value is read as ever."""
    bad, good = parse_contacts([value, "<sip:next@h.example>"])
    assert bad.uri is None
    assert bad.fault
    assert bad.fault.isprintable()
    assert str(good.uri) == "sip:next@h.example"


def test_r14_one_bad_among_several() -> None:
    """R14: of several Contacts in one value, only the one that cannot be read has a fault."""
    assert _uris("<sip:new24@127.0.0.1:20001>,<sip:bad@[::zz>, <sip:c@h.example>") == [
        "sip:new24@127.0.0.1:20001",
        None,
        "sip:c@h.example",
    ]


def test_r14_unquoted_comma_in_a_name_is_not_hidden() -> None:
    """R14, RFC 4475 3.1.2.15 (Bell, Alexander): the comma splits, and the first part is a fault."""
    bell, alexander = parse_contacts(["Bell, Alexander <sip:a.g.bell@example.com>;tag=43"])
    assert bell.fault
    assert alexander.display == "Alexander"
    assert str(alexander.uri) == "sip:a.g.bell@example.com"


def test_params_with_quoted_separators() -> None:
    """R14: separators within a quoted parameter value separate nothing; names come in lower case."""
    contact = _one('<sip:new36@127.0.0.1:20001> ; X="a;b,c" ;Q = 0.7;flag')
    assert contact.params == (("x", "a;b,c"), ("q", "0.7"), ("flag", None))
    assert contact.q == 0.7


@pytest.mark.parametrize(
    ("text", "q"), [("", 1.0), (";q=0", 0.0), (";q=0.123", 0.123), (";q=1.000", 1.0), (";q=0.", 0.0)]
)
def test_r15_q(text: str, q: float) -> None:
    """R15: a missing q counts as 1.0, and a readable one is not noted."""
    contact = _one(f"<sip:a@h.example>{text}")
    assert contact.q == q
    assert contact.q_fault is None


@pytest.mark.parametrize("value", ["=2", "=-1", "=0.1234", "=nan", "=", "", "=1.001", "=1e-3", "=\u0660"])
def test_r15_bad_q_is_noted(value: str) -> None:
    """R15: a q that is none counts as 1.0, and that is noted."""
    contact = _one(f"<sip:a@h.example>;q{value}")
    assert contact.q == 1.0
    assert contact.q_fault


@pytest.mark.parametrize(
    ("text", "seconds", "fault"),
    [
        ("", None, False),
        (";expires=0", 0, False),
        (";Expires=3600", 3600, False),
        (';expires="60"', 60, False),
        (";expires=4294967295", 4294967295, False),
        (";expires=4294967296", None, True),
        (";expires=-1", None, True),
        (";expires=soon", None, True),
        (";expires", None, True),
        (";expires=\u0661", None, True),
        (";expires=" + "9" * 5000, None, True),
    ],
)
def test_r18_expires(text: str, seconds: int | None, fault: bool) -> None:
    """R18: a lifetime is read in seconds; one that is there and unreadable is told from none."""
    contact = _one(f"<sip:a@h.example>{text}")
    assert contact.expires == seconds
    assert bool(contact.expires_fault) == fault


def test_number_of_contacts_is_bounded() -> None:
    """More Contacts than the bound end in one with a fault: the loss is seen."""
    contacts = parse_contacts([",".join(f"<sip:n{i}@h.example>" for i in range(MAX_CONTACTS + 5))])
    assert len(contacts) == MAX_CONTACTS + 1
    assert [contact.fault for contact in contacts[:-1]] == [None] * MAX_CONTACTS
    assert contacts[-1].fault


def test_empty_entries_are_nothing() -> None:
    """Empty list elements and empty headers give no Contact (R13)."""
    assert parse_contacts(["", " , ,", "\r\n"]) == ()


@given(st.lists(hostile_text, max_size=4))
def test_any_values_never_raise(values: list[str]) -> None:
    """R14: whatever the values are, each Contact has a URI, is '*', or has a fault."""
    for contact in parse_contacts(values):
        assert contact.is_star or (contact.uri is None) == (contact.fault is not None)
        assert 0.0 <= contact.q <= 1.0
        assert contact.expires is None or contact.expires >= 0


@given(hostile_text, hostile_text)
def test_r14_a_value_never_changes_the_next(first: str, second: str) -> None:
    """R14: an unclosed quote or bracket does not reach into a following header value."""
    assert parse_contacts([first, second]) == parse_contacts([first]) + parse_contacts([second])


@given(hostile_text)
def test_splitting_loses_nothing(text: str) -> None:
    """What lies between the commas is all still there, in its order."""
    kept = "".join("".join(split_commas(text)).split())
    rest = iter("".join(text.split()))
    assert all(char in rest for char in kept)
    assert sorted(kept.replace(",", "")) == sorted("".join(text.split()).replace(",", ""))


_displays = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=20)


@given(st.lists(_displays, min_size=1, max_size=4))
def test_quoted_names_come_back(names: list[str]) -> None:
    """R14: whatever a properly quoted display name holds, entries are split and names read right."""
    quoted = ['"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"' for name in names]
    contacts = parse_contacts([", ".join(f"{name} <sip:u{i}@h.example>;q=0.5" for i, name in enumerate(quoted))])
    assert [contact.display for contact in contacts] == [name or None for name in names]
    assert [str(contact.uri) for contact in contacts] == [f"sip:u{i}@h.example" for i in range(len(names))]
    assert [unquote(name) for name in quoted] == names


@pytest.mark.parametrize(
    "value",
    [
        "<sip:a@h.example>;q=0.5;expires=60",
        "sip:a@h.example:5070;q=0.5",
        '"A B" <sip:a@h.example;transport=tcp;lr>',
        "Alice <sip:a@192.0.2.1>, <sips:b@h.example>;q=0.1",
        "<tel:+15551230016>",
    ],
)
def test_contacts_agree_with_another_parser(value: str) -> None:
    """An independent parser finds the same names, URIs and parameters."""
    ours = parse_contacts([value])
    theirs = sipmessage.Address.parse_many(value)
    assert [(contact.display or "", contact.uri_text) for contact in ours] == [
        (address.name, str(address.uri)) for address in theirs
    ]
    assert [[name for name, _ in contact.params] for contact in ours] == [
        list(address.parameters) for address in theirs
    ]


GOLDEN = {
    "c10": ["sip:new10@127.0.0.1:20001"],
    "c11": ["sip:+15551230011@127.0.0.1:20001;transport=tcp;user=phone"],
    "c12": ["sip:new12@127.0.0.1:20001?Subject=x%20y&Priority=urgent"],
    "c14": ["sip:new14@[2001:db8::1]:5060"],
    "c15": ["sips:new15@secure.example.com"],
    "c16": ["tel:+1-555-123-0016;phone-context=example.com"],
    "c17": ["sip:new17@127.0.0.1:20001"],
    "c19": ["sip:new19@127.0.0.1:20001"],
    "c20": [None],
    "c21": ["sip:a=b&c+d$e,f;g?h/i@127.0.0.1:20001"],
    "c22": ["sip:us'er:pa'(ss)*!@127.0.0.1:20001"],
    "c23": ["sip:new23@127.0.0.1:20001"],
    "c24": ["sip:new24@127.0.0.1:20001", None],
    "c25": ["sip:x%0d%0ay%00z@127.0.0.1:20001"],
    "c36": ["sip:new36@127.0.0.1:20001"],
    "c38": [None],
    "c39": ["sip:new39@127.0.0.1:20001"],
}


def _fields(line: bytes) -> dict[str, str]:
    words = (word.partition(b"=") for word in line.split())
    return {name.decode(): to_text(unquote_to_bytes(value)) for name, _, value in words if value}


@pytest.mark.parametrize("user", sorted(GOLDEN))
def test_r14_contacts_that_kamailio_logged(user: str, corpus: Path) -> None:
    """R14: odd Contacts that a running Kamailio logged are read as their sender meant them."""
    log = (corpus / "kamailio" / "snippet-all-cases.log").read_bytes()
    records = [
        _fields(line[line.index(b"REDIRECTD ") :]) for line in log.splitlines() if b"REDIRECTD v=1 ev=301" in line
    ]
    (value,) = {record["ct"] for record in records if record["ouri"].startswith(f"sip:{user}@")}
    assert _uris(value) == GOLDEN[user]
