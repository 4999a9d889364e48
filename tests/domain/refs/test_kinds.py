"""The grammar of each kind of ref: round trip, directory, endpoint, and what to write instead."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from model_provisioner.domain.errors import InvalidRef, ProvisionError
from model_provisioner.domain.refs.object_names import object_name
from model_provisioner.domain.refs.refs import BY_SCHEME, ENDPOINTS, KINDS, parse

DIGEST = f"sha256:{'0a' * 32}"
REFS = {
    "https://h.example/a%20b/x.gguf": "http/h.example",
    "https://h:8443/x.gguf": "http/h+8443",
    "http://h/x.GGUF": "http/h+80",
    "http://h:443/x.gguf": "http/h+443",
    "https://10.0.0.1/%C3%A9+%2B~.gguf": "http/10.0.0.1",
    "modelscope:a/b": "modelscope/a/b",
    "modelscope:a/b@master:Q4_K_M": "modelscope/a/b",
    "modelscope:a/b@v1:d/x.gguf": "modelscope/a/b@v1",
    "s3://bucket/a b/é.gguf": "s3/minio+9000/bucket",
    "s3://my.bucket-1/p/q/:Q4_K_M": "s3/minio+9000/my.bucket-1",
    "s3://bucket/p/": "s3/minio+9000/bucket",
    "s3://bucket/": "s3/minio+9000/bucket",
    "s3://bucket/:Q8_0": "s3/minio+9000/bucket",
    "oci://docker.io/ai/smollm2": "oci/docker.io/ai/smollm2/latest",
    "oci://r.example:5000/a/b_c--d:v1.0_X": "oci/r.example+5000/a/b_c--d/v1.0_X",
    f"oci://localhost/a@{DIGEST}": f"oci/localhost/a/{DIGEST.replace(':', '-')}",
    "ollama:llama3": "ollama/library/llama3/latest",
    "ollama:library/llama3:latest": "ollama/library/llama3/latest",
    "ollama:me/my_model.v2:8b-q4_K_M": "ollama/me/my_model.v2/8b-q4_K_M",
}


@pytest.mark.parametrize(("text", "directory"), REFS.items())
def test_a_ref_round_trips_and_has_a_directory(text: str, directory: str) -> None:
    ref = BY_SCHEME[text.partition(":")[0]].parse(text)
    assert str(ref) == text
    assert ref.directory("https://minio:9000") == directory
    assert directory.startswith(f"{ref.root}/")
    assert object_name(ref)


WRONG = yaml.safe_load((Path(__file__).parents[2] / "data/wrong_refs.yaml").read_text())
"""The table that the rules of the API server are tested with too, in tests/kube/test_wrong_refs.py."""


@pytest.mark.parametrize("wrong", [one for rows in WRONG.values() for one in rows], ids=lambda one: repr(one["ref"]))
def test_a_wrong_ref_is_told_what_to_write(wrong: dict[str, str]) -> None:
    with pytest.raises(InvalidRef) as caught:
        parse(wrong["ref"])
    assert wrong["write"] in caught.value.message
    assert "canary" not in caught.value.message


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.schemes[0])
@given(rest=st.text(max_size=40) | st.text("abAB01/:@.-_~%2F?#=é ", max_size=40))
def test_parsing_is_total_and_canonical(kind: type, rest: str) -> None:
    for scheme in kind.schemes:  # type: ignore[attr-defined] # a kind of ref
        for text in (f"{scheme}:{rest}", f"{scheme}://h.example/{rest}", f"{scheme}://{rest}.gguf"):
            try:
                ref = kind.parse(text)  # type: ignore[attr-defined] # as above
            except ProvisionError:
                continue
            assert str(ref) == text
            directory = ref.directory("https://h")
            assert not directory.startswith("/")
            assert not {"", ".", ".."} & set(directory.split("/"))


def test_no_two_kinds_share_a_scheme_or_a_directory() -> None:
    assert len(BY_SCHEME) == sum(len(kind.schemes) for kind in KINDS)
    assert len({kind.root for kind in KINDS}) == len(KINDS)
    assert set(ENDPOINTS) == {"hf", "s3", "ollama", "modelscope"}
