"""`status`: what runs, what waits, what is wrong and what to do, on one screen; and its verdict for monitoring."""

from __future__ import annotations

import copy
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from redirectd.cli.commands.status import show_document
from redirectd.cli.health import Health, problems, verdict
from tests.cli.conftest import Cli

SOURCE = {
    "name": "kamailio", "state": "reading", "error": None, "what_to_do": None, "lag_bytes": 0, "sightings": 12,
    "session_progress": 1, "last_read": "2026-11-30T08:00:00.123456Z",
}  # fmt: skip
NODE = {
    "node": "sip1", "generation": 7, "outcome": "verified", "created_at": "2026-11-30T08:00:00Z", "settings": {},
}  # fmt: skip
WELL: dict[str, Any] = {
    "daemon": {
        "running": True, "node": "sip1", "pid": 4711, "version": "0.1.0", "started_at": "2026-11-29T08:00:00Z",
        "configuration": "/etc/redirectd/redirectd.toml", "configuration_error": None, "silent": [],
        "paused": False, "listening": True,
    },
    "configuration_faults": [],
    "database": {"ok": True, "url": "sqlite:////var/lib/redirectd/redirectd.db", "error": None, "bytes": 300_000},
    "remaps": {"pending": 3, "approved": 2},
    "saved": {"remaps": 0, "calls_a_day": 0, "milliseconds_a_call": None, "unobserved": 0},
    "failing": {"remaps": 0, "calls": 0, "worst": []},
    "ineffective": {"remaps": 0, "calls": 0, "worst": []},
    "stale": 0, "quarantine": 0, "quarantine_newest": [], "losses": [], "nodes": [NODE], "waiting": [],
    "sources": [SOURCE], "jobs": [],
}  # fmt: skip


def changed(**parts: Any) -> dict[str, Any]:
    """A document in which all is well but for these parts; a dictionary changes the keys that it names."""
    document = copy.deepcopy(WELL)
    for name, part in parts.items():
        document[name] = {**document[name], **part} if isinstance(part, dict) else part
    return document


OVER = {
    "node": "sip1", "source": "kamailio", "kind": "remaps-over-budget", "count": 7,
    "last_at": datetime.now(UTC).isoformat(),
}  # fmt: skip
WAITING = {
    "node": "sip1", "target": "users", "generation": 7, "attempts": 3, "next_try": "2026-11-30T08:05:00Z",
    "error": "no answer",
}  # fmt: skip


UNDELIVERED = {"name": "team", "attempts": 4, "error": "it answered 500", "next_try": "2026-11-30T08:05:00Z"}


@pytest.mark.parametrize(
    ("document", "health", "said"),
    [
        (WELL, Health.OK, "service running, 1 sources, 3 pending"),
        (changed(stale=4, quarantine=2), Health.OK, "service running, 1 sources, 3 pending"),
        (
            changed(sources=[SOURCE | {"family": "asterisk", "other_family": "kamailio"}]),
            Health.WARNING,
            "source kamailio is read as asterisk, and its log now holds entries of kamailio, which are not read",
        ),
        (
            changed(losses=[OVER]),
            Health.WARNING,
            "source kamailio on sip1: 7 301s over an hour's budget of new remaps, counted only (R46), last",
        ),
        (changed(losses=[OVER | {"last_at": "2020-01-01T00:00:00Z"}]), Health.OK, "service running"),
        (changed(daemon={"running": False}), Health.CRITICAL, "the service is not running on this host"),
        (changed(daemon={"silent": ["reader kamailio"]}), Health.CRITICAL, "no progress: reader kamailio"),
        (
            changed(sources=[{**SOURCE, "state": "waiting", "error": "no such file"}]),
            Health.CRITICAL, "source kamailio is waiting: no such file",
        ),
        (
            changed(database={"ok": False, "error": "it is locked", "what_to_do": "wait"}),
            Health.CRITICAL, "database sqlite:////var/lib/redirectd/redirectd.db: it is locked",
        ),
        (changed(waiting=[WAITING]), Health.WARNING, "installed, not reloaded: users on sip1, generation 7, 3 tries"),
        (
            changed(nodes=[{**NODE, "settings": {"apply_hold": "{}"}}]),
            Health.WARNING, "applies are held on sip1 by a rollback",
        ),
        (changed(nodes=[{**NODE, "outcome": "rolled-back"}]), Health.WARNING, "generation 7 on sip1 was rolled back"),
        (
            changed(failing={"remaps": 1, "calls": 3, "worst": [9]}),
            Health.WARNING, "approved, and the target fails: 1 remaps (9)",
        ),
        (changed(daemon={"configuration_error": "x"}), Health.WARNING, "a newer configuration was refused: x"),
        (changed(undelivered=[UNDELIVERED]), Health.WARNING, "notify team: not delivered, 4 tries, next try "),
        (changed(jobs=[{"name": "prune", "last_error": "disk full"}]), Health.WARNING, "job prune failed: disk full"),
        (
            changed(daemon={"running": False}, waiting=[WAITING]),
            Health.CRITICAL, "the service is not running on this host (and 1 more: redirectd status)",
        ),
    ],
)  # fmt: skip
def test_the_verdict(document: dict[str, Any], health: Health, said: str) -> None:
    """Each trouble has its severity, the worst comes first, and what is only worth a look leaves the verdict OK."""
    found, why = verdict(document)
    assert (found, why[: len(said)]) == (health, said)


