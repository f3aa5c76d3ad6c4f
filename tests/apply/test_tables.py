"""Tables as targets in a real MariaDB and PostgreSQL: after kills, locks and hand edits they are the old or the new."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import NullPool, create_engine, text

from redirectd.apply.sql_rows import SqlRows
from redirectd.errors import InstallError, RedirectdError, RefusedError
from redirectd.plan.planning import digest
from redirectd.targets.kamailio_htable import SQL
from tests.apply.apply_host import expected, moves, outcomes, states
from tests.apply.kill import Steps, copy_of, killed, stepped_database, stepped_files
from tests.apply.table_hosts import (
    AorHost,
    OdbcHost,
    TableHost,
    announce_statements,
    at_statement,
    make_table,
    query,
    raw_rows,
    set_rows,
    set_table,
    whole_reads,
)
from tests.store.conftest import (
    SERVERS,
    mariadb_server,
    mariadb_url,
    postgresql_server,
    postgresql_url,
    pytest_runtest_setup,
    server_url,
)

__all__ = ["mariadb_server", "mariadb_url", "postgresql_server", "postgresql_url", "pytest_runtest_setup", "server_url"]

pytestmark = pytest.mark.parametrize("server_url", SERVERS, indirect=True)

OLD, NEW = moves(3), moves(5, "newer.test")


@pytest.fixture
def url(server_url: str) -> str:
    """A database with an empty table."""
    make_table(server_url)
    return server_url


def test_a_reserved_word_may_be_its_name(server_url: str) -> None:
    """A table `group`, made by the printed statements, is found, written and read as any other."""
    form = replace(SQL, name="group")
    rows = SqlRows(server_url, form, lambda: server_url, 10.0)
    backend = "mysql" if rows.is_mysql else "postgresql"
    assert not rows.exists()
    rows.make([form.create(backend, rows.quote)])
    assert rows.exists()
    content = form.text([("__gen__", 0, 0, "x", 0)])
    rows.replace(content, digest(None))
    assert rows.read() == content


def _killed_at(step: int, home: Path, url: str, kind: type[TableHost], *, deaf: bool) -> bool:
    def apply(steps: Steps) -> None:
        announce_statements(steps.at)
        host = kind(home, url, files=stepped_files(steps), database=stepped_database(steps), hook=steps.at)
        host.server.deaf = deaf
        host.apply(NEW)

    return killed(step, apply)


@pytest.mark.parametrize(
    "kind", [TableHost, OdbcHost, AorHost], ids=["kamailio-htable", "asterisk-odbc", "asterisk-pjsip-aor"]
)
@pytest.mark.parametrize("deaf", [False, True], ids=["proven", "disproved"])
def test_killed_at_every_step(tmp_path: Path, server_url: str, kind: type[TableHost], *, deaf: bool) -> None:
    """Killed at each statement, commit, file step and question: the table is whole, and the next apply finishes."""
    url, base = server_url, tmp_path / "base"
    base.mkdir()
    kind.make(url)
    host = kind(base, url)
    host.apply(OLD)
    host.database.close()
    # With their ids, by which what is known of the rows holds: the kills fall into the exchange of a few rows, too.
    tables = {name: list(dict.fromkeys(["id", *columns])) for name, columns in kind.tables().items()}
    old = {name: query(url, f"SELECT {', '.join(columns)} FROM {name}") for name, columns in tables.items()}
    faults: list[str] = []
    step = 0
    while True:
        step += 11 if deaf else 7
        home = copy_of(base, "trial")
        for name, columns in tables.items():
            set_rows(url, name, columns, old[name])
        if not _killed_at(step, home, url, kind, deaf=deaf):
            break
        host = kind(home, url)
        if host.in_table() not in (host.expected(OLD), host.expected(NEW)):
            faults.append(f"step {step}: {host.in_table()}")
        result = host.apply(NEW)
        faults += [f"step {step}: {result.error}"] if result.error else []
        if (host.in_table(), host.server.served("users")) != (host.expected(NEW), host.expected(NEW)):
            faults.append(f"step {step}: not finished")
        faults += [f"step {step}: left over {name}" for name in host.strays()]
        faults += [f"step {step}: pending" for state in states(host) if state.pending]
        host.database.close()
    assert faults == []
    assert step > 40


def test_a_locked_row_refuses_the_apply(tmp_path: Path, url: str) -> None:
    """A person's open transaction on one row: after a bounded wait nothing is changed; the next apply goes through."""
    host = TableHost(tmp_path, url)
    host.apply(OLD)
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as person:
        person.execute(text(f"UPDATE {SQL.name} SET expires = expires WHERE key_name LIKE '%u1@%'"))
        result = host.apply(NEW)
        person.rollback()
    assert (outcomes(result), "lock" in str(result.error)) == ({"users": "rolled-back"}, True)
    assert host.in_table() == expected(OLD) == host.server.served("users")
    assert outcomes(host.apply(NEW)) == {"users": "verified"}
    assert host.in_table() == expected(NEW)


