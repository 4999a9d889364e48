"""Which refs say where their files lie: the same paths as their sources give them."""

import pytest

from model_provisioner.domain.refs.fixed_files import fixed_files
from model_provisioner.domain.refs.refs import parse
from model_provisioner.domain.store.paths import store_path

DIGEST = f"sha256:{'0a' * 32}"


@pytest.mark.parametrize(
    ("text", "files"),
    [
        ("hf:o/r:a/m.gguf", ["hf/o/r/a/m.gguf"]),
        ("hf:o/r@v/1:m.gguf", ["hf/o/r@v%2F1/m.gguf"]),
        ("modelscope:o/r@master:m.GGUF", ["modelscope/o/r/m.GGUF"]),
        ("https://h.example/a%20b/m.gguf", ["http/h.example/a b/m.gguf"]),
        ("s3://bucket/a b/m.gguf", ["s3/s3.amazonaws.com/bucket/a b/m.gguf"]),
        ("local:a/m.gguf", ["local/a/m.gguf"]),
        ("local:m-00002-of-00003.gguf", [f"local/m-0000{number}-of-00003.gguf" for number in (1, 2, 3)]),
    ],
)
def test_a_ref_that_names_a_file(text: str, files: list[str]) -> None:
    assert fixed_files(parse(text)) == tuple(files)


def test_the_path_is_that_of_the_store() -> None:
    ref = parse("s3://bucket/m.gguf")
    endpoint = "https://minio.example:9000"
    assert fixed_files(ref, endpoint) == (store_path(ref, "m.gguf", endpoint, own=False),)


@pytest.mark.parametrize(
    "text",
    [
        "hf:o/r",
        "hf:o/r:Q4_K_M",
        "hf:o/r:a/",
        "modelscope:o/r",
        "s3://bucket/",
        "s3://bucket/p/:Q4_K_M",
        "ollama:llama3",
        "oci://docker.io/ai/smollm2",
        f"oci://localhost/a@{DIGEST}",
    ],
)
def test_a_ref_whose_source_must_be_asked(text: str) -> None:
    assert fixed_files(parse(text)) is None
