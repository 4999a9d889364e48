"""Finds the GGUF files in a tar archive by its headers alone, without the contents between them.

`transfer.sources.archives` reads the bytes that a walk needs and calls `advance`; nothing is unpacked, and no
name becomes a path here. Programs read hostile archives differently: what they could disagree about is refused. An
archive ends at its first block of zeros, or with its last byte; what follows is covered by the digest of the archive.
"""

from dataclasses import dataclass, replace

from model_provisioner.domain.archives.bad_archive import BadArchive
from model_provisioner.domain.archives.pax_records import NO_RECORDS, Records, read_records
from model_provisioner.domain.archives.tar_header import BLOCK, Header, Kind, padded, read_header
from model_provisioner.domain.model_files.parts import is_gguf

MAX_ENTRIES = 1000
_MAX_RECORDS_BYTES = 64 * 1024
_MAX_IN_A_ROW = 4
_OCTAL_LIMIT = 8**11
"""Sizes from here on have no room in octal digits: 8 GiB."""
_SHADOWS = "._"
"""What macOS adds beside a file: its attributes, under the name of the file with this before it."""
_ABOUT_NEXT = frozenset({Kind.PAX, Kind.PAX_GLOBAL, Kind.LONG_NAME, Kind.LONG_LINK})


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive: `size` bytes from `offset` on. `name` is the packer's, untrusted."""

    name: str
    offset: int
    size: int

    @property
    def base_name(self) -> str:
        return self.name.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Walk:
    """How far an archive is read. `total` is its size in bytes, None if it is not known before it is unpacked.

    The next step needs `needed` bytes from `position` on, unless the walk has `ended`. `members` are the GGUF files so
    far. `passed_over` says of one entry that is called like a model why it is none.
    """

    total: int | None
    position: int = 0
    members: tuple[Member, ...] = ()
    passed_over: str = ""
    ended: bool = False
    _entries: int = 0
    _in_a_row: int = 0
    _records_of: Header | None = None
    _next: Records = NO_RECORDS

    @property
    def needed(self) -> int:
        return padded(self._records_of.size) if self._records_of else BLOCK


def advance(walk: Walk, window: bytes, start: int) -> Walk:
    """The walk after what the bytes `window`, which are those of the archive from `start` on, tell. Raises BadArchive.

    An archive that ends before its end is refused if its size is known.
    """
    end = start + len(window)
    while not walk.ended and start <= walk.position and (stop := walk.position + walk.needed) <= end:
        walk = _step(walk, window[walk.position - start : stop - start])
        if walk.total is not None:
            walk = _checked(walk, walk.total)
    return walk


def _checked(walk: Walk, total: int) -> Walk:
    if walk.position == total and not walk._records_of and not walk._in_a_row:
        return replace(walk, ended=True)
    if not walk.ended and walk.position + walk.needed > total:
        raise BadArchive(f"ends too early: it has {total:,} bytes, and an entry needs more")
    return walk


def _step(walk: Walk, data: bytes) -> Walk:
    if walk._records_of:
        content = data[: walk._records_of.size]
        known = replace(walk, position=walk.position + len(data), _records_of=None)
        return replace(known, _next=_about_next(walk._next, walk._records_of.kind, content))
    header = read_header(data)
    if header is None:
        return replace(walk, ended=True)
    if walk._entries == MAX_ENTRIES:
        raise BadArchive(f"has more than {MAX_ENTRIES:,} entries")
    walk = replace(walk, position=walk.position + BLOCK, _entries=walk._entries + 1)
    return _announced(walk, header) if header.kind in _ABOUT_NEXT else _entry(walk, header)


def _announced(walk: Walk, header: Header) -> Walk:
    """After a header whose content is about the next entry, and is read next."""
    if header.size > _MAX_RECORDS_BYTES or walk._in_a_row == _MAX_IN_A_ROW:
        raise BadArchive("has too long records about an entry")
    row = walk._in_a_row + 1
    if header.size == 0:
        return replace(walk, _in_a_row=row)
    return replace(walk, _in_a_row=row, _records_of=header)


def _about_next(known: Records, kind: Kind, content: bytes) -> Records:
    if kind is Kind.LONG_NAME:
        return replace(known, name=content.partition(b"\0")[0]) if known.name is None else known
    if kind is Kind.LONG_LINK:
        return known
    found = read_records(content)
    if kind is Kind.PAX_GLOBAL:
        if found != NO_RECORDS:
            raise BadArchive("has global records that change entries (pax g)")
        return known
    return Records(
        found.name if found.name is not None else known.name,
        found.size if found.size is not None else known.size,
        found.sparse or known.sparse,
    )


def _entry(walk: Walk, header: Header) -> Walk:
    known = walk._next
    name = (header.name if known.name is None else known.name).decode(errors="backslashreplace")
    size = _size(header, known)
    after = replace(walk, position=walk.position + padded(size), _in_a_row=0, _next=NO_RECORDS)
    if not is_gguf(name) or name.rpartition("/")[2].startswith(_SHADOWS):
        return after
    if header.kind is not Kind.FILE or known.sparse or size == 0:
        what = header.kind.value if header.kind is not Kind.FILE else "a sparse file" if known.sparse else "empty"
        return replace(after, passed_over=f"{name[:120]!a} is {what}")
    return replace(after, members=(*walk.members, Member(name, walk.position, size)))


def _size(header: Header, known: Records) -> int:
    """The size of the content. A record says it if the header has no room for it; else both must agree."""
    if header.kind in {Kind.SPARSE, Kind.SEVERAL_VOLUMES}:
        raise BadArchive(f"has {header.kind.value}: pack it without sparse files, in one volume")
    size = header.size if known.size is None else known.size
    if size < _OCTAL_LIMIT and header.size not in {0, size}:
        raise BadArchive("says two sizes of one entry")
    if size and not header.kind.has_content:
        raise BadArchive(f"has {header.kind.value} with a content")
    return size
