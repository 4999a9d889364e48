"""The first bytes of a file that may be a GGUF file, read step by step and never beyond what is there.

`gguf` walks a header with it. What the steps mean is decided there; here is only what keeps a hostile
file from being waited for, followed or copied beyond the limits of `gguf_format`.
"""

import struct

from model_provisioner.domain.errors import NotGGUF
from model_provisioner.domain.gguf import format as fmt

_SHOWN = 256
_U32, _U64 = fmt.SCALARS[fmt.UINT32], fmt.SCALARS[10]


class NeedMoreError(Exception):
    """The bytes at hand end too early: `needed` of the file's first bytes are the least that it takes."""

    def __init__(self, needed: int) -> None:
        super().__init__(needed)
        self.needed = needed


class HeaderBytes:
    """A position in the file's first bytes. No step is taken before the bytes for it are known to be there.

    `reserved` is how many bytes must at least follow what is being read: with it, a claim that the file
    can't hold is refused at once instead of waited for.
    """

    def __init__(self, view: memoryview, file_size: int) -> None:
        self._view = view
        self._file_size = file_size
        self.position = 0
        self.reserved = 0

    def require(self, end: int) -> None:
        least = end + self.reserved
        if least > fmt.MAX_HEADER:
            raise NotGGUF(f"its header is longer than {fmt.MAX_HEADER // 1024**2} MiB, which no real model needs")
        if least > self._file_size:
            raise NotGGUF(f"damaged or truncated: its header needs {least} bytes, the file has {self._file_size}")
        if end > len(self._view):
            raise NeedMoreError(least)

    def skip(self, size: int) -> int:
        """Goes on by `size` bytes and says where that began."""
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
        """A count that the file claims, refused above `most`."""
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
        """A tokenizer has several 100,000 strings, so this loop calls nothing that it need not."""
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
        """Up to `size` first bytes of the file, for telling what it is."""
        if len(self._view) < min(size, self._file_size):
            raise NeedMoreError(min(size, self._file_size))
        return bytes(self._view[:size])


def readable(text: bytes) -> str:
    """Short and printable, because it is shown in terminals, logs and status."""
    decoded = text[: 4 * _SHOWN].decode(errors="replace")
    return "".join(char for char in decoded if char.isprintable())[:_SHOWN].strip()
