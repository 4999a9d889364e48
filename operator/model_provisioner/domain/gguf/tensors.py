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

MIN_TENSOR_BYTES = 8 + 4 + 4 + 8
"""The least number of bytes that one tensor takes in the header."""


@dataclass(frozen=True, slots=True)
class _Tensor:
    """`offset` and `size` are in bytes; the offset is from the start of the data. An unknown type has no `size`."""

    name: bytes
    elements: int
    offset: int
    size: int | None


def read_tensors(header: HeaderBytes, count: int, alignment: int) -> tuple[int, int]:
    """Returns the number of parameters of all tensors, and the end of the last tensor in bytes from the data's start.

    Raises NotGGUF, and NeedMoreError if the bytes end before the list does.
    """
    parameters = end = 0
    expected: int | None = 0
    seen: set[bytes] = set()
    for left in range(count - 1, -1, -1):
        header.reserved = left * MIN_TENSOR_BYTES
        tensor = _tensor(header)
        if tensor.name in seen:
            raise NotGGUF(f"damaged: the tensor {readable(tensor.name)!r} is there twice")
        seen.add(tensor.name)
        expected = _next_offset(tensor, alignment, expected)
        parameters += tensor.elements
        end = max(end, tensor.offset + (tensor.size or 0))
    if max(parameters, end) > fmt.MAX_INT64:
        raise NotGGUF(f"damaged: it claims {parameters} parameters")
    return parameters, end


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
    if max(elements, *shape, 0) > fmt.MAX_INT64:
        raise _bad_tensor(name, f"the shape {shape}")
    return _Tensor(name, elements, offset, _size(name, kind, shape, elements))


def _size(name: bytes, kind: int, shape: Sequence[int], elements: int) -> int | None:
    if kind in fmt.REMOVED_TENSOR_TYPES or kind > fmt.MAX_INT32:
        raise _bad_tensor(name, f"the type {kind}, which no current program reads: choose a newer conversion")
    if kind not in fmt.TENSOR_TYPES:
        return None
    block, size = fmt.TENSOR_TYPES[kind]
    if elements and shape and shape[0] % block:
        raise _bad_tensor(name, f"rows of {shape[0]} elements, which its type stores in blocks of {block}")
    return elements // block * size


def _next_offset(tensor: _Tensor, alignment: int, expected: int | None) -> int | None:
    """The offset that the next tensor must have; None if the size of this one is unknown.

    Tensors follow each other, each padded to `alignment`. Raises NotGGUF if `tensor` is not at `expected`.
    """
    if tensor.offset % alignment or tensor.offset > fmt.MAX_INT64:
        raise _bad_tensor(tensor.name, f"the offset {tensor.offset}, which is not a multiple of {alignment}")
    if expected is None:
        return None
    if tensor.offset != expected:
        raise _bad_tensor(tensor.name, f"the offset {tensor.offset}, where those before it end at {expected}")
    return None if tensor.size is None else expected + -(-tensor.size // alignment) * alignment


def _bad_tensor(name: bytes, what: str) -> NotGGUF:
    return NotGGUF(f"damaged: the tensor {readable(name)!r} has {what}")
