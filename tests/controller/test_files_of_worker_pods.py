"""The files on claims that the operator does not mount, on a real API server: looked at while a worker pod is there."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from deploy.local.cluster import Cluster
from tests.controller.test_worker_pods import PATH, Pods
from tests.support.ggufs import tiny_gguf
from tests.support.models import private_files
from tests.support.pod_node import PodNode
from tests.support.programs import eventually, free_port
from tests.support.stand import Document, Stand

HASTY = "tests.support.hasty_pods"
FORGED = "sha256:" + "1" * 64
LONG_AGO = "2020-01-01T00:00:00Z"


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


def model(pods: Pods, name: str) -> Document:
    found: Document = pods.bench.get(name)["status"]["model"]
    return found


def set_back(pods: Pods, name: str) -> None:
    """As if the last check had been long ago. Only a status is written, so that no pod starts."""
    pods.bench.history.forged.add(name)
    document = {"status": {"model": {"lastCheckTime": LONG_AGO}}}
    pods.bench.cluster.api.merge(f"{pods.bench.path(name)}/status", document)


def test_the_status_says_when_the_files_were_last_seen(pods: Pods) -> None:
    """One write for an object, and only if the last one was an hour ago."""
    pods.start_operator(module=HASTY)
    for name in ("tiny", "recent"):
        make_available(pods, name)
        assert model(pods, name)["volumeName"] == "pv-team"
        assert model(pods, name)["lastCheckTime"] > LONG_AGO
    set_back(pods, "tiny")
    before = {name: pods.bench.get(name)["metadata"]["resourceVersion"] for name in ("tiny", "recent")}
    pods.apply("other", modelRef="hf:acme/tiny:Q8_0")
    pods.bench.until("other", "Available")
    eventually(lambda: model(pods, "tiny")["lastCheckTime"] > LONG_AGO, "the check is noted")
    until_no_pod(pods)
    assert pods.bench.get("recent")["metadata"]["resourceVersion"] == before["recent"]
    written = [found["metadata"]["resourceVersion"] for found in pods.bench.history.of("tiny")]
    assert len(written) - written.index(before["tiny"]) == 2, "one write"
    assert pods.bench.ready("tiny")["status"] == "True"


def test_an_edit_that_asks_for_nothing_starts_no_pod(pods: Pods) -> None:
    pods.start_operator(module=HASTY)
    make_available(pods, "tiny")
    jobs = len(pods.node.jobs)
    pods.bench.patch("tiny", labels={"team": "a"})
    serve_mounted_claim(pods)
    assert len(pods.node.jobs) == jobs
    pods.bench.patch("tiny", annotations={"models.rbee.dev/verifyAt": "now"})
    eventually(lambda: pods.bench.get("tiny")["status"].get("lastHandledVerifyAt") == "now", "every byte is read")
    assert len(pods.node.jobs) > jobs, "by a pod"
    until_no_pod(pods)
    jobs = len(pods.node.jobs)
    pods.bench.patch("tiny", annotations={"models.rbee.dev/reconcileAt": "now"})
    eventually(lambda: len(pods.node.jobs) > jobs, "a pod looks at it")
    eventually(lambda: pods.bench.get("tiny")["status"].get("lastHandledReconcileAt") == "now", "it is handled")


def serve_mounted_claim(pods: Pods) -> None:
    """The operator has done this after all that it was told before. It takes no pod."""
    pods.bench.apply("mounted", modelRef="hf:acme/tiny")
    pods.bench.until("mounted", "Available")


def test_a_claim_that_is_deleted_takes_its_models_out_of_the_catalog(pods: Pods) -> None:
    """When it is created anew with another volume, that is told, and the object takes it when it is told to."""
    pods.start_operator(module=HASTY)
    make_available(pods, "tiny")
    jobs = len(pods.node.jobs)
    pods.node.delete_claim("team")
    pods.bench.until("tiny", "ClaimNotFound")
    assert "claim team does not exist" in pods.bench.ready("tiny")["message"]
    eventually(lambda: "tiny.path" not in pods.bench.catalog(), "the catalog does not list it")
    assert ("Warning", "ClaimNotFound") in [event[:2] for event in pods.bench.events("tiny")]
    assert len(pods.node.jobs) == jobs
    exchange(pods)
    pods.node.create_claim("team", volume="pv-new")
    pods.bench.until("tiny", "VolumeChanged")
    pods.bench.patch("tiny", annotations={"models.rbee.dev/reconcileAt": "now"})
    found = pods.bench.until("tiny", "Available")["status"]["model"]
    assert found["volumeName"] == "pv-new"
    assert (pods.claim / PATH).read_bytes() == tiny_gguf()


def exchange(pods: Pods) -> None:
    """Another volume takes the place of the claim's."""
    pods.claim = pods.claim.parent / "other-volume"
    pods.claim.mkdir()
    pods.node.claims["team"] = pods.claim


@pytest.mark.parametrize("running", [True, False], ids=["noticed", "noticed at the start"])
def test_a_claim_that_is_replaced_is_noticed_without_work(pods: Pods, *, running: bool) -> None:
    operator = pods.start_operator(module=HASTY)
    make_available(pods, "tiny")
    if not running:
        operator.stop()
    pods.node.delete_claim("team")
    exchange(pods)
    pods.node.create_claim("team", volume="pv-new")
    if not running:
        pods.start_operator(module=HASTY)
    pods.bench.until("tiny", "VolumeChanged")
    eventually(lambda: "tiny.path" not in pods.bench.catalog(), "the catalog does not list it")
    assert not (pods.claim / PATH).exists(), "nothing is fetched to it before it is accepted"


