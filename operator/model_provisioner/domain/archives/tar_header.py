"""Reads one header of a tar archive: 512 bytes before the content of each entry.

Called by `tar_walk`. Sources: POSIX.1-2017, pax, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format" (its
magic, whose headers have other things in place of the prefix).
"""

from dataclasses import dataclass
from enum import Enum

from model_provisioner.domain.archives.bad_archive import BadArchive
from model_provisioner.domain.archives.numbers import header_number

BLOCK = 512
"""Headers have this many bytes, and contents are padded to a multiple of it."""
_NAME, _SIZE, _CHECKSUM, _TYPE = slice(0, 100), slice(124, 136), slice(148, 156), 156
_MAGIC, _PREFIX = slice(257, 263), slice(345, 500)
_USTAR = b"ustar\0"
_BLANK_CHECKSUM = b" " * 8


class Kind(Enum):
    """What an entry is. `OTHER` has a content, and is a kind that programs read as a file or skip."""

    FILE = "a file"
    DIRECTORY = "a directory"
    HARD_LINK = "a hard link"
    SYMBOLIC_LINK = "a symbolic link"
    DEVICE = "a device or a pipe"
    PAX = "records of the next entry"
    PAX_GLOBAL = "records of all entries that follow"
    LONG_NAME = "the name of the next entry"
    LONG_LINK = "the target of the next entry"
    SPARSE = "a sparse file"
    SEVERAL_VOLUMES = "a piece of a file"
    OTHER = "an entry of an unknown kind"

    @property
    def has_content(self) -> bool:
        return self not in _WITHOUT_CONTENT


_WITHOUT_CONTENT = frozenset({Kind.DIRECTORY, Kind.HARD_LINK, Kind.SYMBOLIC_LINK, Kind.DEVICE})
_KINDS = {
    b"0": Kind.FILE,
    b"\0": Kind.FILE,
    b"7": Kind.FILE,  # contiguous
    b"1": Kind.HARD_LINK,
    b"2": Kind.SYMBOLIC_LINK,
    b"3": Kind.DEVICE,
    b"4": Kind.DEVICE,
    b"5": Kind.DIRECTORY,
    b"6": Kind.DEVICE,
    b"x": Kind.PAX,
    b"g": Kind.PAX_GLOBAL,
    b"L": Kind.LONG_NAME,
    b"K": Kind.LONG_LINK,
    b"S": Kind.SPARSE,
    b"M": Kind.SEVERAL_VOLUMES,
}


@dataclass(frozen=True, slots=True)
class Header:
    """`name` is as the packer wrote it, `size` that of the content in bytes."""

    name: bytes
    kind: Kind
    size: int


def read_header(block: bytes) -> Header | None:
    """The header in `block`, which has 512 bytes; None if these are zeros, as at the end. Raises BadArchive."""
    if not any(block):
        return None
    _check_sum(block)
    name = block[_NAME].partition(b"\0")[0]
    prefix = block[_PREFIX].partition(b"\0")[0] if block[_MAGIC] == _USTAR else b""
    kind = _KINDS.get(block[_TYPE : _TYPE + 1], Kind.OTHER)
    if kind is Kind.FILE and name.endswith(b"/"):  # as programs before POSIX wrote directories
        kind = Kind.DIRECTORY
    return Header(b"/".join(filter(None, (prefix, name))), kind, header_number(block[_SIZE]))


def padded(size: int) -> int:
    """How many bytes a content of `size` bytes takes in an archive."""
    return -(-size // BLOCK) * BLOCK


def _check_sum(block: bytes) -> None:
    """Some programs of old summed up signed bytes."""
    summed = block[: _CHECKSUM.start] + _BLANK_CHECKSUM + block[_CHECKSUM.stop :]
    unsigned = sum(summed)
    signed = unsigned - 256 * sum(byte > 127 for byte in summed)
    if header_number(block[_CHECKSUM]) not in {unsigned, signed}:
        raise BadArchive("has a header whose checksum is wrong: it is damaged, or no tar archive")
