"""What the service counts, for Prometheus."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.process_collector import ProcessCollector

if TYPE_CHECKING:
    from hnexport.serve.asked import Asked

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_MOST_MEMBERS = 64
"""Members of larger numbers share a label: Prometheus keeps a series for each."""


class Metrics:
    """Counters of one service, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)  # memory, CPU time, open files: where the system has /proc
        own = self.registry
        self.requests = Counter("hnexport_requests", "Requests by route and status.", ("route", "status"), registry=own)
        self.latency = Histogram(
            "hnexport_request_seconds",
            "From a request's arrival to its answer, by what was asked: a member, several, mean, until.",
            ("asked", "precision"),
            buckets=_SECONDS,
            registry=own,
        )
        self.waited = Histogram("hnexport_queue_seconds", "How long requests waited.", buckets=_SECONDS, registry=own)
        self.computed = Histogram("hnexport_batch_seconds", "How long calls took.", buckets=_SECONDS, registry=own)
        self.rows = Histogram("hnexport_batch_samples", "Samples of a call.", buckets=_ROWS, registry=own)
        self.refused = Counter(
            "hnexport_refused", "Requests that were not accepted, by reason.", ("reason",), registry=own
        )
        self.replacements = Counter("hnexport_replacements", "Replacements of the bundle.", ("result",), registry=own)
        self.bundle = Gauge("hnexport_bundle_info", "The bundle that is served.", ("name", "digest"), registry=own)

    def watch(self, name: str, text: str, value: Callable[[], float]) -> None:
        """A gauge that is read when it is asked for."""
        Gauge(name, text, registry=self.registry).set_function(value)

    def answered(self, asked: "Asked", seconds: float) -> None:
        """One request that was computed."""
        label = asked.label
        if label.isdigit() and int(label) >= _MOST_MEMBERS:
            label = "other"
        self.latency.labels(label, asked.precision).observe(seconds)

    def serves(self, name: str, digest: str) -> None:
        """Another bundle is served from here on."""
        self.bundle.clear()
        self.bundle.labels(name, digest).set(1)

    def text(self) -> bytes:
        """Everything, as Prometheus reads it."""
        return generate_latest(self.registry)