def test_each_problem_says_what_to_do() -> None:
    """Nearly every problem has its way out beside it."""
    document = changed(
        waiting=[WAITING], stale=1, quarantine=1, losses=[{"count": 3}], failing={"remaps": 1, "worst": [1]}
    )
    assert all(one.what_to_do for one in problems(document))


def test_everything_at_once_fits_a_screen(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty sources, fifty nodes and twelve problems take no more than the lines of a screen; a pipe gets all."""
    document = changed(
        sources=[{**SOURCE, "name": f"log{number}"} for number in range(20)],
        nodes=[{**NODE, "node": f"sip{number}"} for number in range(50)],
        waiting=[{**WAITING, "node": f"sip{number}"} for number in range(12)],
    )
    show_document(document)
    assert capsys.readouterr().out.count("\nsip") == 50
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    show_document(document)
    lines = capsys.readouterr().out.splitlines()
    more = [line.split(maxsplit=1) for line in lines if line.endswith("redirectd status --wide")]
    assert [what.split(":")[0] for _, what in more] == ["more sources", "more nodes", "more problems"]
    assert all(int(count) < whole for (count, _), whole in zip(more, (20, 50, 12), strict=True))
    assert 15 < len(lines) < 24


def test_healthy_from_outside(filled: Cli) -> None:
    """`status --healthy` prints one line and ends with the code of monitoring plugins; JSON has the document."""
    result = filled("status", "--healthy", code=2)
    assert (result.out, result.err) == ("redirectd CRITICAL: the service is not running on this host\n", "")
    assert filled("status", "--healthy", "--json", code=2).json["daemon"]["running"] is False
    filled.config.write_text("[policie]\n")
    assert filled("status", "--healthy", code=3).out.startswith("redirectd UNKNOWN: ")


def test_excerpts_with_losses_alone(filled: Cli) -> None:
    """What could not be read is counted on the screen of `status`; its text is shown with --losses."""
    screen = filled("status").out
    assert "4 unreadable 301s in quarantine\n  what to do: retry after an upgrade: redirectd ingest" in screen
    assert "REDIRECTD v=" not in screen
    assert filled("status", "--losses").out.count("REDIRECTD v=") == 4


def test_a_reading_command_makes_no_database(line_without_database: Cli) -> None:
    """Before anything was stored, what only reads says that there is nothing, and makes no file; nor does `status`."""
    line = line_without_database
    for command in ("pending", "list", "status", "history", "plan", "export", "check"):
        said = line(command)
        assert "db upgrade" not in said.out + said.err
        assert not (line.folder / "redirectd.db").exists(), command
    assert line("list", "--json").json == {"remaps": []}
    assert line("status", "--json").json["database"]["ok"] is True
    assert "not made yet" in line("status").out
    line("ingest", line.corpus / "kamailio/snippet-all-cases.log")
    assert (line.folder / "redirectd.db").exists()


@pytest.fixture
def line_without_database(cli: Cli) -> Cli:
    """A configuration, and nothing stored yet."""
    assert not Path(cli.folder / "redirectd.db").exists()
    return cli
