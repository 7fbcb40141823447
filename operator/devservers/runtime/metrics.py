"""The operator's own metrics for Prometheus.

Invariant: no label carries the name of a user or a server.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import generate_latest


class Metrics:
    """One registry per process (not the global one, so that tests can have many)."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.reconciles = Counter(
            "devservers_reconciles",
            "Reconciles by kind and result (ok, error)",
            ["kind", "result"],
            registry=self.registry,
        )
        self.reconcile_seconds = Histogram(
            "devservers_reconcile_seconds",
            "How long a reconcile took",
            ["kind"],
            buckets=(0.005, 0.02, 0.1, 0.5, 2, 10, 60),
            registry=self.registry,
        )
        self.writes = Counter(
            "devservers_api_writes",
            "Writes to the API server by kind and verb",
            ["kind", "verb"],
            registry=self.registry,
        )
        self.missed_events = Counter(
            "devservers_missed_events",
            "Objects a resync found that no watch event had reported",
            ["kind"],
            registry=self.registry,
        )
        self.exchanges = Counter(
            "devservers_agent_exchanges",
            "Exchanges with servers' agents by outcome (answered, failed)",
            ["outcome"],
            registry=self.registry,
        )
        self.depth = Gauge("devservers_queue_depth", "Keys ready or being reconciled", registry=self.registry)
        self.failing = Gauge("devservers_queue_failing", "Keys whose last reconcile failed", registry=self.registry)
        self.oldest = Gauge(
            "devservers_queue_oldest_seconds",
            "How long the oldest ready key has waited",
            registry=self.registry,
        )
        self.leader = Gauge("devservers_leader", "1 while this process leads", registry=self.registry)
        self.cached = Gauge("devservers_cached_objects", "Objects in the cache", ["kind"], registry=self.registry)
        self.initial = Gauge(
            "devservers_initial_reconcile_seconds",
            "From acquiring the lease until every object had been reconciled once",
            registry=self.registry,
        )

    def render(self) -> bytes:
        """The registry in Prometheus' text format."""
        return generate_latest(self.registry)
