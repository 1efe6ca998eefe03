"""Metrics of a server in Prometheus' text format: requests, seconds by stage, tabs, refusals by reason, memory."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


class Meters:
    """Metrics of one server; their names include units, as is the convention of Prometheus."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        own = {"registry": self.registry, "namespace": "codistill"}
        self.scenes = Counter("scenes", "scenes computed, by where they were asked for", ["kind"], **own)
        self.stages = Histogram("stage_seconds", "of one scene", ["stage"], buckets=BUCKETS, **own)
        self.replaced = Counter("frames_replaced", "frames given up for a newer one of their tab", **own)
        self.refused = Counter("refused", "requests, messages and clients, by reason", ["reason"], **own)
        self.failed = Counter("failed", "scenes that ended in an error of this program", **own)
        self.tabs = Gauge("tabs", "open tabs", **own)
        self.sent = Counter("sent_bytes", "to tabs", **own)
        self.received = Counter("received_bytes", "of pictures, from tabs", **own)

    def observe(self, kind: str, seconds: dict[str, float]) -> None:
        """Count a scene and the seconds of its stages."""
        self.scenes.labels(kind).inc()
        for stage, value in seconds.items():
            self.stages.labels(stage).observe(value)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)
