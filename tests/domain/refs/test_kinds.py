"""The grammar of each kind of ref: round trip, directory, endpoint, and what to write instead."""

import pytest
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


WRONG = [
    ("https://", "must be|no host"),
    ("https://h", "ends in .gguf"),
    ("https://h/x", "ends in .gguf"),
    ("https://H/x.gguf", "in lower case"),
    ("https://h:443/x.gguf", "without the port"),
    ("https://h:99999/x.gguf", "no host"),
    ("https:///x.gguf", "no host"),
    ("https://h/x.gguf?sig=secret", "into a Secret, under the key `query`"),
    ("https://h/x.gguf#part", "query or a fragment"),
    ("https://user:secret@h/x.gguf", "under `username` and `password`"),
    ("https://h/../x.gguf", "'.' or '..' parts"),
    ("https://h//x.gguf", "without empty"),
    ("https://h/a%2Fb.gguf", "'/', ':' or"),
    ("https://h/%61.gguf", "none for letters"),
    ("https://h/%c3%a9.gguf", "capital hexadecimal"),
    ("https://h/é.gguf", "percent-encoded"),
    ("https://huggingface.co/a/b/resolve/main/x.gguf", "write hf:a/b"),
    ("s3:bucket/x.gguf", "write s3://"),
    ("s3://", "not the name of a bucket"),
    ("s3://B/x.gguf", "3 to 63 lower-case"),
    ("s3://a..b/x.gguf", "3 to 63 lower-case"),
    ("s3://bucket", "ends in .gguf"),
    ("s3://bucket/x.bin", "ends in .gguf"),
    ("s3://bucket/a//x.gguf", "without empty"),
    ("s3://bucket/../x.gguf", "'..'"),
    ("s3://bucket/a/:", "neither a quantisation"),
    ("s3://bucket/a/:x.gguf", "neither a quantisation|must be"),
    ("s3://bucket/a:Q4_K_M", "ends in .gguf"),
    ("oci:r.example/a", "write oci://"),
    ("oci://ai/smollm2", "such as oci://docker.io/ai/smollm2"),
    ("oci://r.example", "the host of the registry comes first"),
    ("oci://R.example/a", "in lower case"),
    ("oci://r.example:443/a", "the host of the registry"),
    ("oci://r.example/A", "not the name of a repository"),
    ("oci://r.example/a//b", "not the name of a repository"),
    ("oci://r.example/a:", "after : stands a tag"),
    ("oci://r.example/a:-x", "after : stands a tag"),
    ("oci://r.example/a@sha256:12", "64 lower-case hexadecimal"),
    (f"oci://r.example/a:v1@{DIGEST}", "not both"),
    ("ollama:", "write ollama:"),
    ("ollama:hf.co/a/b", "hf:<owner>/<repo>"),
    ("ollama:a b", "write ollama:"),
    ("ollama:..", "write ollama:"),
    ("ollama:a:", "write ollama:"),
    ("ollama:a.b/c", "except in the namespace"),
    ("modelscope:a", "is not <owner>/<repo>: write modelscope:"),
    ("modelscope:a/b:master", "a revision is written @master"),
    ("modelscope:", "is not <owner>/<repo>: write modelscope:"),
    ("modelscope://a/b", "is not <owner>/<repo>: write modelscope:<owner>"),
    ("modelscope:a/b/c.gguf", "is not <owner>/<repo>: write modelscope:"),
    ("modelscope:a/b.git", "is not <owner>/<repo>: write modelscope:"),
    ("modelscope:a/b@", "branch, a tag or a commit|revision"),
    ("modelscope:a/b@..", "branch, a tag or a commit|revision"),
    ("modelscope:a/b:", "neither a quantisation"),
    ("modelscope:a/b:x.safetensors", "a path that ends in .gguf"),
    ("modelscope:a/b:../x.gguf", "must be relative"),
    ("modelscope:a/b:/x.gguf", "must be relative"),
    ("modelscope:a/b:x:y.gguf", "without ':'"),
]


@pytest.mark.parametrize(("text", "says"), WRONG)
def test_a_wrong_ref_is_told_what_to_write(text: str, says: str) -> None:
    with pytest.raises(InvalidRef, match=says) as caught:
        parse(text)
    assert "secret" not in caught.value.message


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
