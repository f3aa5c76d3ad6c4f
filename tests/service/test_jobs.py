"""Which jobs a configuration asks for, and that a pause window holds applies back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from redirectd.apply.applier import ApplyRequest
from redirectd.config.load import parse
from redirectd.errors import StoreError
from redirectd.service.applying import applier_of, approved_table
from redirectd.service.jobs import is_paused, make_jobs
from redirectd.service.schedule import JobSpec
from redirectd.store import migrate
from redirectd.store.database import Database
from redirectd.store.remap import State
from redirectd.store.schema import quarantine, remap
from tests.review.remap_store import opened


def jobs(text: str, applied: list[str]) -> dict[str, JobSpec]:
    """The jobs of a configuration, with an apply that only notes that it ran and a database that is away."""

    def away() -> Database:
        raise StoreError("database x", "it is gone", "bring it back")

    config = parse(text, Path("redirectd.toml"))
    made = make_jobs(config, UTC, away, apply=lambda: applied.append("applied"), families=list)
    return {job.name: job for job in made}


def test_nothing_is_applied_in_a_pause_window() -> None:
    """Inside the window the run only says so; without one it applies."""
    applied: list[str] = []
    with capture_logs() as logs:
        jobs('[schedule]\npause = ["00:00-24:00"]\n', applied)["apply"].run()
    assert applied == []
    assert [entry["event"] for entry in logs] == ["apply_paused"]
    jobs("", applied)["apply"].run()
    assert applied == ["applied"]


def test_pause_windows_are_of_local_time() -> None:
    """23:00 to 01:00 in Berlin is 22:00 to 00:00 UTC in winter and 21:00 to 23:00 in summer."""
    config = parse('[schedule]\npause = ["23:00-01:00"]\n', Path("redirectd.toml"))
    berlin = ZoneInfo("Europe/Berlin")
    assert is_paused(config, berlin, datetime(2026, 1, 5, 22, 30, tzinfo=UTC))
    assert not is_paused(config, berlin, datetime(2026, 7, 5, 23, 30, tzinfo=UTC))
    assert is_paused(config, berlin, datetime(2026, 7, 5, 21, 30, tzinfo=UTC))


def test_apply_by_hand_alone() -> None:
    """An empty schedule leaves the apply out and the care of the database in."""
    names = set(jobs('[schedule]\napply = ""\n', []))
    assert "apply" not in names
    assert {"expiry", "screening", "revalidation", "retention", "quarantine", "vacuum"} <= names


def test_every_entry_is_asked_for_at_night(tmp_path: Path) -> None:
    """Where there is a server, the schedule has a nightly run that finds what the sentinel hides; a pause holds it."""
    made: list[str] = []
    config = parse('[schedule]\npause = ["00:00-24:00"]\n', tmp_path / "redirectd.toml")

    def found(verify: Callable[[], object] | None) -> dict[str, JobSpec]:
        def away() -> Database:
            raise StoreError("database x", "it is gone", "bring it back")

        return {job.name: job for job in make_jobs(config, UTC, away, apply=int, verify=verify, families=list)}

    assert "verify" not in found(None)
    found(lambda: made.append("verified"))["verify"].run()
    assert made == []


def test_every_job_may_start_later_than_a_second() -> None:
    """APScheduler's default grace of one second leaves runs out on a busy host."""
    for job in jobs('[daemon]\nmetrics_file = "m"\n', []).values():
        assert job.grace_seconds >= 60, job.name


def test_a_nightly_apply_outlasts_the_longest_job_before_it() -> None:
    """Jobs run one after another: an apply due once a day that waits behind a vacuum is late, and not missed."""
    made = jobs('[schedule]\napply = "0 4 * * *"\n', [])
    assert made["apply"].grace_seconds > max(job.limit_seconds for job in made.values())


@pytest.mark.parametrize("name", ["expiry", "screening", "revalidation", "retention", "quarantine", "vacuum"])
def test_care_without_a_database_fails_its_run_alone(name: str) -> None:
    """The error goes to the scheduler, which counts and tells it; nothing else comes of it."""
    with pytest.raises(StoreError, match="it is gone"):
        jobs("", [])[name].run()


