"""Downloads a file out of a compressed archive, in one stream: each byte needs all bytes before it.

Called by `file_download` in place of `connections`. Nothing of the archive is written but the file. After an
interruption the stream begins again, and what is on the volume is passed over; the stream is read to its end each time,
because the digest of the archive covers all of it. What is unpacked is bounded: the file by its planned size, for which
the volume has room, and all else by what an archive may have around a file. Bytes are counted as they are unpacked.
"""

import hashlib
from collections.abc import Awaitable, Callable

from model_provisioner.aio.clock import Clock
from model_provisioner.aio.threads import Threads
from model_provisioner.domain.archives.bad_archive import BadArchive
from model_provisioner.domain.archives.model_members import MAX_AROUND
from model_provisioner.domain.archives.tar_stream import TarStream
from model_provisioner.domain.archives.tar_walk import Walk
from model_provisioner.domain.download.ranges import ByteRange
from model_provisioner.domain.download.waiting import Wait
from model_provisioner.domain.errors import SourceUnavailable, UnsupportedSource
from model_provisioner.domain.model_files.layers import OWN_LAYER
from model_provisioner.domain.network.addresses import Origin
from model_provisioner.domain.store.digest import Digest
from model_provisioner.domain.store.plan import Archive
from model_provisioner.transfer.clients.registries.inflater import Inflater
from model_provisioner.transfer.download.content.archive_digest import another_archive, damaged_archive
from model_provisioner.transfer.download.requests.attempts import with_attempts
from model_provisioner.transfer.download.requests.connections import Target
from model_provisioner.transfer.download.requests.remote_file import RangeReply, RemoteFile

_READ_BYTES = 128 * 1024
_UNPACKED_BYTES = 512 * 1024


class UnpackedStream:
    """The one connection of a download out of `archive`, as `ConnectionPool` is of others."""

    running = 1

    def __init__(self, target: Target, remote: RemoteFile, archive: Archive, threads: Threads, clock: Clock) -> None:
        self._target = target
        self._remote = remote
        self._archive = archive
        self._threads = threads
        self._clock = clock
        self._silent_since: float | None = None
        self._origin = ""
        self._begun = False

    @property
    def wait(self) -> Wait | None:
        """What the stream waits for, if no byte comes."""
        if self._silent_since is None:
            return None
        return Wait.of(self._origin, self._clock.monotonic() - self._silent_since, begun=self._begun)

    def allow_parallel(self) -> None:
        """Changes nothing: a stream has no parts."""

    async def run(self) -> None:
        """Returns when no byte is missing and the archive was verified.

        Raises DigestMismatch for another archive than the planned one, UnsupportedSource for one with another GGUF file
        or too much around the file, and the errors of the source and of `target`.
        """
        target = self._target
        await with_attempts(self._stream, lambda: target.written.total, target.tick, self._clock)

    async def _stream(self) -> None:
        """Raises SourceUnavailable for a stream that ends early, and for an archive that is not as it was planned."""
        target, archive, subject = self._target, self._archive, self._remote.subject
        whole = ByteRange(0, archive.size)
        answer = await self._remote.get(whole, allow_whole=True, on_request=self._asked)
        async with answer.reply:
            packed = _Packed(lambda: self._receive(answer), archive.size, subject, self._threads)
            body = _UnpackedBody(packed, archive, target)
            try:
                if not await body.pass_over(target.written.prefix_end):
                    raise another_archive(subject)
                if body.position < target.size:
                    await target.receive(body)
                await body.finish()
            except BadArchive as error:
                await packed.drain(target.pace)
                self._check(packed.digest)
                raise UnsupportedSource(f"the archive of {subject} {error}: {OWN_LAYER}") from None
            self._check(packed.digest)

    def _check(self, found: Digest) -> None:
        if found != self._archive.digest:
            raise damaged_archive(self._remote.subject, self._archive.digest, found)

    def _asked(self, origin: Origin) -> None:
        self._origin, self._begun, self._silent_since = str(origin), False, self._clock.monotonic()

    async def _receive(self, answer: RangeReply) -> bytes:
        self._silent_since = self._clock.monotonic()
        chunk = await answer.reply.read(_READ_BYTES)
        self._begun, self._silent_since = True, None
        return chunk


