"""File listings with projectors, importance matrices and drafters, or with models that are named like these.

The listings follow those of publishers on the hub. What is expected is the file that a user of `hf download` or of
`llama-server -hf` wants; the comments say where llama.cpp itself differs. None: an error that lists the files.
"""

import pytest

from model_provisioner.domain.errors import AmbiguousModel, SourceNotFound
from model_provisioner.domain.model_files.selection import other_models, select, selector_of

SEVEN = ("Seven-35B-MTP-Q4_K_M.gguf", "Seven-35B-MTP-Q8_0.gguf", "Seven-35B-MTP-UD-Q4_K_XL.gguf")
GEMMA = ("gemma-4-26B-A4B-it-Q4_K_M.gguf", "gemma-4-26B-A4B-it-UD-Q4_K_XL.gguf")
LLAVA = ("llava-v1.5-7b-Q4_K_M.gguf", "llava-v1.5-7b-Q5_K_M.gguf")
STEP = ("Step-3.7-Flash-UD-IQ4_XS.gguf", "Step-3.7-Flash-MTP-Q8_0.gguf")
MATRIX = ("GLM-4.6V-Flash-heretic-imatrix-Q4_K_M.gguf", "GLM-4.6V-Flash-heretic-imatrix-IQ4_XS.gguf")
SPLIT = ("Big-MTP-Q5_K_M/Big-MTP-Q5_K_M-00001-of-00002.gguf", "Big-MTP-Q5_K_M/Big-MTP-Q5_K_M-00002-of-00002.gguf")

