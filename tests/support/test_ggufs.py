"""The `gguf` package reads the files that tests use as models."""

import struct
from pathlib import Path

import pytest
from gguf import GGUFReader, GGUFValueType, LlamaFileType

from tests.support.ggufs import tiny_gguf, write_gguf, write_split


def array_length(path: Path, key: bytes) -> int:
    """The number of tokens, read from the bytes after the key: GGUFReader takes ten seconds for the largest one."""
    data = path.read_bytes()
    kind, _, length = struct.unpack_from("<IIQ", data, data.index(key) + len(key))
    assert kind == GGUFValueType.ARRAY
    return int(length)


@pytest.mark.parametrize(
    ("architecture", "vocabulary", "companion"),
    [("llama", 32_000, b"scores"), ("qwen2", 151_936, b"merges"), ("gemma3", 262_144, b"scores")],
)
def test_a_model_has_a_tokenizer_of_the_size_of_its_architecture(
    tmp_path: Path, architecture: str, vocabulary: int, companion: bytes
) -> None:
    path = write_gguf(tmp_path / "model.gguf", architecture=architecture)
    assert array_length(path, b"tokenizer.ggml.tokens") == vocabulary
    assert array_length(path, b"tokenizer.ggml." + companion) == vocabulary


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "gemma3"])
def test_a_model_says_what_it_is(tmp_path: Path, architecture: str) -> None:
    path = write_gguf(
        tmp_path / "model.gguf", architecture=architecture, name="A Model", vocabulary=16, context_length=8192
    )
    fields = GGUFReader(path).fields
    assert fields["general.architecture"].contents() == architecture
    assert fields["general.name"].contents() == "A Model"
    assert fields["general.license"].contents() == "apache-2.0"
    assert fields["general.file_type"].contents() == LlamaFileType.MOSTLY_Q4_K_M
    assert fields[f"{architecture}.context_length"].contents() == 8192
    assert "message.role" in fields["tokenizer.chat_template"].contents()


@pytest.mark.parametrize("file_type", [LlamaFileType.MOSTLY_F16, LlamaFileType.MOSTLY_Q8_0, LlamaFileType.MOSTLY_Q2_K])
def test_weights_have_the_size_that_was_asked_for(tmp_path: Path, file_type: LlamaFileType) -> None:
    path = write_gguf(tmp_path / "model.gguf", file_type=file_type, vocabulary=16, size=3_000_000)
    reader = GGUFReader(path)
    assert reader.fields["general.file_type"].contents() == file_type
    assert 3_000_000 <= sum(tensor.n_bytes for tensor in reader.tensors) < 3_100_000


def test_the_same_seed_makes_the_same_bytes_and_no_two_places_hold_the_same() -> None:
    assert tiny_gguf() == tiny_gguf() != tiny_gguf(seed=1)
    data = tiny_gguf(size=4 * 1024 * 1024)[-4 * 1024 * 1024 :]
    blocks = [data[start : start + 64] for start in range(0, len(data) - 64, 4096)]
    assert len(set(blocks)) == len(blocks)


def test_the_parts_of_a_split_model_know_of_each_other(tmp_path: Path) -> None:
    paths = write_split(tmp_path, "model", parts=3)
    assert [path.name for path in paths] == [f"model-0000{number}-of-00003.gguf" for number in (1, 2, 3)]
    for number, path in enumerate(paths):
        reader = GGUFReader(path)
        keys = ("split.no", "split.count", "split.tensors.count")
        assert [reader.fields[key].contents() for key in keys] == [number, 3, 3]
        assert len(reader.tensors) == 1