class _Packed:
    """The archive as it is sent, of `size` bytes, and what it holds. `receive` gives the next bytes; b"" at the end."""

    def __init__(self, receive: Callable[[], Awaitable[bytes]], size: int, subject: str, threads: Threads) -> None:
        self._receive = receive
        self._left = size
        self._subject = subject
        self._threads = threads
        self._sha = hashlib.sha256()
        self._inflater = Inflater()

    @property
    def digest(self) -> Digest:
        """That of the bytes so far."""
        return Digest(self._sha.hexdigest())

    async def take(self, most: int) -> bytes:
        """The next bytes of what it holds, at most `most`; b"" at the end. Raises BadArchive, SourceUnavailable."""
        while not (unpacked := await self._threads.run(self._inflater.take, most)):
            if not await self._next():
                if not self._inflater.at_end:
                    raise BadArchive("ends too early")
                break
        return unpacked

    async def drain(self, pace: Callable[[int], Awaitable[None]]) -> None:
        """Reads to the end of the archive without unpacking it. `pace` is called with the size of each chunk."""
        while size := await self._next():
            self._inflater = Inflater()
            await pace(size)

    async def _next(self) -> int:
        """Receives the next bytes, and returns how many. Raises SourceUnavailable."""
        chunk = await self._receive()
        if len(chunk) > self._left or (self._left and not chunk):
            how = "sends more than the archive has" if chunk else f"ended the connection {self._left} bytes early"
            raise SourceUnavailable(f"the source of {self._subject} {how}")
        self._left -= len(chunk)
        await self._threads.run(self._sha.update, chunk)
        self._inflater.feed(chunk)
        return len(chunk)


class _UnpackedBody:
    """The file in what `packed` holds. `target` takes it, and paces what is not of it."""

    def __init__(self, packed: _Packed, archive: Archive, target: Target) -> None:
        self._packed = packed
        self._pace = target.pace
        self._size = target.size
        self._offset = archive.offset
        self._headers = TarStream(Walk(None))
        self.position = -archive.offset
        """That in the file of the next byte."""

    async def pass_over(self, start: int) -> bool:
        """Leads to the byte `start` of the file. Returns whether the headers before the file announce it."""
        while self.position < 0:
            piece = await self._take(-self.position)
            await self._pace(len(piece))
            self._headers = self._headers.fed(piece)
        if not self._headers.has(self._offset, self._size):
            return False
        while self.position < start:
            await self._pace(len(await self._take(start - self.position)))
        return True

    async def read(self, max_bytes: int) -> bytes:
        """The next bytes of the file; b"" at its end."""
        left = self._size - self.position
        return await self._take(min(left, max_bytes)) if left > 0 else b""

    async def finish(self) -> None:
        """Reads what is after the file. Raises BadArchive if that is another model, or too much."""
        headers, after = self._headers.passed(self._size), 0
        while piece := await self._packed.take(_UNPACKED_BYTES):
            await self._pace(len(piece))
            after += len(piece)
            if self._offset + after > MAX_AROUND:
                raise BadArchive("has more than 2 GiB beside the model")
            headers = headers.fed(piece)
            if len(headers.walk.members) > 1:
                raise BadArchive(f"has {headers.walk.members[-1].name[:120]!a} too, and one model is read of gzip")

    async def _take(self, most: int) -> bytes:
        piece = await self._packed.take(min(most, _UNPACKED_BYTES))
        if not piece:
            raise BadArchive("ends too early")
        self.position += len(piece)
        return piece
