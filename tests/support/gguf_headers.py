"""GGUF headers built byte by byte, valid or not: `header((pair(…), …), (tensor(…), …))`.

Called by tests of the GGUF reader and by the fuzzer's corpus. Valid models of a real size are in `ggufs`.
"""

import struct
from pathlib import Path

U8, U16, I32, U32, F32, BOOL, STRING, ARRAY, U64 = 0, 2, 5, 4, 6, 7, 8, 9, 10
_ALIGNMENT = 32


def string(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


def pair(key: bytes, kind: int, value: bytes) -> bytes:
    return string(key) + struct.pack("<I", kind) + value


def array(kind: int, count: int, items: bytes = b"") -> bytes:
    return struct.pack("<IQ", kind, count) + items


def tensor(name: bytes, shape: tuple[int, ...], kind: int = 0, offset: int = 0, rank: int | None = None) -> bytes:
    rank = len(shape) if rank is None else rank
    dims = b"".join(struct.pack("<Q", size) for size in shape)
    return string(name) + struct.pack("<I", rank) + dims + struct.pack("<IQ", kind, offset)


def header(
    pairs: tuple[bytes, ...] = (),
    tensors: tuple[bytes, ...] = (),
    *,
    version: int = 3,
    keys: int | None = None,
    tensor_count: int | None = None,
) -> bytes:
    keys = len(pairs) if keys is None else keys
    tensor_count = len(tensors) if tensor_count is None else tensor_count
    return b"GGUF" + struct.pack("<IQQ", version, tensor_count, keys) + b"".join(pairs) + b"".join(tensors)


def write_sparse(path: Path, size: int) -> Path:
    """A valid model of `size` zero bytes: it takes no space on the disk and as long to hash as any other model."""
    architecture = pair(b"general.architecture", STRING, string(b"llama"))
    start = header((architecture,), (tensor(b"blk.0.ffn_up.weight", (size // 4,)),))
    aligned = -(-len(start) // _ALIGNMENT) * _ALIGNMENT
    with path.open("wb") as file:
        file.write(start)
        file.truncate(aligned + size)
    return path
