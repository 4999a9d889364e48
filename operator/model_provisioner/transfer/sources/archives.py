"""Finds the GGUF files in the archives of an artifact: where the bytes of each are, without fetching the archives.

Called by `oci`. The headers of the archive are read in small ranges; how they are read is decided in
`domain.archives`. Nothing is unpacked: the transfer asks for the bytes of the file alone, and hashes the few around it.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from model_provisioner.domain.archives.bad_archive import BadArchive
from model_provisioner.domain.archives.model_members import MAX_AROUND, in_gzip, named_members
from model_provisioner.domain.archives.tar_stream import TarStream
from model_provisioner.domain.archives.tar_walk import Walk, advance
from model_provisioner.domain.download.ranges import ByteRange
from model_provisioner.domain.errors import UnsupportedSource
from model_provisioner.domain.model_files.layers import OWN_LAYER, Layer
from model_provisioner.domain.store.digest import Digest
from model_provisioner.domain.store.plan import Archive
from model_provisioner.transfer.clients.registries.blob_reader import BlobReader
from model_provisioner.transfer.clients.registries.inflater import Inflater
from model_provisioner.transfer.clients.registries.registry import RegistryClient

_MAX_ARCHIVES = 64
_MAX_REQUESTS = 2000
"""Of one resolve. One archive takes fewer: at most two for each of the `tar_walk.MAX_ENTRIES` that are read."""
_WINDOW = 16 * 1024
"""How many bytes are asked for at one time. The header of a file is most often within the first of them."""
_MOST_PACKED, _MOST_UNPACKED = 1024 * 1024, 16 * 1024 * 1024
"""How far the beginning of a compressed archive is read: the model has to be announced there."""
_MOST_UNSEEN = 64 * 1024
"""No model is as small as this."""

_Read = Callable[[ByteRange], Awaitable[bytes | None]]


@dataclass(frozen=True, slots=True)
class Archived:
    """A GGUF file of `size` bytes in `archive`."""

    size: int
    archive: Archive


async def archived_files(
    client: RegistryClient, subject: str, layers: Sequence[tuple[Layer, Digest]]
) -> dict[str, Archived]:
    """The GGUF files in the archives `layers`, by their names. `subject` names the artifact in messages.

    Raises UnsupportedSource for an archive that can't be read or has no GGUF file, for archives that take too many
    requests, and what `BlobReader` raises.
    """
    if len(layers) > _MAX_ARCHIVES:
        raise UnsupportedSource(
            f"{subject} has {len(layers)} archives, and {_MAX_ARCHIVES} are looked into: {OWN_LAYER}"
        )
    requests = _Requests(subject)
    found: dict[str, Archived] = {}
    passed_over = ""
    for layer, digest in layers:
        try:
            walk, files = await _looked_at(requests.counted(BlobReader(client, digest, layer.size)), layer, digest)
            for name, file in files.items():
                if found.setdefault(name, file) != file:
                    raise BadArchive(f"has {name[:120]!a}, and another archive too")
        except BadArchive as error:
            raise UnsupportedSource(f"an archive of {subject} ({digest}) {error}: {OWN_LAYER}") from None
        passed_over = passed_over or walk.passed_over
    if not found:
        but = f" ({passed_over})" if passed_over else ""
        raise UnsupportedSource(
            f"{subject} has no GGUF file in its archives{but}: name an artifact with a model in GGUF"
        )
    return found


def check_around(subject: str, name: str, file: Archived) -> None:
    """Raises UnsupportedSource if too much would be fetched with a file that was chosen."""
    if not file.archive.compressed and (around := file.archive.size - file.size) > MAX_AROUND:
        raise UnsupportedSource(
            f"an archive of {subject} ({file.archive.digest}) has {around / 1024**3:.1f} GiB beside {name[:120]!a}, "
            f"and 2 GiB are fetched with a file: {OWN_LAYER}"
        )


class _Requests:
    """Counts the requests of one resolve: 64 archives with 1,000 entries each would take hours of a far registry."""

    def __init__(self, subject: str) -> None:
        self._subject = subject
        self._left = _MAX_REQUESTS

    def counted(self, reader: BlobReader) -> _Read:
        """`reader.read`, which raises UnsupportedSource when no request is left."""

        async def read(wanted: ByteRange) -> bytes | None:
            if not self._left:
                raise UnsupportedSource(
                    f"{self._subject} has so many entries in its archives that {_MAX_REQUESTS:,} requests do not show "
                    f"all: {OWN_LAYER}"
                )
            self._left -= 1
            return await reader.read(wanted)

        return read


async def _looked_at(read: _Read, layer: Layer, digest: Digest) -> tuple[Walk, dict[str, Archived]]:
    if layer.is_gzip:
        walk = await _unpacked(read, layer.size)
        files = in_gzip(walk.members, layer.name, layer.size)
    else:
        walk = await _walked(read, layer.size)
        files = named_members(walk.members, layer.name)
    return walk, {
        name: Archived(member.size, Archive(digest, layer.size, member.offset, layer.is_gzip))
        for name, member in files.items()
    }


async def _walked(read: _Read, total: int) -> Walk:
    """All files of the archive. Without ranges only the first one can be seen: then it must be the last one too."""
    walk = Walk(total)
    if total < walk.needed:
        raise BadArchive("is too short for one")
    while not walk.ended:
        start = walk.position
        window = await read(ByteRange(start, min(total, start + max(_WINDOW, walk.needed))))
        if window is None:
            if walk.members and total - start <= _MOST_UNSEEN:
                return walk
            raise BadArchive("is in a registry without ranges, and has more than one large file")
        walk = advance(walk, window, start)
    return walk


async def _unpacked(read: _Read, packed: int) -> Walk:
    """The walk to the first GGUF file in gzip of `packed` bytes, and as far as its beginning tells of others."""
    inflater, headers = Inflater(), TarStream(Walk(None))
    start, size, unpacked = 0, _WINDOW, 0
    while not (headers.walk.members or headers.walk.ended):
        if start == packed:
            return headers.walk
        if start >= _MOST_PACKED or unpacked >= _MOST_UNPACKED:
            raise BadArchive("has no GGUF file at its beginning")
        window = await read(ByteRange(start, min(packed, start + size)))
        if window is None:
            raise BadArchive("has no GGUF file at its beginning, and the registry has no ranges")
        inflater.feed(window)
        start, size = start + len(window), 2 * size
        while unpacked < _MOST_UNPACKED and (piece := inflater.take(_WINDOW)):
            unpacked += len(piece)
            headers = headers.fed(piece)
    return headers.walk
