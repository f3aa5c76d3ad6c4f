"""plan, apply, history, rollback, status and db: from approved remaps to files and back."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from html.parser import HTMLParser

import pytest

from tests.cli.conftest import Cli

TARGET_KEYS = {"name", "kind", "path", "create", "update", "delete", "unchanged", "diff", "refused"}


def test_plan_changes_nothing(filled: Cli) -> None:
    """`plan --json` has the contract's keys; --exit-code gives 2 while there are changes; no file appears."""
    filled("approve", "1")
    plan = filled("plan", "--json", "--exit-code", code=2).json
    assert plan.keys() >= {"checksum", "targets", "conflicts", "cycles", "limit"}
    assert plan["targets"][0].keys() >= TARGET_KEYS
    assert (plan["targets"][0]["create"], plan["targets"][0]["delete"]) == (1, 0)
    assert "+0:sip\\:alice@127.0.31.1\\:" in plan["targets"][0]["diff"]
    assert filled("plan", "--json").json["checksum"] == plan["checksum"]
    assert not (filled.folder / "redirectd_htable").exists()


def test_apply_then_nothing_to_do(filled: Cli) -> None:
    """`apply` installs and says so; the next one finds nothing to change and plan --exit-code gives 0."""
    filled("approve", "1")
    done = filled("apply", "--json").json
    assert done["generation"] == 1
    assert done["targets"][0]["outcome"] == "installed"
    assert b"alice@127.0.31.1" in (filled.folder / "redirectd_htable").read_bytes()
    again = filled("apply", "--json").json
    assert (again["generation"], again["targets"][0]["outcome"]) == (None, "unchanged")
    filled("plan", "--exit-code")


def test_dry_run(filled: Cli) -> None:
    """`apply --dry-run` is a plan."""
    filled("approve", "1")
    assert "+0:sip\\:alice@" in filled("apply", "--dry-run").out
    assert not (filled.folder / "redirectd_htable").exists()


def test_limit_refuses_with_3(filled: Cli) -> None:
    """A plan over a limit is refused with 3 and its figures; the very plan that was shown goes through with --force."""
    filled.config.write_text(filled.config.read_text() + "\n[limits]\nmax_changes = 1\n")
    filled("approve", "1", "4", "7")
    refused = filled("apply", "--json", code=3)
    assert refused.json["targets"][0]["outcome"] == "refused"
    assert "max_changes = 1" in refused.err
    checksum = filled("plan", "--json").json["checksum"]
    filled("apply", "--force", "--plan", "0" * 64, code=3)
    filled("apply", "--force", "--plan", checksum)
    assert (filled.folder / "redirectd_htable").exists()


def test_unknown_target(filled: Cli) -> None:
    """--target takes names of the configuration."""
    assert "users" in filled("apply", "--target", "nobody", code=2).err


def test_rollback_and_hold(filled: Cli) -> None:
    """R35: rollback puts the files of the generation before back and holds applies until they are resumed."""
    filled("approve", "1")
    filled("apply")
    first = (filled.folder / "redirectd_htable").read_bytes()
    filled("approve", "4")
    filled("apply")
    assert (filled.folder / "redirectd_htable").read_bytes() != first
    filled("rollback", "--json")
    assert (filled.folder / "redirectd_htable").read_bytes() == first
    assert "--resume" in filled("apply", code=3).err
    held = filled("apply", "--json", code=3)
    assert [target["outcome"] for target in held.json["targets"]] == ["refused"]
    assert held.json["generation"] is None
    assert "held since" in held.json["targets"][0]["error"]
    assert "--resume" in held.err
    filled("apply", "--resume")
    generations = filled("history", "--json").json["generations"]
    assert [one["cause"] for one in generations] == ["apply", "rollback", "apply", "apply"]
    assert filled("history", "1", "--json").json["targets"][0]["name"] == "users"
    filled("history", "99", code=2)
    filled("rollback", "99", code=2)


