"""Archives as programs pack them, and hostile ones that no program packs. Called by tests of models in archives."""

import io
import tarfile

from model_provisioner.domain.archives.tar_header import BLOCK, padded

Entry = tuple[str, bytes]


def tar(*entries: Entry, format: int = tarfile.PAX_FORMAT) -> bytes:  # noqa: A002 - the name that tarfile has
    """An archive of regular files, as Python packs it; a name that ends in / is a directory."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=format) as archive:
        for name, content in entries:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            if name.endswith("/"):
                info.type = tarfile.DIRTYPE
            archive.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def header(
    name: bytes, size: int | bytes = 0, kind: bytes = b"0", prefix: bytes = b"", magic: bytes = b"ustar\0"
) -> bytes:
    """One header with a right checksum; `size` as bytes is the field as it is."""
    field = size if isinstance(size, bytes) else b"%011o\0" % size
    block = bytearray(BLOCK)
    block[: len(name)] = name
    block[100:124] = b"0000644\0" * 3
    block[124 : 124 + len(field)] = field
    block[136:148] = b"%011o\0" % 0
    block[156:157] = kind
    block[257 : 257 + len(magic)] = magic
    block[263:265] = b"00"
    block[345 : 345 + len(prefix)] = prefix
    return summed(block)


def summed(block: bytearray) -> bytes:
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def entry(name: bytes, content: bytes = b"", kind: bytes = b"0", size: int | bytes | None = None) -> bytes:
    """A header and its content, padded."""
    found = header(name, len(content) if size is None else size, kind)
    return found + content.ljust(padded(len(content)), b"\0")


def records(*pairs: tuple[str, str], kind: bytes = b"x") -> bytes:
    """A pax header with these records."""
    return entry(b"PaxHeaders/x", b"".join(map(_record, pairs)), kind)


def _record(pair: tuple[str, str]) -> bytes:
    rest = f" {pair[0]}={pair[1]}\n".encode()
    length = len(rest) + 1
    while len(str(length)) + len(rest) != length:
        length += 1
    return str(length).encode() + rest


def archive(*pieces: bytes) -> bytes:
    """`pieces` with the end that an archive has."""
    return b"".join(pieces) + bytes(2 * BLOCK)
