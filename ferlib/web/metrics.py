"""Counters and histograms for Prometheus."""

import contextlib
import time
from collections.abc import Callable, Iterator

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """What ``/metrics`` reports; each application has its own."""

    def __init__(self) -> None:
        # Prometheus does not use the times at which counters began.
        disable_created_metrics()
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.requests = Counter(
            "ferlib_requests", "Requests by route and status.", ("method", "route", "status"), registry=self.registry
        )
        self.request_seconds = Histogram(
            "ferlib_request_seconds", "Time to answer.", ("route",), registry=self.registry, buckets=_SECONDS
        )
        self.stage_seconds = Histogram(
            "ferlib_stage_seconds",
            "Time of decoding, detection and classification of an image.",
            ("stage",),
            registry=self.registry,
            buckets=_SECONDS,
        )
        self.images = Counter("ferlib_images", "Images and frames processed.", registry=self.registry)
        self.faces = Counter("ferlib_faces", "Faces classified, by emotion.", ("emotion",), registry=self.registry)
        self.rejected = Counter("ferlib_rejected", "Requests refused, by reason.", ("reason",), registry=self.registry)
        self.jobs = Counter("ferlib_jobs", "Video jobs finished, by state.", ("state",), registry=self.registry)

    def observe(self, name: str, text: str, function: Callable[[], float]) -> None:
        """Report the value of a function at the time of the report."""
        Gauge(f"ferlib_{name}", text, registry=self.registry).set_function(function)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure the time of a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.stage_seconds.labels(name).observe(time.perf_counter() - start)

    def report(self) -> bytes:
        """Return the report in Prometheus's text format."""
        return generate_latest(self.registry)
