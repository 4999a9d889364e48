"""Under which name Ollama lists a model."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_provisioner.domain.modeldownload import ModelDownload, Spec, Status
from model_provisioner.domain.views.ollama_names import OllamaName, names
from tests.support.samples import MODEL

OWN = ["registry.ollama.ai/library/tiny/latest", "registry.ollama.ai/models/tiny/latest"]


def found(ref: str, path: str = MODEL.path, *, name: str = "tiny", repository: str | None = None) -> list[str]:
    download = ModelDownload("models", name, "uid", 1, "1", "", False, None, Spec(ref), Status())
    model = replace(MODEL, path=path, repository=repository)
    return [one.path for one in names(download, model)]


@pytest.mark.parametrize(
    ("ref", "path", "expected"),
    [
        ("hf:Acme/Tiny-GGUF:Q4", "hf/Acme/Tiny-GGUF/tiny.q4_k_m.gguf", "hf.co/Acme/Tiny-GGUF/Q4_K_M"),
        ("hf:Acme/Tiny-GGUF", "hf/Acme/Tiny-GGUF/tiny-Q8_0.gguf", "hf.co/Acme/Tiny-GGUF/Q8_0"),
        ("hf:Acme/Tiny@v1:Q8_0", "hf/Acme/Tiny@v1/tiny-Q8_0.gguf", "hf.co/Acme/Tiny/Q8_0"),
        ("hf:Acme/Tiny", "hf/Acme/Tiny/tiny.gguf", "hf.co/Acme/Tiny/latest"),
        ("hf:Acme/Tiny:tiny-Q8_0.gguf", "hf/Acme/Tiny/tiny-Q8_0.gguf", "hf.co/Acme/Tiny/tiny-Q8_0.gguf"),
        ("hf:Acme/Tiny:Q8_0/", "hf/Acme/Tiny/Q8_0/tiny.gguf", "hf.co/Acme/Tiny/Q8_0"),
        ("modelscope:Acme/Tiny:Q8_0", "modelscope/Acme/Tiny/tiny-Q8_0.gguf", "modelscope.cn/Acme/Tiny/Q8_0"),
        ("ollama:llama3.2:1b", "ollama/library/llama3.2/1b/model.gguf", "registry.ollama.ai/library/llama3.2/1b"),
        ("ollama:me/tiny", "ollama/me/tiny/latest/model.gguf", "registry.ollama.ai/me/tiny/latest"),
    ],
)
def test_a_model_has_the_name_by_which_ollama_pulls_it(ref: str, path: str, expected: str) -> None:
    assert found(ref, path) == [expected, *OWN]


def test_the_name_of_a_repository_is_the_one_that_its_source_has() -> None:
    path = "hf/acme/tiny/tiny-Q8_0.gguf"
    assert found("hf:acme/tiny:Q8_0", path, repository="Acme/Tiny")[0] == "hf.co/Acme/Tiny/Q8_0"


@pytest.mark.parametrize(
    ("ref", "path"),
    [
        ("https://example.com/tiny.gguf", "https/example.com/tiny.gguf"),
        ("local:tiny.gguf", "local/tiny.gguf"),
        ("oci://example.com/acme/tiny:1", "oci/example.com/acme/tiny/1/model.gguf"),
        ("hf:acme.inc/tiny", "hf/acme.inc/tiny/tiny.gguf"),
        ("hf:acme/tiny:sub/tiny.gguf", "hf/acme/tiny/sub/tiny.gguf"),
        (f"hf:acme/{'r' * 81}", "hf/acme/r/tiny.gguf"),
        ("hf:acme/tiny:Q8_0", "hubs/mirror-0123/acme/tiny/tiny-Q8_0.gguf"),
        ("ollama:tiny", "hubs/mirror-0123/library/tiny/latest/model.gguf"),
        ("what an editor wrote", "hf/acme/tiny/tiny.gguf"),
    ],
)
def test_another_model_has_the_name_of_its_object(ref: str, path: str) -> None:
    assert found(ref, path) == OWN


def test_a_long_name_of_an_object_is_none_of_ollama() -> None:
    assert found("local:tiny.gguf", name="t" * 81) == []


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("registry.ollama.ai/library/tiny/latest", "tiny:latest"),
        ("registry.ollama.ai/models/tiny/latest", "models/tiny:latest"),
        ("hf.co/acme/tiny/Q8_0", "hf.co/acme/tiny:Q8_0"),
        ("hf.co/library/tiny/Q8_0", "hf.co/library/tiny:Q8_0"),
    ],
)
def test_a_name_is_written_as_ollama_lists_it(path: str, shown: str) -> None:
    assert str(OllamaName.of_path(path)) == shown


@pytest.mark.parametrize(
    "path",
    ["", "a/b/c", "a/b/c/d/e", "a/b/c/", "a/b/c/.d", "a/b.c/d/e", "a/b/c:d/e", "a/-b/c/d", "a/b/c/é", "../b/c/d"],
)
def test_other_paths_are_no_names(path: str) -> None:
    assert OllamaName.of_path(path) is None


@given(st.text(max_size=90), st.text(max_size=90))
def test_every_path_that_is_a_name_stays_below_the_manifests(model: str, tag: str) -> None:
    name = OllamaName.of_path(f"hf.co/acme/{model}/{tag}")
    assert name is None or not {"", ".", ".."}.intersection(name.path.split("/"))
