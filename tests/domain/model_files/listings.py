"""File lists like those of publishers, and what a selector means in one."""

from model_provisioner.domain.errors import ProvisionError
from model_provisioner.domain.model_files.selection import select

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


def outcome(listing: list[str], selector: str | None) -> tuple[str, ...] | str:
    """The paths that are selected, or the error."""
    try:
        return select(listing, selector)
    except ProvisionError as error:
        return f"{error.reason}: {error.message}"
