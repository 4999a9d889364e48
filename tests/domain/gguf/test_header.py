"""The header reader with files of the `gguf` package, and with hand-made invalid ones."""

import math
import struct
import time
import timeit
from dataclasses import replace
from pathlib import Path

import gguf
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from benchmarks.gguf_header import peak_bytes_apart
from model_provisioner.domain.errors import IncompleteModel, NotGGUF
from model_provisioner.domain.gguf import format as fmt
from model_provisioner.domain.gguf.header import GGUFHeader, Incomplete, Split, check_complete, combine, read_header
from model_provisioner.domain.model_facts import GGUFSummary
from model_provisioner.domain.quantity import MAX_INT64
from tests.support.cost import traced_peak
from tests.support.gguf_headers import (
    ARRAY,
    BOOL,
    F32,
    I32,
    STRING,
    U8,
    U16,
    U32,
    U64,
    array,
    header,
    pair,
    string,
    tensor,
)
from tests.support.ggufs import tiny_adapter, tiny_projector, write_gguf, write_split


def read(data: bytes, file_size: int | None = None) -> GGUFHeader:
    result = read_header(data, len(data) if file_size is None else file_size)
    assert isinstance(result, GGUFHeader), result
    return result


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    return write_gguf(path, name="Tiny Llama", vocabulary=3, size=1, context_length=2048).read_bytes()


def test_reads_what_the_gguf_package_writes(tiny: bytes, tmp_path: Path) -> None:
    (tmp_path / "tiny.gguf").write_bytes(tiny)
    theirs = gguf.GGUFReader(tmp_path / "tiny.gguf")

    ours = read(tiny)

    assert ours == GGUFHeader(
        version=3,
        tensor_count=len(theirs.tensors),
        data_offset=theirs.data_offset,
        tensors_end=max(tensor.data_offset + tensor.n_bytes for tensor in theirs.tensors),
        split=None,
        summary=GGUFSummary(
            architecture="llama",
            name="Tiny Llama",
            parameters=sum(int(tensor.n_elements) for tensor in theirs.tensors),
            quantization="Q4_K_M",
            context_length=2048,
            license="apache-2.0",
            chat_template=True,
        ),
    )
    check_complete(ours, len(tiny))


def test_no_chat_template(tmp_path: Path) -> None:
    data = write_gguf(tmp_path / "base.gguf", vocabulary=3, size=1, chat_template="").read_bytes()
    assert not read(data).summary.chat_template


def test_a_memoryview_and_surplus_bytes_are_read_alike(tiny: bytes) -> None:
    assert read_header(memoryview(tiny + b"surplus"), len(tiny)) == read(tiny)


def test_version_2_has_the_same_layout(tiny: bytes) -> None:
    assert read(tiny[:4] + struct.pack("<I", 2) + tiny[8:]).summary == read(tiny).summary


def test_a_custom_alignment_moves_the_data(tmp_path: Path) -> None:
    data = header((pair(b"general.alignment", U32, struct.pack("<I", 4096)),), (tensor(b"a", (4,)),))
    assert read(data).data_offset == 4096
    assert read(data).tensors_end == 4096 + 16


def test_a_file_without_tensors_ends_with_its_header() -> None:
    data = header((pair(b"general.type", STRING, string(b"model")),))
    assert read(data).tensors_end == len(data)
    check_complete(read(data), len(data))


def test_every_truncation_of_the_data_asks_for_more_of_the_file(tiny: bytes) -> None:
    whole = read(tiny)
    for length in range(len(tiny)):
        result = read_header(tiny[:length], len(tiny))
        if isinstance(result, Incomplete):
            assert length < result.needed <= whole.data_offset
        else:
            assert result == whole


def test_following_what_is_needed_ends_at_the_whole_header(tiny: bytes) -> None:
    have, steps = 0, 0
    result = read_header(b"", len(tiny))
    while isinstance(result, Incomplete):
        have, steps = result.needed, steps + 1
        result = read_header(tiny[:have], len(tiny))
    assert result == read(tiny)
    assert steps < 100


