"""Fixtures for every layer: a real control plane, and a namespace on it for each test.

pytest calls the hooks. With pytest-xdist they run in the controller, which collects no tests, and in every worker.
"""

import os
import uuid
from collections.abc import Container, Iterator

import pytest

from deploy.local.binaries import Binaries, find_or_build
from deploy.local.cluster import Cluster
from tests.support import prepared


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fail-on-skip", action="store_true", help="a skipped test is a failure, as in CI")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of pytest-xdist has no terminal reporter; the controller's counts the skips of all workers."""
    reporter = session.config.pluginmanager.getplugin("terminalreporter")
    if session.config.option.fail_on_skip and reporter and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_collection_finish(session: pytest.Session) -> None:
    if session.config.option.collectonly or hasattr(session.config, "workerinput"):
        return
    build(session.config, {name for item in session.items for name in getattr(item, "fixturenames", ())})


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """What `-n auto` means: most tests wait for longer than they compute."""
    return 2 * (os.cpu_count() or 1)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config) -> None:
    """Called in the controller of pytest-xdist before it starts its workers, which would all wait for one build."""
    build(config, prepared.BUILT)


def build(config: pytest.Config, fixtures: Container[str]) -> None:
    """Shows the progress of the build although pytest captures output."""
    with config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        prepared.build(fixtures)


@pytest.fixture(scope="session")
def binaries() -> Binaries:
    """etcd and kube-apiserver, for tests that start control planes themselves."""
    return prepared.found(find_or_build, "set KUBEBUILDER_ASSETS to a directory with etcd and kube-apiserver")


@pytest.fixture(scope="session")
def cluster(binaries: Binaries) -> Iterator[Cluster]:
    """One control plane, with the resource types of this project; each test takes a `namespace`.

    It is shared by the tests of one process: each worker of pytest-xdist starts its own, which takes 3 s, 1.5 s of CPU
    and 340 MiB, so that tests which change the whole cluster do not meet those of other workers.
    """
    with prepared.with_resource_types(binaries) as running:
        yield running


@pytest.fixture
def namespace(cluster: Cluster) -> str:
    """The name of a namespace that no other test uses. It is left as the test leaves it, and goes with the cluster."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    cluster.create_namespace(name)
    return name
