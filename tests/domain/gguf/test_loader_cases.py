"""The files that llama.cpp's own tests build: files that its loader refuses are refused, files that it loads are read.

The names are those of the cases in tests/test-gguf.cpp of llama.cpp; the bytes are our own.
"""

import struct
from collections.abc import Mapping

import pytest

from model_provisioner.domain.errors import NotGGUF
from model_provisioner.domain.gguf import format as fmt
from model_provisioner.domain.gguf.header import GGUFHeader, check_complete, read_header
from tests.support.gguf_headers import ARRAY, I32, STRING, U8, U16, U32, array, header, pair, string, tensor

I8_TENSOR, I64_TENSOR = 24, 27
NEWEST = max(fmt.TENSOR_TYPES) + 1
ALIGNMENT = b"general.alignment"
WRAPPED = struct.pack("<Q", 2**64 - 1)


def aligned(content: bytes, to: int = 32) -> bytes:
    return content + bytes(-len(content) % to)


def with_data(content: bytes, size: int, to: int = 32) -> bytes:
    return aligned(content, to) + bytes(size)


def alignment(value: int, kind: int = U32) -> bytes:
    return pair(ALIGNMENT, kind, struct.pack("<I", value))


TWO = (tensor(b"a", (8,)), tensor(b"b", (8,), offset=32))
PACKED = (tensor(b"a", (3,)), tensor(b"b", (8,), offset=12))
BIG_SQUARE = 4 * (2**31 - 1)
TWO_TO_61 = 1_533_916_928  # its square is a little more than 2**64 / 8

REFUSED: Mapping[str, bytes] = {
    "HEADER_BAD_MAGIC": aligned(b"FUGG" + header()[4:]),
    "HEADER_BAD_VERSION_0": aligned(header(version=0)),
    "HEADER_BAD_VERSION_1": aligned(header(version=1)),
    "HEADER_BAD_VERSION_FUTURE": aligned(header(version=4)),
    "HEADER_BAD_N_TENSORS": aligned(header(tensor_count=2**64 - 1)),
    "HEADER_BAD_N_KV": aligned(header(keys=2**64 - 1)),
    "KV_BAD_KEY_SIZE": aligned(header((WRAPPED + b"key" + struct.pack("<IB", U8, 1),))),
    "KV_EMPTY_KEY": aligned(header((pair(b"", U8, b"1"),))),
    "KV_BAD_TYPE": aligned(header((pair(b"key", 13, b"1"),))),
    "KV_DUPLICATE_KEY": aligned(header((pair(b"key", U8, b"1"), pair(b"key", U8, b"2")))),
    "KV_BAD_ALIGN": aligned(header((alignment(13),)), 13),
    "KV_WRONG_TYPE_ALIGN": aligned(header((alignment(32, I32),))),
    "TENSORS_BAD_NAME_SIZE": with_data(header((), (tensor(b"n" * 64, (8,)),)), 32),
    "TENSORS_BAD_N_DIMS": with_data(header((), (tensor(b"a", (8,), rank=5),)), 32),
    "TENSORS_BAD_SHAPE": with_data(header((), (tensor(b"a", (2**64 - 1,)),)), 32),
    "TENSORS_NE_TOO_BIG": with_data(header((), (tensor(b"a", (BIG_SQUARE, BIG_SQUARE)),)), 32),
    "TENSORS_NBYTES_TOO_BIG": with_data(header((), (tensor(b"a", (TWO_TO_61, TWO_TO_61), kind=I64_TENSOR),)), 32),
    "TENSORS_BAD_TYPE": with_data(header((), (tensor(b"a", (8,), kind=4),)), 32),
    "TENSORS_BAD_OFFSET": with_data(header((), (tensor(b"a", (8,), offset=2**64 - 1),)), 32),
    "TENSORS_DUPLICATE_NAME": with_data(header((), (TWO[0], tensor(b"a", (8,), offset=32))), 64),
    "TENSORS_BAD_ALIGN": with_data(header((alignment(13),), TWO), 64, 13),
    "TENSORS_INCONSISTENT_ALIGN": with_data(header((), PACKED), 44),
    "DATA_NOT_ENOUGH_DATA": with_data(header((), TWO), 63),
    "DATA_BAD_ALIGN": with_data(header((alignment(13),), (tensor(b"a", (8,)),)), 32, 13),
    "DATA_INCONSISTENT_ALIGN": with_data(header((), (*TWO, tensor(b"c", (1,), offset=65))), 128),
    "DATA_MEM_SIZE_OVERFLOW": with_data(
        header(
            (),
            (
                tensor(b"a", (2**63 - 64,), kind=I8_TENSOR),
                tensor(b"b", (2**63 - 64,), kind=I8_TENSOR, offset=2**63 - 64),
            ),
        ),
        32,
    ),
}

READ: Mapping[str, tuple[bytes, int]] = {
    "HEADER_EMPTY": (aligned(header()), 0),
    "KV_RANDOM_KV": (
        aligned(header((pair(b"k", U16, b"12"), pair(b"l", ARRAY, array(STRING, 2, string(b"a") + string(b"")))))),
        0,
    ),
    "TENSORS_ZERO_DIM": (with_data(header((), (tensor(b"a", (8, 0)), tensor(b"b", (8,)))), 32), 2),
    "TENSORS_SUCCESS": (with_data(header((), TWO), 64), 2),
    "TENSORS_CUSTOM_ALIGN": (with_data(header((alignment(1),), PACKED), 44, 1), 2),
    "DATA_SUCCESS": (with_data(header((), TWO), 64), 2),
    "DATA_CUSTOM_ALIGN": (with_data(header((alignment(1),), PACKED), 44, 1), 2),
}


def whole(content: bytes) -> GGUFHeader:
    found = read_header(content, len(content))
    assert isinstance(found, GGUFHeader), found
    check_complete(found, len(content))
    return found


@pytest.mark.parametrize("content", REFUSED.values(), ids=REFUSED)
def test_what_the_loader_refuses_is_refused(content: bytes) -> None:
    with pytest.raises(NotGGUF):
        whole(content)


@pytest.mark.parametrize(("content", "tensors"), READ.values(), ids=READ)
def test_what_the_loader_reads_is_read(content: bytes, tensors: int) -> None:
    assert whole(content).tensor_count == tensors


def test_a_type_beyond_the_table_is_read_unlike_by_a_loader_of_the_same_age() -> None:
    """The provisioner may be older than the runtime that loads the file, so an unknown type is accepted."""
    assert whole(with_data(header((), (tensor(b"a", (8,), kind=NEWEST),)), 32)).tensor_count == 1
