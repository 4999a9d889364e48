"""Reads the records of a pax header: what a header of 512 bytes has no room for.

Called by `tar_walk`. Source: POSIX.1-2017, pax, "pax Extended Header": `<length> <keyword>=<value>\\n`, with the length
of the whole record. Sparse files: GNU tar manual, "Sparse Formats".
"""

from dataclasses import dataclass

from model_provisioner.domain.archives.bad_archive import BadArchive
from model_provisioner.domain.archives.numbers import decimal_number

_SPARSE = b"GNU.sparse."
_MAX_LENGTH_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Records:
    """What records say of an entry; None for what they don't say. `sparse`: its content is not the file as it is."""

    name: bytes | None = None
    size: int | None = None
    sparse: bool = False


NO_RECORDS = Records()


def read_records(content: bytes) -> Records:
    """The last record with a keyword counts, as for other programs. Raises BadArchive."""
    found: dict[bytes, bytes] = {}
    while content:
        digits, space, _ = content[: _MAX_LENGTH_DIGITS + 1].partition(b" ")
        length = int(digits) if space and digits.isdigit() else 0
        record = content[len(digits) + 1 : length]
        keyword, equals, value = record[:-1].partition(b"=")
        if length > len(content) or not equals or not keyword or not record.endswith(b"\n"):
            raise BadArchive("has a pax record that is damaged")
        found[keyword] = value
        content = content[length:]
    size = found.get(b"size")
    return Records(
        found.get(b"path"),
        None if size is None else decimal_number(size),
        any(keyword.startswith(_SPARSE) for keyword in found),
    )