@pytest.mark.parametrize("command", ["plan", "apply"])
def test_no_target_is_told(cli: Cli, command: str) -> None:
    """Without a target there is nothing to change, and that is said: approved remaps would go nowhere unseen."""
    result = cli(command)
    assert (result.out, "no target is configured" in result.err) == ("", True)


def test_status_without_service(filled: Cli) -> None:
    """`status` works without a running service, from the database alone."""
    status = filled("status", "--json").json
    assert status["daemon"]["running"] is False
    assert status["remaps"]["pending"] == len(filled("pending", "--json").json["remaps"])
    assert "not running" in filled("status").out


def test_a_newer_database_is_told_and_not_read(filled: Cli) -> None:
    """`status` shows nothing out of tables it does not know; `db current` advises no upgrade that would be refused."""
    with sqlite3.connect(filled.folder / "redirectd.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    status = filled("status", "--json").json
    assert (status["database"]["ok"], status["remaps"]) == (False, None)
    assert "newer redirectd" in status["database"]["what_to_do"]
    assert "newer redirectd" in filled("status").out
    current = filled("db", "current", "--json").json
    assert (current["upgrade_needed"], current["newer"]) == (False, True)
    assert "db upgrade" not in filled("db", "current").out


def test_what_prune_frees_is_what_status_shows_less(filled: Cli) -> None:
    """The bytes that `db prune` says it freed are those by which `status` is smaller, the write-ahead log included."""
    with closing(
        sqlite3.connect(filled.folder / "redirectd.db")
    ) as elsewhere:  # as the service's: the log stays beside
        elsewhere.execute("SELECT 1 FROM alembic_version").fetchone()
        filled("reject", "1")
        before = filled("status", "--json").json["database"]["bytes"]
        freed = filled("db", "prune", "--json").json["freed_bytes"]
        after = filled("status", "--json").json["database"]["bytes"]
    assert freed > 0
    assert freed == before - after


def test_db(cli: Cli) -> None:
    """`db upgrade` makes the tables, `db current` says so, `db prune` drops nothing that is young."""
    assert cli("db", "current", "--json").json["current"] is None
    done = cli("db", "upgrade", "--json").json
    assert done["before"] is None
    current = cli("db", "current", "--json").json
    assert current["current"] == current["head"] == done["after"]
    assert cli("db", "prune", "--json").json["evidence"] == 0
    assert "already" in cli("db", "upgrade").out


def test_plan_checksum_is_just_that(filled: Cli) -> None:
    """`plan --checksum` prints the checksum that `apply --plan` takes, and nothing else."""
    filled("approve", "1")
    printed = filled("plan", "--checksum")
    assert (printed.out, printed.err) == (filled("plan", "--json").json["checksum"] + "\n", "")
    assert filled("apply", "--plan", printed.out.strip(), "--json").json["generation"] == 1


class Tags(HTMLParser):
    """The tags and the text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keeps the name, and that nothing is loaded or run."""
        assert {name for name, _ in attrs} <= {"lang", "charset", "class"}
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        """Keeps the text."""
        self.text += data


def test_plan_as_html(filled: Cli) -> None:
    """`plan --html` is one page with coloured differences, in which no text of a remap is markup."""
    rows = filled.folder / "rows.csv"
    rows.write_text(
        "old_uri,new_uri\nsip:a&b'<script>@127.0.0.1,sip:new@127.0.0.1\nsip:a'&b@127.0.0.1,sip:c@127.0.0.1\n"
    )
    filled("import", rows, "--skip-faults", code=2)
    filled("approve", "--domain", "127.0.0.1", "--reason", "moved", code=3)
    page = filled("plan", "--html").out
    found = Tags()
    found.feed(page)
    assert set(found.tags) <= {
        "html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "code", "table", "tr", "th", "td", "pre",
        "span",
    }  # fmt: skip
    assert '<span class="add">+' in page
    assert filled("plan", "--json").json["targets"][0]["diff"].splitlines()[-1] in found.text
    assert "a&#x27;&amp;b" in page
