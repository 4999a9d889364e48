"""The files on claims that the operator does not mount, on a real API server: looked at while a worker pod is there."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.cluster import Cluster
from tests.controller.test_worker_pods import PATH, Pods
from tests.support.ggufs import tiny_gguf
from tests.support.pod_node import PodNode
from tests.support.programs import eventually
from tests.support.stand import Stand

HASTY = "tests.support.hasty_pods"


@pytest.fixture
def pods(bench: Stand, cluster: Cluster, tmp_path: Path) -> Iterator[Pods]:
    claim = tmp_path / "team"
    claim.mkdir()
    with PodNode(cluster, bench.namespace, tmp_path, {"team": claim}) as node:
        yield Pods(bench, node, claim)


def make_available(pods: Pods, name: str, **spec: object) -> None:
    """A model is published on the claim, and its pod has ended."""
    pods.apply(name, modelRef="hf:acme/tiny", **spec)
    pods.bench.until(name, "Available")
    until_no_pod(pods)


def until_no_pod(pods: Pods) -> None:
    eventually(lambda: not pods.node.running and not pods.node.pods, "the worker pod has ended")


@pytest.mark.parametrize("fate", ["deleted", "changed"])
def test_a_wrong_file_is_noticed_when_a_pod_comes_for_other_work(pods: Pods, fate: str) -> None:
    pods.start_operator(module=HASTY)
    make_available(pods, "tiny")
    file = pods.claim / PATH
    file.unlink()
    if fate == "changed":
        file.write_bytes(b"other")
    pods.apply("other", modelRef="hf:acme/tiny:Q8_0")
    pods.bench.until("other", "Available")
    eventually(lambda: file.exists() and file.read_bytes() == tiny_gguf(), "the file was fetched again")
    status = pods.bench.until("tiny", "Available")["status"]
    assert status["attempts"] == 2
    lost = [message for message in messages(pods, "tiny") if "is gone from claim team or has another size" in message]
    assert lost
    assert pods.bench.catalog()["tiny.path"] == PATH


def messages(pods: Pods, name: str) -> list[str]:
    """Those of the Ready condition in each version of the object."""
    versions = [version.get("status") or {} for version in pods.bench.history.of(name)]
    conditions = [condition for status in versions for condition in status.get("conditions") or []]
    return [condition["message"] for condition in conditions if condition["type"] == "Ready"]
