"""Counts what happens, for Prometheus, and serves it. What each metric means is in `controller.metrics.descriptions`.

The lifecycles and the shared transfers tell what happens when it happens; what is, such as the length
of the queue, is read by `gauges` when somebody scrapes.
"""

import logging
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import prometheus_client
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.aiohttp import make_aiohttp_handler
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from model_provisioner.controller.metrics.descriptions import (
    DOWNLOADS,
    DURATION,
    FAILURES,
    PROGRESS,
    RECEIVED,
    RETRIES,
    SIZE,
    Description,
)
from model_provisioner.domain.errors import Retryable, Terminal
from model_provisioner.domain.lifecycle.snapshot import Available, Event, Failed, Snapshot, Started, Suspended
from model_provisioner.domain.modeldownload import ModelDownload

_LOG = logging.getLogger(__name__)

Samples = Iterable[tuple[tuple[str, ...], float]]
"""Values of the labels, in their order, and the figure."""


@dataclass(slots=True)
class _Known:
    """One object as it is now; `begun` is when a worker took it, in seconds of the clock."""

    namespace: str
    name: str
    snapshot: Snapshot
    begun: float | None = None


class Metrics:
    """Those of one operator, in `registry`; `monotonic` gives seconds."""

    def __init__(self, registry: CollectorRegistry, monotonic: Callable[[], float]) -> None:
        self._registry = registry
        self._monotonic = monotonic
        self._known: dict[str, _Known] = {}
        self._received = _counter(RECEIVED, registry)
        self._retries = _by_reason(RETRIES, Retryable, registry)
        self._failures = _by_reason(FAILURES, Terminal, registry)
        self._durations = Histogram(DURATION.full_name, DURATION.meaning, buckets=DURATION.buckets, registry=registry)
        self.register(DOWNLOADS, self._by_state)
        self.register(PROGRESS, lambda: self._of_unready(lambda snapshot: snapshot.bytes))
        self.register(
            SIZE, lambda: self._of_unready(lambda snapshot: snapshot.model.size_bytes if snapshot.model else 0)
        )

    def register(self, description: Description, read: Callable[[], Samples]) -> None:
        """From now on `read` is asked for the samples of this metric at every scrape; it must not block."""
        self._registry.register(_Reading(description, read))

    def received_counter(self, namespace: str) -> Callable[[int], None]:
        """For one fetch: to be called with how many bytes have come since it began, whenever that is known."""
        counter, counted = self._received.labels(namespace), 0

        def so_far(received: int) -> None:
            nonlocal counted
            counter.inc(received - counted)
            counted = received

        return so_far

    def advanced(self, download: ModelDownload, snapshot: Snapshot, event: Event) -> None:
        """`event` has happened to `download`, which is now at `snapshot`."""
        known = self._known.setdefault(download.uid, _Known(download.namespace, download.name, snapshot))
        known.snapshot = snapshot
        match event:
            case Failed(error):
                (self._retries if isinstance(error, Retryable) else self._failures).labels(error.reason).inc()
            case Started() if known.begun is None:
                known.begun = self._monotonic()
            case Available() if known.begun is not None:
                self._durations.observe(self._monotonic() - known.begun)
                known.begun = None
            case Suspended():
                known.begun = None
            case _:
                pass

    def forget(self, uid: str) -> None:
        """The object is no longer looked after."""
        self._known.pop(uid, None)

    def route(self) -> web.RouteDef:
        """`/metrics`, in the format that the caller prefers."""
        # Else every counter has a second series that nobody reads.
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        return web.get("/metrics", make_aiohttp_handler(self._registry))

    def _by_state(self) -> Samples:
        return Tally((known.namespace, known.snapshot.reason) for known in self._known.values()).items()

    def _of_unready(self, figure: Callable[[Snapshot], int]) -> Samples:
        """One of each name, also while an object's successor is there already: Prometheus refuses a page with two."""
        unready = (known for known in self._known.values() if known.snapshot.model and not known.snapshot.ready)
        return {(known.namespace, known.name): figure(known.snapshot) for known in unready}.items()


class _Reading(Collector):
    """A metric that is read when somebody scrapes. One that can't be read is empty, and the others are there."""

    def __init__(self, description: Description, read: Callable[[], Samples]) -> None:
        self._description = description
        self._read = read
        self._told = False

    def describe(self) -> Sequence[CounterMetricFamily | GaugeMetricFamily]:
        """Only its name, by which the registry refuses a second one; nothing is read yet."""
        return [self._family()]

    def collect(self) -> Sequence[CounterMetricFamily | GaugeMetricFamily]:
        family = self._family()
        for labels, value in self._samples():
            family.add_metric(labels, value)
        return [family]

    def _samples(self) -> Samples:
        try:
            return list(self._read())
        except Exception:  # noqa: BLE001 - whatever it is, the other metrics are asked for, too
            if not self._told:  # one traceback is enough: the next scrape is seconds away
                _LOG.exception("%s could not be read and is left out", self._description.full_name)
            self._told = True
            return ()

    def _family(self) -> CounterMetricFamily | GaugeMetricFamily:
        description = self._description
        family = CounterMetricFamily if description.kind == "counter" else GaugeMetricFamily
        return family(description.full_name, description.meaning, labels=description.labels)


def _counter(description: Description, registry: CollectorRegistry) -> Counter:
    return Counter(description.full_name, description.meaning, description.labels, registry=registry)


def _by_reason(
    description: Description, root: type[Retryable] | type[Terminal], registry: CollectorRegistry
) -> Counter:
    """With all reasons from the beginning, because a series that begins at one has no increase to be alerted by."""
    counter = _counter(description, registry)
    for error in root.__subclasses__():
        counter.labels(error.__name__)
    return counter
