"""The multimodal projector that fits a model, with file lists like those of publishers on the hub."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_provisioner.domain.errors import AmbiguousModel, InvalidRef, ProvisionError, SourceNotFound
from model_provisioner.domain.model_files.projectors import projector_of
from tests.domain.model_files.listings import GGML_ORG, LISTINGS, THEBLOKE, UNSLOTH

GEMMA = [
    "README.md",
    "gemma-3-4b-it-Q4_K_M.gguf",
    "gemma-3-4b-it-Q8_0.gguf",
    "gemma-3-4b-it-f16.gguf",
    "mmproj-model-f16.gguf",
]
GEMMA_QAT = ["gemma-3-4b-it-q4_0.gguf", "mmproj-model-f16-4B.gguf"]
IN_DIRECTORIES = [
    *(f"BF16/Qwen3-VL-235B-BF16-{number:05}-of-00002.gguf" for number in (1, 2)),
    *(f"Q4_K_M/Qwen3-VL-235B-Q4_K_M-{number:05}-of-00002.gguf" for number in (1, 2)),
    *(f"mmproj-{name}.gguf" for name in ("BF16", "F16", "F32")),
]
TWO_DIRECTORIES = [
    "4b/gemma-4b-Q4_K_M.gguf", "4b/mmproj-4b-f16.gguf", "12b/gemma-12b-Q4_K_M.gguf", "12b/mmproj-12b-f16.gguf",
    "12b/deep/gemma-12b-Q8_0.gguf", "mmproj-other-Q8_0.gguf", "27b/gemma-27b-Q4_K_M.gguf",
]  # fmt: skip
MRADERMACHER = ["X.Q4_K_M.gguf", "X.mmproj-Q8_0.gguf", "X.mmproj-f16.gguf"]
XTUNER = ["llava-llama-3-8b-v1_1-int4.gguf", "llava-llama-3-8b-v1_1-f16.gguf", "llava-llama-3-8b-v1_1-mmproj-f16.gguf"]
BELOW = ["x-F16.gguf", "mmproj-Q8_0.gguf", "mmproj-Q4_0.gguf"]
UNNAMED = ["x-Q8_0.gguf", "mmproj-x.gguf", "mmproj-x-f32.gguf"]
SPLIT = ["x-Q8_0.gguf", "mmproj-x-f16-00001-of-00002.gguf", "mmproj-x-f16-00002-of-00002.gguf", "mmproj-x-f32.gguf"]

TABLE: dict[str, tuple[list[str], str, str]] = {
    "ggml-org, one projector": (GEMMA, "gemma-3-4b-it-Q4_K_M.gguf", "mmproj-model-f16.gguf"),
    "ggml-org, a projector of 8 bits": (GGML_ORG, GGML_ORG[1], GGML_ORG[2]),
    "google, more after the precision": (GEMMA_QAT, GEMMA_QAT[0], GEMMA_QAT[1]),
    "unsloth, F16 before BF16 and F32": (UNSLOTH, "gemma-3-4b-it-Q4_K_M.gguf", "mmproj-F16.gguf"),
    "unsloth, of a BF16 model": (UNSLOTH, "gemma-3-4b-it-BF16.gguf", "mmproj-BF16.gguf"),
    "unsloth, UD-": (UNSLOTH, "gemma-3-4b-it-UD-Q4_K_XL.gguf", "mmproj-F16.gguf"),
    "unsloth, of an F16 model": ([*UNSLOTH, "x-F16.gguf"], "x-F16.gguf", "mmproj-F16.gguf"),
    "unsloth, of an F32 model": ([*UNSLOTH, "x-F32.gguf"], "x-F32.gguf", "mmproj-F32.gguf"),
    "unsloth, of an fp16 model": ([*UNSLOTH, "x-fp16.gguf"], "x-fp16.gguf", "mmproj-F16.gguf"),
    "unsloth, of an unnamed precision": ([*UNSLOTH, "x.gguf"], "x.gguf", "mmproj-F16.gguf"),
    "quantisations in directories": (IN_DIRECTORIES, IN_DIRECTORIES[2], "mmproj-F16.gguf"),
    "the precision of the directory": (IN_DIRECTORIES, IN_DIRECTORIES[0], "mmproj-BF16.gguf"),
    "the model's own directory": (TWO_DIRECTORIES, TWO_DIRECTORIES[0], "4b/mmproj-4b-f16.gguf"),
    "another one's own directory": (TWO_DIRECTORIES, TWO_DIRECTORIES[2], "12b/mmproj-12b-f16.gguf"),
    "the nearest parent": (TWO_DIRECTORIES, "12b/deep/gemma-12b-Q8_0.gguf", "12b/mmproj-12b-f16.gguf"),
    "only the root has one": (TWO_DIRECTORIES, "27b/gemma-27b-Q4_K_M.gguf", "mmproj-other-Q8_0.gguf"),
    "a directory that begins alike": (
        ["4b/x.gguf", "4bit/mmproj-a.gguf", "mmproj-b.gguf"],
        "4b/x.gguf",
        "mmproj-b.gguf",
    ),
    "mradermacher, the nearest above": (MRADERMACHER, "X.Q4_K_M.gguf", "X.mmproj-Q8_0.gguf"),
    "mradermacher, not below": ([*MRADERMACHER, "X.bf16.gguf"], "X.bf16.gguf", "X.mmproj-f16.gguf"),
    "xtuner, the word inside": (XTUNER, XTUNER[0], XTUNER[2]),
    "all below: the highest": (BELOW, "x-F16.gguf", "mmproj-Q8_0.gguf"),
    "an unnamed one has 16 bits": (UNNAMED, "x-Q8_0.gguf", "mmproj-x.gguf"),
    "a split one can't be loaded": (SPLIT, "x-Q8_0.gguf", "mmproj-x-f32.gguf"),
    "other letter case": (["x-Q8_0.gguf", "MMPROJ-X-F16.GGUF"], "x-Q8_0.gguf", "MMPROJ-X-F16.GGUF"),
}


@pytest.mark.parametrize(("listing", "model", "expected"), TABLE.values(), ids=TABLE)
def test_the_projector_that_fits(listing: list[str], model: str, expected: str) -> None:
    assert projector_of(listing, model) == expected
    assert projector_of(listing[::-1], model) == expected


@pytest.mark.parametrize(
    ("listing", "says"),
    [
        (
            ["x-Q4_K_M.gguf", "mmproj-7b-f16.gguf", "mmproj-13b-f16.gguf"],
            r"^2 projectors fit x-Q4_K_M\.gguf equally well: mmproj-13b-f16\.gguf, mmproj-7b-f16\.gguf; ask for no "
            r"projector \(`None`, .*\), and fetch one of them by its path as a model of its own, as in :mmproj-13b",
        ),
        (["x-Q4_K_M.gguf", "mmproj-bf16.gguf", "mmproj.gguf"], "^2 projectors fit"),
        (["x-Q8_0.gguf", "mmproj-a-Q8_0.gguf", "mmproj-b-q8_0.gguf"], "^2 projectors fit"),
        (["x-Q2_K.gguf", "mmproj-Q4_0.gguf", "mmproj-Q4_1.gguf"], "^2 projectors fit"),
    ],
)
def test_projectors_that_fit_equally_well_are_listed(listing: list[str], says: str) -> None:
    with pytest.raises(AmbiguousModel, match=says):
        projector_of(listing, listing[0])


@pytest.mark.parametrize(
    ("listing", "model", "says"),
    [
        (
            THEBLOKE,
            THEBLOKE[3],
            r"no multimodal projector .*mmproj.* reads text only: ask for no projector .* or name a",
        ),
        (
            ["a/x.gguf", "b/mmproj-F16.gguf"],
            "a/x.gguf",
            r"no projector in the directory of a/x\.gguf or above it, only b/mmproj-F16\.gguf; ask .* as in :b/mmproj",
        ),
        (["x.gguf", "mmproj/mmproj-F16.gguf"], "x.gguf", r"only mmproj/mmproj-F16\.gguf"),
        (["x.gguf", "mmproj/x-F16.gguf", "mmproj.txt"], "x.gguf", "the repository has no multimodal projector"),
    ],
)
def test_a_model_without_a_projector_is_told_so(listing: list[str], model: str, says: str) -> None:
    with pytest.raises(SourceNotFound, match=says):
        projector_of(listing, model)


def test_a_projector_has_no_projector() -> None:
    with pytest.raises(InvalidRef, match=r"^mmproj-F16\.gguf is a projector itself: ask for no projector"):
        projector_of(UNSLOTH, "mmproj-F16.gguf")


@given(
    listing=st.sampled_from(LISTINGS).flatmap(st.permutations), model=st.sampled_from(["x-Q4_K_M.gguf", "Q6_K/x.gguf"])
)
def test_the_order_of_the_listing_never_matters(listing: list[str], model: str) -> None:
    assert _outcome(listing, model) == _outcome(sorted(listing), model)


@pytest.mark.parametrize(
    "name", ["mmproj" * 50_000 + ".gguf", "mmproj-Q4_K" * 30_000 + ".gguf", "a/" * 150_000 + "mmproj.gguf"]
)
def test_a_long_name_is_judged_in_linear_time(name: str) -> None:
    began = time.monotonic()
    _outcome([name, "x-Q4_K_M.gguf"], "x-Q4_K_M.gguf")
    assert time.monotonic() - began < 3


def _outcome(listing: list[str], model: str) -> str:
    try:
        return projector_of(listing, model)
    except ProvisionError as error:
        return f"{error.reason}: {error.message}"
