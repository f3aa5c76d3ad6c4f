"""The names of flags that no row of a remap carries by itself: they follow from policy, other rows and the time."""

from __future__ import annotations

FAILING, STALE, REDUNDANT, INEFFECTIVE = "failing", "stale", "redundant", "ineffective"
LOOKS = frozenset({FAILING, STALE, REDUNDANT, INEFFECTIVE})
"""Flags that hold nothing: they say that a look is due, or that a remap is not needed any more."""

DERIVED_FLAGS = frozenset({"untrusted", "method", "registrar", "suspicious", "flapping"}) | LOOKS
"""All of them, those of R12, R26, R27 and R32 first. Never stored but for a suspicion that needs no policy."""