def test_a_change_during_the_apply_is_not_overwritten(tmp_path: Path, url: str) -> None:
    """A row that a person adds after the plan was made, before the swap: nothing is written, and the row stays."""
    added = False

    def between(name: str) -> None:
        nonlocal added
        if name == "begin" and not added and tmp_path.joinpath("armed").exists():
            added = True
            query(url, f"INSERT INTO {SQL.name} (key_name, key_value) VALUES ('hand', 'made')")

    steps = Steps(0, lambda _: None)
    steps.at = between  # type: ignore[method-assign]
    host = TableHost(tmp_path, url, database=stepped_database(steps))
    host.apply(OLD)
    tmp_path.joinpath("armed").touch()

    result = host.apply(NEW)

    assert added
    assert isinstance(result.error, (InstallError, RefusedError))
    assert raw_rows(url)["hand"] == "made"
    assert all(raw_rows(url)[key] == value for key, value in expected(OLD).items())


def _moved(number: int) -> dict[str, str]:
    return NEW | {"sip:u1@old.test": f"sip:u1@n{number}.test"}


def test_a_change_fetches_no_other_rows(tmp_path: Path, url: str) -> None:
    """After an apply, only `verify`, and broken records of them, have rows fetched again."""
    with whole_reads() as first:
        host = TableHost(tmp_path, url)
        host.apply(NEW)
    with whole_reads() as fetched:
        for number, one in enumerate((host, TableHost(tmp_path, url)), 1):
            assert outcomes(one.apply(_moved(number))) == {"users": "verified"}
            assert raw_rows(url)["sip:u1@old.test:;"] == f"sip:u1@n{number}.test"
        assert outcomes(host.apply({**_moved(2), "sip:more@old.test": "sip:more@n.test"})) == {"users": "verified"}
        assert outcomes(host.apply(NEW)) == {"users": "verified"}
    assert (bool(first), fetched) == (True, [])
    assert host.in_table() == expected(NEW) == host.server.served("users")
    with whole_reads() as fetched:
        host.apply(NEW, verify=True)
    assert fetched != []
    [kept] = tmp_path.glob("*.redirectd-rows")
    kept.write_bytes(kept.read_bytes().replace(b"u1@newer", b"u1@older"))
    assert outcomes(TableHost(tmp_path, url).apply(NEW)) == {"users": "unchanged"}
    kept.write_bytes(b"")
    assert outcomes(TableHost(tmp_path, url).apply(_moved(3))) == {"users": "verified"}


