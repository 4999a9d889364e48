"""The quantisation that a path names."""

import pytest

from model_provisioner.domain.model_files.quantizations import quantization_of


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
