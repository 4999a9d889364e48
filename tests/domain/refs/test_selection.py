"""The files that a selector means, with file lists like those of publishers."""

import re
import time
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_provisioner.domain.errors import (
    AmbiguousModel,
    IncompleteModel,
    ProvisionError,
    SourceNotFound,
    UnsupportedSource,
)
from model_provisioner.domain.refs.selection import other_models, quantization_of, select, selector_of

TINY = "tinyllama-1.1b-chat-v1.0"
THEBLOKE = [
    ".gitattributes",
    "README.md",
    "config.json",
    *(f"{TINY}.{quantization}.gguf" for quantization in ("Q2_K", "Q3_K_S", "Q3_K_M", "Q3_K_L", "Q4_0", "Q4_K_S")),
    *(f"{TINY}.{quantization}.gguf" for quantization in ("Q4_K_M", "Q5_0", "Q5_K_S", "Q5_K_M", "Q6_K", "Q8_0")),
]
BARTOWSKI = [
    "README.md",
    "Llama-3.2-1B-Instruct.imatrix",
    "Llama-3.2-1B-Instruct-imatrix.gguf",
    *(
        f"Llama-3.2-1B-Instruct-{quantization}.gguf"
        for quantization in (
            "IQ3_M", "IQ4_NL", "IQ4_XS", "Q3_K_L", "Q3_K_XL", "Q4_0", "Q4_0_4_4", "Q4_0_4_8", "Q4_K_L", "Q4_K_M",
            "Q4_K_S", "Q5_K_L", "Q5_K_M", "Q6_K", "Q6_K_L", "Q8_0", "f16", "bf16", "f32",
        )
    ),
]  # fmt: skip
UNSLOTH = [
    "config.json",
    "imatrix_unsloth.gguf",
    "mmproj-BF16.gguf",
    "mmproj-F16.gguf",
    "mmproj-F32.gguf",
    *(f"gemma-3-4b-it-{quantization}.gguf" for quantization in ("BF16", "IQ4_XS", "Q2_K", "Q2_K_L", "Q4_K_M", "Q8_0")),
    *(f"gemma-3-4b-it-UD-{quantization}.gguf" for quantization in ("IQ1_M", "Q2_K_XL", "Q4_K_XL", "Q8_K_XL")),
]
DEEPSEEK = [
    *(f"BF16/DeepSeek-V3-BF16-{number:05}-of-00003.gguf" for number in (1, 2, 3)),
    *(f"Q4_K_M/DeepSeek-V3-Q4_K_M-{number:05}-of-00002.gguf" for number in (1, 2)),
    *(f"UD-Q4_K_XL/DeepSeek-V3-UD-Q4_K_XL-{number:05}-of-00002.gguf" for number in (1, 2)),
    *(f"Q8_0/DeepSeek-V3-Q8_0-{number:05}-of-00003.gguf" for number in (1, 3)),
    "UD-TQ1_0/DeepSeek-V3-UD-TQ1_0.gguf",
]
GGML_ORG = ["README.md", "SmolVLM-500M-Instruct-Q8_0.gguf", "mmproj-SmolVLM-500M-Instruct-Q8_0.gguf"]
DIRECTORIES = ["f16/model.gguf", "q4_k_m/model.gguf", "Q6_K/model.gguf", "Q6_K_L/model.gguf"]
LOWER_CASE = ["qwen2.5-0.5b-instruct-fp16.gguf", "qwen2.5-0.5b-instruct-q4_k_m.gguf", "qwen2.5-0.5b-instruct-q8_0.gguf"]
MRADERMACHER = ["Model.i1-IQ1_S.gguf", "Model.i1-Q4_K_M.gguf", "Model.imatrix.gguf"]
MXFP4 = ["gpt-oss-20b-mxfp4.gguf"]
TWO_MODELS = ["a-Q4_K_M.gguf", "b-Q4_K_M.gguf", "b-Q8_0.gguf"]
GOLIATH = ["goliath-120b.Q2_K.gguf", "goliath-120b.Q6_K.gguf-split-a", "goliath-120b.Q6_K.gguf-split-b"]
PIECES = ["README.md", "model-Q8_0.gguf.part1of2", "model-Q8_0.gguf.part2of2"]
SAFETENSORS = ["README.md", "config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
COMPANIONS = ["mmproj-F16.gguf", "mmproj/model.gguf", "Model-MTP-Q4_K_M.gguf", "eagle3-x.gguf", "DFlash-x.GGUF"]
CASES = ["Model.gguf", "model.gguf", "MODEL-Q8_0.gguf"]
LISTINGS = [
    THEBLOKE, BARTOWSKI, UNSLOTH, DEEPSEEK, GGML_ORG, DIRECTORIES, LOWER_CASE, MRADERMACHER, MXFP4, TWO_MODELS,
    GOLIATH, PIECES, SAFETENSORS, COMPANIONS, CASES, [],
]  # fmt: skip


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


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        (None, DEEPSEEK[3:5]),
        ("BF16", DEEPSEEK[:3]),
        ("UD-Q4_K_XL", DEEPSEEK[5:7]),
        ("BF16/DeepSeek-V3-BF16-00002-of-00003.gguf", DEEPSEEK[:3]),
    ],
)
def test_all_parts_of_a_split_model_are_meant(selector: str | None, expected: list[str]) -> None:
    assert select(DEEPSEEK[::-1], selector) == tuple(expected)


