"""The history of a real namespace in which the test writes what a faulty operator would write."""

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deploy.local.api import Api
from deploy.local.cluster import Cluster
from tests.support import history as history_module
from tests.support.api_proxy import ApiProxy, Distortion, delayed, dropped, failing
from tests.support.certificates import server_context
from tests.support.history import History
from tests.support.programs import eventually
from tests.support.test_judgement import FAIL0007, SPEC, document

GROUP_VERSION = "models.rbee.dev/v1alpha1"
NEW = {"apiVersion": GROUP_VERSION, "kind": "ModelDownload", "metadata": {"name": "tiny"}, "spec": SPEC}

Proxied = tuple[ApiProxy, Api]


class Site:
    """One namespace, with what its users and its operator do."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api = api
        self._namespace = namespace
        self._collection = f"/apis/{GROUP_VERSION}/namespaces/{namespace}/modeldownloads"

    def history(self, api: Api | None = None) -> History:
        return History(api or self._api, self._namespace)

    def create(self) -> None:
        self._api.create(self._collection, NEW)

    def edit(self) -> None:
        self._api.merge(f"{self._collection}/tiny", {"spec": {"priority": 3}})

    def delete(self) -> None:
        self._api.delete(f"{self._collection}/tiny")

    def write(self, reason: str, *, observed: int = 1) -> None:
        self._api.merge(f"{self._collection}/tiny/status", {"status": document(reason, observed=observed)["status"]})

    def tell(self, count: int) -> None:
        """An Event that was repeated `count` times."""
        event = {
            "metadata": {"name": "some"},
            "involvedObject": {"name": "tiny", "namespace": self._namespace, "uid": "1"},
        }
        self._api.create(f"/api/v1/namespaces/{self._namespace}/events", event | {"count": count})

    def reign(self, since: float, until: float) -> None:
        """Writes the Lease of an operator that acts from `since` to `until`, in seconds from now."""
        stamps = (datetime.now(UTC) + timedelta(seconds=seconds) for seconds in (since, until))
        acquired, renewed = (stamp.strftime("%Y-%m-%dT%H:%M:%S.%fZ") for stamp in stamps)
        lease = {"metadata": {"name": "model-provisioner"}, "spec": {"acquireTime": acquired, "renewTime": renewed}}
        self._api.create(f"/apis/coordination.k8s.io/v1/namespaces/{self._namespace}/leases", lease)


@pytest.fixture
def site(cluster: Cluster, namespace: str) -> Site:
    return Site(cluster.api, namespace)


@pytest.fixture
def proxied(cluster: Cluster, tmp_path: Path) -> Iterator[Proxied]:
    """A proxy that can misbehave, and an API client that uses it."""
    ca_file = tmp_path / "ca.pem"
    with ApiProxy(cluster, server_context(["127.0.0.1"], ca_file)) as proxy:
        yield proxy, replace(cluster.api, url=proxy.url, tls=ssl.create_default_context(cafile=str(ca_file)))


@contextmanager
def complaining(of: str) -> Iterator[None]:
    """Expects that the history complains about `what` at the end of the block."""
    with pytest.raises(AssertionError, match=of):
        yield


def test_what_is_right_is_left_alone(site: Site) -> None:
    with site.history() as history:
        site.create()
        site.write("Downloading")
        site.write("Available")
        site.reign(since=-60, until=0)
    assert history.reasons("tiny") == ["Downloading", "Available"]


def test_an_edit_that_an_acting_operator_never_answered(site: Site) -> None:
    with complaining(of=FAIL0007), site.history():
        site.create()
        site.write("Available")
        site.edit()
        site.reign(since=-60, until=60)


def test_an_event_that_came_too_often(site: Site) -> None:
    with complaining(of="tiny: 11 Events"), site.history():
        site.tell(count=11)


def test_what_the_watch_is_late_to_tell_is_judged_too(site: Site, proxied: Proxied) -> None:
    proxy, api = proxied
    with proxy.distorting(delayed(0.5)), complaining(of="FAIL0006"), site.history(api):
        site.create()
        site.write("Available", observed=2)


@pytest.mark.parametrize("act", [Site.edit, Site.delete])
def test_what_the_watch_never_tells_is_missed(
    site: Site, proxied: Proxied, monkeypatch: pytest.MonkeyPatch, act: Callable[[Site], None]
) -> None:
    proxy, api = proxied
    monkeypatch.setattr(history_module, "_CATCH_UP_SECONDS", 2)
    with complaining(of="the watch tells of all"), site.history(api) as history:
        site.create()
        eventually(lambda: history.of("tiny"), "the watch has told of it")
        with proxy.distorting(dropped) as fault:
            act(site)
            eventually(lambda: fault.hits, "it is lost")


async def halved(_held: list[bytes], line: bytes) -> list[bytes]:
    return [line[: len(line) // 2] + b"\n"]


@pytest.mark.parametrize("distortion", [failing(410), halved])
def test_a_watch_that_fails_is_told(site: Site, proxied: Proxied, distortion: Distortion) -> None:
    proxy, api = proxied
    with complaining(of="the watch has ended"), proxy.distorting(distortion), site.history(api):
        site.create()


def test_a_watch_that_is_cut_is_told(site: Site, proxied: Proxied) -> None:
    proxy, api = proxied
    with complaining(of="the watch has ended"), site.history(api) as history:
        site.create()
        eventually(lambda: history.of("tiny"), "the watch has told of it")
        proxy.cut()


def test_a_block_that_fails_says_why_it_does(site: Site) -> None:
    with complaining(of="something else"), site.history():
        site.create()
        site.write("Available", observed=2)
        raise AssertionError("something else")
