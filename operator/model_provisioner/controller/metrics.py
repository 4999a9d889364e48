"""What Prometheus can ask the operator: every metric that there is, and the counting of what happens.

Names, units and meanings stand in the descriptions, which `docs/metrics.md` is held equal to. What
happens is counted when it happens, by the lifecycles and the shared transfers; what is, such as the
length of the queue, is read by `gauges` when somebody scrapes. A label is the name of an object, a
namespace or a claim, or a word of ours: never a message, an address or anything that a source said.
"""

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import prometheus_client
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.aiohttp import make_aiohttp_handler
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from model_provisioner.domain.errors import Retryable, Terminal
from model_provisioner.domain.modeldownload import ModelDownload
from model_provisioner.domain.snapshot import Available, Event, Failed, Snapshot, Started, Suspended

_PREFIX = "model_provisioner_operator_"
_DURATION_BUCKETS = (1, 5, 15, 60, 300, 900, 1800, 3600, 7200, 14400, 28800)

Samples = Iterable[tuple[tuple[str, ...], float]]
"""Values of the labels, in their order, and the figure."""


@dataclass(frozen=True, slots=True)
class Description:
    """One metric. `name` is what Prometheus shows, but for the prefix; `buckets` are upper bounds, of a histogram."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def full_name(self) -> str:
        return _PREFIX + self.name


RECEIVED = Description(
    "received_bytes_total", "counter", "Bytes that came from sources, thrown away ones too.", ("namespace",)
)
DURATION = Description(
    "download_duration_seconds",
    "histogram",
    "Seconds from when a worker took a model until it was Available; a pause or a restart of the operator starts anew.",
    buckets=_DURATION_BUCKETS,
)
RETRIES = Description(
    "retries_total", "counter", "Attempts that ended with an error after which it is tried again soon.", ("reason",)
)
FAILURES = Description(
    "failures_total", "counter", "Attempts that ended with an error for which somebody must act (Stalled).", ("reason",)
)
DOWNLOADS = Description(
    "downloads", "gauge", "ModelDownloads, by the reason of their Ready condition.", ("namespace", "reason")
)
PROGRESS = Description(
    "download_progress_bytes", "gauge", "Bytes that are there, of a model that is not Ready.", ("namespace", "name")
)
SIZE = Description("download_size_bytes", "gauge", "Bytes in all, of a model that is not Ready.", ("namespace", "name"))
ACTIVE = Description("active_transfers", "gauge", "Transfers that have a slot.", ("namespace",))
QUEUED = Description("queued_transfers", "gauge", "Transfers that wait for a slot.", ("namespace",))
SLOTS = Description("slots", "gauge", "Transfers that may run at one time.")
FREE = Description(
    "volume_free_bytes", "gauge", "Bytes that may be written, at the last look of some minutes.", ("namespace", "claim")
)
RESERVED = Description(
    "volume_reserved_bytes", "gauge", "Bytes that running transfers will still write.", ("namespace", "claim")
)
UNHELD = Description(
    "volume_unheld_bytes",
    "gauge",
    "Bytes of models and parts that no object holds, at the last look; `prune` deletes them.",
    ("namespace", "claim"),
)
ACTING = Description("acting", "gauge", "1 while this operator holds the Lease and acts, else 0.")
LAST_WATCH_EVENT_AGE = Description(
    "last_watch_event_age_seconds", "gauge", "Seconds since the API server was last heard; it speaks every minute."
)
API_REQUESTS = Description(
    "api_requests_total",
    "counter",
    "Requests that the API server answered, by HTTP method and status; those of the kopf framework are not among them.",
    ("method", "code"),
)
DESCRIPTIONS = (
    RECEIVED,
    DURATION,
    RETRIES,
    FAILURES,
    ACTIVE,
    QUEUED,
    SLOTS,
    DOWNLOADS,
    PROGRESS,
    SIZE,
    FREE,
    RESERVED,
    UNHELD,
    ACTING,
    LAST_WATCH_EVENT_AGE,
    API_REQUESTS,
)


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
        self.show(DOWNLOADS, self._by_state)
        self.show(PROGRESS, lambda: self._of_unready(lambda snapshot: snapshot.bytes))
        self.show(SIZE, lambda: self._of_unready(lambda snapshot: snapshot.model.size_bytes if snapshot.model else 0))

    def show(self, description: Description, read: Callable[[], Samples]) -> None:
        """From now on `read` is asked for the samples of this metric at every scrape; it must not block."""
        self._registry.register(_Reading(description, read))

    def tally(self, namespace: str) -> Callable[[int], None]:
        """For one fetch: to be called with how many bytes have come since it began, whenever that is known."""
        counter, counted = self._received.labels(namespace), 0

        def so_far(received: int) -> None:
            nonlocal counted
            counter.inc(received - counted)
            counted = received

        return so_far

    def advanced(self, subject: ModelDownload, snapshot: Snapshot, event: Event) -> None:
        """`event` has happened to `subject`, which is now at `snapshot`."""
        known = self._known.setdefault(subject.uid, _Known(subject.namespace, subject.name, snapshot))
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
        unready = (known for known in self._known.values() if known.snapshot.model and not known.snapshot.ready)
        return [((known.namespace, known.name), figure(known.snapshot)) for known in unready]


class _Reading(Collector):
    """A metric that is read when somebody scrapes."""

    def __init__(self, description: Description, read: Callable[[], Samples]) -> None:
        self._description = description
        self._read = read

    def describe(self) -> Sequence[CounterMetricFamily | GaugeMetricFamily]:
        """Only its name, by which the registry refuses a second one; nothing is read yet."""
        return [self._family()]

    def collect(self) -> Sequence[CounterMetricFamily | GaugeMetricFamily]:
        family = self._family()
        for labels, value in self._read():
            family.add_metric(labels, value)
        return [family]

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
