"""Model refs: canonical spelling, round trip, and errors that say what to write instead."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_provisioner.domain.errors import InvalidRef, ProvisionError, UnsupportedSource
from model_provisioner.domain.refs.refs import HuggingFaceRef, LocalRef, parse, parse_lenient

CANONICAL = {
    "hf:TheBloke/TinyLlama-1.1B-Chat-v1.0-GGUF": HuggingFaceRef("TheBloke", "TinyLlama-1.1B-Chat-v1.0-GGUF"),
    "hf:a/b:Q4_K_M": HuggingFaceRef("a", "b", None, "Q4_K_M"),
    "hf:a/b:UD-Q4_K_XL": HuggingFaceRef("a", "b", None, "UD-Q4_K_XL"),
    "hf:a/b@dev": HuggingFaceRef("a", "b", "dev"),
    "hf:a/b@refs/pr/1:Q8_0": HuggingFaceRef("a", "b", "refs/pr/1", "Q8_0"),
    "hf:a/b:UD/x-Q4_K_M-00001-of-00003.gguf": HuggingFaceRef("a", "b", None, "UD/x-Q4_K_M-00001-of-00003.gguf"),
    "local:mine/x.gguf": LocalRef("mine/x.gguf"),
}


@pytest.mark.parametrize(("text", "ref"), CANONICAL.items())
def test_canonical_spellings_round_trip(text: str, ref: object) -> None:
    assert parse(text) == ref
    assert str(parse(text)) == text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "hf:<owner>/<repo>"),
        ("TheBloke/x", "hf:<owner>/<repo>"),
        ("hf:", "<owner>/<repo>"),
        ("hf:x", "<owner>/<repo>"),
        ("hf:a/b/c", "<owner>/<repo>"),
        ("hf://a/b", "hf:<owner>/<repo>"),
        ("hf:a--b/c", "<owner>/<repo>"),
        ("hf:../b", "<owner>/<repo>"),
        ("hf:a/b.git", "<owner>/<repo>"),
        ("hf:a/b@", "branch, tag or commit"),
        ("hf:a/b@x..y", "branch, tag or commit"),
        ("hf:a/b@/x", "branch, tag or commit"),
        ("hf:a/b:", "quantisation"),
        ("hf:a/b:main", "written @main"),
        ("hf:a/b:Q4 K", "quantisation"),
        ("hf:a/b:../x.gguf", "'..'"),
        ("hf:a/b:/x.gguf", "relative"),
        ("hf:a/b:x\\y.gguf", "ends in .gguf"),
        ("hf:a/b:x\x00.gguf", "ends in .gguf"),
        ("local:", "ends in .gguf"),
        ("local:/etc/x.gguf", "relative"),
        ("local:x.bin", "ends in .gguf"),
        ("hf:" + "a" * 97 + "/b", "<owner>/<repo>"),
    ],
)
def test_a_misspelt_ref_is_told_what_to_write(text: str, says: str) -> None:
    with pytest.raises(InvalidRef) as caught:
        parse(text)
    assert says in caught.value.message


@pytest.mark.parametrize("scheme", ["s3://b/k", "oci://r/x", "ollama:llama3", "modelscope:a/b", "https://h/x.gguf"])
def test_sources_that_are_not_served_say_so(scheme: str) -> None:
    with pytest.raises(UnsupportedSource if "://" not in scheme else ProvisionError):
        parse(scheme)


@pytest.mark.parametrize(
    ("pasted", "canonical"),
    [
        ("hf://a/b", "hf:a/b"),
        (" hf:a/b ", "hf:a/b"),
        ("https://huggingface.co/a/b", "hf:a/b"),
        ("https://huggingface.co/a/b/", "hf:a/b"),
        ("https://huggingface.co/a/b/tree/main", "hf:a/b"),
        ("https://huggingface.co/a/b/tree/dev", "hf:a/b@dev"),
        ("https://huggingface.co/a/b/blob/main/x.Q4_K_M.gguf", "hf:a/b:x.Q4_K_M.gguf"),
        ("https://huggingface.co/a/b/resolve/v1/d/x.gguf?download=true", "hf:a/b@v1:d/x.gguf"),
        ("https://hf.co/a/b", "hf:a/b"),
    ],
)
def test_what_people_paste_is_understood(pasted: str, canonical: str) -> None:
    assert str(parse_lenient(pasted)) == canonical


@given(st.text(max_size=60) | st.text("hf:local/@.-ab\\ \x00", max_size=40))
def test_parsing_is_total_and_canonical(text: str) -> None:
    try:
        ref = parse(text)
    except ProvisionError:
        return
    assert str(ref) == text