FOLDERS = [
    "Model-Q4_K_M.gguf",
    *(f"UD-IQ1_S/Model-UD-IQ1_S-{number:05}-of-00003.gguf" for number in (1, 2, 3)),
    "UD-IQ1_S/mmproj-F16.gguf",
    "v2/Q5_K_M/a.gguf",
    "v2/Q6_K/a.gguf",
    "MTP/mtp-Model-Q8_0.gguf",
    "onnx/model.onnx",
    "raw/x-Q8_0.gguf.part1of2",
    "X/x.gguf",
    "x/x.gguf",
]


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("UD-IQ1_S/", FOLDERS[1:4]),
        ("ud-iq1_s/", FOLDERS[1:4]),
        ("v2/Q6_K/", ["v2/Q6_K/a.gguf"]),
        ("MTP/", ["MTP/mtp-Model-Q8_0.gguf"]),
        ("x/", ["x/x.gguf"]),
    ],
)
def test_a_directory_means_the_model_in_it(selector: str, expected: list[str]) -> None:
    assert select(FOLDERS[::-1], selector) == tuple(expected)


@pytest.mark.parametrize(
    ("selector", "error", "says"),
    [
        ("v2/", AmbiguousModel, r"2 models fit v2/: v2/Q5_K_M/a\.gguf, v2/Q6_K/a\.gguf; name one by its path, as"),
        ("V2/q5_k_m/a/", SourceNotFound, r"the directory V2/q5_k_m/a/ is not there; the repository has MTP/mtp-Model"),
        ("IQ1_S/", SourceNotFound, r"IQ1_S/ is not there; the repository has .*UD-IQ1_S/Model-UD-IQ1_S-00001"),
        ("onnx/", SourceNotFound, r"onnx/ holds no GGUF file, only 1 × \.onnx; the repository has"),
        ("raw/", UnsupportedSource, r"raw pieces"),
        ("Model-Q4_K_M.gguf/", SourceNotFound, r"is not there"),
    ],
)  # fmt: skip
def test_a_directory_without_one_model_lists_what_is_there(
    selector: str, error: type[ProvisionError], says: str
) -> None:
    with pytest.raises(error, match=says):
        select(FOLDERS, selector)


def test_directories_that_differ_in_case_are_told_apart() -> None:
    with pytest.raises(AmbiguousModel, match=r"2 models fit AB/: Ab/x\.gguf, aB/x\.gguf"):
        select(["Ab/x.gguf", "aB/x.gguf"], "AB/")


@pytest.mark.parametrize("selector", ["Q8_0", "Q8_0/DeepSeek-V3-Q8_0-00003-of-00003.gguf"])
def test_missing_parts_are_named(selector: str) -> None:
    with pytest.raises(IncompleteModel, match=r"1 of 3 parts .*: Q8_0/DeepSeek-V3-Q8_0-00002-of-00003\.gguf; choose"):
        select(DEEPSEEK, selector)


