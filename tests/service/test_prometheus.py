"""The examples in a real Prometheus that scrapes the running service: every query answers, every alert can fire."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.service import prometheus
from tests.service.prometheus import Prometheus
from tests.service.service import ROOT, Service, until

RULES = ROOT / "examples/prometheus/redirectd.rules.yml"
DASHBOARD: dict[str, Any] = json.loads((ROOT / "examples/grafana/redirectd.json").read_text())

pytestmark = pytest.mark.xdist_group("prometheus")

LOST = b"2026-11-22T17:53:03+00:00 sip1 kamailio[1]: ERROR: <core> [core/pvapi.c:1]: pv_printf(): no more space\n"

TARGETS = """
[policy]
trusted_peers = ["127.0.0.0/8"]
allowed_target_networks = ["127.0.0.0/8"]
[[target]]
name = "moved"
kind = "kamailio-htable"
path = "moved.txt"
reload = "none"
"""

FIRING: dict[str, tuple[dict[str, str], str]] = {
    "RedirectdSilent": ({'up{job="redirectd"}': "0x30"}, "6m"),
    "RedirectdTextfileOld": ({'node_textfile_mtime_seconds{file="/x/redirectd.prom"}': "0x30"}, "6m"),
    "RedirectdStuck": ({"redirectd_stuck": "1x30"}, "2m"),
    "RedirectdDatabaseGone": ({"redirectd_database_up": "0x30"}, "3m"),
    "RedirectdSourceDown": ({'redirectd_source_up{source="a"}': "0x30"}, "11m"),
    "RedirectdSourceLags": ({'redirectd_source_lag_bytes{source="a"}': "300000000x30"}, "16m"),
    "RedirectdLoses": ({'redirectd_losses_total{node="n",source="a",kind="gap"}': "0x5 1x30"}, "10m"),
    "RedirectdUnreadable": ({"redirectd_quarantine": "0x5 2x30"}, "10m"),
    "RedirectdJobFails": ({'redirectd_job_failed{task="apply"}': "1x60"}, "31m"),
    "RedirectdJobMissed": (
        {
            'redirectd_job_missed_total{task="apply"}': "0x5 1x30",
            'redirectd_job_skipped_total{task="apply"}': "0x35",
        },
        "10m",
    ),
    "RedirectdApplyOverdue": (
        {'redirectd_job_last_run_timestamp_seconds{task="apply"}': "0x90", "redirectd_paused": "0x90"},
        "66m",
    ),
    "RedirectdRolledBack": ({'redirectd_generation_rolled_back{node="n"}': "1x5"}, "1m"),
    "RedirectdNotReloaded": ({'redirectd_targets_waiting{node="n"}': "1x15"}, "11m"),
    "RedirectdConfigurationRefused": ({"redirectd_configuration_refused": "1x5"}, "2m"),
    "RedirectdReviewWaits": ({'redirectd_remaps{state="pending"}': "3x4400"}, "72h"),
    "RedirectdStaleRemaps": ({"redirectd_remaps_stale": "1x1500"}, "24h5m"),
}
"""For each alert the series, a value a minute, with which it fires, and when."""

WELL = {
    'up{job="redirectd"}': "1x4400",
    'node_textfile_mtime_seconds{file="/x/redirectd.prom"}': "0+60x4400",
    "redirectd_stuck": "0x4400",
    "redirectd_database_up": "1x4400",
    'redirectd_source_up{source="a"}': "1x4400",
    'redirectd_source_lag_bytes{source="a"}': "4096x4400",
    'redirectd_losses_total{node="n",source="a",kind="gap"}': "4x4400",
    "redirectd_quarantine": "2x4400",
    'redirectd_job_failed{task="apply"}': "0x4400",
    'redirectd_job_missed_total{task="apply"}': "1x4400",
    'redirectd_job_skipped_total{task="apply"}': "1x4400",
    'redirectd_job_last_run_timestamp_seconds{task="apply"}': "0+60x4400",
    'redirectd_job_runs_total{task="apply"}': "0+1x4400",
    "redirectd_start_time_seconds": "0x4400",
    "redirectd_paused": "0x4400",
    'redirectd_generation_rolled_back{node="n"}': "0x4400",
    'redirectd_targets_waiting{node="n"}': "0x4400",
    "redirectd_configuration_refused": "0x4400",
    'redirectd_remaps{state="pending"}': "0x4400",
    "redirectd_remaps_stale": "0x4400",
}


@pytest.fixture(scope="module", autouse=True)
def _programs() -> None:
    missing = prometheus.missing()
    if missing and os.environ.get("CI") == "true":
        pytest.fail(f"not installed: {', '.join(missing)}; .ci/install-peers installs it", pytrace=False)
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Iterator[Prometheus]:
    """Prometheus beside a service that has read, lost, been told what to route, and applied it twice."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "textfile").mkdir()
    listen = prometheus.new_address(9300)
    service = Service(folder)
    service.configure(TARGETS, schedule="* * * * *")
    doors = f'[daemon]\nmetrics_listen = "{listen}"\nmetrics_file = "textfile/redirectd.prom"\n'
    service.config.write_text(service.config.read_text().replace("[daemon]\n", doors))
    service.log.touch()
    with (
        service,
        prometheus.node_exporter(folder / "textfile") as node,
        prometheus.prometheus(folder, RULES, {"redirectd": listen, "node": node}) as server,
    ):
        service.until_notified("READY")
        until(lambda: server.query("redirectd_info"), "the first scrape")
        service.log.write_bytes(LOST + (corpus / "kamailio/snippet-all-cases.log").read_bytes())
        service.until_status(lambda status: (status["remaps"] or {}).get("pending"), "it reads")
        plain = [
            remap["id"]
            for remap in redirectd(service, "pending", "--json")["remaps"]
            if set(remap["flags"]) <= {"unkeyed"}
        ]
        for count, number in enumerate(plain[:2], start=1):
            redirectd(service, "approve", str(number), "--reason", "test")
            redirectd(service, "apply", "--json")
            until(lambda: server.query(f"redirectd_generation >= {count}"), "the generation is scraped")  # noqa: B023
        yield server
        assert service.stop() == 0


