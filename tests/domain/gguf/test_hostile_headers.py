"""Nearly valid headers, generated field by field with Hypothesis, and the cost of reading them.

The cost is counted in executed lines and allocated bytes, not in seconds. A small file must never make the reader loop
or allocate more than the size of the file justifies, whatever counts it contains.
"""

import random
import struct
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_provisioner.domain.errors import NotGGUF
from model_provisioner.domain.gguf import format as fmt
from model_provisioner.domain.gguf.header import GGUFHeader, Incomplete, check_complete, read_header
from tests.support.cost import counted_lines, traced_peak
from tests.support.gguf_headers import ARRAY, STRING, U8, U32, array, header, pair, string, tensor

DOMAIN = "model_provisioner.domain"
KIB = 1024
LINES_PER_BYTE = 5
"""A key takes at least 13 bytes, with a name of one letter 14. Reading one executes about 55 lines."""
LINES_AT_LEAST = 200
ALLOCATED_AT_LEAST = 64 * KIB

COUNTS = st.integers(0, 5) | st.sampled_from((2**16, 2**20, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 8, 2**64 - 1))
KINDS = st.integers(0, 13) | st.integers(0, 2**32 - 1)
TYPES = st.sampled_from((*fmt.TENSOR_TYPES, 4, 36, 99, 137, 2**31)) | st.integers(0, 2**32 - 1)
KEYS = st.sampled_from(
    (
        b"general.alignment",
        b"general.architecture",
        b"general.base_model.0.name",
        b"general.base_model.0.repo_url",
        b"general.name",
        b"general.type",
        b"general.file_type",
        b"llama.context_length",
        b"split.no",
        b"split.count",
        b"split.tensors.count",
        b"tokenizer.chat_template",
        b"",
    )
) | st.binary(max_size=70)


@st.composite
def pairs(draw: st.DrawFn) -> bytes:
    """A key and a value; some have a wrong length, type or count."""
    key, kind = draw(KEYS), draw(KINDS)
    if kind in fmt.SCALARS:
        size = fmt.SCALARS[kind].size
        return pair(key, kind, draw(st.binary(min_size=size, max_size=size)))
    if kind == STRING:
        text = draw(st.sampled_from((b"llama", b"adapter", b"mmproj")) | st.binary(max_size=40))
        return pair(key, kind, draw(st.just(string(text)) | COUNTS.map(lambda size: struct.pack("<Q", size) + text)))
    items = draw(st.binary(max_size=60))
    return pair(key, ARRAY, array(draw(KINDS), draw(COUNTS), items)) if kind == ARRAY else pair(key, kind, items)


@st.composite
def tensors(draw: st.DrawFn) -> bytes:
    shape = tuple(draw(st.lists(COUNTS | st.sampled_from((32, 256)), max_size=5)))
    rank = draw(st.none() | COUNTS.map(lambda count: count % 2**32))
    return tensor(draw(KEYS), shape, draw(TYPES), draw(COUNTS | st.integers(0, 9).map(lambda n: 32 * n)), rank)


@st.composite
def headers(draw: st.DrawFn) -> bytes:
    """A header of up to about 1 KiB whose fields may be wrong; it is then cut, changed in some bytes, or unchanged."""
    made = header(
        tuple(draw(st.lists(pairs(), max_size=6))),
        tuple(draw(st.lists(tensors(), max_size=6))),
        version=draw(st.sampled_from((3, 3, 3, 2, 1, 4, 0, 0x03000000))),
        keys=draw(st.none() | COUNTS),
        tensor_count=draw(st.none() | COUNTS),
    )
    content = bytearray(made)
    for position, value in draw(st.lists(st.tuples(st.integers(0, len(made) - 1), st.integers(0, 255)), max_size=4)):
        content[position] = value
    return bytes(content[: draw(st.none() | st.integers(0, len(content)))])


SIZES = st.none() | st.integers(0, 4096) | st.integers(0, 2**63)


def judged(data: bytes, file_size: int) -> GGUFHeader | Incomplete | NotGGUF:
    """The result of reading and checking; any other exception fails the test."""
    try:
        found = read_header(data, file_size)
        if isinstance(found, GGUFHeader):
            check_complete(found, file_size)
    except NotGGUF as refused:
        return refused
    return found