def test_a_claim_with_the_same_files_under_another_volume_is_ready_again(pods: Pods) -> None:
    """As after a migration. No byte is fetched again."""
    operator = pods.start_operator(module=HASTY)
    make_available(pods, "tiny")
    operator.stop()
    pods.node.delete_claim("team")
    pods.node.create_claim("team", volume="pv-new")
    pods.start_operator(module=HASTY)
    eventually(lambda: model(pods, "tiny").get("volumeName") == "pv-new", "the new volume is noted")
    pods.bench.until("tiny", "Available")
    assert pods.bench.hub.bytes_sent("tiny.Q4_K_M.gguf") <= len(tiny_gguf())


def test_an_operator_that_starts_anew_keeps_what_was_listed_and_starts_no_pod(pods: Pods) -> None:
    operator = pods.start_operator(module=HASTY)
    make_available(pods, "tiny")
    listed, jobs = pods.bench.catalog(), len(pods.node.jobs)
    operator.stop()
    pods.start_operator(module=HASTY)
    serve_mounted_claim(pods)
    assert {key: text for key, text in pods.bench.catalog().items() if key.startswith("tiny.")} == listed
    assert len(pods.node.jobs) == jobs


def forge(pods: Pods, name: str, digest: str) -> None:
    """Writes a status as if other bytes were verified."""
    status = pods.bench.get(name)["status"]
    status["model"]["digest"] = status["model"]["files"][0]["digest"] = digest
    pods.bench.history.forged.add(name)
    pods.bench.cluster.api.merge(f"{pods.bench.path(name)}/status", {"status": status})


def test_a_status_that_was_forged_while_no_operator_ran_is_not_listed(pods: Pods) -> None:
    """A worker pod reads the file, and the object gets its own model again."""
    operator = pods.start_operator(module=HASTY)
    make_available(pods, "tiny")
    honest = model(pods, "tiny")["digest"]
    operator.stop()
    forge(pods, "tiny", FORGED)
    pods.bench.history.lease_namespace = pods.bench.namespace
    pods.start_operator(module=HASTY)
    seen = set[bool]()

    def restored() -> bool:
        seen.add(FORGED in str(pods.bench.catalog()))
        return bool(model(pods, "tiny").get("digest") == honest) and pods.bench.ready("tiny")["status"] == "True"

    eventually(restored, "it has its own model again")
    assert seen == {False}


def test_a_forged_catalog_lists_a_forged_status_until_a_pod_comes(pods: Pods) -> None:
    """An account that may write the catalog can list anything anyway. The next worker pod puts it right."""
    operator = pods.start_operator(module=HASTY)
    make_available(pods, "tiny")
    honest = model(pods, "tiny")["digest"]
    operator.stop()
    forge(pods, "tiny", FORGED)
    path = f"/api/v1/namespaces/{pods.bench.namespace}/configmaps/model-catalog"
    listed = {"data": {key: text.replace(honest, FORGED) for key, text in pods.bench.catalog().items()}}
    pods.bench.cluster.api.merge(path, listed)
    pods.bench.history.lease_namespace = pods.bench.namespace
    pods.start_operator(module=HASTY)
    pods.apply("other", modelRef="hf:acme/tiny:Q8_0")
    pods.bench.until("other", "Available")
    eventually(lambda: model(pods, "tiny").get("digest") == honest, "it has its own model again")
    pods.bench.until("tiny", "Available")
    assert FORGED not in str(pods.bench.catalog())


def test_a_visit_surveys_the_volume_and_confirms_the_records(pods: Pods) -> None:
    """For the metrics, and for `prune` in a pod that mounts the claim."""
    port = free_port()
    pods.start_operator(f"--metrics-listen=127.0.0.1:{port}", module=HASTY)
    make_available(pods, "tiny")
    pods.apply("other", modelRef="hf:acme/tiny:Q8_0")
    line = f'volume_free_bytes{{claim="team",namespace="{pods.bench.namespace}"}}'
    eventually(lambda: line in httpx.get(f"http://127.0.0.1:{port}/metrics").text, "the volume is measured")
    assert list((pods.claim / ".provisioner").glob("confirmed-*.json"))


@pytest.mark.parametrize("policy", ["Delete", "Retain"])
def test_a_deletion_is_done_by_a_pod(pods: Pods, policy: str) -> None:
    pods.start_operator(module=HASTY)
    make_available(pods, "tiny", reclaimPolicy=policy)
    jobs = len(pods.node.jobs)
    pods.bench.delete("tiny")
    pods.bench.until_gone("tiny", 60)
    assert (pods.claim / PATH).exists() == (policy == "Retain")
    assert private_files(pods.claim, "holders") == set()
    assert len(pods.node.jobs) > jobs


def messages(pods: Pods, name: str) -> list[str]:
    """Those of the Ready condition in each version of the object."""
    versions = [version.get("status") or {} for version in pods.bench.history.of(name)]
    conditions = [condition for status in versions for condition in status.get("conditions") or []]
    return [condition["message"] for condition in conditions if condition["type"] == "Ready"]
