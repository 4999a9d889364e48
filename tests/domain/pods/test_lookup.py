"""Which ModelDownload a pod means by a name or a ref."""

from dataclasses import replace

import pytest

from model_provisioner.domain.modeldownload import Condition, Model, ModelDownload, Projector, Spec, Status
from model_provisioner.domain.pods.lookup import (
    Ambiguous,
    Found,
    find,
    is_same_for_pods,
    keys_of_download,
    keys_of_wanted,
    trimmed,
)
from model_provisioner.domain.refs.matching import matching
from model_provisioner.domain.refs.refs import parse
from tests.support.samples import MODEL

CLAIMS = frozenset({"models"})


def download(
    name: str, ref: str = "hf:a/b:Q4_K_M", *, ready: bool = False, model: Model | None = None, born: str = "1"
) -> ModelDownload:
    condition = Condition("Ready", str(ready), "Available" if ready else "Queued", "", 1, "")
    status = Status(conditions=(condition,), model=model or (MODEL if ready else None))
    return ModelDownload("ai", name, f"uid-{name}", 1, "1", born, False, None, Spec(ref), status)


def named(found: Found) -> str | None:
    return found.name if isinstance(found, ModelDownload) else None


def found(ref: str, *downloads: ModelDownload) -> Found:
    return find(parse(ref), downloads, CLAIMS)


def test_a_name_is_a_name() -> None:
    assert named(find("tiny", [download("tiny"), download("other")], CLAIMS)) == "tiny"
    assert find("tiny", [download("other")], CLAIMS) is None


def test_a_ready_one_comes_first_then_the_oldest() -> None:
    old, new, ready = download("old", born="1"), download("new", born="2"), download("ready", born="3", ready=True)
    assert named(found("hf:a/b:Q4_K_M", new, old)) == "old"
    assert named(found("hf:a/b:Q4_K_M", new, old, ready)) == "ready"


def test_one_on_a_claim_of_the_pod_comes_before_a_ready_one_elsewhere() -> None:
    elsewhere = download("elsewhere", ready=True, model=replace(MODEL, claim_name="other"))
    here = download("here", model=MODEL)
    assert named(found("hf:a/b:Q4_K_M", elsewhere, here)) == "here"
    assert named(found("hf:a/b:Q4_K_M", elsewhere)) == "elsewhere"


def test_one_with_a_projector_comes_before_one_without() -> None:
    seeing = download("seeing", ready=True, model=replace(MODEL, projector=Projector("hf/a/b/mmproj.gguf")), born="2")
    assert named(found("hf:a/b:Q4_K_M", download("blind", ready=True), seeing)) == "seeing"


def test_one_that_is_being_deleted_comes_last() -> None:
    going = replace(download("going", ready=True), deleting=True)
    assert named(found("hf:a/b:Q4_K_M", going, download("staying", born="2"))) == "staying"


def test_an_object_of_another_hub_is_another_model() -> None:
    other = download("other", ready=True)
    mirrored = replace(other, spec=replace(other.spec, endpoint="https://mirror.example"))
    elsewhere = replace(mirrored, status=replace(mirrored.status, model=replace(MODEL, path="hubs/m/a/b/x.gguf")))
    assert found("hf:a/b:Q4_K_M", elsewhere) is None


def test_a_bare_ref_finds_what_it_resolved_to_and_names_several() -> None:
    four = download("four", "hf:a/b:Q4_K_M", ready=True)
    eight = download("eight", "hf:a/b:Q8_0", ready=True, model=replace(MODEL, path="hf/a/b/x.Q8_0.gguf"))
    assert named(found("hf:a/b", four)) == "four"
    assert found("hf:a/b", four, eight) == Ambiguous(("eight", "four"))
    assert named(found("hf:a/b", four, eight, download("bare", "hf:a/b", ready=True))) == "bare"


WANTED = [
    "hf:a/b",
    "hf:a/b@main",
    "hf:a/b:Q4_K_M",
    "hf:a/b@main:Q4_K_M",
    "hf:canonical/b",
    "local:x.gguf",
    "oci://r.example/a:1",
]
MODELS = [None, MODEL, replace(MODEL, repository="canonical/b", path="hf/a/b/x.Q4_K_M.gguf")]


@pytest.mark.parametrize("ref", WANTED)
def test_what_matches_has_a_key_in_common(ref: str) -> None:
    known = [
        download(f"m-{n}-{place}", one, model=model)
        for n, one in enumerate(WANTED)
        for place, model in enumerate(MODELS)
    ]
    wanted = parse(ref)
    matched = matching(wanted, known)
    assert matched
    for one in matched:
        assert keys_of_download(one) & keys_of_wanted(wanted), one
    candidates = [one for one in known if keys_of_download(one) & keys_of_wanted(wanted)]
    assert matching(wanted, candidates) == matched


def test_an_object_whose_ref_is_wrong_is_found_by_its_name() -> None:
    assert keys_of_download(download("old", "hf:a")) == {"old", "hf:a"}


def test_progress_alone_is_no_change_for_pods() -> None:
    one = trimmed(download("tiny", ready=True))
    assert is_same_for_pods(one, trimmed(download("tiny", ready=True)))
    assert not is_same_for_pods(one, trimmed(download("tiny")))
    assert not is_same_for_pods(one, replace(one, deleting=True))
    assert not is_same_for_pods(one, replace(one, uid="another"))