TABLE: dict[str, tuple[tuple[str, ...], str | None, str | None]] = {
    # Models with prediction layers: MTP is a part of the model's name. llama.cpp leaves the lower-case ones alone.
    "one model named MTP": (("Seven-35B-MTP-Q8_0.gguf",), None, "Seven-35B-MTP-Q8_0.gguf"),
    "models named MTP": (SEVEN, None, "Seven-35B-MTP-Q4_K_M.gguf"),
    "models named MTP, one of them": (SEVEN, "Q8_0", "Seven-35B-MTP-Q8_0.gguf"),
    "models named MTP, with UD-": (SEVEN, "UD-Q4_K_XL", "Seven-35B-MTP-UD-Q4_K_XL.gguf"),
    "models named MTP, UD- left out": (SEVEN, "Q4_K_XL", "Seven-35B-MTP-UD-Q4_K_XL.gguf"),
    "models named mtp": (("qwen3.5-9b-mtp-q5_k_m.gguf",), None, "qwen3.5-9b-mtp-q5_k_m.gguf"),
    "models named MTP, a projector": (("mmproj-BF16.gguf", *SEVEN), "BF16", None),
    "one model named MTP, a projector": (("mmproj-F16.gguf", SEVEN[1]), None, SEVEN[1]),
    "one model named MTP, a projector named so too": (
        ("Seven-35B-MTP-Q5_K_M.gguf", "Seven-35B-MTP-mmproj-F16.gguf"),
        None,
        "Seven-35B-MTP-Q5_K_M.gguf",
    ),
    "one model named MTP, a matrix named so too": (
        ("Seven-35B-MTP-Q5_K_M.gguf", "Seven-35B-MTP-imatrix.gguf"),
        None,
        "Seven-35B-MTP-Q5_K_M.gguf",
    ),
    "models named MTP, the layers alone": (
        ("MTP-Q8_0.gguf", "Qwen3.6-27B-MTP-UD-Q4_K_XL.gguf"),
        None,
        "Qwen3.6-27B-MTP-UD-Q4_K_XL.gguf",
    ),
    "the layers alone are not asked for": (("MTP-Q8_0.gguf", "Qwen3.6-27B-MTP-UD-Q4_K_XL.gguf"), "Q8_0", None),
    "split and named MTP": (SPLIT, None, SPLIT[0]),
    "with and without MTP": (("Seven-35B-Q4_K_M.gguf", *SEVEN), None, "Seven-35B-Q4_K_M.gguf"),
    "with MTP only in this quantisation": (("Seven-35B-Q4_K_M.gguf", *SEVEN), "Q8_0", "Seven-35B-MTP-Q8_0.gguf"),
    "a drafter named inside": (STEP, None, "Step-3.7-Flash-UD-IQ4_XS.gguf"),
    # Drafters beside their model.
    "mtp- in front": (("mtp-Qwen3.6-27B-Q8_0.gguf", "Qwen3.6-27B-Q6_K.gguf"), None, "Qwen3.6-27B-Q6_K.gguf"),
    "mtp- in front is not asked for": (("mtp-Qwen3.6-27B-Q8_0.gguf", "Qwen3.6-27B-Q6_K.gguf"), "Q8_0", None),
    "a directory MTP": ((*GEMMA, "MTP/gemma-4-26B-A4B-it-MTP-Q8_0.gguf"), None, GEMMA[0]),
    "a directory MTP is not asked for": ((*GEMMA, "MTP/gemma-4-26B-A4B-it-MTP-Q8_0.gguf"), "Q8_0", None),
    "eagle3- in front": (("eagle3-gpt-oss-20b-Q8_0.gguf", "gpt-oss-20b-mxfp4.gguf"), None, "gpt-oss-20b-mxfp4.gguf"),
    "eagle3 inside": (("gpt-oss-20b-EAGLE3-Q4_K_M.gguf", "gpt-oss-20b-mxfp4.gguf"), None, "gpt-oss-20b-mxfp4.gguf"),
    "dspark- in front": (("dspark-Bonsai-27B-Q4_K_M.gguf", "Bonsai-27B-Q2_K.gguf"), None, "Bonsai-27B-Q2_K.gguf"),
    "DFlash inside": (("MiMo-V2.6-DFlash-Q8_0.gguf", "MiMo-V2.6-MXFP4.gguf"), None, "MiMo-V2.6-MXFP4.gguf"),
    "DFlash inside is not asked for": (("MiMo-V2.6-DFlash-Q8_0.gguf", "MiMo-V2.6-MXFP4.gguf"), "Q8_0", None),
    # Repositories of drafters, projectors or matrices only.
    "only drafters named inside": (
        ("qwen36-35b-a3b-dflash-Q6_K.gguf", "qwen36-35b-a3b-dflash-Q8_0.gguf"),
        "Q6_K",
        "qwen36-35b-a3b-dflash-Q6_K.gguf",
    ),
    "only a drafter named in front": (("eagle3-qwen3-8b-f16.gguf",), None, "eagle3-qwen3-8b-f16.gguf"),
    "drafters named inside, a projector": (
        ("mmproj-f16.gguf", "X-dflash-Q5_K_M.gguf"),
        None,
        "X-dflash-Q5_K_M.gguf",
    ),
    "only a projector": (("mmproj-model-f16.gguf",), None, "mmproj-model-f16.gguf"),
    "only projectors": (("mmproj-BF16.gguf", "mmproj-F16.gguf"), None, None),
    "only projectors, one of them": (("mmproj-BF16.gguf", "mmproj-F16.gguf"), "F16", "mmproj-F16.gguf"),
    "only a matrix": (("Qwen3-8B.imatrix.gguf",), None, "Qwen3-8B.imatrix.gguf"),
    # Projectors.
    "mmproj in front": (("mmproj-model-f16.gguf", "ggml-model-q4_k.gguf"), None, "ggml-model-q4_k.gguf"),
    "mmproj in front, by its type": (("mmproj-model-f16.gguf", "ggml-model-q4_k.gguf"), "F16", None),
    "mmproj inside": ((*LLAVA, "llava-v1.5-7b-mmproj-f16.gguf"), "F16", None),
    "mmproj inside, one model": ((LLAVA[1], "llava-v1.5-7b-mmproj-Q8_0.gguf"), None, LLAVA[1]),
    "mmproj at the end": (("ggml-model-f16-mmproj.gguf", "ggml-model-Q5_K_M.gguf"), None, "ggml-model-Q5_K_M.gguf"),
    "mmproj at the end, F16": (("ggml-model-f16-mmproj.gguf", "ggml-model-f16.gguf"), "f16", "ggml-model-f16.gguf"),
    "mmproj as an extension": (("Qwen3.5-2B-Q8_0.mmproj.gguf", "Qwen3.5-2B-Q8_0.gguf"), None, "Qwen3.5-2B-Q8_0.gguf"),
    "mmproj glued": (("cpm-mmprojQ8_0.gguf", "cpm_mmproj-Q4_K_M.gguf", "cpm-Q6_K.gguf"), None, "cpm-Q6_K.gguf"),
    "mmproj by the hundred": ((*(f"mmproj-{n}.gguf" for n in range(100)), "x.gguf"), None, "x.gguf"),
    "mmproj in a directory": (("mmproj/model-Q4_K_M.gguf", "Q5_K_M/model.gguf"), None, "Q5_K_M/model.gguf"),
    "mmproj in a deeper directory": (("v2/MMPROJ/model-Q4_K_M.gguf", "v2/model-Q5_K_M.gguf"), "Q4_K_M", None),
    # Importance matrices, and models that were quantised with one. llama.cpp leaves both alone.
    "imatrix at the end": (("Llama-3.2-1B-imatrix.gguf", "Llama-3.2-1B-Q6_K.gguf"), None, "Llama-3.2-1B-Q6_K.gguf"),
    "imatrix as an extension": (("Model.i1-IQ1_S.gguf", "Model.imatrix.gguf"), None, "Model.i1-IQ1_S.gguf"),
    "imatrix of the unquantised model": (("Model-f16-imatrix.gguf", "Model-Q6_K.gguf"), "F16", None),
    "imatrix in front": (("imatrix_unsloth.gguf", "gemma-3-4b-it-Q2_K.gguf"), None, "gemma-3-4b-it-Q2_K.gguf"),
    "imatrix in front of a quantisation": (("imatrix-Q4_K_M.gguf", "qwen3-0.6b-Q5_K_M.gguf"), "Q4_K_M", None),
    "imatrix in a directory": (("imatrix/Model.gguf", "Model-Q3_K_S.gguf"), None, "Model-Q3_K_S.gguf"),
    "quantised with a matrix": (MATRIX, None, MATRIX[0]),
    "quantised with a matrix, one of them": (MATRIX, "IQ4_XS", MATRIX[1]),
    "quantised with a matrix, beside it": ((*MATRIX[1:], "GLM-4.6V-Flash-heretic-imatrix.gguf"), None, MATRIX[1]),
    "quantised with and without": (("Model-imatrix-Q4_K_M.gguf", "Model-Q4_K_M.gguf"), None, "Model-Q4_K_M.gguf"),
    "the matrix at the end": (("Model-Q4_K_M-imatrix.gguf", "mmproj-f16.gguf"), None, "Model-Q4_K_M-imatrix.gguf"),
    # Names that only contain the letters.
    "letters of a longer word": (("Unimatrix-7B-Q4_K_M.gguf", "smtp-7B-Q8_0.gguf"), "Q8_0", "smtp-7B-Q8_0.gguf"),
    "letters of a model's name": (("Unimatrix-7B-Q4_K_M.gguf",), None, "Unimatrix-7B-Q4_K_M.gguf"),
}  # fmt: skip


