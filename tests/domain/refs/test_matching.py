"""Which downloads a ref matches."""

from dataclasses import replace

from model_provisioner.domain.modeldownload import ModelDownload, Spec, Status
from model_provisioner.domain.refs.matching import matching
from model_provisioner.domain.refs.refs import parse
from tests.support.samples import MODEL


def download(name: str, ref: str, path: str) -> ModelDownload:
    status = Status(model=replace(MODEL, path=path))
    return ModelDownload("n", name, f"uid-{name}", 1, "7", "2026-01-01T00:00:00Z", False, None, Spec(ref), status)


def test_a_bare_ref_finds_the_quantisation_it_resolved_to() -> None:
    path = "hf/a/b/x.Q4_K_M.gguf"
    bare = download("bare", "hf:a/b", path)
    exact = download("exact", "hf:a/b:Q4_K_M", path)
    assert matching(parse("hf:a/b"), [bare, exact]) == [bare]
    assert matching(parse("hf:a/b:Q4_K_M"), [bare]) == [bare]
    assert matching(parse("hf:a/b:x.Q4_K_M.gguf"), [bare]) == [bare]
    assert matching(parse("hf:a/b:Q8_0"), [bare]) == []
    assert matching(parse("hf:a/c"), [bare]) == []
    assert matching(parse("hf:a/b@dev"), [bare]) == []
    assert matching(parse("local:x.gguf"), [bare]) == []


def test_a_directory_finds_what_lies_in_it() -> None:
    found = download("bare", "hf:a/b", "hf/a/b/UD-IQ1_S/x-00001-of-00002.gguf")
    assert matching(parse("hf:a/b:UD-IQ1_S/"), [found]) == [found]
    assert matching(parse("hf:a/b:IQ1_S/"), [found]) == []
    assert matching(parse("hf:a/b:b/"), [found]) == []
