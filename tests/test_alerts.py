"""The alerts of `files/alerts.yaml` fire when a person must act and are quiet otherwise, as promtool evaluates them.

The scraped pages come from the real `Metrics`, driven through hours of simulated time by the real state machine and the
real backoff.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest

from model_provisioner.controller.metrics import descriptions
from model_provisioner.controller.metrics.metrics import Metrics
from model_provisioner.domain.errors import AccessDenied, ProvisionError, SourceUnavailable, TransferStalled
from model_provisioner.domain.lifecycle.backoff import pause
from model_provisioner.domain.lifecycle.events import (
    Available,
    Event,
    Failed,
    Progressed,
    Queued,
    Resolved,
    Resolving,
    Started,
    Verifying,
)
from model_provisioner.domain.lifecycle.snapshot import Snapshot, advance
from model_provisioner.domain.modeldownload import ModelDownload, Spec, Status
from tests.support.promtool import Check, Recording, firing, promtool, quiet
from tests.support.samples import MODEL
from tests.test_metrics_page import rules_of_the_chart

SCRAPE = 30
MINUTE = 60
GIB = 1024**3
HERE = '{namespace="ns"}'
OTHER_ALERTS = "ModelDownloadsStandStill|ModelVolumeFillsUp|ModelProvisioner.*"


@dataclass
class Pod:
    """One operator, as its page shows it. A value of None is not on the page; `up` False: no answer."""

    acting: bool = True
    up: bool = True
    age: float | None = 30
    free: float | None = 500 * GIB
    reserved: float = 0
    now: float = 0.0
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def __post_init__(self) -> None:
        self.metrics = Metrics(self.registry, lambda: self.now)
        place = ("ns", "models")
        self.metrics.register(descriptions.ACTING, lambda: [((), self.acting)])
        self.metrics.register(descriptions.LAST_WATCH_EVENT_AGE, lambda: [] if self.age is None else [((), self.age)])
        self.metrics.register(descriptions.FREE, lambda: [] if self.free is None else [(place, self.free)])
        self.metrics.register(descriptions.RESERVED, lambda: [(place, self.reserved)])

    def page(self) -> str | None:
        return generate_latest(self.registry).decode() if self.up else None


class Day:
    """Actions at seconds of a day, added in any order; `pods` are all operators."""

    def __init__(self, rules: Path, directory: Path, **pods: Pod) -> None:
        self.rules = rules
        self.directory = directory
        self.pods = pods or {"one": Pod()}
        self._plan: list[tuple[float, Callable[[], object]]] = []

    @property
    def pod(self) -> Pod:
        return self.pods["one"]

    def at(self, second: float, action: Callable[[], object]) -> None:
        self._plan.append((second, action))

    def shows(self, second: float, pod: str = "one", **figures: object) -> None:
        """From `second` on, the page of `pod` has these values."""

        def change() -> None:
            for name, value in figures.items():
                setattr(self.pods[pod], name, value)

        self.at(second, change)

    def record(self, minutes: int) -> Recording:
        recording = Recording(SCRAPE)
        for pages in self.scrapes(minutes):
            recording.scrape(pages)
        return recording

    def scrapes(self, minutes: int) -> Iterator[dict[str, str | None]]:
        """Carries out the plan; gives the pages of all pods at each scrape."""
        due = iter(sorted(self._plan, key=lambda one: one[0]))
        after = next(due, None)
        for second in range(0, minutes * MINUTE + 1, SCRAPE):
            while after and after[0] <= second:
                after[1]()
                after = next(due, None)
            yield {name: pod.page() for name, pod in self.pods.items()}

    def judge(self, minutes: int, *questions: Check) -> None:
        self.record(minutes).judge(self.rules, self.directory, questions)


class Model:
    """One object, with the events that its reconciler would report."""

    def __init__(self, day: Day, name: str = "tiny", namespace: str = "ns") -> None:
        self._day = day
        self._snapshot = Snapshot()
        self._subject = ModelDownload(namespace, name, name, 1, "1", "", False, None, Spec("hf:acme/tiny"), Status())
        self._tally = day.pod.metrics.received_counter(namespace)
        self._received = 0

    def happens(self, second: float, event: Event) -> None:
        self._day.at(second, lambda: self._advance(second, event))

    def receives(self, second: float, count: int) -> None:
        def received() -> None:
            self._received += count
            self._tally(self._received)
            self._advance(second, Progressed(self._received, 0, count, None))

        self._day.at(second, received)

    def begins(self, second: float) -> None:
        """All events from Resolving to Started."""
        for event in (Resolving("asking"), Resolved(MODEL), Queued("waiting"), Started(MODEL, 0)):
            self.happens(second, event)

    def arrives(self, second: float) -> None:
        self.begins(second)
        self.receives(second + 5, 1000)
        self.happens(second + 10, Available(MODEL))

    def fails(self, begin: float, end: float, error: ProvisionError, attempt: Callable[[float], float]) -> float:
        """Fails and is retried until `end`; returns the second at which the first try after `end` is due.

        `attempt` adds the events of a try that starts at a second, and returns the second at which it fails.
        """
        second, failures = begin, 0
        while second < end:
            failed = attempt(second)
            failures += 1
            self.happens(failed, Failed(error, None))
            second = failed + (pause(error, failures, 0.5) or end)
        return second

    def resolves(self, second: float) -> float:
        """A try that resolves until the timeout of a dead host."""
        self.happens(second, Resolving("asking"))
        return second + 20

    def stalls(self, second: float) -> float:
        """A try without bytes for three times half a minute."""
        self.begins(second)
        return second + 95

    def _advance(self, second: float, event: Event) -> None:
        now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=second)
        self._snapshot = advance(self._snapshot, event, now)
        self._day.pod.metrics.advanced(self._subject, self._snapshot, event)


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump(rules_of_the_chart()))
    return file


@pytest.fixture
def day(rules: Path, tmp_path: Path) -> Day:
    return Day(rules, tmp_path)


def object_labels(reason: str) -> str:
    return f'{{namespace="ns", reason="{reason}"}}'


def test_promtool_accepts_the_rules(rules: Path) -> None:
    promtool("check", "rules", str(rules))


def test_a_source_that_fails_for_hours_fires_despite_retries(day: Day) -> None:
    model = Model(day)
    model.arrives(model.fails(600, 600 + 7200, SourceUnavailable("down"), model.resolves))
    labels = object_labels("SourceUnavailable")
    day.judge(
        180,
        quiet(0, 20),
        *(firing("ModelDownloadNeedsAction", minute, labels) for minute in range(35, 130)),
        quiet(150, 180),
        quiet(0, 180, OTHER_ALERTS),
    )


def test_connections_that_stay_open_without_bytes_fire(day: Day) -> None:
    model = Model(day)
    model.fails(600, 600 + 7200, TransferStalled("silence"), model.stalls)
    labels = object_labels("TransferStalled")
    day.judge(130, quiet(0, 20), *(firing("ModelDownloadNeedsAction", minute, labels) for minute in range(45, 130)))


def test_a_source_that_is_down_for_ten_minutes_is_quiet(day: Day) -> None:
    model = Model(day)
    model.arrives(model.fails(600, 1200, SourceUnavailable("down"), model.resolves))
    day.judge(120, quiet(0, 120))


def test_a_slow_download_is_quiet_also_if_the_connection_breaks_sometimes(day: Day) -> None:
    model = Model(day)
    model.begins(60)
    for second in range(70, 5 * 3600, 10):
        if second % 480 == 0:
            model.happens(second, Failed(SourceUnavailable("reset"), None))
            model.begins(second + 2)
        model.receives(second + 5, 100)
    day.judge(300, quiet(0, 300))


def test_an_hour_of_hashing_is_quiet(day: Day) -> None:
    model = Model(day)
    model.begins(600)
    for second in range(601, 600 + 3600, 10):
        model.happens(second, Verifying(second, 10_000))
    model.happens(600 + 3600, Available(MODEL))
    day.judge(120, quiet(0, 120))


def test_a_volume_that_hangs_fires(day: Day) -> None:
    model = Model(day)
    model.begins(60)
    for second in range(60, 1800, 10):
        model.receives(second, 1000)
    day.judge(
        120,
        quiet(0, 55),
        *(firing("ModelDownloadsStandStill", minute, HERE) for minute in range(65, 120)),
        quiet(0, 120, "ModelDownloadNeedsAction"),
    )


def test_bytes_in_one_namespace_hide_no_standstill_in_another(day: Day) -> None:
    Model(day).begins(60)
    flowing = Model(day, "other", "elsewhere")
    flowing.begins(60)
    for second in range(60, 7200, 10):
        flowing.receives(second, 1000)
    day.judge(120, firing("ModelDownloadsStandStill", 60, HERE))


def test_a_stalled_object_fires_until_it_is_repaired(day: Day) -> None:
    model = Model(day)
    model.fails(600, 7200, AccessDenied("no"), model.resolves)
    model.arrives(7300)
    labels = object_labels("AccessDenied")
    day.judge(
        180,
        quiet(0, 20),
        *(firing("ModelDownloadNeedsAction", minute, labels) for minute in range(28, 122)),
        quiet(132, 180),
        quiet(0, 180, OTHER_ALERTS),
    )


def test_an_alert_names_the_namespace_and_the_number(day: Day) -> None:
    for name in ("one", "two"):
        model = Model(day, name)
        model.fails(60, 7200, AccessDenied("no"), model.resolves)
    expected = {
        "exp_labels": {"namespace": "ns", "reason": "AccessDenied", "severity": "warning"},
        "exp_annotations": {
            "summary": "2 ModelDownloads in ns: AccessDenied",
            "description": "`kubectl get modeldownloads -n ns -o wide` tells what each needs.",
        },
    }
    alert = {"alertname": "ModelDownloadNeedsAction", "eval_time": "60m", "exp_alerts": [expected]}
    day.record(60).judge(day.rules, day.directory, alerts=[alert])


def test_a_volume_that_fills_up_fires_before_it_is_full_also_if_scrapes_fail(day: Day) -> None:
    """A hundred GiB are written within an hour; what is free is measured every five minutes."""
    for second in range(600, 600 + 3601, 10):
        written = (second - 600) * 100 * GIB / 3600
        day.shows(second, reserved=100 * GIB - written)
        if second % 300 == 0:
            day.shows(second, free=115 * GIB - written)
    for second in range(SCRAPE, 120 * MINUTE, 5 * MINUTE):
        day.shows(second, up=False)
        day.shows(second + SCRAPE, up=True)
    day.shows(90 * MINUTE, free=300 * GIB)
    labels = '{namespace="ns", claim="models"}'
    day.judge(
        120,
        quiet(0, 20),
        *(firing("ModelVolumeFillsUp", minute, labels) for minute in range(35, 90)),
        quiet(105, 120),
        quiet(0, 120, "ModelDownload.*|ModelProvisioner.*"),
    )


def test_an_operator_that_waits_for_the_lease_beside_one_that_acts_is_quiet(rules: Path, tmp_path: Path) -> None:
    waiting = Pod(acting=False, age=None, free=None)
    Day(rules, tmp_path, one=Pod(), two=waiting).judge(300, quiet(0, 300))


def test_without_an_operator_or_without_an_acting_one_an_alert_fires(day: Day) -> None:
    day.shows(60 * MINUTE, up=False)
    day.judge(120, quiet(0, 70), *(firing("ModelProvisionerAbsent", minute) for minute in range(76, 120)))
    waiting = Pod(acting=False, age=None, free=None)
    Day(day.rules, day.directory, one=waiting).judge(60, firing("ModelProvisionerAbsent", 30))


def test_an_operator_that_crashes_repeatedly_fires(day: Day) -> None:
    for second in range(60 * MINUTE, 180 * MINUTE, 6 * MINUTE):
        day.shows(second, up=False)
        day.shows(second + 5 * MINUTE, up=True)
    day.judge(180, quiet(0, 60), *(firing("ModelProvisionerAbsent", minute) for minute in range(80, 180)))


def test_a_pod_that_moves_to_another_node_is_quiet(rules: Path, tmp_path: Path) -> None:
    day = Day(rules, tmp_path, one=Pod(), two=Pod(up=False))
    day.shows(60 * MINUTE, up=False)
    day.shows(64 * MINUTE, "two", up=True)
    day.judge(120, quiet(0, 120))


def watch_is_silent(day: Day, begin: int) -> int:
    """The watch is silent until the liveness probe fails; returns the second at which the operator has restarted."""
    for second in range(begin, begin + 210, 10):
        day.shows(second, age=second - begin)
    day.shows(begin + 210, acting=False, age=None)
    day.shows(begin + 240, acting=True, age=0)
    return begin + 240


def test_an_operator_whose_watch_stays_silent_after_restarts_fires(day: Day) -> None:
    begin = 60 * MINUTE
    while begin < 120 * MINUTE:
        begin = watch_is_silent(day, begin)
    day.judge(120, quiet(0, 75), *(firing("ModelProvisionerDeaf", minute) for minute in range(80, 120)))


def test_one_restart_that_helped_is_quiet(day: Day) -> None:
    watch_is_silent(day, 60 * MINUTE)
    day.judge(120, quiet(0, 120))


def test_a_new_installation_is_quiet(day: Day) -> None:
    day.pod.acting, day.pod.age, day.pod.free = False, None, None
    day.shows(30, acting=True, age=0)
    day.shows(60, free=500 * GIB)
    model = Model(day)
    model.arrives(60)
    day.judge(60, quiet(0, 60))
