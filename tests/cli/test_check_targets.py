"""`check` is not green on what `apply` refuses: installed files and bases."""

from __future__ import annotations

import pytest

from redirectd.cli.checks import targets_check
from tests.cli.conftest import Cli


def findings(cli: Cli, code: int) -> dict[str, str]:
    """The faults of check, by place."""
    document = cli("check", "--json", code=code).json
    return {one["where"]: one["why"] for one in document["findings"] if one["level"] == "fault"}


@pytest.mark.parametrize(
    ("change", "why"),
    [("", "it was emptied since"), ("by hand\n", "it was changed by hand since"), (None, "it is gone")],
)
def test_an_installed_file_that_is_another_one_is_a_fault(filled: Cli, change: str | None, why: str) -> None:
    """Emptied, edited or deleted: reported as a fault with the way out, and in order again after it."""
    filled("approve", 1)
    filled("apply")
    assert findings(filled, 0) == {}
    file = filled.folder / "redirectd_htable"
    if change is None:
        file.unlink()
    else:
        file.write_text(change)
    [(where, found)] = findings(filled, 1).items()
    assert where == f"target users, {file}"
    assert why in found
    filled("apply", *([] if change is None else ["--force"]))
    assert findings(filled, 0) == {}


def test_a_base_is_read_as_apply_reads_it(cli: Cli) -> None:
    """A line that Kamailio would skip is a fault with its number, as at apply, and no longer one once corrected."""
    base = cli.folder / "dispatcher.base.list"
    base.write_text("1 sip:192.0.2.1:5060\nnonsense\n")
    cli.configure(
        '[[target]]\nname = "gateways"\nkind = "kamailio-dispatcher"\npath = "dispatcher.list"\n'
        'base = "dispatcher.base.list"\n'
    )
    cli("plan", code=1)
    [(where, found)] = findings(cli, 1).items()
    assert where == f"target gateways, base {base}"
    assert "line 2" in found
    base.write_text("1 sip:192.0.2.1:5060\n")
    assert findings(cli, 0) == {}


def test_two_files_of_one_asterisk_with_the_same_contexts_are_a_fault(cli: Cli) -> None:
    """Asterisk merges contexts of one name: the second target is asked to take a prefix of its own."""
    target = '[[target]]\nname = "{0}"\nkind = "asterisk-dialplan"\npath = "{0}.conf"\n'
    cli.configure(target.format("one") + target.format("two"))
    [(where, found)] = findings(cli, 1).items()
    assert where == "target two, prefix"
    assert "the target one writes the contexts redirectd-map-" in found
    cli.configure(target.format("one") + target.format("two") + 'prefix = "other-map"\n')
    assert findings(cli, 0) == {}


def test_two_tables_of_one_function_are_a_fault(cli: Cli) -> None:
    """A function of Asterisk reads one table: the second target is asked to take a function of its own."""
    target = '[[target]]\nname = "{0}"\nkind = "asterisk-odbc"\nwidth = "user"\ntable = "{0}"\n'
    target += 'database = "mysql+pymysql://redirectd@127.0.0.1:1/asterisk"\n'

    def at_function() -> list[str]:
        return [found for where, found in findings(cli, 1).items() if where == "target two, function"]

    cli.configure(target.format("one") + target.format("two"))
    [found] = at_function()
    assert "the target one writes what the function ODBC_REDIRECTD reads, too" in found
    cli.configure(target.format("one") + target.format("two") + 'function = "OTHER"\n')
    assert at_function() == []


def test_a_file_that_is_mounted_by_itself_is_a_fault(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's single-file mount can't be exchanged by a rename: check says so before an apply meets it."""
    mounts = cli.folder / "mountinfo"
    monkeypatch.setattr(targets_check, "MOUNTS", mounts)
    folder = cli.folder / "a folder"
    folder.mkdir()
    file = folder / "table"
    file.touch()
    cli.configure(f'[[target]]\nname = "users"\nkind = "kamailio-htable"\npath = "{file}"\n')
    line = "36 35 98:0 /src {} rw,noatime master:1 - ext3 /dev/root rw\n"
    mounts.write_text(line.format(str(file).replace(" ", "\\040")))
    [(where, found)] = findings(cli, 1).items()
    assert where == f"target users, {file}"
    assert "mounted by itself" in found
    mounts.write_text(line.format(str(folder).replace(" ", "\\040")) + "what is this\n")
    assert findings(cli, 0) == {}


def test_two_ways_to_one_asterisk_are_one_server(cli: Cli) -> None:
    """Targets that `server` joins share their contexts whatever their ways are; another server has its own."""
    target = '[[target]]\nname = "{0}"\nkind = "asterisk-dialplan"\npath = "{0}.conf"\nserver = "{1}"\n'
    cli.configure(target.format("one", "pbx") + target.format("two", "pbx"))
    assert list(findings(cli, 1)) == ["target two, prefix"]
    cli.configure(target.format("one", "pbx") + target.format("two", "other"))
    assert findings(cli, 0) == {}
