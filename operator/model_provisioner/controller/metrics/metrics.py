"""Counts events for Prometheus and serves `/metrics`. What each metric means is in `controller.metrics.descriptions`.

Reconcilers and shared transfers report events. Present values, such as the length of the queue, are read at each
scrape, from functions that `controller.process.collectors` registers.
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
    COPIED,
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
from model_provisioner.domain.lifecycle.events import Available, Event, Failed, Started, Suspended
from model_provisioner.domain.lifecycle.snapshot import Snapshot
from model_provisioner.domain.lifecycle.state import State
from model_provisioner.domain.modeldownload import ModelDownload

_LOG = logging.getLogger(__name__)

Samples = Iterable[tuple[tuple[str, ...], float]]
"""Label values, in the order of the description, and the value."""
_SETTLED = Snapshot(reason=State.AVAILABLE, ready=True)


@dataclass(slots=True)
class _TrackedObject:
    """One object in its present state. `started_at` is when a worker began, in seconds of the monotonic clock."""

    namespace: str
    name: str
    snapshot: Snapshot
    started_at: float | None = None


class Metrics:
    """The metrics of one operator, in `registry`. `monotonic` is in seconds."""

    def __init__(self, registry: CollectorRegistry, monotonic: Callable[[], float]) -> None:
        self._registry = registry
        self._monotonic = monotonic
        self._objects: dict[str, _TrackedObject] = {}
        self._received = _counter(RECEIVED, registry)
        self._copied = _counter(COPIED, registry)
        self._retries = _counter_by_reason(RETRIES, Retryable, registry)
        self._failures = _counter_by_reason(FAILURES, Terminal, registry)
        self._durations = Histogram(DURATION.full_name, DURATION.meaning, buckets=DURATION.buckets, registry=registry)
        self.register(DOWNLOADS, self._count_by_reason)
        self.register(PROGRESS, lambda: self._of_unready_objects(lambda snapshot: snapshot.bytes))
        self.register(
            SIZE, lambda: self._of_unready_objects(lambda snapshot: snapshot.model.size_bytes if snapshot.model else 0)
        )

    def register(self, description: Description, read: Callable[[], Samples]) -> None:
        """Adds a metric whose samples `read` returns at every scrape; it must not block."""
        self._registry.register(_CallbackCollector(description, read))

    def received_counter(self, namespace: str) -> Callable[[int], None]:
        """A counter for one fetch: call it, at any time, with all bytes received from its source since it began."""
        return _of_one_fetch(self._received.labels(namespace))

    def copied_counter(self, namespace: str) -> Callable[[int], None]:
        """As `received_counter`, for the bytes that a worker pod got from the operator."""
        return _of_one_fetch(self._copied.labels(namespace))

    def advanced(self, download: ModelDownload, snapshot: Snapshot, event: Event) -> None:
        """Records `event` of `download`; `snapshot` is the state after it."""
        tracked = self._objects.setdefault(download.uid, _TrackedObject(download.namespace, download.name, snapshot))
        tracked.snapshot = snapshot
        match event:
            case Failed(error):
                (self._retries if isinstance(error, Retryable) else self._failures).labels(error.reason).inc()
            case Started() if tracked.started_at is None:
                tracked.started_at = self._monotonic()
            case Available() if tracked.started_at is not None:
                self._durations.observe(self._monotonic() - tracked.started_at)
                tracked.started_at = None
            case Suspended():
                tracked.started_at = None
            case _:
                pass

    def settled(self, download: ModelDownload) -> None:
        """Counts a Ready object for which nothing runs, until `forget`."""
        self._objects[download.uid] = _TrackedObject(download.namespace, download.name, _SETTLED)

    def forget(self, uid: str) -> None:
        """Removes the object: it is deleted, or no longer reconciled."""
        self._objects.pop(uid, None)

    def route(self) -> web.RouteDef:
        """`/metrics`, in the format of the Accept header."""
        # Without this every counter has a second series, `_created`, which is not used.
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        return web.get("/metrics", make_aiohttp_handler(self._registry))

    def _count_by_reason(self) -> Samples:
        return Tally((tracked.namespace, tracked.snapshot.reason) for tracked in self._objects.values()).items()

    def _of_unready_objects(self, value: Callable[[Snapshot], int]) -> Samples:
        """One sample for each name, also if an object and its successor exist: Prometheus rejects duplicate series."""
        unready = (
            tracked for tracked in self._objects.values() if tracked.snapshot.model and not tracked.snapshot.ready
        )
        return {(tracked.namespace, tracked.name): value(tracked.snapshot) for tracked in unready}.items()


class _CallbackCollector(Collector):
    """A metric that is read at each scrape. If that fails, it has no samples; the other metrics are not affected."""

    def __init__(self, description: Description, read: Callable[[], Samples]) -> None:
        self._description = description
        self._read = read
        self._logged = False

    def describe(self) -> Sequence[CounterMetricFamily | GaugeMetricFamily]:
        """The name without samples: the registry uses it to refuse duplicates, and reads nothing."""
        return [self._family()]

    def collect(self) -> Sequence[CounterMetricFamily | GaugeMetricFamily]:
        family = self._family()
        for labels, value in self._samples():
            family.add_metric(labels, value)
        return [family]

    def _samples(self) -> Samples:
        try:
            return list(self._read())
        except Exception:  # noqa: BLE001 - any error: the other metrics must be served
            if not self._logged:  # only the first time: the next scrape is seconds away
                _LOG.exception("%s could not be read and is left out", self._description.full_name)
            self._logged = True
            return ()

    def _family(self) -> CounterMetricFamily | GaugeMetricFamily:
        description = self._description
        family = CounterMetricFamily if description.kind == "counter" else GaugeMetricFamily
        return family(description.full_name, description.meaning, labels=description.labels)


def _of_one_fetch(counter: Counter) -> Callable[[int], None]:
    counted = 0

    def count(received: int) -> None:
        nonlocal counted
        counter.inc(max(0, received - counted))  # a worker pod may be anyone's, and a counter takes no less than 0
        counted = max(counted, received)

    return count


def _counter(description: Description, registry: CollectorRegistry) -> Counter:
    return Counter(description.full_name, description.meaning, description.labels, registry=registry)


def _counter_by_reason(
    description: Description, root: type[Retryable] | type[Terminal], registry: CollectorRegistry
) -> Counter:
    """Creates the series of all reasons with 0: a series that starts with 1 has no increase, and no alert fires."""
    counter = _counter(description, registry)
    for error in root.__subclasses__():
        counter.labels(error.__name__)
    return counter
