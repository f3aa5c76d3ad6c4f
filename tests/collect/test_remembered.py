"""What a reader remembers of the answers it has met: enough for repetitions, however long the log."""

from __future__ import annotations

import sys
from hashlib import blake2b

import pytest

from redirectd.collect import remembered
from redirectd.collect.remembered import Remembered


def key(number: int) -> str:
    """A key like those of answers."""
    return blake2b(b"%d" % number, digest_size=16).hexdigest()


def test_r8_the_last_answers_are_remembered_and_old_ones_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """At least the last generation is known, at most two are kept."""
    monkeypatch.setattr(remembered, "GENERATION", 100)
    seen = Remembered()
    for number in range(1000):
        seen.remember(key(number), 3)
        assert all(seen.rank(key(one)) == 3 for one in range(max(0, number - 99), number + 1, 9))
    assert sum(seen.rank(key(number)) is not None for number in range(1000)) <= 200


def test_r8_what_was_not_confirmed_is_undone_to_what_it_was() -> None:
    """A better rank goes back to the lesser one, a new key is unknown again, a forgotten one is back."""
    seen = Remembered()
    seen.remember(key(1), 1)
    seen.remember(key(2), 2)
    seen.confirm()
    seen.remember(key(1), 2)
    seen.remember(key(1), 3)
    seen.remember(key(2), None)
    seen.remember(key(3), 0)
    assert [seen.rank(key(number)) for number in (1, 2, 3)] == [3, None, 0]
    seen.undo()
    assert [seen.rank(key(number)) for number in (1, 2, 3)] == [1, 2, None]
    seen.undo()
    assert [seen.rank(key(number)) for number in (1, 2, 3)] == [1, 2, None]


def test_a_call_and_an_answer_of_the_same_hash_are_two_things() -> None:
    """A line without a sure CSeq is named by its call alone: that must not stand for the call's other answers."""
    seen = Remembered()
    seen.remember(key(1), 0)
    assert seen.rank(f"call {key(1)}") is None
    seen.remember(f"call {key(1)}", 1)
    assert (seen.rank(key(1)), seen.rank(f"call {key(1)}")) == (0, 1)


def test_memory_is_bounded() -> None:
    """200,000 answers take no more than 1 MB."""
    seen = Remembered()
    for number in range(200_000):
        seen.remember(key(number), 3)
        if number % 1000 == 0:
            seen.confirm()
    generations = (seen._young, seen._old)
    size = sum(sys.getsizeof(one) + sum(map(sys.getsizeof, one)) for one in generations)
    assert size < 1 << 20
