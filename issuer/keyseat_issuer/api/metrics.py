"""Figures for Prometheus: requests and their durations, the session desk, seats. One registry per application."""

from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from keyseat_issuer.ledger.seats.state import Seats
from keyseat_shared.trust import ACTIVE, TrustBundle

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
_BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """What one process has counted. Routes are named by their template, never by a path with ids in it."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "keyseat_requests", "HTTP requests answered", ("route", "method", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "keyseat_request_seconds", "Time to answer", ("route",), buckets=_BUCKETS, registry=self._registry
        )
        self._turns = Gauge("keyseat_desk_turns", "Transactions of the session desk", registry=self._registry)
        self._waiting = Gauge("keyseat_desk_waiting", "Requests waiting for a turn", registry=self._registry)
        self._turn_seconds = Histogram(
            "keyseat_desk_turn_seconds",
            "Time of a turn, its wait for locks included",
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._turn_size = Histogram(
            "keyseat_desk_turn_requests", "Requests answered by a turn", buckets=_SIZES, registry=self._registry
        )
        self._up = Gauge("keyseat_ledger_up", "1 where the ledger answered just now", registry=self._registry)
        self._version = Gauge("keyseat_trust_version", "Version of the trust bundle in force", registry=self._registry)
        self._keys = Gauge(
            "keyseat_key_valid_until_timestamp_seconds",
            "When the window of an active signing key closes",
            ("purpose", "keyid"),
            registry=self._registry,
        )
        self._quota = Gauge("keyseat_seats_quota", "Seats sold", ("product",), registry=self._registry)
        self._used = Gauge("keyseat_seats_used", "Seats held at this instant", ("product",), registry=self._registry)
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

    def turn(self, requests: int, seconds: float) -> None:
        """Take one turn of the session desk."""
        self._turn_size.observe(requests)
        self._turn_seconds.observe(seconds)

    def trust(self, bundle: TrustBundle) -> None:
        """Take the trust bundle in force."""
        self._version.set(bundle.version)
        self._keys.clear()
        for key in bundle.keys:
            if key.status == ACTIVE:
                self._keys.labels(key.purpose, key.key.keyid).set(key.valid_until.timestamp())

    def ledger(self, seats: Iterable[Seats] | None) -> None:
        """Take the seats over active subscriptions; ``None`` where the ledger does not answer."""
        self._up.set(0 if seats is None else 1)
        self._quota.clear()
        self._used.clear()
        for row in seats or ():
            self._quota.labels(row.product).set(row.sold)
            self._used.labels(row.product).set(row.held)

    def exposition(self, *, turns: int, waiting: int) -> bytes:
        """Return the text that Prometheus reads."""
        self._turns.set(turns)
        self._waiting.set(waiting)
        return generate_latest(self._registry)