def test_every_truncation_of_the_file_is_refused(tiny: bytes) -> None:
    whole = read(tiny)
    for length in range(whole.tensors_end):
        with pytest.raises(NotGGUF, match=r"truncated|empty|bytes"):
            check_complete(read(tiny[:length], length), length)
    check_complete(whole, whole.tensors_end)


@pytest.fixture(scope="module")
def large_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("gguf") / "large.gguf", architecture="qwen2", size=1)


@pytest.fixture(scope="module")
def large(large_file: Path) -> bytes:
    return large_file.read_bytes()


def test_a_tokenizer_of_real_size_costs_little_time_and_memory(large: bytes) -> None:
    fastest = min(timeit.repeat(lambda: read(large), timer=time.process_time, number=1, repeat=3))
    with traced_peak() as peak:
        read(large)

    assert len(large) > 5_000_000
    assert fastest < 0.2, "seconds"
    assert peak() < 1_000_000, "bytes; nothing may be built from the arrays"


def test_a_process_that_reads_a_large_header_grows_by_less_than_40_mib(large_file: Path) -> None:
    assert peak_bytes_apart(large_file) < 40 * 1024**2


def test_a_first_range_of_a_large_header_asks_for_about_what_is_missing(large: bytes) -> None:
    result = read_header(large[:1_000_000], len(large))
    assert isinstance(result, Incomplete)
    assert result.needed > 1_500_000, "150,000 strings have lengths of eight bytes each"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 668788096\n", "git-lfs pointer"),
        (b"\n<!DOCTYPE html><html><head><title>Sign in</title></head></html>", "web page"),
        (b"<HTML><body>502 Bad Gateway</body></HTML>", "web page"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "XML"),
        (b'{"error": "Repository not found"}', "JSON"),
        (struct.pack("<Q", 14) + b'{"weight": {}}', "safetensors"),
        (b"PK\x03\x04" + bytes(60), "zip archive"),
        (b"\x80\x02}q\x00", "PyTorch"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"lmgg" + bytes(60), "GGML format"),
        (bytes(4096), "zero bytes"),
        (b"\x01\x02", "01 02"),
        (b"GGU", "47 47 55"),
        (b"gguf" + bytes(60), "67 67 75 66"),
        (header(version=1), "version 1 is not supported"),
        (header(version=4), "version 4 is not supported"),
        (header(version=0), "version 0 is not supported"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian"),
    ],
)
def test_says_what_was_found_instead(content: bytes, says: str) -> None:
    with pytest.raises(NotGGUF, match=says):
        read_header(content, len(content))


def test_a_projector_is_read_like_a_model() -> None:
    assert read(header((pair(b"general.type", STRING, string(b"mmproj")),))).tensor_count == 0


