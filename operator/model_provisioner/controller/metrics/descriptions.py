"""Every metric of the operator: name, unit and help text. `tests/test_metrics_page.py` compares `docs/metrics.md`.

`controller.metrics.metrics` counts, `controller.process.collectors` reads the parts of the operator. A label value is
the name of an object, a namespace or a claim, or a fixed word: never a message, an address or the text of a source.
"""

from dataclasses import dataclass
from typing import Literal

_PREFIX = "model_provisioner_operator_"
_DURATION_BUCKETS = (1, 5, 15, 60, 300, 900, 1800, 3600, 7200, 14400, 28800)


@dataclass(frozen=True, slots=True)
class Description:
    """`name` is without the prefix; `meaning` is the help text; `buckets` are a histogram's upper bounds."""

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
COPIED = Description(
    "copied_bytes_total",
    "counter",
    "Bytes that worker pods got from the operator instead of a source.",
    ("namespace",),
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
    "failures_total",
    "counter",
    "Attempts that ended with an error that needs an action: each slow retry, and those of Ready models, too.",
    ("reason",),
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
SLOTS = Description("slots", "gauge", "Downloads that may run at one time. Slow ones and local files take no slot.")
FREE = Description(
    "volume_free_bytes",
    "gauge",
    "Bytes that may still be written to the volume, at the last look; absent if the volume does not say.",
    ("namespace", "claim"),
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
    "last_watch_event_age_seconds",
    "gauge",
    "Seconds since the API server was last heard by the operator that acts; it speaks every minute.",
)
API_REQUESTS = Description(
    "api_requests_total",
    "counter",
    "Requests that the API server answered, by HTTP method and status; those of the kopf framework are not among them.",
    ("method", "code"),
)
DESCRIPTIONS = (
    RECEIVED,
    COPIED,
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
