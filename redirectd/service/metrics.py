"""The metrics, all made from the status document, as Prometheus' page over HTTP and as a file for node_exporter."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from threading import BoundedSemaphore, Thread, Timer
from typing import TYPE_CHECKING, Any, NamedTuple
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import CollectorRegistry, Metric, generate_latest, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer
from prometheus_client.registry import Collector

from redirectd.errors import ConfigError, InstallError
from redirectd.sip.text import printable
from redirectd.store.budget import OVER_BUDGET

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

ASKERS = 16
"""Who is answered at the same time; the next ones are hung up on, and a scraper asks again."""

_ASKER_SECONDS = 5.0


class _Metrics(Collector):
    def __init__(self, families: Callable[[], Iterable[Metric]]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        return (family for family in self._families() if family.samples)


def _registry(families: Callable[[], Iterable[Metric]]) -> CollectorRegistry:
    """What the library serves: the families as they are when somebody asks, those without samples left out."""
    made = CollectorRegistry(auto_describe=False)
    made.register(_Metrics(families))
    return made


def page(families: Iterable[Metric]) -> str:
    """The page as text."""
    return generate_latest(_registry(lambda: families)).decode()


class MetricsServer:
    """Serves `GET /metrics`, each asker in a thread of its own and with a deadline: none keeps the others out."""

    def __init__(self, listen: str, families: Callable[[], Iterable[Metric]]) -> None:
        """Listens at once on `address:port` (IPv6 in brackets), answers from `start` on. Raises ConfigError."""
        self.listen = listen
        host, _, port = listen.rpartition(":")
        host = host.strip("[]")
        try:
            self._server = make_server(
                host, int(port), _application(families), _Server6 if ":" in host else _Server, _Handler
            )
        except OSError as error:
            raise ConfigError(
                f"daemon.metrics_listen {listen}",
                error.strerror or str(error),
                "give an address of this host and a port that nobody else uses",
            ) from error
        self._thread = Thread(target=self._server.serve_forever, name="metrics", daemon=True)

    def start(self) -> None:
        """Answers from now on; does nothing if it does already."""
        if not self._thread.is_alive():
            self._thread.start()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """No more answers."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join(_ASKER_SECONDS)
        self._server.server_close()


