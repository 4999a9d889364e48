"""GGUF files for tests, demo and benchmarks, made with the `gguf` package: real headers, random weights.

The same seed gives the same weights. They differ at every offset, so that bytes at a wrong place change the digest.
llama.cpp can read the headers and cannot run the models. Invalid headers are in `gguf_headers`.
"""

import functools
import random
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFWriter, LlamaFileType, TokenType

_WIDTH = 2048  # elements of a tensor's row; a multiple of every block size
_NOISE_BYTES = 1024 * 1024
_MOST_KEPT = 24 * 1024 * 1024
_TEMPLATE = "{% for message in messages %}<|{{ message.role }}|>\n{{ message.content }}</s>\n{% endfor %}"
_TENSOR_TYPES = {
    LlamaFileType.ALL_F32: GGMLQuantizationType.F32,
    LlamaFileType.MOSTLY_F16: GGMLQuantizationType.F16,
    LlamaFileType.MOSTLY_BF16: GGMLQuantizationType.BF16,
    LlamaFileType.MOSTLY_Q8_0: GGMLQuantizationType.Q8_0,
    LlamaFileType.MOSTLY_Q6_K: GGMLQuantizationType.Q6_K,
    LlamaFileType.MOSTLY_Q4_K_M: GGMLQuantizationType.Q4_K,
    LlamaFileType.MOSTLY_Q2_K: GGMLQuantizationType.Q2_K,
}


@dataclass(frozen=True)
class _Tokenizer:
    model: str
    vocabulary: int  # tokens that a real model of this architecture has
    merges: bool  # byte-pair merges instead of scores


_TOKENIZERS = {
    "llama": _Tokenizer("llama", 32_000, merges=False),
    "qwen2": _Tokenizer("gpt2", 151_936, merges=True),
    "gemma3": _Tokenizer("llama", 262_144, merges=False),
}


def write_gguf(
    path: Path,
    *,
    architecture: str = "llama",
    name: str = "Test Model",
    file_type: LlamaFileType = LlamaFileType.MOSTLY_Q4_K_M,
    vocabulary: int | None = None,
    size: int = 1024 * 1024,
    chat_template: str = _TEMPLATE,
    license: str = "apache-2.0",  # noqa: A002 - the word of the format
    context_length: int = 4096,
    base_model: str = "",
    seed: int = 0,
) -> Path:
    """Writes one model with at least `size` bytes of weights, plus its header; returns `path`.

    `architecture` is llama, qwen2 or gemma3. `vocabulary` is the number of tokens; None is the number of real models of
    the architecture (the header of qwen2 then has about 7 MB). An empty `chat_template` or `license` omits the key.
    `base_model` is the address of the repository of the model that this one was made of; empty: none.
    """
    writer = GGUFWriter(path, architecture)
    writer.add_name(name)
    writer.add_license(license)
    writer.add_file_type(file_type)
    writer.add_quantization_version(2)
    writer.add_context_length(context_length)
    if base_model:
        writer.add_base_model_count(1)
        writer.add_base_model_repo_url(0, base_model)
    _add_tokenizer(writer, _TOKENIZERS[architecture], vocabulary)
    writer.add_chat_template(chat_template)
    _write(writer, _TENSOR_TYPES[file_type], tensors=4, size=size, seed=seed)
    return path


def write_split(directory: Path, stem: str, parts: int = 3, *, size: int = 1024 * 1024, seed: int = 0) -> list[Path]:
    """Writes `<stem>-00001-of-0000N.gguf` and its siblings, `size` bytes of weights in all; returns them in order."""
    path = directory / f"{stem}.gguf"
    writer = GGUFWriter(path, "llama", split_max_tensors=1)
    writer.add_name(stem)
    writer.add_file_type(LlamaFileType.MOSTLY_Q4_K_M)
    writer.add_context_length(4096)
    _add_tokenizer(writer, _TOKENIZERS["llama"], 256)
    _write(writer, GGMLQuantizationType.Q4_K, tensors=parts, size=size, seed=seed)
    return writer.format_shard_names(path)


def tiny_gguf(architecture: str = "llama", *, size: int = 64 * 1024, seed: int = 0) -> bytes:
    """A whole model of about `size` bytes. The latest that are not huge are kept, because many modules use the same."""
    return (_tiny_gguf if size <= _MOST_KEPT else _tiny_gguf.__wrapped__)(architecture, size, seed)


@functools.lru_cache(maxsize=16)
def _tiny_gguf(architecture: str, size: int, seed: int) -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        return write_gguf(
            Path(directory) / "tiny.gguf", architecture=architecture, vocabulary=256, size=size, seed=seed
        ).read_bytes()


def tiny_projector(*, architecture: str = "clip", size: int = 32 * 1024, seed: int = 9) -> bytes:
    """A multimodal projector as `convert_hf_to_gguf.py --mmproj` writes it, without its many keys."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "mmproj.gguf"
        writer = GGUFWriter(path, architecture)
        writer.add_type("mmproj")
        writer.add_file_type(LlamaFileType.MOSTLY_F16)
        _write(writer, GGMLQuantizationType.F16, tensors=2, size=size, seed=seed)
        return path.read_bytes()


def tiny_adapter(*, size: int = 32 * 1024, seed: int = 8) -> bytes:
    """A LoRA adapter as `convert_lora_to_gguf.py` writes it."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "adapter.gguf"
        writer = GGUFWriter(path, "llama")
        writer.add_type("adapter")
        writer.add_string("adapter.type", "lora")
        writer.add_file_type(LlamaFileType.MOSTLY_F16)
        _write(writer, GGMLQuantizationType.F16, tensors=2, size=size, seed=seed)
        return path.read_bytes()


def _add_tokenizer(writer: GGUFWriter, tokenizer: _Tokenizer, vocabulary: int | None) -> None:
    count = tokenizer.vocabulary if vocabulary is None else vocabulary
    writer.add_tokenizer_model(tokenizer.model)
    writer.add_token_list([f"▁token{number}" for number in range(count)])
    writer.add_token_types([TokenType.NORMAL] * count)
    if tokenizer.merges:
        writer.add_token_merges([f"tok en{number}" for number in range(count)])
    else:
        writer.add_token_scores([-float(number) for number in range(count)])


def _write(writer: GGUFWriter, kind: GGMLQuantizationType, *, tensors: int, size: int, seed: int) -> None:
    block_elements, block_bytes = GGML_QUANT_SIZES[kind]
    row_bytes = _WIDTH // block_elements * block_bytes
    rows = -(-size // (tensors * row_bytes))
    for number in range(tensors):
        name = f"blk.{number}.ffn_up.weight"
        writer.add_tensor_info(name, (rows, _WIDTH), np.dtype(np.float32), rows * row_bytes, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    _write_weights(writer, seed)
    writer.close()


def _write_weights(writer: GGUFWriter, seed: int) -> None:
    noise = _noise(seed)
    for file, infos in zip(writer.fout or [], writer.tensors, strict=True):
        for info in infos.values():
            writer.write_padding(file, file.tell())
            for start in range(0, info.nbytes, _NOISE_BYTES):
                file.write(next(noise)[: info.nbytes - start])
        writer.write_padding(file, file.tell())


def _noise(seed: int) -> Iterator[memoryview]:
    """Blocks that all differ: one block of random bytes, each time from another offset."""
    block = memoryview(random.Random(seed).randbytes(_NOISE_BYTES) * 2)
    start = 0
    while True:
        yield block[start : start + _NOISE_BYTES]
        start = (start + 4099) % _NOISE_BYTES