def check_sound(found: GGUFHeader | Incomplete | NotGGUF, data: bytes, file_size: int) -> None:
    if isinstance(found, NotGGUF):
        assert found.message.isprintable()
        assert len(found.message) < 1000
    elif isinstance(found, Incomplete):
        assert min(len(data), file_size) < found.needed <= min(file_size, fmt.MAX_HEADER)
    else:
        assert found.tensors_end <= file_size
        assert len(found.summary.unknown_tensor_types or ()) <= fmt.MAX_UNKNOWN_TYPES
        assert 0 <= (found.summary.parameters or 0) <= 8 * file_size


@given(data=headers(), size=SIZES)
@settings(max_examples=600, deadline=None)
def test_a_header_whose_fields_lie_is_read_waited_for_or_refused(data: bytes, size: int | None) -> None:
    file_size = len(data) if size is None else size
    check_sound(judged(data, file_size), data, file_size)


@given(data=headers(), size=SIZES)
@settings(max_examples=200, deadline=None)
def test_a_header_whose_fields_lie_costs_no_more_than_its_bytes(data: bytes, size: int | None) -> None:
    check_cost(data, len(data) if size is None else size)


def check_cost(data: bytes, file_size: int) -> None:
    with counted_lines(DOMAIN) as lines:
        judged(data, file_size)
    assert lines() <= LINES_AT_LEAST + LINES_PER_BYTE * len(data)
    with traced_peak() as peak:
        judged(data, file_size)
    assert peak() <= ALLOCATED_AT_LEAST + 20 * len(data)


def filled(start: bytes, unit: bytes, size: int = KIB) -> bytes:
    return (start + unit * (size // max(1, len(unit)) + 1))[:size]


def worst_kib() -> Sequence[tuple[str, bytes]]:
    """Files of 1 KiB that are expensive if a count is trusted, or if bytes are read more than once."""
    most_keys, most_tensors = fmt.MAX_KEYS, fmt.MAX_TENSORS
    return (
        ("zeros after the magic", filled(header(keys=most_keys, tensor_count=0), b"\0")),
        ("ones after the magic", filled(header(keys=most_keys, tensor_count=0), b"\xff")),
        ("as many small keys as fit", b"".join((header(keys=70), *(pair(b"%02d" % n, U8, b"\0") for n in range(70))))),
        (
            "as many small tensors as fit",
            b"".join((header(tensor_count=36), *(tensor(b"%02d" % n, (), offset=32 * n) for n in range(36)))),
        ),
        ("a million tensors", filled(header(tensor_count=most_tensors), tensor(b"a", (1,)))),
        ("a string of a mebibyte", filled(header((pair(b"k", STRING, struct.pack("<Q", fmt.MAX_STRING)),)), b"x")),
        ("a million strings", filled(header((pair(b"k", ARRAY, array(STRING, fmt.MAX_ARRAY_ITEMS)),)), b"\0")),
        ("a million numbers", filled(header((pair(b"k", ARRAY, array(U32, fmt.MAX_ARRAY_ITEMS)),)), b"\0")),
        ("nested arrays", filled(header(keys=1) + string(b"k") + struct.pack("<I", ARRAY), array(ARRAY, 1))),
        ("noise", header(keys=5) + random.Random(1).randbytes(1000)),
    )


@pytest.mark.parametrize("file_size", [KIB, 2**40], ids=["whole", "first-kib-of-a-tebibyte"])
@pytest.mark.parametrize(("content"), [pytest.param(content, id=name) for name, content in worst_kib()])
def test_a_kibibyte_makes_the_reader_neither_loop_nor_allocate(content: bytes, file_size: int) -> None:
    check_cost(content[:KIB], file_size)


@given(data=st.binary(max_size=KIB), size=SIZES)
@settings(max_examples=300, deadline=None)
def test_bytes_of_any_kind_cost_no_more_than_themselves(data: bytes, size: int | None) -> None:
    for content in (data, b"GGUF\x03\x00\x00\x00" + data):
        file_size = len(content) if size is None else size
        check_sound(judged(content, file_size), content, file_size)
        with counted_lines(DOMAIN) as lines:
            judged(content, file_size)
        assert lines() <= LINES_AT_LEAST + LINES_PER_BYTE * len(content)
