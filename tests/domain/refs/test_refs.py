"""Model refs: canonical spelling, round trip, and errors that say what to write instead."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_provisioner.domain.errors import InvalidRef, ProvisionError
from model_provisioner.domain.refs.hugging_face import HuggingFaceRef
from model_provisioner.domain.refs.local import LocalRef
from model_provisioner.domain.refs.refs import parse, parse_lenient

CANONICAL = {
    "hf:TheBloke/TinyLlama-1.1B-Chat-v1.0-GGUF": HuggingFaceRef("TheBloke", "TinyLlama-1.1B-Chat-v1.0-GGUF"),
    "hf:a/b:Q4_K_M": HuggingFaceRef("a", "b", None, "Q4_K_M"),
    "hf:a/b:UD-Q4_K_XL": HuggingFaceRef("a", "b", None, "UD-Q4_K_XL"),
    "hf:a/b@dev": HuggingFaceRef("a", "b", "dev"),
    "hf:a/b@refs/pr/1:Q8_0": HuggingFaceRef("a", "b", "refs/pr/1", "Q8_0"),
    "hf:a/b:UD/x-Q4_K_M-00001-of-00003.gguf": HuggingFaceRef("a", "b", None, "UD/x-Q4_K_M-00001-of-00003.gguf"),
    "hf:a/b:UD-IQ1_S/": HuggingFaceRef("a", "b", None, "UD-IQ1_S/"),
    "hf:a/b@dev:deep/er folder/": HuggingFaceRef("a", "b", "dev", "deep/er folder/"),
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
        ("hf://a/b", "without //: write hf:a/b"),
        ("hf://a/b:x y", "quantisation"),
        ("hf:a--b/c", "<owner>/<repo>"),
        ("hf:../b", "<owner>/<repo>"),
        ("hf:a/b.git", "<owner>/<repo>"),
        ("hf:a/b@", "a branch, a tag or a commit"),
        ("hf:a/b@x..y", "a branch, a tag or a commit"),
        ("hf:a/b@/x", "a branch, a tag or a commit"),
        ("hf:a/b:", "quantisation"),
        ("hf:a/b:main", "written @main"),
        ("hf:a/b:Q4 K", "quantisation"),
        ("hf:a/b:../x.gguf", "'..'"),
        ("hf:a/b:/x.gguf", "relative"),
        ("hf:a/b:x\\y.gguf", "ends in .gguf"),
        ("hf:a/b:x\x00.gguf", "ends in .gguf"),
        ("hf:a/b:/", "relative"),
        ("hf:a/b:x//", "relative"),
        ("hf:a/b:../", "'..'"),
        ("hf:a/b:x:y/", "a directory and a slash"),
        ("hf:a/b:x\\/", "a directory and a slash"),
        ("hf:a/b:" + "x" * 256 + "/", "relative"),
        ("hf:a/b:" + "x/" * 257, "512"),
        ("local:x/", "ends in .gguf"),
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
        ("https://huggingface.co/a/b/tree/main/UD-IQ1_S", "hf:a/b:UD-IQ1_S/"),
        ("https://huggingface.co/a/b/tree/main/UD-IQ1_S/", "hf:a/b:UD-IQ1_S/"),
        ("https://huggingface.co/a/b/tree/main//UD-IQ1_S//", "hf:a/b:UD-IQ1_S/"),
        ("https://huggingface.co/a/b/tree/dev/x/y%20z?not-for-all-audiences=true#files", "hf:a/b@dev:x/y z/"),
        ("https://huggingface.co/a/b/tree/main/x.gguf", "hf:a/b:x.gguf"),
        ("https://huggingface.co/a/b/tree/", "hf:a/b"),
        ("https://huggingface.co/a/b?show_file_info=M-IQ1-00001-of-00003.gguf", "hf:a/b:M-IQ1-00001-of-00003.gguf"),
        ("https://huggingface.co/a/b?show_file_info=IQ1%2FM-00001-of-00003.gguf", "hf:a/b:IQ1/M-00001-of-00003.gguf"),
        ("https://huggingface.co/a/b/tree/main?show_file_info=M-Q8_0.gguf", "hf:a/b:M-Q8_0.gguf"),
        ("https://huggingface.co/a/b/tree/v1/Q8_0?show_file_info=Q8_0%2FM.gguf", "hf:a/b@v1:Q8_0/M.gguf"),
        ("https://huggingface.co/a/b/tree/main/Q8_0?show_file_info=M.gguf", "hf:a/b:Q8_0/M.gguf"),
        ("https://huggingface.co/a/b?local-app=llama.cpp", "hf:a/b"),
        ("https://huggingface.co/a/b/blob/main/x%2By.gguf#L1", "hf:a/b:x+y.gguf"),
        ("https://huggingface.co/a/b/raw/main/x.gguf", "hf:a/b:x.gguf"),
        ("https://huggingface.co/a/b/blame/main/x.gguf", "hf:a/b:x.gguf"),
        ("https://huggingface.co/a/b/tree/refs/pr/3", "hf:a/b@refs/pr/3"),
        ("https://huggingface.co/a/b/tree/refs%2Fpr%2F3", "hf:a/b@refs/pr/3"),
        ("https://huggingface.co/a/b/tree/refs/pr/3/Q8_0", "hf:a/b@refs/pr/3:Q8_0/"),
        ("https://huggingface.co/a/b/resolve/refs%2Fpr%2F3/d/x.gguf?download=true", "hf:a/b@refs/pr/3:d/x.gguf"),
        ("https://huggingface.co/a/b/tree/feature%2Fnew/Q8_0", "hf:a/b@feature/new:Q8_0/"),
        ("https://huggingface.co/a/b/commit/0123abc", "hf:a/b@0123abc"),
        ("https://huggingface.co/a/b/commits/main", "hf:a/b"),
        ("https://huggingface.co/a/b/commits/main/x.gguf", "hf:a/b:x.gguf"),
        ("http://www.huggingface.co/a/b/", "hf:a/b"),
        ("HTTPS://HuggingFace.co:443/a/b", "hf:a/b"),
        ("hf.co/a/b:Q8_0", "hf:a/b:Q8_0"),
        ("hf.co/a/b:latest", "hf:a/b"),
        ("huggingface.co/a/b/tree/main/Q8_0", "hf:a/b:Q8_0/"),
        ("hf://a/b:Q8_0/", "hf:a/b:Q8_0/"),
    ],
)  # fmt: skip
def test_what_people_paste_is_understood(pasted: str, canonical: str) -> None:
    assert str(parse_lenient(pasted)) == canonical


@pytest.mark.parametrize(
    ("pasted", "says"),
    [
        ("https://huggingface.co/datasets/a/b", "is a data set, not a model"),
        ("https://huggingface.co/datasets/a/b/blob/main/x.gguf", "is a data set, not a model"),
        ("hf.co/spaces/a/b", "is a space, not a model"),
        ("https://huggingface.co/collections/a/b-123", "is a collection, not a model"),
        ("https://huggingface.co/a/b/discussions", "shows no files: write hf:a/b for the model"),
        ("https://huggingface.co/a/b/discussions/7", "for the model, or hf:a/b@refs/pr/7 for a pull request"),
        ("https://huggingface.co/a/b/settings", "shows no files: write hf:a/b"),
        ("https://huggingface.co/a/b/blob/main/README.md", "shows no .gguf file"),
        ("https://huggingface.co/a/b/blob/main", "shows no .gguf file"),
        ("https://huggingface.co/a/b?show_file_info=config.json", "shows no .gguf file"),
        ("https://huggingface.co/a/b?show_file_info=Q8_0", "shows no .gguf file"),
        ("https://huggingface.co/a/b?show_file_info=../x.gguf", "relative"),
        ("https://huggingface.co/a/b/tree/main/../x", "relative"),
        ("https://huggingface.co/a/b/tree/main/x%3AQ8_0", "a directory and a slash"),
        ("https://huggingface.co/a/b/tree/dev%3AQ8_0", "is not a revision"),
        ("https://huggingface.co/a", "is not <owner>/<repo>"),
        ("https://huggingface.co/", "is not <owner>/<repo>"),
        ("hf.co", "is not <owner>/<repo>"),
        ("https://huggingface.co.example/a/b", "must be a file that ends in .gguf"),
    ],
)  # fmt: skip
def test_a_page_without_a_model_says_so(pasted: str, says: str) -> None:
    with pytest.raises(ProvisionError) as caught:
        parse_lenient(pasted)
    assert says in caught.value.message


@given(
    host=st.sampled_from(["https://huggingface.co", "hf.co", "https://hf.co", "hf://"]),
    rest=st.lists(
        st.sampled_from(
            ["/", "a", "b.gguf", "tree", "blob", "main", "refs", "pr", "?", "#", ":", "@", "%2F", "%00", ".."]
        )
        | st.just("?show_file_info=")
        | st.text(max_size=3)
    ).map("".join),
)
def test_pasting_is_total_and_gives_a_canonical_ref(host: str, rest: str) -> None:
    try:
        ref = parse_lenient(host + rest)
    except ProvisionError:
        return
    assert parse(str(ref)) == ref


@given(st.text(max_size=60) | st.text("hf:local/@.-ab\\ \x00", max_size=40))
def test_parsing_is_total_and_canonical(text: str) -> None:
    try:
        ref = parse(text)
    except ProvisionError:
        return
    assert str(ref) == text
