"""What a server counts, for Prometheus; no label holds an id or a text."""

from collections.abc import Iterable
from typing import Any

from whyrank.errors import need
from whyrank.serve.service import Service

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60, 120)
SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


class Metrics:
    """Counters of one server, in a registry of their own."""

    def __init__(self, service: Service) -> None:
        """Begin at nothing."""
        client = need("prometheus_client", extra="serve", asked_by="whyrank serve")
        self._client, self.registry = client, client.CollectorRegistry()
        self.in_flight = client.Gauge("whyrank_in_flight", "Requests at work.", registry=self.registry)
        self.waiting = client.Gauge("whyrank_waiting", "Requests that wait for a place.", registry=self.registry)
        self._requests = client.Counter(
            "whyrank_requests", "Requests answered.", ["route", "family", "model", "status"], registry=self.registry
        )
        self._seconds = client.Histogram(
            "whyrank_seconds", "Seconds of a request.", ["phase"], buckets=BUCKETS, registry=self.registry
        )
        self._documents = client.Histogram(
            "whyrank_documents", "Documents of a request.", buckets=SIZES, registry=self.registry
        )
        self._degraded = client.Counter(
            "whyrank_degraded", "Requests answered in the order handed in.", ["why"], registry=self.registry
        )
        core = need("prometheus_client.core", extra="serve", asked_by="whyrank serve")
        self.registry.register(_Calls(core, service))

    def request(self, route: str, family: str, model: str, status: int) -> None:
        """Count a request."""
        self._requests.labels(route, family, model, str(status)).inc()

    def work(self, queued: float, worked: float, documents: int, degraded: str) -> None:
        """Count what a request took."""
        self._seconds.labels("queue").observe(queued)
        self._seconds.labels("work").observe(worked)
        self._documents.observe(documents)
        if degraded:
            self._degraded.labels(degraded).inc()

    def text(self) -> tuple[bytes, str]:
        """All of it as Prometheus reads it, and the type of that."""
        return self._client.generate_latest(self.registry), self._client.CONTENT_TYPE_LATEST


class _Calls:
    """What the scheduler and the ledger count already, read when somebody asks."""

    def __init__(self, core: Any, service: Service) -> None:  # noqa: ANN401 (an optional package)
        self._core, self._service = core, service

    def collect(self) -> Iterable[Any]:
        """The calls by model and status, tokens and cost."""
        family = self._core.CounterMetricFamily
        calls = family("whyrank_calls", "Model calls.", labels=["model", "status"])
        for (model, status), number in self._service.hub.counts().items():
            calls.add_metric([model, status], number)
        total = self._service.trace.ledger.total
        tokens = family("whyrank_tokens", "Tokens of model calls.", labels=["kind"])
        for kind in ("input", "output", "reasoning", "cached"):
            tokens.add_metric([kind], getattr(total.usage, kind))
        replayed = family("whyrank_replayed_calls", "Answers that were there already.", value=total.replayed)
        under_way = self._core.GaugeMetricFamily(
            "whyrank_calls_under_way", "Requests to engines under way.", value=self._service.hub.under_way
        )
        return [calls, tokens, replayed, under_way, family("whyrank_cost", "Cost of calls.", value=total.cost or 0.0)]
