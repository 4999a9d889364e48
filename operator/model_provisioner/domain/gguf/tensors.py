"""Reads the list of tensors in a GGUF header and checks each one as a loader does.

`domain.gguf.header` calls this. Only names, shapes, types and offsets are read, not the weights.
Source of what is refused: `gguf_init_from_file` in ggml/src/gguf.cpp of llama.cpp.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from model_provisioner.domain.errors import NotGGUF
from model_provisioner.domain.gguf import format as fmt
from model_provisioner.domain.gguf.cursor import HeaderBytes, readable
from model_provisioner.domain.quantity import MAX_INT64

MIN_TENSOR_BYTES = 8 + 4 + 4 + 8
"""The least number of bytes that one tensor takes in the header."""


@dataclass(frozen=True, slots=True)
class Tensors:
    """The tensors of one file.

    `parameters` is the number of their elements. `end` is the end of the last one, in bytes from the start of the data.
    `unknown_types` are the types that are not in the table of `domain.gguf.format`, in ascending order; at most
    MAX_UNKNOWN_TYPES.
    """

    parameters: int
    end: int
    unknown_types: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Tensor:
    """`offset` and `size` are in bytes; the offset is from the start of the data.

    For a type that is not `known`, `size` is the least that it can be: one bit for each element.
    """

    name: bytes
    kind: int
    elements: int
    offset: int
    size: int
    known: bool


@dataclass(frozen=True, slots=True)
class _Next:
    """Where the next tensor must be, in bytes from the start of the data; at this offset or later if not `exact`."""

    offset: int = 0
    exact: bool = True


def read_tensors(header: HeaderBytes, count: int, alignment: int) -> Tensors:
    """Reads the list of `count` tensors.

    Raises NotGGUF, and NeedMoreError if the bytes end before the list does.
    """
    parameters = end = 0
    expected = _Next()
    seen: set[bytes] = set()
    unknown: set[int] = set()
    for left in range(count - 1, -1, -1):
        header.reserved = left * MIN_TENSOR_BYTES
        tensor = _tensor(header)
        if tensor.name in seen:
            raise NotGGUF(f"damaged: the tensor {readable(tensor.name)!r} is there twice")
        seen.add(tensor.name)
        if not tensor.known:
            unknown.add(tensor.kind)
        expected = _next_offset(tensor, alignment, expected)
        parameters += tensor.elements
        end = max(end, tensor.offset + tensor.size)
    if max(parameters, end) > MAX_INT64:
        raise NotGGUF(f"damaged: it claims {parameters} parameters")
    return Tensors(parameters, end, tuple(sorted(unknown)[: fmt.MAX_UNKNOWN_TYPES]))


def _tensor(header: HeaderBytes) -> _Tensor:
    name = header.string()
    if len(name) > fmt.MAX_TENSOR_NAME:
        raise _bad_tensor(name, f"a name of {len(name)} bytes, more than {fmt.MAX_TENSOR_NAME}")
    rank = header.u32()
    if rank > fmt.MAX_DIMENSIONS:
        raise _bad_tensor(name, f"{rank} dimensions, more than {fmt.MAX_DIMENSIONS}")
    shape = [header.u64() for _ in range(rank)]
    kind, offset = header.u32(), header.u64()
    elements = math.prod(shape)
    if max(elements, *shape, 0) > MAX_INT64:
        raise _bad_tensor(name, f"the shape {shape}")
    known = kind in fmt.TENSOR_TYPES
    return _Tensor(name, kind, elements, offset, _size(name, kind, shape, elements), known)


def _size(name: bytes, kind: int, shape: Sequence[int], elements: int) -> int:
    if kind in fmt.REMOVED_TENSOR_TYPES or kind > fmt.MAX_INT32:
        raise _bad_tensor(name, f"the type {kind}, which no current program reads: choose a newer conversion")
    if kind not in fmt.TENSOR_TYPES:
        return -(-elements // 8)
    block, size = fmt.TENSOR_TYPES[kind]
    if elements and shape and shape[0] % block:
        raise _bad_tensor(name, f"rows of {shape[0]} elements, which its type stores in blocks of {block}")
    return elements // block * size


def _next_offset(tensor: _Tensor, alignment: int, expected: _Next) -> _Next:
    """The offset that the tensor after `tensor` must have.

    Tensors follow each other, each padded to `alignment`. Raises NotGGUF if `tensor` is not where it is `expected`.
    """
    if tensor.offset % alignment or tensor.offset > MAX_INT64:
        raise _bad_tensor(tensor.name, f"the offset {tensor.offset}, which is not a multiple of {alignment}")
    if tensor.offset < expected.offset or (expected.exact and tensor.offset > expected.offset):
        raise _bad_tensor(tensor.name, f"the offset {tensor.offset}, where those before it end at {expected.offset}")
    return _Next(tensor.offset + -(-tensor.size // alignment) * alignment, exact=tensor.known)


def _bad_tensor(name: bytes, what: str) -> NotGGUF:
    return NotGGUF(f"damaged: the tensor {readable(name)!r} has {what}")