def redirectd(service: Service, *words: str) -> Any:
    """A command on the service's configuration; its document, if it prints one."""
    command = [sys.executable, "-m", "redirectd", "--config", str(service.config), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if "--json" in words else None


def asked_by_the_dashboard() -> list[str]:
    """Its queries, as Grafana sends them with every instance chosen."""
    panels = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    annotations = [one["expr"] for one in DASHBOARD["annotations"]["list"]]
    (variable,) = [
        re.fullmatch(r"label_values\((\w+), instance\)", one["query"])
        for one in DASHBOARD["templating"]["list"]
        if one["type"] == "query"
    ]
    assert variable
    return [one.replace("$instance", ".*") for one in [*panels, *annotations, variable[1]]]


@pytest.mark.parametrize("expression", asked_by_the_dashboard())
def test_every_query_of_the_dashboard_answers(server: Prometheus, expression: str) -> None:
    """Against what was scraped from the service, each panel, the annotation and the variable have something to show."""
    until(lambda: server.query(expression), expression, seconds=150)


def test_the_rules_are_loaded_and_can_be_evaluated(server: Prometheus) -> None:
    """Prometheus itself reports each alert as healthy once it was evaluated."""
    until(lambda: all(rule["health"] == "ok" for rule in server.rules().values()), "all are evaluated")
    assert set(server.rules()) == set(FIRING)


def test_every_series_of_the_rules_is_scraped(server: Prometheus) -> None:
    """What an alert looks at is there while all is well: an absent series would keep it silent for ever."""
    for name, selector in set(re.findall(r"((?:redirectd|node)_\w+|up)(\{[^}]*\})?[ \[)]", _expressions())):
        until(lambda: server.query(name + selector), name + selector, seconds=150)  # noqa: B023


def _expressions() -> str:
    """All expressions of the rules."""
    return "\n".join(re.findall(r"^\s+expr: (.+)$", RULES.read_text(), re.MULTILINE))


def test_both_ways_to_scrape_tell_the_same(server: Prometheus) -> None:
    """node_exporter shows the textfile's metrics under the same names as the service's own page."""
    own = {one["metric"]["__name__"] for one in server.query('{__name__=~"redirectd_.+",job="redirectd"}')}
    assert len(own) > 20

    def shown() -> set[str]:
        return {one["metric"]["__name__"] for one in server.query('{__name__=~"redirectd_.+",job="node"}')}

    until(lambda: shown() >= own, "node_exporter shows them")


def promtool_test(folder: Path, series: dict[str, str], at: str, expression: str, expected: list[float]) -> str:
    """What promtool complains of when it plays `series`, a value a minute, to the rules; empty if all is well."""
    case = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {"expr": expression, "eval_time": at, "exp_samples": [{"labels": "{}", "value": one} for one in expected]}
        ],
    }
    file = folder / "test.yml"  # JSON is YAML, too
    file.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [case]}))
    done = subprocess.run(["promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


@pytest.mark.parametrize("alert", FIRING)
def test_each_alert_fires(tmp_path: Path, alert: str) -> None:
    """In Prometheus' own simulation, each fires by what it is for."""
    series, at = FIRING[alert]
    firing = f'count(ALERTS{{alertname="{alert}",alertstate="firing"}})'
    assert promtool_test(tmp_path, series, at, firing, [1.0]) == ""


def test_an_apply_that_never_ran_is_overdue(tmp_path: Path) -> None:
    """Where it is scheduled and has no last run, its time counts from the start; where it is not, nothing is late."""
    firing = 'count(ALERTS{alertname="RedirectdApplyOverdue",alertstate="firing"})'
    series = {"redirectd_start_time_seconds": "0x90", "redirectd_paused": "0x90"}
    assert promtool_test(tmp_path, series, "66m", firing, []) == ""
    scheduled = {**series, 'redirectd_job_runs_total{task="apply"}': "0x90"}
    assert promtool_test(tmp_path, scheduled, "59m", firing, []) == ""
    assert promtool_test(tmp_path, scheduled, "66m", firing, [1.0]) == ""


def test_nothing_fires_while_all_is_well(tmp_path: Path) -> None:
    """Three days of a healthy service raise no alert, pending ones included."""
    assert promtool_test(tmp_path, WELL, "73h", "count(ALERTS)", []) == ""
