"""The files that a selector means, with file lists like those of publishers."""

import re
import time
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_provisioner.domain.errors import (
    AmbiguousModel,
    SourceNotFound,
)
from model_provisioner.domain.model_files.selection import other_models, select, selector_of
from tests.domain.model_files.listings import (
    BARTOWSKI,
    CASES,
    COMPANIONS,
    DEEPSEEK,
    DIRECTORIES,
    GGML_ORG,
    GOLIATH,
    LISTINGS,
    LOWER_CASE,
    MRADERMACHER,
    MXFP4,
    SAFETENSORS,
    THEBLOKE,
    TINY,
    TWO_MODELS,
    UNSLOTH,
    outcome,
)


@pytest.mark.parametrize(
    ("paths", "selector", "expected"),
    [
        (THEBLOKE, None, f"{TINY}.Q4_K_M.gguf"),
        (THEBLOKE, "Q8_0", f"{TINY}.Q8_0.gguf"),
        (THEBLOKE, "q5_k_s", f"{TINY}.Q5_K_S.gguf"),
        (THEBLOKE, "Q8", f"{TINY}.Q8_0.gguf"),
        (THEBLOKE, "Q2_K", f"{TINY}.Q2_K.gguf"),
        (THEBLOKE, f"{TINY}.Q6_K.gguf", f"{TINY}.Q6_K.gguf"),
        (THEBLOKE, "TinyLlama-1.1B-Chat-v1.0.q6_k.GGUF", f"{TINY}.Q6_K.gguf"),
        (BARTOWSKI, None, "Llama-3.2-1B-Instruct-Q4_K_M.gguf"),
        (BARTOWSKI, "F16", "Llama-3.2-1B-Instruct-f16.gguf"),
        (BARTOWSKI, "BF16", "Llama-3.2-1B-Instruct-bf16.gguf"),
        (BARTOWSKI, "Q4_0", "Llama-3.2-1B-Instruct-Q4_0.gguf"),
        (BARTOWSKI, "Q4_0_4_4", "Llama-3.2-1B-Instruct-Q4_0_4_4.gguf"),
        (BARTOWSKI, "Q6_K", "Llama-3.2-1B-Instruct-Q6_K.gguf"),
        (BARTOWSKI, "Q6_K_L", "Llama-3.2-1B-Instruct-Q6_K_L.gguf"),
        (BARTOWSKI, "IQ4_XS", "Llama-3.2-1B-Instruct-IQ4_XS.gguf"),
        (BARTOWSKI, "Llama-3.2-1B-Instruct-imatrix.gguf", "Llama-3.2-1B-Instruct-imatrix.gguf"),
        (UNSLOTH, None, "gemma-3-4b-it-Q4_K_M.gguf"),
        (UNSLOTH, "BF16", "gemma-3-4b-it-BF16.gguf"),
        (UNSLOTH, "Q2_K", "gemma-3-4b-it-Q2_K.gguf"),
        (UNSLOTH, "UD-Q4_K_XL", "gemma-3-4b-it-UD-Q4_K_XL.gguf"),
        (UNSLOTH, "Q4_K_XL", "gemma-3-4b-it-UD-Q4_K_XL.gguf"),
        (UNSLOTH, "Q4_K", "gemma-3-4b-it-Q4_K_M.gguf"),
        (UNSLOTH, "mmproj-F16.gguf", "mmproj-F16.gguf"),
        (DEEPSEEK, "UD-TQ1_0", "UD-TQ1_0/DeepSeek-V3-UD-TQ1_0.gguf"),
        (GGML_ORG, None, "SmolVLM-500M-Instruct-Q8_0.gguf"),
        (GGML_ORG, "Q8_0", "SmolVLM-500M-Instruct-Q8_0.gguf"),
        (DIRECTORIES, None, "q4_k_m/model.gguf"),
        (DIRECTORIES, "F16", "f16/model.gguf"),
        (DIRECTORIES, "Q6_K", "Q6_K/model.gguf"),
        (DIRECTORIES, "q6_k/MODEL.gguf", "Q6_K/model.gguf"),
        (LOWER_CASE, None, "qwen2.5-0.5b-instruct-q4_k_m.gguf"),
        (LOWER_CASE, "FP16", "qwen2.5-0.5b-instruct-fp16.gguf"),
        (MRADERMACHER, None, "Model.i1-Q4_K_M.gguf"),
        (MRADERMACHER, "i1-IQ1_S", "Model.i1-IQ1_S.gguf"),
        (MXFP4, None, "gpt-oss-20b-mxfp4.gguf"),
        (TWO_MODELS, "Q8_0", "b-Q8_0.gguf"),
        (GOLIATH, None, "goliath-120b.Q2_K.gguf"),
        (COMPANIONS, None, "Model-MTP-Q4_K_M.gguf"),
        (CASES, "model.gguf", "model.gguf"),
        (CASES, None, "MODEL-Q8_0.gguf"),
        (["x-f32-Q4_K_S.gguf", "x-f32.gguf"], "F32", "x-f32.gguf"),
        (["x-f32-Q4_K_S.gguf", "x-f32.gguf"], "Q4_K_S", "x-f32-Q4_K_S.gguf"),
        (["Cloud-Q5_0.gguf", "Cloud-UD-Q5_0.gguf"], "Q5_0", "Cloud-Q5_0.gguf"),
        (["UD-Q5_0.gguf", "Q5_0.gguf"], "Q5_0", "Q5_0.gguf"),
        (["x-AVQ2.gguf", "x-BVQ2.gguf"], "avq2", "x-AVQ2.gguf"),
        (["deep/er/Q8_0/x.gguf", "deep/er/Q5_0/x.gguf"], "Q5_0", "deep/er/Q5_0/x.gguf"),
        (["x-00001-of-00001.gguf"], None, "x-00001-of-00001.gguf"),
        (["x-00007-of-00003.gguf"], None, "x-00007-of-00003.gguf"),
    ],
)
def test_one_file_is_meant(paths: list[str], selector: str | None, expected: str) -> None:
    assert select(paths, selector) == (expected,)


