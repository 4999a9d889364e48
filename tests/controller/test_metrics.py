"""The metrics of a real operator while a model is fetched, fails, and is Ready; no secret is in them."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from deploy.local.cluster import Cluster
from model_provisioner.controller.metrics.descriptions import DESCRIPTIONS, FAILURES, FREE, SLOTS
from model_provisioner.controller.metrics.metrics import Metrics
from model_provisioner.domain.errors import ClaimNotMounted
from model_provisioner.domain.lifecycle.events import Failed, Resolved
from model_provisioner.domain.lifecycle.snapshot import Snapshot
from model_provisioner.domain.modeldownload import ModelDownload, Spec, Status
from model_provisioner.transfer.store.store import Store
from tests.support.api_proxy import ApiProxy, Asked, dropped, own_watch
from tests.support.ggufs import tiny_gguf
from tests.support.models import put
from tests.support.programs import Program, eventually, free_port
from tests.support.samples import MODEL
from tests.support.stand import CLAIM, Stand

MIB = 1024**2
SIZE = 4 * MIB
TOKEN = "hf_canary0123456789"
PREFIX = "model_provisioner_operator_"

Samples = dict[tuple[str, ...], float]


class Scraper:
    """Reads the metrics of one operator as Prometheus does."""

    def __init__(self, bench: Stand, *flags: str) -> None:
        self._bench = bench
        self._url = f"http://127.0.0.1:{(port := free_port())}/metrics"
        self.program: Program = bench.start_operator(f"--metrics-listen=127.0.0.1:{port}", *flags)
        self.texts: list[str] = []
        eventually(self._answers, "/metrics answers")
        eventually(lambda: self.value("acting") == 1, "the operator acts")

    def text(self) -> str:
        self.texts.append(httpx.get(self._url, timeout=30).raise_for_status().text)
        return self.texts[-1]

    def samples(self, name: str) -> Samples:
        """The samples by the values of their labels, in the order of the names of the labels."""
        families = text_string_to_metric_families(self.text())
        samples = [one for family in families for one in family.samples if one.name == PREFIX + name]
        return {tuple(one.labels[key] for key in sorted(one.labels)): one.value for one in samples}

    def value(self, name: str, *labels: str) -> float | None:
        return self.samples(name).get(labels)

    def _answers(self) -> bool:
        try:
            return bool(self.text())
        except httpx.TransportError:
            return False


@pytest.fixture
def large(bench: Stand) -> None:
    repository = bench.hub.repository("acme/large", private=True, tokens=frozenset({TOKEN}))
    repository.add("l.Q4_K_M.gguf", tiny_gguf(size=SIZE))
    bench.secret("token", {"token": TOKEN})


def ask(bench: Stand, name: str, **spec: object) -> None:
    bench.apply(name, modelRef="hf:acme/large", credentialsSecretRef={"name": "token"}, **spec)


@pytest.mark.usefixtures("large")
def test_a_download_can_be_followed_and_leaves_its_figures(bench: Stand) -> None:
    scraper = Scraper(bench, "--slots=1")
    here = bench.namespace
    assert scraper.value("slots") == 1
    assert (scraper.value("active_transfers", here), scraper.value("queued_transfers", here)) == (0, 0)
    assert scraper.samples("download_progress_bytes") == scraper.samples("volume_free_bytes") == {}

    gate = bench.hub.pause_at(SIZE // 2, "l.Q4_K_M.gguf")
    ask(bench, "first")
    gate.wait_reached()
    bench.apply("second", modelRef="hf:acme/tiny")
    eventually(lambda: scraper.value("queued_transfers", here) == 1, "the second waits")
    assert scraper.value("active_transfers", here) == 1
    eventually(lambda: (scraper.value("download_progress_bytes", "first", here) or 0) > SIZE // 4, "bytes are shown")
    assert (scraper.value("download_size_bytes", "first", here) or 0) >= SIZE
    states = {(here, "Downloading"): 1, (here, "Queued"): 1}
    eventually(lambda: scraper.samples("downloads") == states, "both are counted in their states")
    assert SIZE // 4 < (scraper.value("received_bytes_total", here) or 0) < SIZE
    reserved = scraper.value("volume_reserved_bytes", CLAIM, here) or 0
    assert SIZE // 4 < reserved < SIZE
    assert scraper.value("download_duration_seconds_count") == 0

    gate.release()
    for name in ("first", "second"):
        bench.until(name, "Available")
    eventually(lambda: scraper.value("active_transfers", here) == 0, "nothing runs")
    size = len(tiny_gguf(size=SIZE)) + len(tiny_gguf())
    assert size <= (scraper.value("received_bytes_total", here) or 0) <= bench.hub.bytes_sent()
    assert scraper.value("queued_transfers", here) == 0
    eventually(lambda: scraper.value("volume_reserved_bytes", CLAIM, here) == 0, "nothing is reserved")
    assert scraper.samples("downloads") == {(here, "Available"): 2}
    assert scraper.samples("download_progress_bytes") == scraper.samples("download_size_bytes") == {}
    assert scraper.value("download_duration_seconds_count") == 2
    assert (scraper.value("download_duration_seconds_sum") or 0) > 0
    assert set(scraper.samples("failures_total").values()) == set(scraper.samples("retries_total").values()) == {0}
    age = scraper.value("last_watch_event_age_seconds")
    assert age is not None
    assert 0 <= age < 120
    assert (scraper.value("api_requests_total", "200", "PATCH") or 0) >= 2
    assert TOKEN not in "".join(scraper.texts)
    assert not [text for text in scraper.texts for signature in bench.hub.signatures if signature in text]


def test_failures_are_counted_by_reason_and_a_deleted_object_is_forgotten(bench: Stand) -> None:
    scraper = Scraper(bench)
    bench.hub.repository("acme/page").add("page.Q4_K_M.gguf", b"<!doctype html>" * 5000)
    bench.hub.fail(503, None, where="api", path="acme/tiny")
    bench.apply("page", modelRef="hf:acme/page")
    bench.apply("tiny", modelRef="hf:acme/tiny")
    bench.until("page", "NotGGUF")
    bench.until("tiny", "SourceUnavailable")
    bench.hub.clear_faults()
    bench.until("tiny", "Available")
    assert {labels: n for labels, n in scraper.samples("failures_total").items() if n} == {("NotGGUF",): 1}
    received = scraper.value("received_bytes_total", bench.namespace) or 0
    assert len(tiny_gguf()) + 60_000 < received <= bench.hub.bytes_sent()  # of the page, too, which was thrown away
    assert {labels for labels, n in scraper.samples("retries_total").items() if n} == {("SourceUnavailable",)}
    assert list(scraper.samples("download_size_bytes")) == [("page", bench.namespace)]
    bench.delete("page")
    bench.until_gone("page")
    assert scraper.samples("download_size_bytes") == {}
    assert scraper.samples("downloads") == {(bench.namespace, "Available"): 1}


def test_the_age_of_the_last_watch_event_grows_if_one_watch_is_silent(
    bench: Stand, cluster: Cluster, tmp_path: Path
) -> None:
    """Although its objects change all the time, and the watch of another namespace receives events."""

    def is_of_the_bench(asked: Asked) -> bool:
        return own_watch(asked) and f"/{bench.namespace}/" in asked.path

    with ApiProxy(cluster) as proxy, bench.neighbour(f"{bench.namespace}-b") as other:
        scraper = Scraper(bench, other.store, f"--kubeconfig={proxy.kubeconfig(tmp_path / 'config')}")
        for site in (bench, other):
            site.apply("tiny", modelRef="hf:acme/tiny", suspend=True)
            site.until("tiny", "Suspended")

        def age_after_a_change() -> float:
            for site in (bench, other):
                site.patch("tiny", labels={"now": str(time.monotonic())})
            age = scraper.value("last_watch_event_age_seconds")
            assert age is not None
            return age

        eventually(lambda: age_after_a_change() < 1, "both watches hear of their changes")
        with proxy.distorting(dropped, is_of_the_bench):
            eventually(lambda: age_after_a_change() >= 3, "one is deaf")
        eventually(lambda: age_after_a_change() < 1, "it hears again")


def test_each_claim_has_its_free_and_its_unheld_bytes(bench: Stand) -> None:
    with Store.open(bench.volume, None):
        put(bench.volume, "hf/acme/old/old.gguf", tiny_gguf())
        put(bench.volume, "local/mine.gguf", tiny_gguf())
    scraper = Scraper(bench)
    place = (CLAIM, bench.namespace)
    eventually(lambda: scraper.samples("volume_unheld_bytes") == {place: len(tiny_gguf())}, "the old file is unheld")
    assert (scraper.value("volume_free_bytes", *place) or 0) > 0


def test_an_object_and_its_successor_are_never_two_series() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry, lambda: 0.0)
    old = ModelDownload("ns", "tiny", "old", 1, "1", "", False, None, Spec("hf:acme/tiny"), Status())
    for one, bytes_there in ((old, 7), (replace(old, uid="new"), 0)):
        metrics.advanced(one, Snapshot(model=MODEL, bytes=bytes_there), Resolved(MODEL))
    lines = [line for line in generate_latest(registry).decode().splitlines() if "download_progress_bytes{" in line]
    assert lines == [f'{PREFIX}download_progress_bytes{{name="tiny",namespace="ns"}} 0.0']


def test_a_terminal_failure_counts_each_time_also_if_the_model_stays_ready() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry, lambda: 0.0)
    subject = ModelDownload("ns", "tiny", "uid", 1, "1", "", False, None, Spec("hf:acme/tiny"), Status())
    for snapshot in (Snapshot(), Snapshot(), Snapshot(model=MODEL, ready=True)):
        metrics.advanced(subject, snapshot, Failed(ClaimNotMounted("not here"), None))
    assert registry.get_sample_value(f"{PREFIX}failures_total", {"reason": "ClaimNotMounted"}) == 3
    assert "slow retry" in FAILURES.meaning
    assert "Ready" in FAILURES.meaning


def test_a_metric_that_can_not_be_read_is_told_once_and_takes_no_other_with_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken() -> Iterator[tuple[tuple[str, ...], float]]:
        yield (("ns", "models"), 1)
        raise KeyError("models")

    registry = CollectorRegistry()
    metrics = Metrics(registry, lambda: 0.0)
    metrics.register(FREE, broken)
    metrics.register(SLOTS, lambda: [((), 4)])
    pages = [generate_latest(registry).decode() for _ in range(2)]
    assert all(f"\n{PREFIX}slots 4.0\n" in page for page in pages)
    assert not [page for page in pages if "volume_free_bytes{" in page]
    assert [record.getMessage() for record in caplog.records] == [f"{FREE.full_name} could not be read and is left out"]
    assert "KeyError: 'models'" in caplog.text


def test_every_metric_is_described_and_every_described_one_is_there(bench: Stand) -> None:
    scraper = Scraper(bench)
    families = text_string_to_metric_families(scraper.text())
    found = {(family.name, family.type, family.documentation) for family in families}
    assert found == {(one.full_name.removesuffix("_total"), one.kind, one.meaning) for one in DESCRIPTIONS}


def test_an_operator_that_waits_for_the_lease_says_so(bench: Stand) -> None:
    Scraper(bench)
    port = free_port()
    bench.start_operator(f"--metrics-listen=127.0.0.1:{port}", environment={"POD_NAME": "another"})

    def page() -> str:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text
        except httpx.TransportError:
            return ""

    eventually(lambda: f"\n{PREFIX}acting 0.0\n" in page(), "the second one says that it does not act")
    assert "last_watch_event_age" not in page()  # it watches nothing yet, so it can't be deaf
