"""Reads the GGUF header of a file of which only the beginning may be available.

Called by `file_download` for a part and by `engine` for a published file. The format is in `domain.gguf.header`.
"""

import os
from collections.abc import Callable

from model_provisioner.domain.errors import NotGGUF
from model_provisioner.domain.gguf.header import GGUFHeader, Incomplete, check_complete, read_header
from model_provisioner.domain.gguf.roles import check_role
from model_provisioner.domain.store.plan import PlannedFile

_INITIAL_READ_BYTES = 64 * 1024  # on a far path, the first MiB takes half a second

Read = Callable[[int, int], bytes]
"""A function of offset and count in bytes; returns that many bytes, or fewer at the end of the file."""


def initial_read_size(size: int) -> int:
    """How many bytes the first attempt on a file of `size` bytes needs."""
    return min(size, _INITIAL_READ_BYTES)


def read_available_header(read: Read, available: int, size: int, read_size: int) -> GGUFHeader | Incomplete:
    """The header if the first `available` bytes of a file of `size` bytes hold it, else how many bytes it needs.

    Reads the first `read_size` bytes, then at least twice as many each time. Raises NotGGUF.
    """
    while read_size <= available:
        found = read_header(read(0, read_size), size)
        if isinstance(found, GGUFHeader):
            return found
        read_size = min(size, max(found.needed, 2 * read_size))
    return Incomplete(read_size)


def read_whole_header(fd: int, file: PlannedFile) -> GGUFHeader:
    """The header of a file that is there, whole. Raises NotGGUF, with the path of the file."""

    def read(offset: int, count: int) -> bytes:
        return os.pread(fd, count, offset)

    try:
        header = read_available_header(read, file.size, file.size, initial_read_size(file.size))
        if isinstance(header, Incomplete):
            raise NotGGUF("its header does not end within the file")
        check_role(header, file.role)
        check_complete(header, file.size)
    except NotGGUF as error:
        raise NotGGUF(f"{file.path}: {error.message}") from None
    return header
