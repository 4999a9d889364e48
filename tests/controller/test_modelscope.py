"""Models of ModelScope on the real API server: path and catalog, and own credentials before anything is shared."""

import json

from tests.support.ggufs import tiny_gguf
from tests.support.hub import Repository
from tests.support.stand import Stand

PATH = "modelscope/acme/tiny/tiny.Q4_K_M.gguf"


def start(bench: Stand) -> Repository:
    """The repository, which the hub has for both APIs; only the endpoint of ModelScope is that hub's."""
    bench.start_operator(f"--endpoint=modelscope={bench.hub.endpoint}")
    repository = bench.hub.repository("acme/tiny", tokens=frozenset({"modelscope-canary"}))
    repository.add("tiny.Q4_K_M.gguf", tiny_gguf())
    repository.add("tiny.Q8_0.gguf", tiny_gguf(seed=1))
    return repository


def test_a_model_becomes_ready_and_is_in_the_catalog(bench: Stand) -> None:
    repository = start(bench)
    bench.apply("tiny", modelRef="modelscope:acme/tiny")
    model = bench.until("tiny", "Available")["status"]["model"]
    assert (model["path"], model["revision"], model["digestSource"]) == (PATH, repository.commit, "Source")
    assert (bench.volume / PATH).read_bytes() == tiny_gguf()
    catalog = bench.catalog()
    assert (catalog["tiny.path"], catalog["tiny.claim"]) == (PATH, "models")
    assert json.loads(catalog["tiny.json"])["digest"] == model["digest"]


def test_a_private_model_is_ready_only_for_an_object_with_a_token_of_its_own(bench: Stand) -> None:
    start(bench).private = True
    bench.secret("reader", {"MODELSCOPE_API_TOKEN": "modelscope-canary"})
    bench.secret("wrong", {"token": "wrong-canary"})
    bench.apply("reader", modelRef="modelscope:acme/tiny", credentialsSecretRef={"name": "reader"})
    bench.until("reader", "Available")
    bench.apply("anonymous", modelRef="modelscope:acme/tiny")
    bench.apply("wrong", modelRef="modelscope:acme/tiny", credentialsSecretRef={"name": "wrong"})
    for name, says in (("anonymous", "without a token"), ("wrong", "does not accept the token")):
        bench.until(name, "AccessDenied")
        assert says in bench.ready(name)["message"]
    assert bench.published() == [PATH]
    assert not any(request.authorization for request in bench.hub.log if request.origin == "content")
    statuses = json.dumps([bench.get(name) for name in ("reader", "anonymous", "wrong")])
    assert "canary" not in statuses + bench.operator_output()
