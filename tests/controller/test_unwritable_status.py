"""A status that the API server does not accept ends in a state that users see, and costs no byte."""

from model_provisioner.domain.annotations import RECONCILE_AT
from tests.support.api_proxy import ApiProxy, Asked, status_patches
from tests.support.programs import eventually
from tests.support.stand import Stand


def test_paths_that_no_status_can_hold_are_refused_before_a_byte_is_fetched(bench: Stand) -> None:
    repository, directory, parts = bench.hub.repository("acme/long"), "/".join(["d" * 200] * 4), 1200
    for number in range(1, parts + 1):
        repository.add(f"{directory}/long.Q4_K_M-{number:05}-of-{parts:05}.gguf", b"GGUF")
    bench.start_operator()
    bench.apply("long", modelRef="hf:acme/long")
    document = bench.until("long", "UnsupportedSource")
    assert "1,200 files whose paths together are too long" in document["status"]["conditions"][0]["message"]
    assert bench.hub.bytes_sent() == 0
    assert not (bench.volume / "hf").exists()


def names_a_model(asked: Asked) -> bool:
    return status_patches(asked) and b'"sizeBytes"' in asked.body


def test_a_rejected_status_is_told_and_not_tried_for_ever(bench: Stand) -> None:
    with ApiProxy(bench.cluster) as proxy:
        config = proxy.kubeconfig(bench.volume.parent / "config")
        with proxy.answering(422, names_a_model) as refused:
            bench.start_operator(f"--kubeconfig={config}")
            bench.apply("tiny", modelRef="hf:acme/tiny", reclaimPolicy="Delete")
            document = bench.until("tiny", "StatusRejected")
            hits = refused.hits
            bench.apply("other", modelRef="hf:acme/none")
            bench.until("other", "SourceNotFound")
            assert refused.hits == hits, "the same status is not sent again"
        assert "model" not in document["status"]
        assert "the API server does not accept the status" in document["status"]["conditions"][0]["message"]
        assert bench.catalog() == {}
        bench.patch("tiny", annotations={RECONCILE_AT: "now"})
        bench.until("tiny", "Available")
        bench.delete("tiny")
        bench.until_gone("tiny")
    eventually(lambda: bench.left_behind() == [], "nothing is left")