@pytest.mark.parametrize(
    "edit",
    [
        "UPDATE {table} SET key_value = 'sip:mine@x' WHERE key_name = 'sip:u1@old.test\\:;'",
        "DELETE FROM {table} WHERE key_name = 'sip:u1@old.test\\:;'",
        "INSERT INTO {table} (key_name, key_value) VALUES ('hand', 'made')",
        "UPDATE {table} SET expires = 9 WHERE key_name = 'sip:u1@old.test\\:;'",
        "UPDATE {table} SET key_value = CASE key_name WHEN 'sip:u1@old.test\\:;' THEN 'sip:u2@newer.test' "
        "ELSE 'sip:u1@newer.test' END WHERE key_name LIKE 'sip:u1@%' OR key_name LIKE 'sip:u2@%'",
    ],
    ids=["changed", "removed", "added", "another column", "exchanged"],
)
def test_a_change_by_hand_is_seen_without_fetching(tmp_path: Path, url: str, edit: str) -> None:
    """Whatever a person does to the rows that are known, the next plan sees it and the next apply is refused."""
    host = TableHost(tmp_path, url)
    host.apply(NEW)
    query(url, edit.format(table=SQL.name))
    there = raw_rows(url)

    result = host.apply(_moved(1))

    assert "changed by hand" in str(result.error)
    assert raw_rows(url) == there


def test_a_table_that_answers_otherwise_than_written_is_left_as_it_was(tmp_path: Path, url: str) -> None:
    """A trigger that changes what is written: the apply is refused, whether rows are fetched or known."""
    host = TableHost(tmp_path, url)
    host.apply(NEW)
    if url.startswith("mysql"):
        query(url, f"CREATE TRIGGER t BEFORE INSERT ON {SQL.name} FOR EACH ROW SET NEW.expires = 7")
    else:
        body = "BEGIN NEW.expires = 7; RETURN NEW; END"
        query(url, f"CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS '{body}'")
        query(url, f"CREATE TRIGGER t BEFORE INSERT ON {SQL.name} FOR EACH ROW EXECUTE FUNCTION f()")
    there = raw_rows(url)

    for verify in (False, True):
        assert "not what was written" in str(host.apply(_moved(1), verify=verify).error)
        assert raw_rows(url) == there == expected(NEW) | {"__gen__": there["__gen__"]}


def test_values_that_a_lax_server_would_cut_change_nothing(tmp_path: Path, url: str) -> None:
    """Columns made too short by hand, with MariaDB's sql_mode emptied: the whole apply is refused, nothing is cut."""
    host = TableHost(tmp_path, url)
    host.apply(OLD)
    if url.startswith("mysql"):
        query(url, f"ALTER TABLE {SQL.name} MODIFY key_value VARCHAR(30) CHARACTER SET ascii NOT NULL")
        query(url, "SET GLOBAL sql_mode = ''")
    else:
        query(url, f"ALTER TABLE {SQL.name} ALTER key_value TYPE VARCHAR(30)")
    try:
        result = host.apply(OLD | {"sip:long@old.test": f"sip:{'x' * 60}@new.test"})
        assert "long" in str(result.error)
        assert host.in_table() == expected(OLD) == host.server.served("users")
    finally:
        if url.startswith("mysql"):
            query(url, "SET GLOBAL sql_mode = DEFAULT")


def test_a_limit_for_everybody_hides_no_row(tmp_path: Path, url: str) -> None:
    """A MariaDB whose administrator cuts each SELECT to two rows: the table is read whole all the same."""
    if not url.startswith("mysql"):
        pytest.skip("PostgreSQL has no such limit")
    host = TableHost(tmp_path, url)
    host.apply(OLD)
    query(url, "SET GLOBAL sql_select_limit = 2")
    try:
        assert host.in_table() == expected(OLD)
    finally:
        query(url, "SET GLOBAL sql_select_limit = DEFAULT")


def test_what_to_do_fits_what_is_wrong(tmp_path: Path, url: str) -> None:
    """A missing column, table or database, and a key after the ? that no driver knows, each have their own advice."""
    host = TableHost(tmp_path, url)

    def advice(url: str) -> str:
        with pytest.raises(InstallError) as raised:
            SqlRows(host.rows.where, SQL, lambda: url, 10.0).read()
        return raised.value.what_to_do

    query(url, f"ALTER TABLE {SQL.name} DROP COLUMN expires")
    assert "columns" in advice(url)
    query(url, f"DROP TABLE {SQL.name}")
    assert "make the table" in advice(url)
    assert "create the database" in advice(f"{url.rpartition('/')[0]}/not_there")
    if url.startswith("mysql"):
        for unknown in ("foo=bar", "read_timeout=abc", "ssl_ca=/not/there", "charset=zzz"):
            assert "what follows the ?" in advice(f"{url}?{unknown}")