HUGE = 2**63 - 1
ALIGNMENT = b"general.alignment"
HOSTILE = {
    "keys beyond the limit": header(keys=fmt.MAX_KEYS + 1),
    "keys without end": header(keys=2**64 - 1),
    "keys that the file can't hold": header(keys=fmt.MAX_KEYS),
    "tensors without end": header(tensor_count=2**64 - 1),
    "tensors that the file can't hold": header(tensor_count=fmt.MAX_TENSORS),
    "a huge key": header((struct.pack("<Q", HUGE) + b"k",)),
    "a key that wraps around": header((struct.pack("<Q", 2**64 - 8) + b"k",)),
    "a huge string": header((pair(b"k", STRING, struct.pack("<Q", HUGE)),)),
    "a string above the limit": header((pair(b"k", STRING, string(bytes(fmt.MAX_STRING + 1))),)),
    "an array above the limit": header((pair(b"k", ARRAY, array(U8, fmt.MAX_ARRAY_ITEMS + 1)),)),
    "an array that the file can't hold": header((pair(b"k", ARRAY, array(U64, fmt.MAX_ARRAY_ITEMS)),)),
    "an array of huge strings": header((pair(b"k", ARRAY, array(STRING, 1, struct.pack("<Q", HUGE))),)),
    "an array in an array": header((pair(b"k", ARRAY, array(ARRAY, 1, array(U8, 0))),)),
    "an array of an unknown type": header((pair(b"k", ARRAY, array(13, 1, bytes(8))),)),
    "an unknown type": header((pair(b"k", 13, bytes(8)),)),
    "a key twice": header((pair(b"k", U8, b"1"), pair(b"k", U8, b"1"))),
    "alignment 0": header((pair(ALIGNMENT, U32, bytes(4)),)),
    "alignment 24": header((pair(ALIGNMENT, U32, struct.pack("<I", 24)),)),
    "alignment as a longer number": header((pair(ALIGNMENT, U64, struct.pack("<Q", 32)),)),
    "alignment as a string": header((pair(ALIGNMENT, STRING, string(b"32")),)),
    "alignment as an array": header((pair(ALIGNMENT, ARRAY, array(U32, 1, struct.pack("<I", 7))),)),
    "split without a count": header((pair(b"split.no", U16, bytes(2)),)),
    "split beyond its count": header(
        (
            pair(b"split.no", U16, struct.pack("<H", 3)),
            pair(b"split.count", U16, struct.pack("<H", 3)),
            pair(b"split.tensors.count", I32, bytes(4)),
        )
    ),
    "split as text": header(
        (
            pair(b"split.no", STRING, string(b"0")),
            pair(b"split.count", U16, struct.pack("<H", 3)),
            pair(b"split.tensors.count", I32, bytes(4)),
        )
    ),
    "five dimensions": header((), (tensor(b"a", (1, 1, 1, 1, 1)),)),
    "dimensions without end": header((), (tensor(b"a", (1,), rank=2**32 - 1),)),
    "a product that overflows": header((), (tensor(b"a", (2**32, 2**31)),)),
    "a product that wraps to nothing": header((), (tensor(b"a", (2**32, 2**32)),)),
    "a negative dimension": header((), (tensor(b"a", (2**64 - 1,)),)),
    "a negative dimension, hidden by an empty one": header((), (tensor(b"a", (2**64 - 1, 0)),)),
    "a sum that overflows": header((), (tensor(b"a", (2**62,), kind=99), tensor(b"b", (2**62,), kind=99))),
    "an empty key": header((pair(b"", U8, b"1"),)),
    "a name of 64 bytes": header((), (tensor(b"n" * 64, (1,)),)),
    "a type that was withdrawn": header((), (tensor(b"a", (32,), kind=4),)),
    "a negative type": header((), (tensor(b"a", (32,), kind=2**32 - 1),)),
    "a gap between two tensors": header((), (tensor(b"a", (8,)), tensor(b"b", (8,), offset=64))),
    "two tensors at one place": header((), (tensor(b"a", (8,)), tensor(b"b", (8,)))),
    "a misaligned offset behind a type yet unknown": header(
        (), (tensor(b"a", (1,), kind=99), tensor(b"b", (1,), offset=8))
    ),
    "a misaligned offset": header((), (tensor(b"a", (1,), offset=8),)),
    "a negative offset": header((), (tensor(b"a", (1,), offset=2**64 - 32),)),
    "half a block": header((), (tensor(b"a", (48,), kind=2),)),
    "a tensor twice": header((), (tensor(b"a", (1,)), tensor(b"a", (1,), offset=32))),
    "data beyond the file": header((), (tensor(b"a", (1,), offset=2**40),)),
    "a sum that overflows, one after the other": header(
        (), (tensor(b"a", (2**62,), kind=99), tensor(b"b", (2**62,), kind=99, offset=2**59))
    ),
    "parameters beyond the file, of a type yet unknown": header((), (tensor(b"a", (2**40,), kind=9999),)),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_header_is_refused_and_never_waited_for(content: bytes) -> None:
    with traced_peak() as peak, pytest.raises(NotGGUF):
        check_complete(read(content), len(content))
    assert peak() < 200_000, "bytes; a claimed length must not be allocated"


def test_a_header_beyond_the_limit_is_refused_before_it_is_fetched() -> None:
    chunk = array(U64, fmt.MAX_ARRAY_ITEMS)
    keys = tuple(pair(b"k%d" % number, ARRAY, chunk + bytes(8 * fmt.MAX_ARRAY_ITEMS)) for number in range(7))
    first = header((*keys, pair(b"last", ARRAY, chunk)))
    with pytest.raises(NotGGUF, match="longer than 64 MiB"):
        read_header(first, 10**12)


def test_values_of_unexpected_types_are_as_good_as_absent() -> None:
    data = header(
        (
            pair(b"general.architecture", STRING, string(b"llama")),
            pair(b"general.name", U8, b"\x01"),
            pair(b"general.file_type", STRING, string(b"15")),
            pair(b"general.license", ARRAY, array(STRING, 1, string(b"mit"))),
            pair(b"llama.context_length", I32, struct.pack("<i", -1)),
            pair(b"other.context_length", U32, struct.pack("<I", 7)),
        )
    )
    assert read(data).summary == GGUFSummary(architecture="llama", parameters=0)


def test_the_base_model_is_the_one_that_llama_cpps_own_writer_names(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "tuned.gguf", "llama")
    writer.add_base_model_count(2)
    for number, name in enumerate(("Base Model", "Other")):
        writer.add_base_model_name(number, name)
        writer.add_base_model_organization(number, "Acme")
        writer.add_base_model_repo_url(number, f"https://huggingface.co/acme/{name.replace(' ', '-').lower()}")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    assert read((tmp_path / "tuned.gguf").read_bytes()).summary.base_model == "acme/base-model"


def test_an_adapter_says_that_it_is_one() -> None:
    assert read(tiny_adapter()).summary.adapter is True
    assert read(tiny_projector()).summary.adapter is None


@pytest.mark.parametrize(("kind", "layout"), [(U16, "<H"), (U32, "<I"), (U64, "<Q")])
def test_context_length_of_any_width(kind: int, layout: str) -> None:
    data = header(
        (
            pair(b"qwen2.context_length", kind, struct.pack(layout, 4096)),
            pair(b"general.architecture", STRING, string(b"qwen2")),
        )
    )
    assert read(data).summary.context_length == 4096


def test_names_are_short_and_printable() -> None:
    name = "Modèle\x1b[31m\n\x00".encode() + b"\xff" + b"x" * 1000
    shown = read(header((pair(b"general.name", STRING, string(name)),))).summary.name
    assert shown is not None
    assert shown.startswith("Modèle[31m�xx")
    assert len(shown) == 256


def test_an_unknown_file_type_or_tensor_type_is_not_an_error() -> None:
    data = header((pair(b"general.file_type", U32, struct.pack("<I", 999)),), (tensor(b"a", (7, 3), kind=99),))
    assert read(data).summary.quantization is None
    assert read(data).summary.parameters == 21


IQ2_K, I2_S = 137, 36  # of ik_llama.cpp and of bitnet.cpp


def test_tensor_types_of_other_programs_are_recorded() -> None:
    tensors = (
        tensor(b"a", (256, 4), kind=IQ2_K),
        tensor(b"b", (8,), offset=512),
        tensor(b"c", (256,), kind=I2_S, offset=544),
        tensor(b"d", (256,), kind=IQ2_K, offset=640),
    )
    content = header((), tensors)
    content += bytes(-len(content) % 32 + 640 + 32)
    found = read(content)
    check_complete(found, len(content))
    assert found.summary == GGUFSummary(parameters=1544, unknown_tensor_types=(36, 137))
    assert found.tensors_end == found.data_offset + 640 + 32, "at least one bit for each parameter"
    with pytest.raises(NotGGUF, match="truncated"):
        check_complete(found, len(content) - 1)


@pytest.mark.parametrize(
    "tensors",
    [
        pytest.param((tensor(b"a", (4096,), kind=IQ2_K), tensor(b"b", (8,), offset=256)), id="reaches into the next"),
        pytest.param((tensor(b"a", (256,), kind=IQ2_K), tensor(b"b", (256,), kind=IQ2_K)), id="at one place"),
        pytest.param((tensor(b"a", (256,), kind=IQ2_K), tensor(b"b", (8,), offset=40)), id="misaligned"),
        pytest.param(
            (tensor(b"a", (256,), kind=IQ2_K), tensor(b"b", (8,), offset=512), tensor(b"c", (8,), offset=1024)),
            id="a gap behind the next",
        ),
        pytest.param((tensor(b"a", (8,)), tensor(b"b", (256,), kind=IQ2_K, offset=64)), id="a gap before it"),
    ],
)
def test_what_can_be_checked_beside_an_unknown_tensor_type_is_checked(tensors: tuple[bytes, ...]) -> None:
    with pytest.raises(NotGGUF, match=r"damaged: the tensor '[bc]' has the offset"):
        read(header((), tensors), 10**6)


def test_very_many_unknown_tensor_types_are_cut_short() -> None:
    tensors = tuple(tensor(b"%d" % n, (1,), kind=1000 - n, offset=32 * n) for n in range(100))
    assert read(header((), tensors)).summary.unknown_tensor_types == tuple(range(901, 917))


def test_the_unknown_tensor_types_of_all_parts_are_joined() -> None:
    parts = [
        replace(one, summary=replace(one.summary, unknown_tensor_types=types))
        for one, types in zip([part(0, 3, 3), part(1, 3, 3), part(2, 3, 3)], [None, (144, 137), (137, 36)], strict=True)
    ]
    assert combine(parts).unknown_tensor_types == (36, 137, 144)


def test_a_tensor_without_dimensions_is_one_number() -> None:
    assert read(header((), (tensor(b"a", ()),))).summary.parameters == 1


def test_tables_agree_with_the_gguf_package() -> None:
    assert dict(fmt.TENSOR_TYPES) == {kind.value: sizes for kind, sizes in gguf.GGML_QUANT_SIZES.items()}
    theirs = {kind.value: kind.name.removeprefix("MOSTLY_").removeprefix("ALL_") for kind in gguf.LlamaFileType}
    del theirs[gguf.LlamaFileType.GUESSED.value]
    assert dict(fmt.FILE_TYPES) == theirs
    assert {*fmt.SCALARS, fmt.STRING, fmt.ARRAY} == {kind.value for kind in gguf.GGUFValueType}


@pytest.mark.parametrize("kind", gguf.GGML_QUANT_SIZES)
def test_sizes_of_all_tensor_types(kind: gguf.GGMLQuantizationType) -> None:
    shape = (512, 3)
    expected = math.prod(gguf.quants.quant_shape_to_byte_shape(shape[::-1], kind))
    with_type = read(header((), (tensor(b"a", shape, kind=kind.value),)), 10**9)
    assert with_type.tensors_end - with_type.data_offset == expected


def part(number: int, count: int, tensors: int, *, held: int = 1) -> GGUFHeader:
    pairs: tuple[bytes, ...] = (
        pair(b"split.no", U16, struct.pack("<H", number)),
        pair(b"split.count", U16, struct.pack("<H", count)),
        pair(b"split.tensors.count", I32, struct.pack("<i", tensors)),
    )
    if number == 0:
        pairs = (pair(b"general.architecture", STRING, string(b"llama")), *pairs)
    return read(header(pairs, tuple(tensor(b"t%d" % index, (10,), offset=64 * index) for index in range(held))))


def test_parts_are_summed_up() -> None:
    parts = [part(0, 3, 4, held=0), part(1, 3, 4, held=3), part(2, 3, 4)]
    assert parts[1].split == Split(number=1, count=3, tensors=4)
    assert combine(parts) == GGUFSummary(architecture="llama", parameters=40)


def test_parts_of_the_gguf_package_are_summed_up(tmp_path: Path) -> None:
    parts = [path.read_bytes() for path in write_split(tmp_path, "model", parts=3, size=1)]
    headers = [read(part) for part in parts]
    for header_of_part, content in zip(headers, parts, strict=True):
        check_complete(header_of_part, len(content))

    summary = combine(headers)

    assert summary.parameters == sum(header.summary.parameters or 0 for header in headers) > 0
    assert (summary.architecture, summary.name) == ("llama", "model")
    with pytest.raises(IncompleteModel):
        combine(headers[:2])
    with pytest.raises(IncompleteModel):
        combine(headers[::-1])


def test_a_model_in_one_file_is_its_only_part(tiny: bytes) -> None:
    assert combine([read(tiny)]) == read(tiny).summary
    assert combine([part(0, 1, 1)]).parameters == 10


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ([part(0, 2, 2)], "2 parts, 1 were given"),
        ([part(1, 2, 2), part(0, 2, 2)], "says that it is part 2"),
        ([part(0, 2, 2), part(0, 2, 2)], "says that it is part 1"),
        ([part(0, 2, 2), part(1, 2, 3)], "different models"),
        ([part(0, 2, 5), part(1, 2, 5)], "hold 2 tensors together, the model has 5"),
        ([part(0, 2, 2), part(1, 3, 2)], "3 parts, 2 were given"),
        ([part(0, 2, 2), read(header())], "part 2 of 2 does not say"),
        ([read(header()), part(1, 2, 2)], "part 1 of 2 does not say"),
    ],
)
def test_parts_that_do_not_belong_together(parts: list[GGUFHeader], says: str) -> None:
    with pytest.raises(IncompleteModel, match=says):
        combine(parts)


