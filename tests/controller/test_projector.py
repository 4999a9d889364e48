"""A model with its multimodal projector: status, catalog, sharing and deletion."""

import hashlib
import json

import pytest

from deploy.local.api import ApiError
from tests.support.ggufs import tiny_gguf, tiny_projector
from tests.support.stand import Stand

REF = "hf:acme/tiny:Q4_K_M"
PATH = "hf/acme/tiny/tiny.Q4_K_M.gguf"
NAME = "mmproj-tiny-f16.gguf"
PROJECTOR = f"hf/acme/tiny/{NAME}"
CONTENT = tiny_projector()


@pytest.fixture(autouse=True)
def projector(bench: Stand) -> None:
    repository = bench.hub.repository("acme/tiny")
    repository.add("tiny.Q4_K_M.gguf", tiny_gguf())
    repository.add(NAME, CONTENT)


def test_status_and_catalog_tell_the_projector(bench: Stand) -> None:
    bench.start_operator()
    bench.apply("tiny", modelRef=REF, projector="Auto")
    model = bench.until("tiny", "Available")["status"]["model"]
    assert (bench.volume / PROJECTOR).read_bytes() == CONTENT
    assert (model["path"], model["projector"]) == (PATH, {"path": PROJECTOR})
    assert [(file["path"], file["sizeBytes"], file["digest"]) for file in model["files"]] == [
        (PATH, len(tiny_gguf()), digest(tiny_gguf())),
        (PROJECTOR, len(CONTENT), digest(CONTENT)),
    ]
    assert model["sizeBytes"] == len(tiny_gguf()) + len(CONTENT)
    assert (model["digest"], model["gguf"]["architecture"]) == (digest(tiny_gguf()), "llama")
    catalog = bench.catalog()
    assert (catalog["tiny.path"], catalog["tiny.projector"]) == (PATH, PROJECTOR)
    assert json.loads(catalog["tiny.json"])["projector"] == {"path": PROJECTOR}
    with pytest.raises(ApiError, match=r"spec\.projector: .*cannot be changed once fetching has begun"):
        bench.patch("tiny", {"projector": "None"})


def test_the_projector_goes_with_its_last_holder(bench: Stand) -> None:
    bench.start_operator("--slots=3")
    for name, spec in {"one": {"projector": "Auto"}, "two": {"projector": "Auto"}, "plain": {}}.items():
        bench.apply(name, modelRef=REF, reclaimPolicy="Delete", **spec)
    for name in ("one", "two", "plain"):
        bench.until(name, "Available")
    assert (bench.hub.bytes_sent("tiny.Q4_K_M.gguf"), bench.hub.bytes_sent(NAME)) == (len(tiny_gguf()), len(CONTENT))
    assert "projector" not in bench.get("plain")["status"]["model"]
    for name, left in {"one": [PROJECTOR, PATH], "two": [PATH], "plain": []}.items():
        bench.delete(name)
        bench.until_gone(name)
        assert bench.published() == left
    assert bench.catalog() == {}


def test_a_model_without_a_projector_is_stalled_until_none_is_asked_for(bench: Stand) -> None:
    bench.hub.repository("acme/text").add("text.Q4_K_M.gguf", tiny_gguf())
    bench.start_operator()
    bench.apply("text", modelRef="hf:acme/text", projector="Auto")
    message = bench.until("text", "SourceNotFound")["status"]["conditions"][0]["message"]
    assert "the repository has no multimodal projector" in message
    assert "ask for no projector (`None`, the default)" in message
    assert bench.hub.bytes_sent() == 0
    bench.patch("text", {"projector": "None"})
    assert bench.until("text", "Available")["status"]["model"]["path"] == "hf/acme/text/text.Q4_K_M.gguf"


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