def test_a_collation_that_confuses_keys_is_refused(tmp_path: Path, url: str) -> None:
    """Where the database takes `Al` and `al` for one key, both are not written as one: the transaction is undone."""
    if not url.startswith("mysql"):
        pytest.skip("PostgreSQL compares exactly")
    query(url, f"ALTER TABLE {SQL.name} MODIFY key_name VARCHAR(512) CHARACTER SET latin1 NOT NULL")
    host = TableHost(tmp_path, url)
    host.apply(OLD)
    result = host.apply(OLD | {"sip:Al@old.test": "sip:1@new.test", "sip:al@old.test": "sip:2@new.test"})
    assert isinstance(result.error, RedirectdError)
    assert host.in_table() == expected(OLD)


def test_foreign_rows_come_back_when_the_new_ones_fail(tmp_path: Path, url: str) -> None:
    """Rows that redirectd would never write, forced past and not proven: all of them are back, to the letter."""
    host = TableHost(tmp_path, url)
    set_table(url, {"k\\\\1 colon\\:": "tab\tand\nline", "Ω": "é"} if not url.startswith("mysql") else {"k a": "b|c"})
    query(url, f"UPDATE {SQL.name} SET key_type = 7, expires = 99")
    before = query(url, f"SELECT key_name, key_type, value_type, key_value, expires FROM {SQL.name}")
    host.server.deaf = True
    assert outcomes(host.apply(NEW)) == {"users": "refused"}
    assert outcomes(host.apply(NEW, force=True)) == {"users": "rolled-back"}
    after = query(url, f"SELECT key_name, key_type, value_type, key_value, expires FROM {SQL.name}")
    assert sorted(after) == sorted(before)


def test_several_redirectds_write_one_table(tmp_path: Path, url: str) -> None:
    """What another node's redirectd wrote is not a change by hand: it is written once, and each reloads its server."""
    homes = [tmp_path / name for name in ("one", "two")]
    for home in homes:
        home.mkdir()
    one, two = (TableHost(home, url) for home in homes)
    assert outcomes(one.apply(OLD)) == {"users": "verified"}
    ids = query(url, f"SELECT id FROM {SQL.name} ORDER BY id")

    assert outcomes(two.apply(OLD)) == {"users": "verified"}

    assert query(url, f"SELECT id FROM {SQL.name} ORDER BY id") == ids
    assert two.server.served("users") == expected(OLD)
    assert outcomes(two.apply(NEW)) == {"users": "verified"}
    assert outcomes(one.apply(moves(6, "newest.test"))) == {"users": "verified"}
    assert one.in_table() == expected(moves(6, "newest.test"))
    query(url, f"DELETE FROM {SQL.name} WHERE key_name LIKE '%u1@%'")
    assert outcomes(two.apply(NEW)) == {"users": "refused"}


def test_two_redirectds_at_once_write_it_once(tmp_path: Path, url: str) -> None:
    """One that finds its own rows written by the other goes on to ask its server, and takes nothing back."""
    homes = [tmp_path / name for name in ("one", "two")]
    for home in homes:
        home.mkdir()
    one, two = (TableHost(home, url) for home in homes)
    one.apply(OLD)
    two.apply(OLD)
    word = "SELECT GET_LOCK" if url.startswith("mysql") else "SELECT pg_advisory"
    seen = []

    with at_statement(word, lambda: seen.append(outcomes(two.apply(NEW)))):
        result = one.apply(NEW)

    assert [*seen, outcomes(result)] == [{"users": "verified"}] * 2
    assert one.in_table() == one.server.served("users") == two.server.served("users") == expected(NEW)
