"""Reads the numbers of tar headers: octal digits, or base-256 for what has no room in them.

Called by `tar_header` and `pax_records`. Sources: POSIX.1-2017, pax, "ustar Interchange Format" (octal digits, ended by
NUL or space); GNU tar manual, "Extensions" (base-256: the first bit is set, the others are a big-endian number).
"""

from model_provisioner.domain.archives.bad_archive import BadArchive

MAX_SIZE = 2**63 - 1
"""The largest size of a file (off_t)."""
_BASE_256 = 0x80
_NEGATIVE = 0x40
_DIGITS = frozenset(b"01234567")
_MAX_DECIMAL = 19


def header_number(field: bytes) -> int:
    """The number in a field of a header; 0 for an empty one. Raises BadArchive if it is none, negative or too large."""
    if field[0] & _BASE_256:
        if field[0] & _NEGATIVE:
            raise BadArchive("has a negative number in a header")
        return _checked(int.from_bytes(bytes((field[0] & ~_BASE_256,)) + field[1:], "big"))
    text = field.strip(b" ").partition(b"\0")[0].rstrip(b" ")
    if not _DIGITS.issuperset(text):
        raise BadArchive("has a header with a number that is none: it is damaged, or no tar archive")
    return _checked(int(text or b"0", 8))


def decimal_number(text: bytes) -> int:
    """A number of a pax record. Raises BadArchive."""
    if not text.isdigit() or len(text) > _MAX_DECIMAL:
        raise BadArchive("has a pax record with a number that is none")
    return _checked(int(text))


def _checked(number: int) -> int:
    if number > MAX_SIZE:
        raise BadArchive("has a number in a header that no size reaches")
    return number
