"""Waiting for changes with the real kernel."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from redirectd.sources import wake as wake_module
from redirectd.sources.wake import Wake

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LONG = 20.0  # seconds that no test waits: an event ends the wait


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log" / "full"
    path.parent.mkdir()
    path.touch()
    return path


@pytest.fixture
def waiting(log: Path) -> Iterator[Wake]:
    wake = Wake([log])
    assert wake.wait(0)  # a new watch tells to look once
    assert not wake.wait(0)
    yield wake
    wake.close()


def test_wakes_on_each_kind_of_change(waiting: Wake, log: Path) -> None:
    """Writing, renaming, creating, removing and changing rights each end the wait."""
    old = log.with_name("full.1")
    changes: list[Callable[[], object]] = [
        lambda: log.write_bytes(b"x"),
        lambda: log.rename(old),
        lambda: log.write_bytes(b"y"),
        lambda: old.write_bytes(b"late"),
        lambda: log.chmod(0o600),
        log.unlink,
        log.touch,
        lambda: os.truncate(log, 0),
    ]
    for number, change in enumerate(changes):
        change()
        assert waiting.wait(LONG), number
        while waiting.wait(0):
            pass


def test_many_rotations_keep_few_watches(waiting: Wake, log: Path) -> None:
    """Each rotation brings a new watch and lets go of the oldest, so that none are used up."""
    for number in range(20):
        log.rename(log.with_name(f"full.{number}"))
        log.touch()
        while waiting.wait(0):
            pass
    assert all(len(watches) == 2 for watches in waiting._files.values())
    log.write_bytes(b"x")
    assert waiting.wait(LONG)


def test_missing_folder_is_looked_for(log: Path) -> None:
    """While the folder does not exist the wait is short, so that its coming is seen."""
    wake = Wake([log.parent / "later" / "full"])
    assert not wake.wait(LONG)
    (log.parent / "later").mkdir()
    (log.parent / "later" / "full").touch()
    assert wake.wait(LONG)
    wake.close()


def test_polls_without_inotify(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernel gives no inotify the wait is short instead of deaf."""

    def refuse() -> None:
        raise OSError("no inotify instances left")

    monkeypatch.setattr(wake_module, "INotify", refuse)
    wake = Wake([log])
    assert not wake.wait(LONG)
    wake.close()


def test_wake_from_a_thread_and_before_the_wait(waiting: Wake) -> None:
    """`wake` ends the wait that runs, or the one that comes."""
    waiting.wake()
    assert waiting.wait(LONG)
    waker = threading.Timer(0.05, waiting.wake)
    waker.start()
    assert waiting.wait(LONG)
    waker.join()


def test_joined_descriptor(waiting: Wake) -> None:
    """A readable pipe ends the wait until it is left."""
    reading, writing = os.pipe()
    waiting.join(reading)
    os.write(writing, b"x")
    assert waiting.wait(LONG)
    waiting.leave(reading)
    assert not waiting.wait(0)
    os.close(reading)
    os.close(writing)


def test_sigterm_ends_a_wait_at_once() -> None:
    """A signal that comes during a long wait ends it through the wake-up descriptor."""
    program = (
        "import signal; from redirectd.sources.wake import Wake\n"
        "wake = Wake(); signal.signal(signal.SIGTERM, lambda *_: None); signal.set_wakeup_fd(wake.wake_fd)\n"
        "print('ready', flush=True); print(wake.wait(600))"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        child.send_signal(signal.SIGTERM)
        assert child.communicate(timeout=LONG)[0] == b"True\n"
