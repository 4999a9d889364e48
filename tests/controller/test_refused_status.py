"""A model that the status of its object cannot hold: it is not fetched, the reason is told, and nothing is repeated."""

import time

from tests.support.ggufs import tiny_gguf
from tests.support.stand import Stand


def test_a_model_of_too_many_files_is_refused_before_a_byte_is_fetched(bench: Stand) -> None:
    repository, data = bench.hub.repository("acme/split"), tiny_gguf()
    for number in range(1, 4098):
        repository.add(f"m-{number:05d}-of-04097.gguf", data)
    bench.start_operator()
    bench.apply("split", modelRef="hf:acme/split")
    ready = bench.until("split", "UnsupportedSource")["status"]
    assert "number of files is 4097" in bench.ready("split")["message"]
    assert "model" not in ready
    version = bench.get("split")["metadata"]["resourceVersion"]
    time.sleep(4)
    assert bench.get("split")["metadata"]["resourceVersion"] == version
    assert bench.published() == []
    assert bench.left_behind() == []
