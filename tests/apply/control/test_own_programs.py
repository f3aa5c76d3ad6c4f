"""Programs of the operator as `check`, `reload` and `verify`: whose they are, how they run, and what comes back."""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
import time
from pathlib import Path

import pytest

from redirectd.apply.control import AnswerError, open_channel, program
from redirectd.apply.control.program import MOST_OUTPUT, program_fault
from redirectd.plan.target import Command

NOBODY = pwd.getpwnam("nobody")


@pytest.fixture(autouse=True)
def a_service_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in for the packaged user, which a machine of tests need not have."""
    monkeypatch.setattr(program, "SERVICE_USER", "nobody")


def said(script: str, *arguments: str, timeout: float = 20) -> str:
    """What a shell script prints, run as a program of the target `fs`."""
    return str(open_channel("run:fs", timeout=timeout).ask(Command("reload", ("/bin/sh", "-c", script, *arguments))))


def test_what_it_prints_is_the_answer_and_any_other_exit_code_an_error() -> None:
    """Exit code 0 is a yes; another one is an answer that says which program, code and text."""
    assert said('echo "$0 is read"; echo so >&2', "/srv/moves") == "/srv/moves is read\\x0aso"
    with pytest.raises(AnswerError, match="target fs, reload: answered: /bin/sh ended with exit code 3: no such row"):
        said("echo no such row; exit 3")


def test_the_environment_is_empty_but_for_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the service's environment, where its secrets are, reaches a program; nor does its standard input."""
    monkeypatch.setenv("REDIRECTD_DATABASE_PASSWORD", "secret")
    assert said("tr '\\0' '\\n' < /proc/$$/environ | cut -d= -f1 | sort | xargs; pwd; cat").split("\\x0a") == [
        "LC_ALL PATH",
        "/",
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs programs as another user")
def test_root_runs_it_as_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand as root it has the rights of the service's user, or it is not run at all."""
    assert said("id -u; id -g; cat /etc/shadow || echo no").startswith(f"{NOBODY.pw_uid}\\x0a{NOBODY.pw_gid}\\x0a")
    monkeypatch.setattr(program, "SERVICE_USER", "no-such-user")
    with pytest.raises(AnswerError, match="there is no user no-such-user to run it as, and root does not"):
        said("true")


def test_it_ends_with_its_children_at_the_time_out() -> None:
    """At the time-out the program's whole group is killed, children that ignore signals, too."""
    with tempfile.TemporaryDirectory() as folder:  # not below pytest's, which is closed to other users
        Path(folder).chmod(0o777)
        mark = Path(folder) / "mark"
        with pytest.raises(AnswerError, match="did not end within 3 s"):
            said(f"(trap '' TERM HUP INT; while :; do echo >> {mark}; sleep 0.1; done) & sleep 60", timeout=3)
        size = mark.stat().st_size
        time.sleep(0.5)
        assert 0 < size == mark.stat().st_size


def test_a_child_that_keeps_its_output_open_is_not_waited_for() -> None:
    """The program's end is the answer; what it left behind is killed, not waited for."""
    assert said("echo done; sleep 300 &", timeout=200) == "done"


def test_what_may_not_be_killed_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the time-out a program that has become another user (sudo) is left to run: no apply waits for its end."""
    monkeypatch.setattr(os, "killpg", refuse)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        mark = Path(folder) / "mark"
        with pytest.raises(AnswerError, match=r"did not end within 0\.5 s"):
            said(f"sleep 8; echo > {mark}", timeout=0.5)
        assert not mark.exists()


def refuse(*_: object) -> None:
    """Stand in for killing what is another user's."""
    raise PermissionError(1, "Operation not permitted")


def test_output_is_bounded_and_escaped() -> None:
    """What a program prints without end is cut at 64 kB, and no control character of it reaches a terminal."""
    text = said("head -c 3000000 /dev/zero | tr '\\0' x; printf '\\033[31m'")
    assert 0 < len(text) <= MOST_OUTPUT
    assert said("printf '\\033[31mred\\000\\377'") == "\\x1b[31mred\\x00\N{REPLACEMENT CHARACTER}"


def test_only_what_is_roots_alone_is_run(tmp_path: Path) -> None:
    """A program, or a folder above it, that others than root may change is refused, and so are links to one."""
    own = tmp_path / "reload-it"
    shutil.copy("/bin/true", own)
    assert program_fault("/bin/sh") is None
    assert "others than root may change" in str(program_fault(str(own)))
    assert program_fault("reload-it") == "it is not an absolute path"
    assert program_fault("/usr/bin/no-such-program") == "No such file or directory"
    assert program_fault("/etc/passwd") == program_fault("/usr/bin") == "it is not a program"
    with pytest.raises(AnswerError, match="is not run: others than root may change"):
        open_channel("run:fs", timeout=5).ask(Command("check", (str(own),)))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes folders that are root's")
def test_links_on_the_way_to_a_program_are_roots_alone(tmp_path: Path) -> None:
    """A link to a link in a folder that others may change is refused: they could make it lead to another program."""
    tmp_path.chmod(0o777)
    (tmp_path / "second").symlink_to("/bin/true")
    with tempfile.TemporaryDirectory(dir="/root") as folder:
        first = Path(folder) / "first"
        first.symlink_to(tmp_path / "second")
        assert "others than root may change /tmp" in str(program_fault(str(first)))
        first.unlink()
        first.symlink_to("../../usr/bin/true")
        assert program_fault(str(first)) is None
        (Path(folder) / "round").symlink_to("round")
        assert program_fault(f"{folder}/round") == "Too many levels of symbolic links"
