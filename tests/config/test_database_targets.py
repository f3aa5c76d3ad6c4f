"""`[[target]]` with `database`: a table in place of a file, and never both."""

from __future__ import annotations

from pathlib import Path

import pytest

from redirectd.cli.snippets.fitted import kamailio_targets
from redirectd.cli.snippets.kamailio_fit import fit_kamailio
from redirectd.cli.snippets.snippet_part import Fit
from redirectd.config.load import parse
from redirectd.config.secrets import target_database
from redirectd.config.specs import target_specs
from redirectd.errors import ConfigError
from redirectd.serverconf.conf_files import ConfFiles
from redirectd.serverconf.kamailio_cfg import KamailioCfg, read_kamailio
from redirectd.targets.kamailio_htable import KamailioHtable
from tests.docs.page import ROOT, blocks

FILE = Path("/x/redirectd.toml")
URL = 'database = "mysql+pymysql://redirectd@db.test/kamailio"\n'
OTHERWISE = 'database = "mariadb+pymysql://other@DB.test:3306/kamailio"\n'
ODBC = '[[target]]\nname = "users"\nkind = "asterisk-odbc"\nwidth = "user"\n'
HTABLE = '[[target]]\nname = "users"\nkind = "kamailio-htable"\n'


def test_a_table_is_named_and_no_password_is_shown() -> None:
    """Its place is URL and table, by the kind's usual name; a password in the URL is masked there."""
    config = parse(
        HTABLE + 'database = "postgresql+psycopg://redirectd:s3cret@db.test/kamailio"\nhtable = "moved"\n', FILE
    )
    [spec] = target_specs(config)
    assert isinstance(spec.target, KamailioHtable)
    assert spec.target.sql is not None
    assert (spec.target.sql.name, spec.path.endswith("#redirectd_htable")) == ("redirectd_htable", True)
    assert "s3cret" not in spec.path
    assert spec.target.reload()[0].args == ("moved",)


def test_the_password_has_its_own_places(tmp_path: Path) -> None:
    """The environment comes first, then the credential, then the file; the password for `reload` is another one."""
    (tmp_path / "db.password").write_text("from file\n")
    (tmp_path / "target-users-database-password").write_text("from credential\n")
    config = parse(HTABLE + URL + f'database_password_file = "{tmp_path}/db.password"\n', FILE)
    variable = {"REDIRECTD_TARGET_USERS_DATABASE_PASSWORD": "from environment"}
    credentials = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert "from environment" in target_database(config, "users", variable | credentials)
    assert "from credential" in target_database(config, "users", credentials)
    assert "from file" in target_database(config, "users", {})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (HTABLE, "path"),
        (HTABLE + URL + 'path = "/x"\n', "only a target that is a file"),
        (HTABLE + URL + 'mode = "0600"\n', "only a target that is a file"),
        (HTABLE + URL + 'nodes = ["kamcmd"]\nreload = "kamcmd"\n', "either nodes or reload"),
        (HTABLE + URL + 'nodes = ["kamcmd", "kamcmd"]\n', "a server twice"),
        (HTABLE + URL + 'nodes = ["none"]\n', "is not a server"),
        (HTABLE + 'path = "/x"\nnodes = ["kamcmd"]\n', "only a target with database"),
        (
            HTABLE + URL + '[[target]]\nname = "users-database"\nkind = "csv"\npath = "/x"\n',
            'its password and that for the database of "users"',
        ),
        (HTABLE + 'database = "sqlite:///x.db"\n', "mysql+pymysql://"),
        (HTABLE + 'database = "mysql+pymysql://redirectd@db.test:port/kamailio"\n', "its port is a number"),
        (HTABLE + 'database = "mysql+pymysql://redirectd:s3@cret@db.test/kamailio"\n', "write that as %40"),
        (HTABLE + URL + 'table = "a; DROP TABLE b"\n', "must be a name of a table"),
        ('[[target]]\nname = "d"\nkind = "kamailio-dialplan"\n' + URL, "is a file"),
        ('[[target]]\nname = "a"\nkind = "kamailio-alias_db"\npath = "/x"\ntable = "y"\n', "takes no such key"),
        (HTABLE + URL + HTABLE.replace("users", "more") + URL, "writes this table"),
        (HTABLE + URL + HTABLE.replace("users", "more") + OTHERWISE, "writes this table"),
        (HTABLE + URL + HTABLE.replace("users", "more") + URL + 'table = "redirectd_htable"\n', "writes this table"),
        (ODBC, "is a table of a database"),
        (ODBC + 'path = "/x"\n', "is a table of a database"),
        (ODBC + URL + 'path = "/x"\n', "only a target that is a file"),
    ],
)
def test_what_does_not_go_together_is_refused(text: str, why: str) -> None:
    """A file and a table at once, neither, a table of another target's, or a kind without tables."""
    with pytest.raises(ConfigError) as raised:
        parse(text, FILE)
    assert why in str([(one.why, one.what_to_do) for one in raised.value.faults] + [str(raised.value)])


