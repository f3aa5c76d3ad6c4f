"""The alert rules and the dashboard speak of metrics that exist, and their own programs take them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import Metric

from redirectd.service.metrics import families
from redirectd.service.metrics import page as page_of

EXAMPLES = Path(__file__).parents[2] / "examples"
LABELS_OF_THE_SCRAPE = {"instance"}

STATUS: dict[str, Any] = {
    "daemon": {
        "version": "1",
        "node": "sip1",
        "started_at": "2026-11-22T12:00:00Z",
        "configuration_error": None,
        "silent": [],
        "paused": False,
    },
    "database": {"ok": True, "bytes": 4096},
    "remaps": {"pending": 3, "approved": 5},
    "stale": 1,
    "failing": {"remaps": 1, "calls": 6, "worst": [4]},
    "ineffective": {"remaps": 1, "calls": 2, "worst": [3]},
    "saved": {"remaps": 4, "calls_a_day": 5.5, "milliseconds_a_call": 120.0, "unobserved": 2},
    "quarantine": 2,
    "losses": [
        {"node": "sip1", "source": "asterisk", "kind": "gap", "count": 4},
        {"node": "sip1", "source": "asterisk", "kind": "remaps-over-budget", "count": 2},
    ],
    "nodes": [{"node": "sip1", "generation": 7, "created_at": "2026-11-22T12:00:00Z", "outcome": "verified"}],
    "waiting": [{"node": "sip1", "target": "users", "attempts": 1}],
    "sources": [
        {
            "name": "asterisk",
            "state": "blocked",
            "losses": {"gap": 1},
            "lag_bytes": 10,
            "last_read": "2026-11-22T12:00:00Z",
            "last_sighting": "2026-11-22T12:00:00Z",
            "sightings": 1,
            "session_progress": 2,
            "restarts": 3,
            "store_failures": 4,
        }
    ],
    "jobs": [
        {
            "name": "apply",
            "runs": 1,
            "failures": 1,
            "last_error": "x",
            "missed": 0,
            "skipped": 0,
            "last_run": "2026-11-22T12:00:00Z",
            "next_run": "2026-11-22T12:05:00Z",
            "last_seconds": 0.5,
        }
    ],
}


def page(status: dict[str, Any] = STATUS) -> dict[str, Metric]:
    """The families by the name that their samples have."""
    return {f"{one.name}_total" if one.type == "counter" else one.name: one for one in families(status)}


def samples(name: str) -> list[tuple[dict[str, str], float]]:
    return [(sample.labels, sample.value) for sample in page()[name].samples]


def test_every_metric_has_a_sample_when_all_is_known() -> None:
    """The document above fills every family, so the checks below see all of them."""
    assert [family.name for family in page().values() if not family.samples] == []


def test_values_come_from_the_document() -> None:
    """States, losses, generation and a failed job are told as the status tells them."""
    assert samples("redirectd_remaps") == [({"state": "pending"}, 3), ({"state": "approved"}, 5)]
    assert samples("redirectd_source_up") == [({"source": "asterisk"}, 0.0)]
    assert samples("redirectd_source_blocked") == [({"source": "asterisk"}, 1.0)]
    assert samples("redirectd_generation") == [({"node": "sip1"}, 7)]
    assert samples("redirectd_job_failed") == [({"task": "apply"}, 1.0)]
    assert samples("redirectd_start_time_seconds") == [({}, 1795348800.0)]


def test_nothing_is_said_of_a_database_that_is_away() -> None:
    """Without a database its numbers are absent, not zero: no alert must end and no graph must fall because of it."""
    gone = STATUS | {"database": {"ok": False, "bytes": None}, "remaps": None, "stale": None, "quarantine": None}
    gone |= {"failing": None, "ineffective": None, "saved": None}
    shown = page(gone)
    assert [sample.value for sample in shown["redirectd_database_up"].samples] == [0.0]
    assert shown["redirectd_remaps"].samples == []
    assert shown["redirectd_quarantine"].samples == []


def test_names_follow_the_custom() -> None:
    """Counters end in _total and nothing else does."""
    for family in page().values():
        for sample in family.samples:
            assert sample.name.endswith("_total") == (family.type == "counter"), sample.name


def expressions() -> list[str]:
    """Every PromQL expression of the examples."""
    rules = (EXAMPLES / "prometheus/redirectd.rules.yml").read_text()
    found = re.findall(r"^\s+expr: (.+)$", rules, re.MULTILINE)
    dashboard = json.loads((EXAMPLES / "grafana/redirectd.json").read_text())
    found += [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    return found


@pytest.mark.parametrize("expression", expressions())
def test_examples_use_metrics_and_labels_that_exist(expression: str) -> None:
    """A renamed metric or label breaks this test instead of an alert that then never fires."""
    known = page()
    for name, selector in re.findall(r"(redirectd_\w+)(?:\{([^}]*)\})?", expression):
        labels = {label for sample in known[name].samples for label in sample.labels}
        assert not labels & {"job", "instance"}, "Prometheus would rename these"
        used = set(re.findall(r"(\w+)=~?\"", selector))
        assert used <= labels | LABELS_OF_THE_SCRAPE, name


def test_panels_do_not_overlap() -> None:
    """Grafana shows every panel where it was put."""
    dashboard = json.loads((EXAMPLES / "grafana/redirectd.json").read_text())
    cells = [
        (x, y)
        for grid in (panel["gridPos"] for panel in dashboard["panels"])
        for x in range(grid["x"], grid["x"] + grid["w"])
        for y in range(grid["y"], grid["y"] + grid["h"])
    ]
    assert len(cells) == len(set(cells))
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (package prometheus) is not installed")
def test_promtool_takes_the_rules() -> None:
    """The alert rules load in Prometheus."""
    rules = str(EXAMPLES / "prometheus/redirectd.rules.yml")
    checked = subprocess.run(["promtool", "check", "rules", rules], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (package prometheus) is not installed")
def test_promtool_takes_the_page() -> None:
    """The metrics page is in Prometheus' format and follows its naming rules."""
    text = page_of(families(STATUS))
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