def test_a_name_that_claims_very_many_parts_costs_little() -> None:
    paths = [f"m{number}-00001-of-04096.gguf" for number in range(2000)]
    with pytest.raises(IncompleteModel, match=r"4095 of 4096 parts .* and 4075 more"):
        select(paths, "m7-00001-of-04096.gguf")


@pytest.mark.parametrize("there", [1, 4097])
def test_a_model_of_too_many_parts_is_refused(there: int) -> None:
    parts = [f"m-{number:05}-of-04097.gguf" for number in range(1, there + 1)]
    for selector in (None, parts[0]):
        with pytest.raises(UnsupportedSource, match=r"m-00001-of-04097\.gguf is one of 4097 parts, .* may have 4096: "):
            select(parts, selector)
    assert other_models([*parts, "x.gguf"], ["x.gguf"]) == []


def test_a_model_of_the_most_parts_is_selected() -> None:
    parts = tuple(f"m-{number:05}-of-04096.gguf" for number in range(1, 4097))
    assert select(parts[::-1], None) == parts
    assert other_models([*parts, "x.gguf"], ["x.gguf"]) == [parts]


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


@pytest.mark.parametrize(
    ("paths", "selector"),
    [
        (GOLIATH, "Q6_K"),
        (PIECES, None),
        (PIECES, "Q8_0"),
        (PIECES, "x.gguf"),
        (["mmproj-Q8_0.gguf", *PIECES], None),
        (["mmproj-Q8_0.gguf", *PIECES], "Q8_0"),
    ],
)
def test_raw_pieces_are_told_apart(paths: list[str], selector: str | None) -> None:
    with pytest.raises(UnsupportedSource, match=r"raw pieces.*\.gguf[.-](split-a|part1of2), "):
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


def outcome(listing: list[str], selector: str | None) -> tuple[str, ...] | str:
    try:
        return select(listing, selector)
    except ProvisionError as error:
        return f"{error.reason}: {error.message}"


@pytest.mark.parametrize("listing", [THEBLOKE, BARTOWSKI, UNSLOTH, DEEPSEEK, DIRECTORIES, LOWER_CASE, TWO_MODELS])
def test_the_examples_of_an_ambiguity_work(listing: list[str]) -> None:
    without_defaults = [path for path in [*listing, "other.gguf"] if not re.search("q4_k_m|q8_0", path, re.IGNORECASE)]
    listing = [*without_defaults, "other-F16.gguf", "other-BF16.gguf"]
    with pytest.raises(AmbiguousModel) as ambiguous:
        select(listing, None)
    examples = [example.split(", or ")[0] for example in ambiguous.value.message.split("as in :")[1:]]
    assert examples
    assert len({select(listing, example) for example in examples}) == 1


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("tinyllama-1.1b-chat-v1.0.Q4_K_M.gguf", "Q4_K_M"),
        ("qwen2.5-0.5b-instruct-q4_0.gguf", "Q4_0"),
        ("gemma-3-4b-it-UD-Q4_K_XL.gguf", "UD-Q4_K_XL"),
        ("UD-IQ1_S/x-00001-of-00002.gguf", "UD-IQ1_S"),
        ("Q8_0/x-Q5_0-00001-of-00002.gguf", "Q5_0"),
        ("x-IQ4_XS.gguf", "IQ4_XS"),
        ("x-IQ4_NL.gguf", "IQ4_NL"),
        ("x-IQ2_XXS.gguf", "IQ2_XXS"),
        ("x-Q4_0_4_8.gguf", "Q4_0_4_8"),
        ("x-TQ2_0.gguf", "TQ2_0"),
        ("gpt-oss-20b-MXFP4.gguf", "MXFP4"),
        ("x-MXFP4_MOE.gguf", "MXFP4_MOE"),
        ("x-bf16.gguf", "BF16"),
        ("x-fp16.gguf", "FP16"),
        ("x-f32-q8_0.gguf", "Q8_0"),
        ("model_Q6_K_imat.gguf", "Q6_K"),
        ("model.gguf", None),
        ("cloudf16.gguf", None),
        ("Q4/x.gguf", None),
        ("", None),
    ],
)
def test_the_label_for_people(path: str, expected: str | None) -> None:
    assert quantization_of(path) == expected
