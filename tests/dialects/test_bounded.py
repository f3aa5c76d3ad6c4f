"""What a hit costs does not depend on how much of a log is in the window."""

from __future__ import annotations

import gc
from typing import SupportsIndex
from weakref import ref

import pytest

from redirectd.dialects import registry
from redirectd.dialects.framing import Stretch
from redirectd.dialects.registry import by_name
from redirectd.dialects.window import REACH


class Counted(bytes):
    """A window that counts the bytes that are copied out of it or searched through."""

    looked_at = 0

    def __getitem__(self, key: SupportsIndex | slice) -> bytes:  # type: ignore[override]  # a slice is all we need
        assert isinstance(key, slice)
        found = super().__getitem__(key)
        self.looked_at += len(found)
        return found

    def rfind(  # type: ignore[override]  # only as the dialects call it
        self, sub: bytes, start: int = 0, end: int | None = None
    ) -> int:
        """Counts the whole stretch, found or not."""
        stop = len(self) if end is None else end
        self.looked_at += max(0, stop - start)
        return super().rfind(sub, start, stop)


def looked_at(name: str, line: bytes, before: int) -> int:
    """Bytes that a dialect looked at for the last hit of a line with `before` bytes of other lines before it."""
    window = Counted(b"DEBUG: noise\n" * (before // 13) + line)
    by_name(name).frame(window, window.rindex(b"SIP/2.0 301"), final=True)
    return window.looked_at


@pytest.mark.parametrize("name", ["kamailio-dump", "kamailio-stderr"])
@pytest.mark.parametrize(
    "line",
    [b"x" * 1100 + b"SIP/2.0 301 Moved\n", b"SIP/2.0 301 Moved " * 420 + b"\n", b"x" * 9000 + b"SIP/2.0 301 Moved\n"],
    ids=["behind-1100-bytes", "420-in-a-line", "behind-9000-bytes"],
)
def test_a_hit_far_into_its_line_costs_the_same_in_any_window(name: str, line: bytes) -> None:
    """R25: no search for a line's start goes through the whole window, whatever the line is made of."""
    small, large = (looked_at(name, line, before) for before in (2 * REACH, 16 * REACH))
    assert small == large


def test_stretch_is_freed_with_its_last_user() -> None:
    """What was walked over is not kept for the garbage collector, or a service holds hundreds of MB of read log."""
    gc.disable()
    try:
        page = Stretch(b"Nov 22 16:26:03 sip1 kamailio[2712]: INFO: <script>: nothing\n" * 100)
        for dialect in registry.ALL:
            dialect.frame(page, 3000, final=False)
        assert page.walks
        held = ref(page)
        del page
        assert held() is None
    finally:
        gc.enable()