SMALL = header(
    (
        pair(b"general.architecture", STRING, string(b"llama")),
        pair(b"tokens", ARRAY, array(STRING, 2, string(b"a") + string(b"b"))),
        pair(b"scores", ARRAY, array(F32, 2, bytes(8))),
        pair(b"flag", BOOL, b"\x01"),
        pair(ALIGNMENT, U32, struct.pack("<I", 32)),
    ),
    (tensor(b"a", (32, 2), kind=2), tensor(b"b", (4,), offset=64)),
)


def outcome(data: bytes, file_size: int) -> GGUFHeader | Incomplete | NotGGUF:
    try:
        return read_header(data, file_size)
    except NotGGUF as refused:
        return refused


@given(
    changes=st.lists(st.tuples(st.integers(0, len(SMALL) - 1), st.integers(0, 255)), max_size=6),
    cut=st.integers(0, len(SMALL)),
    file_size=st.integers(0, 2 * len(SMALL)) | st.integers(0, 2**62),
)
@example(changes=[], cut=len(SMALL), file_size=len(SMALL))
@settings(max_examples=1000, deadline=None)
def test_any_mutation_is_read_waited_for_or_refused(changes: list[tuple[int, int]], cut: int, file_size: int) -> None:
    data = bytearray(SMALL)
    for position, value in changes:
        data[position] = value
    result = outcome(bytes(data[:cut]), file_size)
    if isinstance(result, NotGGUF):
        assert result.message.isprintable()
        assert len(result.message) < 1000
    elif isinstance(result, Incomplete):
        assert min(cut, file_size) < result.needed <= min(file_size, fmt.MAX_HEADER)
    else:
        assert 0 <= (result.summary.parameters or 0) <= MAX_INT64
        assert result == read_header(bytes(data), file_size), "more bytes must not change what was read"


@given(data=st.binary(max_size=300), file_size=st.integers(0, 2**62))
def test_arbitrary_bytes_are_never_a_surprise(data: bytes, file_size: int) -> None:
    for content in (data, b"GGUF\x03\x00\x00\x00" + data):
        assert outcome(content, file_size) is not None