DISPATCHER = '[[target]]\nname = "gateways"\nkind = "kamailio-dispatcher"\n'
ALIASES = '[[target]]\nname = "aliases"\nkind = "kamailio-alias_db"\nwidth = "user@host"\ntable = "moved"\n'


def test_the_printed_lines_load_what_the_page_shows() -> None:
    """`redirectd snippet kamailio` prints for tables what docs/targets-database.md has, with Kamailio's own user."""
    config = parse(HTABLE + URL + DISPATCHER + URL + ALIASES + URL, FILE)
    block = fit_kamailio(KamailioCfg(), kamailio_targets(config), "/etc/kamailio/redirectd-key.cfg", None).block
    page = ROOT / "docs" / "targets-database.md"
    shown = "\n".join(one.text for one in blocks(page) if one.mark[0] == "operator" and "db_mysql" in one.text)
    shown = shown.replace("db.example.net", "db.test")
    assert shown
    for line in shown.splitlines():
        assert line in block.splitlines()
    assert 'modparam("dispatcher", "table_name", "redirectd_dispatcher")' in block
    assert 'alias_db_lookup("moved")' in block
    assert "db_text" not in block
    assert "list_file" not in block


def test_the_operators_own_database_is_recognised() -> None:
    """A db_url with the operator's user and password is the right one; one of another database is named as wrong."""
    config = parse(HTABLE + URL, FILE)

    def fit(place: str) -> Fit:
        text = f'loadmodule "htable.so"\nmodparam("htable", "db_url", "{place}")\n'
        cfg = read_kamailio("/k.cfg", ConfFiles(lambda path: text.encode(), lambda pattern: [pattern]))
        return fit_kamailio(cfg, kamailio_targets(config), "/key", None)

    assert fit("mysql://me:secret@db.test/kamailio").wrong == []
    assert fit("mysql://me:secret@DB.test:3306/kamailio").wrong == []
    [wrong] = fit("mysql://me:secret@db.test:3307/kamailio").wrong
    [wrong] = fit("mysql://me:secret@elsewhere/kamailio").wrong
    assert "secret" not in str(wrong)
    config = parse(HTABLE + URL.replace("db.test", "127.0.0.1"), FILE)
    assert fit("mysql://me:secret@localhost/kamailio").wrong == fit("mysql://me:secret@[::1]/kamailio").wrong == []


@pytest.mark.parametrize("kind", [HTABLE, DISPATCHER])
def test_no_password_of_kamailio_is_printed(kind: str) -> None:
    """A db_url that is wrong is named with its database, and without the operator's password, slash or not."""
    text = "".join(
        f'modparam("{module}", "db_url", "mysql://me:se/cret@elsewhere/kamailio")\n'
        for module in ("htable", "dispatcher")
    )
    cfg = read_kamailio("/k.cfg", ConfFiles(lambda path: text.encode(), lambda pattern: [pattern]))
    [wrong] = fit_kamailio(cfg, kamailio_targets(parse(kind + URL, FILE)), "/key", None).wrong
    assert "mysql://me:***@elsewhere/kamailio" in wrong.why
    assert "cret" not in str(wrong)
