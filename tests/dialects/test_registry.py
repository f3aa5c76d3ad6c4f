"""Dialects by name, the literals that are searched, and what a log without answers tells."""

from __future__ import annotations

from pathlib import Path

import pytest

from redirectd.dialects.hints import count, discarded, hints
from redirectd.dialects.registry import ALL, by_name, literals
from redirectd.errors import UsageError


def test_every_dialect_has_a_name_of_its_own() -> None:
    """Each dialect is found by its name, and only by it."""
    assert len({dialect.name for dialect in ALL}) == len(ALL)
    assert all(by_name(dialect.name) is dialect for dialect in ALL)


def test_unknown_name_lists_the_known_ones() -> None:
    """A wrong `--dialect` says which there are."""
    with pytest.raises(UsageError) as caught:
        by_name("nonsense")
    assert all(dialect.name in caught.value.what_to_do for dialect in ALL)


def test_literals_are_as_few_as_possible() -> None:
    """R1, R3: one search string for a spelling and status; none that another would find anyway."""
    assert literals(ALL, (301,)) == (
        b"83,73,80,47,50,46,48,32,51,48,49",
        b";code=301;",
        b"REDIRECTD v=1 ev=301",
        b"REDIRECTD v=2 ev=301",
        b"SIP/2.0 301",
        b"SIP\\/2.0 301",
        b"failed 301 ",
        b"reply 301 ",
        b"rs=301 ",
    )
    assert literals((by_name("asterisk-pjsip"), by_name("sipdump")), (301, 183)) == (b"SIP/2.0 183", b"SIP/2.0 301")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("asterisk/ast22-verbose-only.log", {"asterisk-forwarding"}),
        ("kamailio/register-301.log", {"operator-text"}),
        ("kamailio/dispatcher-options-301.log", {"operator-text"}),
        ("kamailio/acc-syslog.log", {"kamailio-acc-uri"}),
        ("asterisk/ast16-messages-only.log", {"asterisk-no-sip"}),
    ],
)
def test_log_without_answers_names_the_setting_that_is_missing(corpus: Path, name: str, expected: set[str]) -> None:
    """What a log can't tell comes with the setting of Kamailio or Asterisk that would."""
    told = hints(count((corpus / name).read_bytes()))
    assert {hint.name for hint in told} == expected
    assert all(hint.setting and hint.says for hint in told)


def test_losses_come_first_and_are_counted() -> None:
    """What a log says it has lost is a loss, with its number where the log tells it."""
    log = (
        b"Now forwarding A\n[x] WARNING[1] logger.c: Logging resumed.  17 messages discarded.\nACC: x;code=301;reason=x"
    )
    told = hints(count(log))
    assert [(hint.name, hint.loss) for hint in told] == [
        ("asterisk-discarded", True),
        ("asterisk-forwarding", False),
        ("kamailio-acc", False),
    ]
    assert discarded(log) == 17
    assert discarded(b"nothing here") == 0
