"""Reads the GGUF header of a file of which only the beginning may be there yet."""

from collections.abc import Callable

from model_provisioner.domain.gguf.header import GGUFHeader, Incomplete, read_header

_INITIAL_READ_BYTES = 1024 * 1024

Read = Callable[[int, int], bytes]
"""Offset and count of bytes in, bytes out."""


def initial_read_size(size: int) -> int:
    """How many bytes to wait for before the first try on a file of `size` bytes."""
    return min(size, _INITIAL_READ_BYTES)


def read_available_header(read: Read, available: int, size: int, read_size: int) -> GGUFHeader | Incomplete:
    """The header, if the first `available` bytes of a file of `size` hold it, else how many to wait for.

    Looks at the first `read_size` bytes and, while it must, at twice as many. Raises NotGGUF.
    """
    while read_size <= available:
        found = read_header(read(0, read_size), size)
        if isinstance(found, GGUFHeader):
            return found
        read_size = min(size, max(found.needed, 2 * read_size))
    return Incomplete(read_size)
