"""Fixtures for every layer: a real control plane, and a namespace of one's own on it."""

import uuid
from collections.abc import Iterator

import pytest

from deploy.local.binaries import Binaries
from deploy.local.cluster import Cluster
from tests.support import cluster as support


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fail-on-skip", action="store_true", help="a skipped test is a failure, as in CI")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.getplugin("terminalreporter")
    if session.config.option.fail_on_skip and reporter and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_collection_finish(session: pytest.Session) -> None:
    if session.config.option.collectonly:
        return
    capture = session.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        support.prepare(session.items)


@pytest.fixture(scope="session")
def binaries() -> Binaries:
    """etcd and kube-apiserver, for tests that start control planes themselves."""
    return support.find()


@pytest.fixture(scope="session")
def cluster(binaries: Binaries) -> Iterator[Cluster]:
    """One control plane for the whole run, with the resource types of this project; each test takes a `namespace`."""
    with support.with_resource_types(binaries) as running:
        yield running


@pytest.fixture
def namespace(cluster: Cluster) -> str:
    """The name of a namespace that no other test uses. It is left as the test leaves it, and goes with the cluster."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    cluster.create_namespace(name)
    return name