@pytest.mark.parametrize(("listing", "selector", "expected"), TABLE.values(), ids=TABLE)
def test_the_model_is_told_from_its_companions(
    listing: tuple[str, ...], selector: str | None, expected: str | None
) -> None:
    if expected is not None:
        assert select([*listing, "README.md"], selector)[0] == expected
        return
    with pytest.raises((AmbiguousModel, SourceNotFound)) as refused:
        select([*listing, "README.md"], selector)
    assert ".gguf" in refused.value.message


@pytest.mark.parametrize("listing", [listing for listing, _, _ in TABLE.values()], ids=TABLE)
def test_every_companion_can_be_named_by_its_path(listing: tuple[str, ...]) -> None:
    for path in listing:
        assert path in select(listing, path)


@pytest.mark.parametrize("listing", [listing for listing, _, _ in TABLE.values()], ids=TABLE)
def test_what_is_offered_instead_can_be_selected(listing: tuple[str, ...]) -> None:
    for model in other_models(listing, []):
        assert select(listing, selector_of(listing, model)) == model


def test_a_variant_is_offered_and_a_companion_is_not() -> None:
    listing = ["Seven-Q4_K_M.gguf", "Seven-MTP-Q8_0.gguf", "mtp-Seven-Q8_0.gguf", "Seven-mmproj-F16.gguf"]
    assert other_models(listing, select(listing, None)) == [("Seven-MTP-Q8_0.gguf",)]