class _Server(ThreadingWSGIServer):
    """A thread for each asker, of at most `ASKERS` at a time."""

    _places: BoundedSemaphore

    def server_activate(self) -> None:
        self._places = BoundedSemaphore(ASKERS)
        super().server_activate()

    def verify_request(self, request: object, client_address: object) -> bool:
        return self._places.acquire(blocking=False)

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - the library's own
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """An asker that hung up is not worth a traceback in the log."""


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    def handle(self) -> None:
        # The deadline is for the whole request: a byte now and then does not prolong it.
        deadline = Timer(_ASKER_SECONDS, self._hang_up)
        deadline.start()
        try:
            super().handle()
        finally:
            deadline.cancel()

    def _hang_up(self) -> None:
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Scrapes are not worth a log line."""


def _application(families: Callable[[], Iterable[Metric]]) -> WSGIApplication:
    serve: WSGIApplication = make_wsgi_app(_registry(families))

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] in {"/metrics", "/"}:
            return serve(environ, start_response)
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"The metrics are at /metrics.\n"]

    return application


def write_textfile(path: Path, families: Iterable[Metric]) -> None:
    """Puts the page where node_exporter's textfile collector reads it, whole or not at all. Raises InstallError.

    World-readable, since node_exporter is another user; it has no secret.
    """
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(page(families))
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        except OSError:
            with suppress(OSError):
                Path(temporary).unlink()
            raise
    except OSError as error:
        raise InstallError(
            f"daemon.metrics_file {path}",
            error.strerror or str(error),
            f"create {path.parent} and give this user the right to write there",
        ) from error


_Document = dict[str, Any]


class _Sample(NamedTuple):
    value: float
    labels: Mapping[str, str] = {}


def families(status: _Document) -> list[Metric]:
    """Every metric of the daemon, from its status document (times as text, as it is shown).

    Nothing for what is not known: no alert must end because a number is away.
    """
    return [*_daemon(status), *_sources(status["sources"]), *_jobs(status["jobs"]), *_stored(status)]


def _daemon(status: _Document) -> list[Metric]:
    daemon, database = status["daemon"], status["database"]
    info = {"version": daemon["version"], "node": daemon["node"]}
    return [
        _many("redirectd_info", "gauge", "The running program.", (_Sample(1, info),)),
        _one("redirectd_start_time_seconds", "When the daemon started.", _seconds(daemon["started_at"])),
        _one("redirectd_configuration_refused", "1: the last reload was refused, the old configuration is in force.",
             float(daemon["configuration_error"] is not None)),
        _one("redirectd_stuck", "How many readers or schedulers have stopped making progress.", len(daemon["silent"])),
        _one("redirectd_paused", "1: a pause window holds scheduled applies back now.", float(daemon["paused"])),
        _one("redirectd_database_up", "1: the database answers.", float(database["ok"])),
        _one("redirectd_database_bytes", "Size of the database on disk.", database["bytes"]),
    ]  # fmt: skip


def _sources(sources: list[_Document]) -> list[Metric]:
    def each(name: str, kind: str, text: str, value: Callable[[_Document], float | None]) -> Metric:
        values = ((source["name"], value(source)) for source in sources)
        return _many(name, kind, text, (_Sample(found, {"source": one}) for one, found in values if found is not None))

    return [
        each("redirectd_source_up", "gauge", "1: the source is being read.", lambda s: float(s["state"] == "reading")),
        each("redirectd_source_blocked", "gauge", "1: reading waits for the database.",
             lambda s: float(s["state"] == "blocked")),
        each("redirectd_source_lag_bytes", "gauge", "Bytes written and not read yet.", lambda s: s["lag_bytes"]),
        _many("redirectd_source_losses_total", "counter", "What a source lost since the daemon started, by kind.",
              (_Sample(count, {"source": s["name"], "kind": kind})
               for s in sources for kind, count in s["losses"].items())),
        each("redirectd_source_last_read_timestamp_seconds", "gauge", "When the source was last looked at.",
             lambda s: _seconds(s["last_read"])),
        each("redirectd_source_last_sighting_timestamp_seconds", "gauge", "When the source last gave a 301.",
             lambda s: _seconds(s["last_sighting"])),
        each("redirectd_sightings_total", "counter", "301 answers read.", lambda s: s["sightings"]),
        each("redirectd_session_progress_total", "counter", "183 answers read.", lambda s: s["session_progress"]),
        each("redirectd_source_restarts_total", "counter", "How often reading ended by a fault and began anew.",
             lambda s: s["restarts"]),
        each("redirectd_source_store_failures_total", "counter", "Attempts to store that the database did not take.",
             lambda s: s["store_failures"]),
    ]  # fmt: skip


def _jobs(jobs: list[_Document]) -> list[Metric]:
    """The label is `task`, since Prometheus gives each scrape a `job` of its own."""

    def each(name: str, kind: str, text: str, value: Callable[[_Document], float | None]) -> Metric:
        values = ((job["name"], value(job)) for job in jobs)
        return _many(name, kind, text, (_Sample(found, {"task": job}) for job, found in values if found is not None))

    return [
        each("redirectd_job_runs_total", "counter", "Runs of a scheduled job, failed ones too.", lambda j: j["runs"]),
        each("redirectd_job_failures_total", "counter", "Runs that failed.", lambda j: j["failures"]),
        each("redirectd_job_failed", "gauge", "1: the last run failed.", lambda j: float(j["last_error"] is not None)),
        each("redirectd_job_missed_total", "counter", "Runs that came too late to be started.", lambda j: j["missed"]),
        each("redirectd_job_skipped_total", "counter", "Runs left out because the one before had not ended.",
             lambda j: j["skipped"]),
        each("redirectd_job_last_run_timestamp_seconds", "gauge", "End of the last run.",
             lambda j: _seconds(j["last_run"])),
        each("redirectd_job_next_run_timestamp_seconds", "gauge", "When it is due.", lambda j: _seconds(j["next_run"])),
        each("redirectd_job_last_run_seconds", "gauge", "How long the last run took.", lambda j: j["last_seconds"]),
    ]  # fmt: skip


def _stored(status: _Document) -> list[Metric]:
    """What the database knows; nothing of it while the database is away, rather than zeros."""
    remaps: _Document = status["remaps"] or {}
    by_state = (_Sample(count, {"state": state}) for state, count in remaps.items())
    lost = (
        _Sample(item["count"], {"node": item["node"], "source": item["source"], "kind": item["kind"]})
        for item in status["losses"]
    )
    nodes = [node for node in status["nodes"] if node["generation"] is not None]
    return [
        _many("redirectd_remaps", "gauge", "Remaps by state.", by_state),
        _one("redirectd_remaps_stale", "Approved remaps past their review date.", status["stale"]),
        _one("redirectd_remaps_failing", "Approved remaps whose target answers 404, 410, 604 or has moved on.",
             (status.get("failing") or {}).get("remaps")),
        _one("redirectd_failing_calls", "404, 410 and 604 of these targets since their approval, by distinct call.",
             (status.get("failing") or {}).get("calls")),
        _one("redirectd_remaps_ineffective", "Installed remaps whose old URI is still answered 301.",
             (status["ineffective"] or {}).get("remaps")),
        _one("redirectd_ineffective_calls", "301s of old URIs since their remaps were installed.",
             (status["ineffective"] or {}).get("calls")),
        _one("redirectd_saved_redirects_per_day", "301s a day before, of installed remaps seen to work since.",
             (status["saved"] or {}).get("calls_a_day")),
        _one("redirectd_remaps_unobserved", "Installed remaps without traffic in a log since.",
             (status["saved"] or {}).get("unobserved")),
        _one("redirectd_quarantine", "Things that look like a 301 and could not be read.", status["quarantine"]),
        _many("redirectd_losses_total", "counter", "What the sources lost, by kind.", lost),
        _many("redirectd_remaps_over_budget_total", "counter",
              "Sightings that an hour's budgets of new remaps left out (R46).",
              (_Sample(item["count"], {"node": item["node"], "source": item["source"]})
               for item in status["losses"] if item["kind"] == OVER_BUDGET)),
        _many("redirectd_generation", "gauge", "The newest generation of a node.",
              (_Sample(node["generation"], {"node": node["node"]}) for node in nodes)),
        _many("redirectd_generation_timestamp_seconds", "gauge", "When it was installed.",
              (_Sample(_seconds(node["created_at"]) or 0.0, {"node": node["node"]}) for node in nodes)),
        _many("redirectd_generation_rolled_back", "gauge", "1: it did not prove itself and was taken back.",
              (_Sample(float(node["outcome"] == "rolled-back"), {"node": node["node"]}) for node in nodes)),
        _many("redirectd_targets_waiting", "gauge", "Files of a node that are installed, not reloaded.",
              (_Sample(sum(one["node"] == node["node"] for one in status["waiting"]), {"node": node["node"]})
               for node in nodes)),
    ]  # fmt: skip


def _one(name: str, text: str, value: float | None) -> Metric:
    return _many(name, "gauge", text, () if value is None else (_Sample(value),))


def _many(name: str, kind: str, text: str, samples: Iterable[_Sample]) -> Metric:
    metric = Metric(name.removesuffix("_total"), text, kind)
    for sample in samples:
        labels = {label: printable(value, 200) for label, value in sample.labels.items()}
        metric.add_sample(name, labels, sample.value)
    return metric


def _seconds(shown: str | None) -> float | None:
    return None if shown is None else datetime.fromisoformat(shown).timestamp()
