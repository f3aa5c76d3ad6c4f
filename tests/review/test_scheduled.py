"""What the service decides by itself, on time and by configuration alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from redirectd.config.load import parse
from redirectd.review.follower import Watch, record
from redirectd.service.jobs import make_jobs
from redirectd.service.schedule import JobSpec
from redirectd.store.remap import State
from tests.review.remap_store import RemapStore

RULE = """
[policy]
trusted_peers = ["192.0.2.0/24"]
[policy.auto_approve]
peers = ["192.0.2.10"]
min_calls = 2
min_age = "1h"
allowed_domains = ["new.example.net"]
"""


def jobs(store: RemapStore, text: str, applied: list[str]) -> dict[str, JobSpec]:
    """The schedule of a configuration over the store's database."""
    config = parse(text, Path("redirectd.toml"))
    made = make_jobs(config, UTC, lambda: store.database, apply=lambda: applied.append("applied"), families=list)
    return {job.name: job for job in made}


def test_r29_the_rule_runs_only_where_it_is_configured(store: RemapStore) -> None:
    """R29: without the table there is no such job; with it, what the rule covers is approved."""
    one = store.sighted("sip:a@old.example.com", "sip:a@new.example.net", calls=2)
    assert "auto-approve" not in jobs(store, "", [])
    jobs(store, RULE, [])["auto-approve"].run()
    assert store.get(one.id).state is State.APPROVED


def test_failing_remaps_leave_before_the_apply_that_follows(store: RemapStore) -> None:
    """Suspended at the next apply, and only where configured."""
    one = store.approve(store.sighted("sip:a@old.example.com", "sip:a@new.example.net").id)
    watch = Watch()
    watch.refresh(store.database)
    later = datetime.now(UTC) + timedelta(days=3650)
    told = watch.followed("call", 404, "INVITE", "sip:a@new.example.net", later)
    assert told is not None
    with store.database.begin() as connection:
        record(connection, [told])
    applied: list[str] = []
    jobs(store, "", applied)["apply"].run()
    assert store.get(one.id).state is State.APPROVED
    jobs(store, "[policy]\nsuspend_failing_after = 1\n", applied)["apply"].run()
    assert store.get(one.id).state is State.REVOKED
    assert applied == ["applied", "applied"]
