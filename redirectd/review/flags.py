"""The names of flags that no row of a remap carries by itself: they follow from policy, other rows and the time."""

from __future__ import annotations

FAILING, STALE, REDUNDANT, INEFFECTIVE = "failing", "stale", "redundant", "ineffective"
LOOKS = frozenset({FAILING, STALE, REDUNDANT, INEFFECTIVE})
"""Flags that hold nothing: they say that a look is due, or that a remap is not needed any more."""

DERIVED_FLAGS = frozenset({"untrusted", "method", "registrar", "suspicious", "flapping"}) | LOOKS
"""All of them, those of R12, R26, R27 and R32 first. Never stored but for a suspicion that needs no policy."""

STORED_FLAGS = frozenset(
    {"ambiguous", "downgrade", "expiring", "malformed", "routing-data", "unkeyed", "unproven", "volatile"}
)
"""What a remap's row carries by itself, as the rules R11 to R21 and R39 to R40 made it."""

ALL_FLAGS = DERIVED_FLAGS | STORED_FLAGS
"""Every flag that a remap can have, for filters: another name is a misspelling."""
