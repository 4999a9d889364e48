"""Hashes an archive while the one file in it that is wanted is downloaded: the bytes before, of and after the file.

Called by `file_download`. The bytes around the file are requested here and only hashed: they are written nowhere, and
asked for again after an interruption. Those of the file come from the hasher of the file, in order. So an archive needs
neither a copy of its own on the volume nor another pass over it.
"""

import contextlib
import hashlib
from collections.abc import Callable

from model_provisioner.aio.clock import Clock
from model_provisioner.domain.archives.bad_archive import BadArchive
from model_provisioner.domain.archives.tar_stream import TarStream
from model_provisioner.domain.archives.tar_walk import Walk
from model_provisioner.domain.download.ranges import ByteRange
from model_provisioner.domain.errors import DigestMismatch, SourceUnavailable
from model_provisioner.domain.store.digest import Digest
from model_provisioner.domain.store.plan import Archive
from model_provisioner.transfer.download.requests.attempts import with_attempts
from model_provisioner.transfer.download.requests.connections import Target
from model_provisioner.transfer.download.requests.remote_file import RangesNotSupported, RemoteFile

_READ_BYTES = 256 * 1024
_MOST_ZEROS = 1024 * 1024


class ArchiveDigest:
    """`target` takes the file in `archive`, and paces what is around it."""

    def __init__(self, remote: RemoteFile, archive: Archive, target: Target, clock: Clock) -> None:
        self._remote = remote
        self._archive = archive
        self._target = target
        self._size = target.size
        self._clock = clock
        self._before = hashlib.sha256()
        self._before_is_there = False
        self._sha = self._before

    async def begin(self) -> None:
        """Hashes what is before the file, which must announce it. To be called before the file is hashed.

        Raises SourceUnavailable, and what `RemoteFile.get` raises.
        """
        if not self._before_is_there:
            self._before, headers = hashlib.sha256(), TarStream(Walk(self._archive.size))

            def take(piece: bytes) -> None:
                nonlocal headers
                self._before.update(piece)
                headers = headers.fed(piece)

            with contextlib.suppress(BadArchive):
                await self._read(-self._archive.offset, 0, take)
            if not headers.has(self._archive.offset, self._size):
                raise another_archive(self._remote.subject)
            self._before_is_there = True
        self._sha = self._before.copy()

    def update(self, chunk: bytes) -> None:
        """Hashes the next bytes of the file."""
        self._sha.update(chunk)

    async def check(self) -> None:
        """Raises DigestMismatch if the archive is not what the source names, and what `RemoteFile.get` raises.

        Archives end with zeros. If the digest is right with them, these bytes need not be asked for.
        """
        after = self._archive.size - self._archive.offset - self._size
        if after <= _MOST_ZEROS and self._is_right(bytes(after)):
            return
        await self._read(self._size, self._size + after, self._sha.update)
        if not self._is_right(b""):
            raise damaged_archive(self._remote.subject, self._archive.digest, Digest(self._sha.hexdigest()))

    def _is_right(self, rest: bytes) -> bool:
        sha = self._sha.copy()
        sha.update(rest)
        return sha.hexdigest() == self._archive.digest.hexadecimal

    async def _read(self, start: int, stop: int, take: Callable[[bytes], None]) -> None:
        """Hands the bytes [start, stop) of the archive, counted from the beginning of the file, to `take`, each once.

        A connection that ends early is followed by another one for the bytes that are missing.
        """

        def taken(piece: bytes) -> None:
            nonlocal start
            take(piece)
            start += len(piece)

        async def attempt() -> None:
            while start < stop:
                with contextlib.suppress(RangesNotSupported):  # is raised once: the next request is clearer
                    await self._receive(ByteRange(start, stop), taken)

        await with_attempts(attempt, lambda: start, self._target.tick, self._clock)

    async def _receive(self, wanted: ByteRange, take: Callable[[bytes], None]) -> None:
        """Hands over what comes of `wanted`, also if an error ends it. Raises SourceUnavailable if it is nothing."""
        answer = await self._remote.get(wanted, allow_whole=True, on_request=lambda _: None)
        skip, left = answer.skip, wanted.size
        async with answer.reply as reply:
            while left and (chunk := await reply.read(_READ_BYTES)):
                await self._target.pace(len(chunk))
                dropped = min(skip, len(chunk))
                needed = chunk[dropped : dropped + left]
                take(needed)
                skip, left = skip - dropped, left - len(needed)
        if left == wanted.size:
            raise SourceUnavailable(f"{reply.origin} ended the connection before the bytes that were asked for")


def damaged_archive(subject: str, wanted: Digest, found: Digest) -> DigestMismatch:
    """The error for an archive whose bytes are not those that the source names."""
    return DigestMismatch(
        f"the archive of {subject} should be {wanted} and is {found}: it is damaged at its source, push it again"
    )


def another_archive(subject: str) -> SourceUnavailable:
    """The error for an archive that has no such file at the place that its headers named before."""
    return SourceUnavailable(
        f"the archive of {subject} is not the one that the source showed before: a proxy's doing? It is looked at again"
    )