LONG = 300_000
HOSTILE_NAMES = {
    "pieces": ".gguf.part" * (LONG // 10) + "!",
    "one piece": ".gguf.part" + "a" * LONG + "!",
    "projectors": "mmproj" * (LONG // 6) + "/x.gguf",
    "matrices": "-imatrix" * (LONG // 8) + "/x.gguf",
    "matrices in the name": "-imatrix" * (LONG // 8) + "x.gguf",
    "quantised matrices": "-Q4" * (LONG // 3) + "-imatrix.gguf",
    "drafters": "-eagle3" * (LONG // 7) + "/x.gguf",
    "variants": "-mtp" * (LONG // 4) + "x.gguf",
    "directories": "/" * LONG + "x.gguf",
    "directories of drafters": "mtp/" * (LONG // 4) + "x.gguf",
    "parts": "-00001-of-00002" * (LONG // 15) + ".gguf",
    "quantisations": "-Q4_K_M" * (LONG // 7) + "x.gguf",
    "types": "-Q4_K" * (LONG // 5) + "!x.gguf",
    "suffixes": ".gguf" * (LONG // 5),
    "digits": "-" + "0" * LONG + ".gguf",
}


@pytest.mark.parametrize("selector", [None, "Q4_K_M", "Q4", "x.gguf", "a/b/"])
@pytest.mark.parametrize("name", HOSTILE_NAMES.values(), ids=HOSTILE_NAMES.keys())
def test_a_long_name_is_judged_in_linear_time(name: str, selector: str | None) -> None:
    began = time.monotonic()
    outcome([name, "mmproj.gguf"], selector)
    for model in other_models([name, "mmproj.gguf"], []):
        selector_of([name, "mmproj.gguf"], model)
    assert time.monotonic() - began < 3, "a pattern that looks at all characters from each of them takes a minute"


@pytest.mark.parametrize("name", ["a\u202egpj.gguf", "a\u200b.gguf", "a\ufeff.gguf", "a\u3164.gguf", "a\u2066b.gguf"])
def test_a_name_with_invisible_characters_is_not_offered(name: str) -> None:
    assert other_models([name, "x.gguf", "y.gguf"], ["x.gguf"]) == [("y.gguf",)]
    with pytest.raises(AmbiguousModel) as ambiguous:
        select([name, "x.gguf"], None)
    assert name not in ambiguous.value.message


@pytest.mark.parametrize(
    ("paths", "selector", "says"),
    [
        (
            TWO_MODELS,
            None,
            r"2 models fit: a-Q4_K_M\.gguf, b-Q4_K_M\.gguf; name one by its path, as in :a-Q4_K_M\.gguf",
        ),
        (TWO_MODELS, "Q4_K_M", r"2 models fit Q4_K_M: a-Q4_K_M\.gguf, b-Q4_K_M\.gguf"),
        (
            ["x-Q5_K_M.gguf", "x-Q6_K.gguf"],
            None,
            r"x-Q6_K\.gguf; name one by its quantisation, as in :Q5_K_M, or its path, as in :x-Q5_K_M\.gguf",
        ),
        (THEBLOKE, "Q4", r"3 models fit Q4: "),
        (THEBLOKE, "Q3_K", r"3 models fit Q3_K: "),
        (CASES, "MODEL.gguf", r"2 models fit MODEL\.gguf: Model\.gguf, model\.gguf"),
        ([f"m{number:02}.gguf" for number in range(30)], None, r"30 models fit: m00.* m19\.gguf and 10 more;"),
    ],
)
def test_ambiguity_lists_the_candidates(paths: list[str], selector: str | None, says: str) -> None:
    with pytest.raises(AmbiguousModel, match=says):
        select(paths, selector)


@pytest.mark.parametrize(
    ("paths", "selector", "says"),
    [
        (THEBLOKE, "Q4_XS", rf"Q4_XS is not in the repository, which has {TINY}\.Q2_K\.gguf, "),
        (BARTOWSKI, "Q4_XS", "Q4_XS is not"),
        (["x-BF16.gguf"], "F16", "F16 is not"),
        (["x-Q6_K_L.gguf"], "Q6_K", "Q6_K is not"),
        (["x-Q4_0_4_4.gguf"], "Q4_0", "Q4_0 is not"),
        (["x-Q4_K_M.gguf"], "Q4_K_", "Q4_K_ is not"),
        (["x-Q4_K_M.gguf"], "Q.", r"Q\. is not"),
        (["x-Q4_K_M.gguf"], "gguf", "gguf is not"),
        (UNSLOTH, "F16", "F16 is not"),
        (UNSLOTH, "F32", "F32 is not"),
        (THEBLOKE, "none.gguf", r"none\.gguf is not in the repository, which has .*; name one of these"),
        (SAFETENSORS, None, r"no GGUF file, only 2 × \.safetensors, 1 × \.json, 1 × \.md: look for .* -GGUF"),
        (SAFETENSORS, "Q4_K_M", r"no GGUF file"),
        ([], None, r"no GGUF file, nor any other"),
        ([], "x.gguf", r"no GGUF file, nor any other"),
        ([".gitattributes", "LICENSE"], None, r"1 × \.gitattributes, 1 × LICENSE"),
        (["a\x1b[31m\n.gguf"], "Q8_0", "which has a�\\[31m�\\.gguf"),
    ],
)
def test_what_is_not_there(paths: list[str], selector: str | None, says: str) -> None:
    with pytest.raises(SourceNotFound, match=says):
        select(paths, selector)


@given(
    listing=st.sampled_from(LISTINGS).flatmap(st.permutations),
    selector=st.none()
    | st.sampled_from(["Q4_K_M", "Q4", "F16", "UD-Q4_K_XL", "model.gguf", "mmproj-F16.gguf", "Q6_K", "q6_k/", "BF16/"]),
)
def test_the_order_of_the_listing_never_matters(listing: list[str], selector: str | None) -> None:
    assert outcome(listing, selector) == outcome(sorted(listing), selector)


NAME = st.text("aQ4_K.-/F16UDm8", min_size=1, max_size=12)
PATH = NAME | NAME.map(lambda name: f"{name}.gguf") | st.sampled_from([*chain.from_iterable(LISTINGS)])


@given(listing=st.lists(PATH, max_size=12), selector=st.none() | NAME | PATH | PATH.map(lambda path: f"{path}/"))
def test_what_is_selected_was_listed(listing: list[str], selector: str | None) -> None:
    found = outcome(listing, selector)
    assert isinstance(found, str) or (found and set(found) <= set(listing) and len(set(found)) == len(found))


@given(
    listing=st.sampled_from(LISTINGS).flatmap(lambda listing: st.lists(st.sampled_from(listing or ["x"]), min_size=1))
)
def test_every_listed_model_can_be_named_by_its_path(listing: list[str]) -> None:
    for path in listing:
        if path.lower().endswith(".gguf"):
            found = outcome(listing, path)
            assert path in found if isinstance(found, tuple) else found.startswith("IncompleteModel")


def test_the_others_are_whole_models_and_not_the_one_that_is_meant() -> None:
    chosen = select(DEEPSEEK, "BF16")
    assert [selector_of(DEEPSEEK, model) for model in other_models(DEEPSEEK, chosen)] == [
        "Q4_K_M",
        "UD-Q4_K_XL",
        "UD-TQ1_0",
    ]
    assert [selector_of(GGML_ORG, model) for model in other_models(GGML_ORG, select(GGML_ORG, None))] == []
    assert [selector_of(TWO_MODELS, model) for model in other_models(TWO_MODELS, ["b-Q8_0.gguf"])] == TWO_MODELS[:2]
    assert [selector_of(TWO_MODELS, model) for model in other_models(TWO_MODELS, TWO_MODELS[:1])] == [
        "b-Q4_K_M.gguf",
        "Q8_0",
    ]


@given(listing=st.lists(PATH, max_size=12) | st.sampled_from(LISTINGS))
def test_each_of_the_others_is_selected_by_what_it_is_called(listing: list[str]) -> None:
    for model in other_models(listing, []):
        assert select(listing, selector_of(listing, model)) == model


@pytest.mark.parametrize("listing", [THEBLOKE, BARTOWSKI, UNSLOTH, DEEPSEEK, DIRECTORIES, LOWER_CASE, TWO_MODELS])
def test_the_examples_of_an_ambiguity_work(listing: list[str]) -> None:
    without_defaults = [path for path in [*listing, "other.gguf"] if not re.search("q4_k_m|q8_0", path, re.IGNORECASE)]
    listing = [*without_defaults, "other-F16.gguf", "other-BF16.gguf"]
    with pytest.raises(AmbiguousModel) as ambiguous:
        select(listing, None)
    examples = [example.split(", or ")[0] for example in ambiguous.value.message.split("as in :")[1:]]
    assert examples
    assert len({select(listing, example) for example in examples}) == 1