READABLE = (
    b"Nov 22 16:37:35 vm kamailio[14390]: NOTICE: <script>: REDIRECTD v=1 ev=301 ts=1795369921.5 m=INVITE ci=c1%40h "
    b"cseq=1 br=0 src=udp/192.0.2.9/5060 ouri=sip%3aa%40b.example buri=sip%3aa%40b.example nct=1 ctlen=19 "
    b"ct=%3csip%3anew%40c.ex%3e end=1\n"
)


def test_what_a_newer_program_can_read_leaves_the_quarantine(tmp_path: Path) -> None:
    """R8: the job reads what was kept of this node's sources again; what is another node's stays for that one."""
    database = Database(f"sqlite:///{tmp_path}/redirectd.db")
    migrate.upgrade(database)
    config = parse('[[source]]\nname = "ours"\npath = "/var/log/x"\n', tmp_path / "redirectd.toml")
    kept = {"position": 0, "dialect": "kamailio", "seen_at": datetime(2026, 11, 22, tzinfo=UTC), "why": "cut"}
    with database.begin() as connection:
        for source in ("ours", "theirs"):
            connection.execute(quarantine.insert().values(identity=source, source=source, content=READABLE, **kept))
    made = {job.name: job for job in make_jobs(config, UTC, lambda: database, apply=int, families=list)}
    assert made["quarantine"].at_start
    with capture_logs() as logs:
        made["quarantine"].run()
    assert [(entry["event"], entry["sightings"], entry["left"]) for entry in logs] == [("quarantine_read", 1, 0)]
    with database.read() as connection:
        assert connection.scalars(select(quarantine.c.source)).all() == ["theirs"]
        assert connection.scalars(select(remap.c.new_uri)).all() == ["sip:new@c.ex"]
    database.close()


def test_jitter_spreads_the_applies_of_many_nodes() -> None:
    """With a jitter of ten minutes twenty nodes don't act in the same second."""
    trigger = jobs('[schedule]\napply = "0 * * * *"\njitter = "10m"\n', [])["apply"].trigger
    now = datetime(2026, 11, 22, 12, 1, tzinfo=UTC)
    times = {trigger.get_next_fire_time(None, now) for _ in range(20)}
    assert len(times) > 10
    assert max(times) - min(times) <= timedelta(minutes=10)


RULED = """
[policy]
trusted_peers = ["192.0.2.0/24"]
[policy.auto_approve]
peers = ["192.0.2.0/24"]
min_calls = 1
min_age = "1h"
allowed_domains = ["new.example"]
[limits]
max_changes = 2
[[target]]
name = "users"
kind = "csv"
path = "users.csv"
"""


def test_r29_the_next_apply_can_carry_all_that_is_approved_automatically(tmp_path: Path) -> None:
    """R29: what would have an apply refused by a limit waits, said in the log, until the applies before it are done."""
    config = parse(RULED, tmp_path / "redirectd.toml")
    with opened(tmp_path, config.rules()) as store:
        ids = [store.sighted(f"sip:{name}@old.example", f"sip:{name}@new.example", calls=2).id for name in "abcde"]
        made = make_jobs(config, UTC, lambda: store.database, apply=lambda: None, families=list)
        [job] = [one for one in made if one.name == "auto-approve"]
        applier = applier_of(config, store.database)
        for stop, waiting in ((2, [3]), (2, [3]), (4, [1]), (5, [])):
            with capture_logs() as logs:
                job.run()
            assert [one.id for one in store.all(State.APPROVED)] == ids[:stop]
            assert [entry["count"] for entry in logs if entry["event"] == "remaps_over_a_limit"] == waiting
            if "remaps_auto_approved" not in [entry["event"] for entry in logs] or stop > 2:
                by = ApplyRequest(actor="redirectd", cause="schedule")
                assert applier.apply(lambda: approved_table(store.database, config.rules()), by).error is None
