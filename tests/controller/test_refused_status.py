"""A model that the status of its object cannot hold: it is not fetched, the reason is told, and nothing is repeated."""

import time

from model_provisioner.domain.annotations import RECONCILE_AT
from tests.support.api_proxy import ApiProxy, Asked, status_patches
from tests.support.programs import eventually
from tests.support.stand import Stand

PARTS = 500
DIRECTORY = "/".join(["d" * 200] * 4)


def test_a_model_with_too_long_paths_is_refused_before_a_byte_is_fetched(bench: Stand) -> None:
    repository = bench.hub.repository("acme/split")
    for number in range(1, PARTS + 1):
        repository.add(f"{DIRECTORY}/m-{number:05d}-of-{PARTS:05d}.gguf", b"GGUF")
    bench.start_operator()
    bench.apply("split", modelRef="hf:acme/split")
    status = bench.until("split", "UnsupportedSource")["status"]
    assert "all its paths and digests together is " in bench.ready("split")["message"]
    assert "model" not in status
    version = bench.get("split")["metadata"]["resourceVersion"]
    time.sleep(4)
    assert bench.get("split")["metadata"]["resourceVersion"] == version
    assert bench.hub.bytes_sent() == 0
    assert bench.published() == []
    assert bench.left_behind() == []


def names_a_model(asked: Asked) -> bool:
    return status_patches(asked) and b'"sizeBytes"' in asked.body


def test_a_status_that_the_api_server_refuses_is_told_and_not_sent_for_ever(bench: Stand) -> None:
    with ApiProxy(bench.cluster) as proxy:
        config = proxy.kubeconfig(bench.volume.parent / "config")
        with proxy.answering(422, names_a_model) as refused:
            bench.start_operator(f"--kubeconfig={config}")
            bench.apply("tiny", modelRef="hf:acme/tiny", reclaimPolicy="Delete")
            status = bench.until("tiny", "UnsupportedSource")["status"]
            hits = refused.hits
            bench.apply("other", modelRef="hf:acme/none")
            bench.until("other", "SourceNotFound")
            assert refused.hits == hits, "the same status is not sent again"
        assert "model" not in status
        assert "the API server does not take the status" in status["conditions"][0]["message"]
        eventually(lambda: bench.catalog() == {}, "the catalog does not list it")
        bench.patch("tiny", annotations={RECONCILE_AT: "now"})
        bench.until("tiny", "Available")
        bench.delete("tiny")
        bench.until_gone("tiny")
    eventually(lambda: bench.left_behind() == [], "nothing is left")
