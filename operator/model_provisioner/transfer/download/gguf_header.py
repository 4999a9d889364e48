"""Reads the GGUF header of a file of which only the beginning may be there yet."""

from collections.abc import Callable

from model_provisioner.domain.gguf.header import GGUFHeader, Incomplete, read_header

_FIRST_LOOK = 1024 * 1024

Read = Callable[[int, int], bytes]
"""Offset and count of bytes in, bytes out."""


def first_look(size: int) -> int:
    """How many bytes to wait for before the first try on a file of `size` bytes."""
    return min(size, _FIRST_LOOK)


def header_within(read: Read, there: int, size: int, look: int) -> GGUFHeader | Incomplete:
    """The header, if the first `there` bytes of a file of `size` hold it, else how many to wait for.

    Looks at the first `look` bytes and, while it must, at twice as many. Raises NotGGUF.
    """
    while look <= there:
        found = read_header(read(0, look), size)
        if isinstance(found, GGUFHeader):
            return found
        look = min(size, max(found.needed, 2 * look))
    return Incomplete(look)
