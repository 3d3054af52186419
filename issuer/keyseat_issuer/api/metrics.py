"""Figures for Prometheus: requests and their durations, the session desk, seats. One registry per application."""

from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

_BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """What one process has counted. Routes are named by their template, never by a path with ids in it."""

    def __init__(self) -> None:
        """Start at zero."""
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "keyseat_requests", "HTTP requests answered", ("route", "method", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "keyseat_request_seconds", "Time to answer", ("route",), buckets=_BUCKETS, registry=self._registry
        )
        self._turns = Gauge("keyseat_desk_turns", "Transactions of the session desk", registry=self._registry)
        self._waiting = Gauge("keyseat_desk_waiting", "Requests waiting for a turn", registry=self._registry)
        self._quota = Gauge("keyseat_seats_quota", "Seats sold", ("product",), registry=self._registry)
        self._used = Gauge("keyseat_seats_used", "Seats taken", ("product",), registry=self._registry)
        self._open = Gauge("keyseat_connections", "Connections open", registry=self._registry)
        self._ended = Counter(
            "keyseat_connections_ended",
            "Connections that were too slow, too many or no HTTP",
            ("reason",),
            registry=self._registry,
        )
        self._told: dict[str, int] = {}
        # Looking up a labelled child costs more than counting; the label sets are few.
        self._counters: dict[tuple[str, str, int], Counter] = {}
        self._timers: dict[str, Histogram] = {}

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one answer."""
        key = (route, method, status)
        counter = self._counters.get(key)
        if counter is None:
            counter = self._counters[key] = self._requests.labels(route, method, str(status))
        counter.inc()
        timer = self._timers.get(route)
        if timer is None:
            timer = self._timers[route] = self._seconds.labels(route)
        timer.observe(seconds)

    def connections(self, now_open: int, ended: Mapping[Any, int]) -> None:
        """Take how many connections are open, and how many were ended so far by reason."""
        self._open.set(now_open)
        for reason, count in ended.items():
            self._ended.labels(str(reason)).inc(count - self._told.get(str(reason), 0))
            self._told[str(reason)] = count

    def exposition(self, *, turns: int, waiting: int, seats: Iterable[tuple[str, int, int]]) -> bytes:
        """Return the text that Prometheus reads; ``seats`` are (product, quota, used) over active subscriptions."""
        self._turns.set(turns)
        self._waiting.set(waiting)
        self._quota.clear()
        self._used.clear()
        for product, quota, used in seats:
            self._quota.labels(product).set(quota)
            self._used.labels(product).set(used)
        return generate_latest(self._registry)
