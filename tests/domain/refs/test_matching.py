"""Which downloads a ref matches."""

from dataclasses import replace

from model_provisioner.domain.modeldownload import ModelDownload, Spec, Status
from model_provisioner.domain.refs.matching import is_from, matching
from model_provisioner.domain.refs.refs import parse
from tests.support.samples import MODEL


def download(name: str, ref: str, path: str, repository: str | None = None) -> ModelDownload:
    status = Status(model=replace(MODEL, path=path, repository=repository))
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


def test_the_main_branch_is_the_default_revision() -> None:
    plain = download("plain", "hf:a/b", "hf/a/b/x.Q4_K_M.gguf")
    large = download("large", "hf:a/b@main:Q8_0", "hf/a/b/x.Q8_0.gguf")
    branch = download("branch", "hf:a/b@dev", "hf/a/b@dev/x.Q4_K_M.gguf")
    known = [plain, large, branch]
    assert matching(parse("hf:a/b@main"), known) == [plain], "and not the other quantisation"
    assert matching(parse("hf:a/b@main:Q4_K_M"), known) == [plain]
    assert matching(parse("hf:a/b:Q8_0"), known) == [large]
    assert matching(parse("hf:a/b@dev"), known) == [branch]
    assert matching(parse("hf:a/b@main"), [large]) == [large]


def test_a_repository_is_found_by_its_canonical_name_and_by_the_name_in_the_ref() -> None:
    renamed = download("renamed", "hf:old/b:Q4_K_M", "hf/new/B/x.Q4_K_M.gguf", "new/B")
    for name in ("new/B", "old/b"):
        for rest in ("", "@main", ":Q4_K_M", "@main:Q4_K_M", ":x.Q4_K_M.gguf"):
            assert matching(parse(f"hf:{name}{rest}"), [renamed]) == [renamed], name + rest
        assert matching(parse(f"hf:{name}:Q8_0"), [renamed]) == []
    assert matching(parse("hf:new/b"), [renamed]) == []
    assert matching(parse("hf:old/b2"), [renamed]) == []
    both = [renamed, download("canonical", "hf:new/B:Q4_K_M", "hf/new/B/x.Q4_K_M.gguf", "new/B")]
    assert matching(parse("hf:new/B:Q4_K_M"), both) == both[1:], "the same ref comes first"


def test_a_directory_is_found_at_another_hub_too() -> None:
    found = download("one", "hf:a/b", "hubs/h-1/a/b/UD-IQ1_S/x-00001-of-00002.gguf", "a/b")
    assert matching(parse("hf:a/b:UD-IQ1_S/"), [found]) == [found]
    assert matching(parse("hf:a/b:b/"), [found]) == []


def test_a_download_is_from_the_own_hub_unless_its_path_or_its_endpoint_says_otherwise() -> None:
    own = download("own", "hf:a/b", "hf/a/b/x.gguf")
    there = download("there", "hf:a/b", "hubs/h-1/a/b/x.gguf")
    there = replace(there, spec=replace(there.spec, endpoint="https://m.example/x"))
    unresolved = replace(there, status=Status())
    named = replace(own, spec=replace(own.spec, endpoint="https://hub.example"))
    assert [is_from(None, one) for one in (own, named, there, unresolved)] == [True, True, False, False]
    assert [is_from("https://M.example/x/", one) for one in (own, named, there)] == [False, False, True]
    assert not is_from("not a URL", there)
