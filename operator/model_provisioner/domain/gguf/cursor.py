"""A cursor over the first bytes of a file that may be a GGUF file.

`domain.gguf.header` and `domain.gguf.tensors` read with it and interpret the values. This module ensures that an
untrusted file cannot make the reader wait for, or copy, more than the limits in `domain.gguf.format`.
"""

import struct

from model_provisioner.domain.errors import NotGGUF
from model_provisioner.domain.gguf import format as fmt

_MAX_SHOWN = 256
_U32, _U64 = fmt.SCALARS[fmt.UINT32], fmt.SCALARS[10]


class NeedMoreError(Exception):
    """The given bytes are too few. `needed` is the least number of the file's first bytes to go on with."""

    def __init__(self, needed: int) -> None:
        super().__init__(needed)
        self.needed = needed


class HeaderBytes:
    """A position in the first bytes of a file. Each method checks that its bytes are present before it moves.

    Every method raises NotGGUF if the bytes cannot be a header, and NeedMoreError if more bytes of the file are needed.
    `view` holds the first bytes, `file_size` is the size of the whole file. `reserved` is the least number of bytes
    that must follow the value being read. With it, a count that is too large for the file is refused at once, before
    more bytes are requested.
    """

    def __init__(self, view: memoryview, file_size: int) -> None:
        self._view = view
        self._file_size = file_size
        self.position = 0
        self.reserved = 0

    def require(self, end: int) -> None:
        """Checks that the bytes up to the position `end` are present."""
        least = end + self.reserved
        if least > fmt.MAX_HEADER:
            raise NotGGUF(f"its header is longer than {fmt.MAX_HEADER // 1024**2} MiB, which no real model needs")
        if least > self._file_size:
            raise NotGGUF(f"damaged or truncated: its header needs {least} bytes, the file has {self._file_size}")
        if end > len(self._view):
            raise NeedMoreError(least)

    def skip(self, size: int) -> int:
        """Moves by `size` bytes and returns the position before."""
        start = self.position
        self.require(start + size)
        self.position = start + size
        return start

    def unpack(self, layout: struct.Struct) -> int | float:
        value: int | float = layout.unpack_from(self._view, self.skip(layout.size))[0]
        return value

    def u32(self) -> int:
        value: int = _U32.unpack_from(self._view, self.skip(4))[0]
        return value

    def u64(self) -> int:
        value: int = _U64.unpack_from(self._view, self.skip(8))[0]
        return value

    def count(self, what: str, most: int) -> int:
        """Reads a count of `what`. Raises NotGGUF if it is above `most`."""
        value = self.u64()
        if value > most:
            raise NotGGUF(f"damaged: it claims {value} {what}, more than {most}")
        return value

    def string(self) -> bytes:
        length = self.count("bytes in one string", fmt.MAX_STRING)
        start = self.skip(length)
        return bytes(self._view[start : start + length])

    def skip_string(self) -> None:
        self.skip(self.count("bytes in one string", fmt.MAX_STRING))

    def skip_strings(self, count: int) -> None:
        """Skips `count` strings. A tokenizer has several 100,000, so this loop avoids calls."""
        position, available = self.position, len(self._view) - 8
        unpack_from, view = _U64.unpack_from, self._view
        for left in range(count, 0, -1):
            if position > available:
                self.require(position + 8 * left)
            length = unpack_from(view, position)[0]
            if length > fmt.MAX_STRING:
                raise NotGGUF(f"damaged: it claims {length} bytes in one string, more than {fmt.MAX_STRING}")
            position += 8 + length
        self.require(position)
        self.position = position

    def head(self, size: int) -> bytes:
        """The first `size` bytes of the file, or all if it is shorter."""
        if len(self._view) < min(size, self._file_size):
            raise NeedMoreError(min(size, self._file_size))
        return bytes(self._view[:size])


def readable(text: bytes) -> str:
    """The text, shortened and printable, because it is shown in terminals, logs and status."""
    decoded = text[: 4 * _MAX_SHOWN].decode(errors="replace")
    return "".join(char for char in decoded if char.isprintable())[:_MAX_SHOWN].strip()
