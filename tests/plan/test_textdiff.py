"""The unified diff: exact where it is short, bounded where it is long, harmless to print."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from redirectd.plan import textdiff
from redirectd.plan.textdiff import MAX_LINES, unified_diff

_LINES = st.lists(st.sampled_from(["a", "b", "c", "dd", "", "ee"]), max_size=30).map("\n".join)
_HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")


def _patched(old: str, diff: str) -> str:
    """Apply a unified diff of printable text strictly: every context and deleted line must be there."""
    rest = old.split("\n")
    done: list[str] = []
    at = 0
    lines = diff.splitlines()[2:]
    end_marks: list[str] = []
    for index, line in enumerate(lines):
        head = _HUNK.fullmatch(line)
        if head:
            start = int(head[1]) - (0 if head[2] == "0" else 1)
            done += rest[at:start]
            at = start
        elif line.startswith("\\"):
            end_marks.append(lines[index - 1][0])
        elif line[0] == "+":
            done.append(line[1:])
        else:
            assert rest[at] == line[1:]
            at += 1
            if line[0] == " ":
                done.append(line[1:])
    done += rest[at:]
    # Without a final newline `split` gives no empty last piece; the marks say on which side that is so.
    old_ends, new_ends = old.endswith("\n") or not old, None
    if "+" in end_marks:
        new_ends = False
    elif "-" in end_marks:
        new_ends = True
    if new_ends is True and not old_ends:
        done.append("")
    if new_ends is False and old_ends and done[-1] == "":
        done.pop()
    return "\n".join(done)


@given(_LINES, _LINES)
@example("a\nb\n", "")
@example("", "a")
@example("a", "a\n")
@settings(max_examples=400)
def test_diff_applied_by_patch_gives_the_new_file(old: str, new: str) -> None:
    """What the diff shows is the whole difference: applied strictly to the old file it gives the new one."""
    diff = unified_diff(old.encode(), new.encode(), "f")
    if old == new:
        assert diff == ""
    elif old and new:
        assert _patched(old, diff) == new


@given(_LINES, _LINES)
@settings(max_examples=400)
def test_diff_is_the_whole_difference_also_where_windows_are_passed(old: str, new: str) -> None:
    """Where nothing equal stands within the windows, and a sample of lines is looked for, nothing gets lost."""
    with patch.object(textdiff, "_WINDOWS", (1, 2)), patch.object(textdiff, "_SAMPLE", 3):
        diff = unified_diff(old.encode(), new.encode(), "f")
    if old and new and old != new:
        assert _patched(old, diff) == new


@pytest.mark.skipif(shutil.which("patch") is None, reason="patch is not installed")
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("a\nb\nc\n", "a\nx\nc\n"),
        ("a\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk\n", "b\nc\nd\ne\nf\ng\nh\nX\nj\nk"),
        ("a\n", "a\nb\nc\n"),
        ("x\na\nx\nb\nx\n", "x\nb\nx\na\nx\ny\n"),
    ],
)
def test_diff_is_read_by_patch(tmp_path: Path, old: str, new: str) -> None:
    """The form is that of diff -u: patch(1) takes it."""
    (tmp_path / "f").write_text(old)
    diff = unified_diff(old.encode(), new.encode(), "f")
    subprocess.run(["patch", "-p0", "f"], input=diff, text=True, cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "f").read_text() == new


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_diff_of_any_bytes_is_printable(old: bytes, new: bytes) -> None:
    """R25: whatever bytes a file holds, each line of the diff is printable text."""
    assert all(line.isprintable() for line in unified_diff(old, new, "f\x1b").split("\n"))


def test_diff_of_a_file_that_comes_or_goes_names_dev_null() -> None:
    """A missing side is /dev/null, as in diff -u."""
    assert unified_diff(None, b"a\n", "f") == "--- /dev/null\n+++ f\n@@ -0,0 +1 @@\n+a\n"
    assert unified_diff(b"a\n", None, "f") == "--- f\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n"


def test_long_diff_is_cut_and_says_how_much_is_missing() -> None:
    """Of 60,000 lines that all differ the first are shown, with the number of the others."""
    old = b"".join(b"old %d\n" % number for number in range(30_000))
    new = b"".join(b"new %d\n" % number for number in range(30_000))
    lines = unified_diff(old, new, "f").splitlines()
    assert len(lines) == 2 + MAX_LINES + 1
    assert lines[-1] == f"... {60_001 - MAX_LINES} more lines of difference are not shown"


def test_diff_of_many_scattered_changes_stays_exact() -> None:
    """In a large table each changed line is one hunk, not a rewrite of everything after the first."""
    old = [f"row {number}\n" for number in range(20_000)]
    new = [f"changed {number}\n" if number % 1000 == 500 else row for number, row in enumerate(old)]
    lines = unified_diff("".join(old).encode(), "".join(new).encode(), "f").splitlines()
    assert sum(line.startswith("@@") for line in lines) == 20
    assert sum(line.startswith("+changed") for line in lines) == 20


@pytest.mark.parametrize("at", [0, 20_011, 40_000])
@pytest.mark.parametrize("comes", [True, False])
def test_diff_of_many_lines_that_come_or_go_together_is_those_lines(at: int, *, comes: bool) -> None:
    """A run of 30,000 lines, longer than any window, is told as what came or went, and nothing else."""
    rows = [b"row %d\n" % number for number in range(40_000)]
    more = [b"other %d\n" % number for number in range(30_000)]
    few, many = b"".join(rows), b"".join([*rows[:at], *more, *rows[at:]])
    lines = unified_diff(*((few, many) if comes else (many, few)), "f").splitlines()
    context = min(3, at) + min(3, len(rows) - at)
    assert lines[-1] == f"... {1 + context + 30_000 - MAX_LINES} more lines of difference are not shown"
    assert {line[0] for line in lines[3:-1]} <= {" ", "+" if comes else "-"}
