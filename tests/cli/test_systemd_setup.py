"""`redirectd init --systemd`: the commands that install the service."""

from __future__ import annotations

from pathlib import Path

import pytest

from redirectd.cli import survey
from redirectd.cli.survey import Host
from redirectd.errors import InstallError

PROGRAM = Path("/opt/redirectd/bin/redirectd")


def host(*groups: str) -> Host:
    return Host(
        kamailio_folder=Path("/etc/kamailio"),
        kamailio_log=None,
        kamailio_socket=None,
        dispatcher_list=None,
        asterisk_folder=None,
        asterisk_log=None,
        can_own=True,
        groups=frozenset(groups),
    )


def test_every_file_that_is_installed_is_there() -> None:
    """What the commands copy exists in the tree, as it does in the wheel."""
    sources = [word for command in survey.commands(host("kamailio"), PROGRAM) for word in command]
    copied = [Path(word) for word in sources if word.startswith(str(survey.files()))]
    assert len(copied) == 8
    assert [file for file in copied if not file.is_file()] == []


def test_a_server_that_is_here_gets_its_folder_and_drop_in() -> None:
    """Kamailio's folder belongs to its group; a server that is not here, or has no group, gets nothing."""
    made = [list(command) for command in survey.commands(host("kamailio"), PROGRAM)]
    assert ["install", "-d", "-o", "redirectd", "-g", "kamailio", "-m", "2750", "/etc/kamailio/redirectd"] in made
    assert not [command for command in made if "asterisk" in " ".join(command)]
    assert not [c for c in survey.commands(host(), PROGRAM) if "kamailio" in " ".join(c).replace("/etc/", "")]


def test_folders_that_are_missing_are_named_with_their_command(tmp_path: Path) -> None:
    """`init` prints what makes a target's folder, and nothing for one that is there."""
    (tmp_path / "etc/kamailio").mkdir(parents=True)
    (tmp_path / "etc/group").write_text("kamailio:x:105:\n")
    [command] = survey.missing_folders(survey.look_around(tmp_path))
    folder = tmp_path / "etc/kamailio/redirectd"
    assert command == ("install", "-d", "-o", "redirectd", "-g", "kamailio", "-m", "2750", str(folder))
    folder.mkdir()
    assert survey.missing_folders(survey.look_around(tmp_path)) == []


def test_the_units_start_the_program_that_is_linked() -> None:
    """The path that the units start is the link that the commands make; the package's own program needs none."""
    first = next(iter(survey.commands(host(), PROGRAM)))
    assert list(first) == ["ln", "-sfn", str(PROGRAM), "/usr/bin/redirectd"]
    unit = (survey.files() / "redirectd.service").read_text()
    assert f"ExecStart={first[-1]} run\n" in unit
    packaged = [command[0] for command in survey.commands(host(), Path("/usr/bin/redirectd"))]
    assert "ln" not in packaged


def test_a_command_that_fails_says_what_it_said() -> None:
    """The command, its words, and what to do."""
    with pytest.raises(InstallError) as caught:
        survey.run(["ls", "/none/at/all"])
    assert caught.value.where == "ls /none/at/all"
    assert "No such file" in caught.value.why
