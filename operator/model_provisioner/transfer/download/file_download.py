"""Downloads the missing bytes of one file into its part, and hashes them meanwhile.

Called by `engine`. `connections` decides which bytes are requested. This module writes what comes in batches, in a
thread; passes each batch to the hasher; saves the journal now and then; and checks the GGUF header as soon as its bytes
are written. Plans, published files and digests to compare with belong to `engine`.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from model_provisioner.aio.cancellation import wait_all
from model_provisioner.aio.clock import Clock
from model_provisioner.aio.threads import Threads
from model_provisioner.domain.download.ranges import MIB
from model_provisioner.domain.download.waiting import Wait
from model_provisioner.domain.errors import NotGGUF, ProvisionError, SourceUnavailable
from model_provisioner.domain.gguf.file_role import FileRole
from model_provisioner.domain.gguf.header import GGUFHeader, Incomplete, check_complete
from model_provisioner.domain.gguf.roles import check_role
from model_provisioner.domain.store.digest import Digest
from model_provisioner.domain.store.plan import Archive
from model_provisioner.domain.store.upload_parts import UploadParts
from model_provisioner.transfer.download.checkpointer import Checkpointer
from model_provisioner.transfer.download.content.archive_digest import ArchiveDigest
from model_provisioner.transfer.download.content.gguf_header import initial_read_size, read_available_header
from model_provisioner.transfer.download.content.hashing import PrefixHasher
from model_provisioner.transfer.download.content.unpacking import UnpackedStream
from model_provisioner.transfer.download.content.upload_parts_check import UploadPartsCheck
from model_provisioner.transfer.download.requests.connections import Body, ConnectionPool, most_severe
from model_provisioner.transfer.download.requests.remote_file import (
    RangesNotSupported,
    RemoteFile,
    RepresentationChanged,
)
from model_provisioner.transfer.download.requests.throttle import Limits, Throttle
from model_provisioner.transfer.store.partfile import PartFile

_MAX_CHANGES = 3
_BATCH_BYTES = MIB  # of a single connection; several share half of it, to save memory
_BATCHES_AHEAD = 2
_MIN_BATCH_BYTES = 128 * 1024
_BATCH_SECONDS = 0.25


@dataclass
class _Batch:
    """Contiguous bytes that are written together, because each call of a thread costs time.

    `offset` is in bytes of the file, `started_at` in seconds of the monotonic clock, `size` in bytes.
    """

    offset: int
    started_at: float
    chunks: list[bytes] = field(default_factory=list)
    size: int = 0

    @property
    def end(self) -> int:
        return self.offset + self.size

    def append(self, chunk: bytes) -> None:
        self.chunks.append(chunk)
        self.size += len(chunk)


class FileDownload:
    """The download of one file. The caller opens and closes `part`.

    `throttle` is shared by all downloads of the job. `on_change` is called whenever `bytes_written`, `bytes_hashed` or
    `part.restarts` has changed, and every second; it must not block. `role` is the one that the header must fit,
    `archive` what `remote` sends, if that is not the file alone. `upload_parts` are those that the bytes are compared
    with.
    """

    def __init__(
        self,
        part: PartFile,
        remote: RemoteFile,
        limits: Limits,
        throttle: Throttle,
        clock: Clock,
        threads: Threads,
        on_change: Callable[[], None],
        role: FileRole = FileRole.MODEL,
        archive: Archive | None = None,
        upload_parts: UploadParts | None = None,
    ) -> None:
        self._part = part
        self._remote = remote
        self._limits = limits
        self._throttle = throttle
        self._clock = clock
        self._threads = threads
        self._on_change = on_change
        self._role = role
        self._upload_parts = upload_parts
        self.size = part.size
        self.written = part.spans
        self._checkpointer = Checkpointer(part, lambda: self.written, threads)
        self._archive = archive
        in_place = archive if archive and not archive.compressed else None
        self._around = ArchiveDigest(remote, in_place, self, clock) if in_place else None
        self._prepare()
        self._unwritten = 0  # bytes of the batches that are being written
        self._header: GGUFHeader | None = None
        self._header_read_bytes = initial_read_size(part.size)

    @property
    def bytes_written(self) -> int:
        return self.written.total

    @property
    def wait(self) -> Wait | None:
        """What the download waits for, if no byte comes."""
        return self._connections.wait

    @property
    def bytes_hashed(self) -> int:
        return self._hasher.position

    async def run(self) -> tuple[Digest, GGUFHeader]:
        """Returns the digest and the header when every byte is written.

        Raises NotGGUF as soon as the header shows it, DigestMismatch as soon as an upload part is wrong and for an
        archive that is not the one that the source names, and the errors of the source and of the volume. When it ends,
        no thread is running. If it fails or is cancelled, the journal holds all bytes that were written.
        """
        try:
            result = await self._attempts()
        except BaseException:
            await self._threads.idle()
            with contextlib.suppress(ProvisionError):
                await self._checkpointer.flush()
            raise
        await self._checkpointer.wait_idle()
        return result

    async def _attempts(self) -> tuple[Digest, GGUFHeader]:
        """Each RangesNotSupported makes the next request clearer, and without bytes lost; so there are two at most."""
        changes = 0
        while True:
            try:
                return await self._attempt()
            except RangesNotSupported:
                await self._begin_again(whole_file=True)
            except RepresentationChanged:
                changes += 1
                await self._discard()
                if self._remote.pinned:  # what is to be fetched now has another size, digest or revision
                    raise SourceUnavailable(
                        f"{self._remote.subject} has changed at its source since it was asked for: what is there now "
                        "is fetched instead"
                    ) from None
                if changes == _MAX_CHANGES:
                    raise SourceUnavailable(f"{self._remote.subject} changes while it is fetched") from None
                # One stream has one version, also if the edges of a host give the same bytes different validators.
                await self._begin_again(whole_file=changes == _MAX_CHANGES - 1)

    async def _attempt(self) -> tuple[Digest, GGUFHeader]:
        if self._around:
            await self._around.begin()
        await self._mark_complete()
        await self._hasher.offer(0, (), self.written.prefix_end)
        await self._check_header()
        try:
            async with asyncio.TaskGroup() as tasks:
                digest = tasks.create_task(self._hasher.run())
                tasks.create_task(self._connections.run())
        except BaseExceptionGroup as group:
            raise most_severe(group) from None
        if self._header is None:
            raise NotGGUF("its header does not end within the file")
        if self._around:
            await self._around.check()
        return digest.result(), self._header

    async def _begin_again(self, *, whole_file: bool) -> None:
        """Prepares the next attempt, which goes on with the bytes that are written."""
        await self._threads.idle()
        await self._checkpointer.wait_idle()
        self._prepare(whole_file=whole_file)

    def _prepare(self, *, whole_file: bool = False) -> None:
        self._connections: ConnectionPool | UnpackedStream
        if self._archive and self._archive.compressed:
            self._connections = UnpackedStream(self, self._remote, self._archive, self._threads, self._clock)
        else:
            self._connections = ConnectionPool(self, self._remote, self._limits, self._clock, whole_file=whole_file)
        self._hasher = PrefixHasher(self.size, self._part.read, self._threads, self._on_change, self._also_hashed())

    def _also_hashed(self) -> Callable[[bytes], None] | None:
        """What else gets the bytes of the file, from its first one on, in order."""
        if self._around:
            return self._around.update
        return UploadPartsCheck(self._upload_parts).update if self._upload_parts else None

    async def _discard(self) -> None:
        await self._threads.idle()
        await self._checkpointer.wait_idle()
        if self.written.total:
            await self._threads.run(self._part.restart)
        self.written = self._part.spans
        self._header, self._header_read_bytes = None, initial_read_size(self.size)
        self._on_change()

    async def receive(self, body: Body) -> None:
        """Reads `body` to its end. Received bytes are kept also if an error ends it or it is cancelled.

        The next batch is received while the previous ones are written. Over a single connection two of them may wait,
        so that the thread that writes them need not wait for the event loop.
        """
        batch, writing = self._batch(body.position), deque[asyncio.Task[None]]()
        try:
            while chunk := await body.read(self._read_bytes(batch)):
                batch.append(chunk)
                await self.pace(len(chunk))
                if self._is_due(batch):
                    while len(writing) >= (_BATCHES_AHEAD if self._connections.running <= 1 else 1):
                        await asyncio.shield(writing[0])
                        del writing[0]
                    writing.append(asyncio.create_task(self._store(batch)))
                    batch = self._batch(batch.end)
        finally:
            await wait_all(*writing)
            errors = [task.exception() for task in writing]  # of each: one that is not asked for is logged
            if error := next(filter(None, errors), None):
                raise error
            await self._store(batch)

    async def pace(self, size: int) -> None:
        """Counts `size` received bytes, and waits until they are within the bandwidth limit."""
        await self._throttle.take(size)

    def tick(self) -> None:
        """Reports unchanged progress too: the receiver learns that no bytes come and that this process is alive."""
        self._on_change()

    def _read_bytes(self, batch: _Batch) -> int:
        """The most bytes of the next read for `batch`. With a bandwidth limit they are few, for an even flow.

        No read makes a batch larger than its limit: more bytes may be in the buffers of the connection when the disk or
        the processor is slow, and several batches of that size wait to be hashed.
        """
        left, rate = self._max_batch_bytes - batch.size, self._limits.bytes_per_second
        return max(1, left if rate is None else min(left, int(rate * _BATCH_SECONDS)))

    def _batch(self, offset: int) -> _Batch:
        return _Batch(offset, self._clock.monotonic())

    def _is_due(self, batch: _Batch) -> bool:
        header_there = self._header is None and batch.end >= self._header_read_bytes
        return (
            batch.size >= self._max_batch_bytes
            or header_there
            or self._clock.monotonic() - batch.started_at >= _BATCH_SECONDS
        )

    @property
    def _max_batch_bytes(self) -> int:
        connections = self._connections.running
        return _BATCH_BYTES if connections <= 1 else max(_MIN_BATCH_BYTES, _BATCH_BYTES // 2 // connections)

    async def _store(self, batch: _Batch) -> None:
        """Writes a batch and has it hashed.

        The last batch is written after all claimed ones, and hashed after `_mark_complete` has seen the file.
        """
        self._unwritten += batch.size
        last = self.written.total + self._unwritten >= self.size
        claimed = not last and self._hasher.claim(batch.offset, batch.size)
        try:
            run = self._threads.run_in_order if claimed or last else self._threads.run
            await run(self._write_and_hash if claimed else self._write, batch)
        finally:
            self._unwritten -= batch.size
        self.written = self.written.add(batch.offset, batch.end)
        await self._mark_complete()
        if claimed:
            await self._hasher.hashed(batch.end, self.written.prefix_end)
        self._on_change()
        await self._check_header()
        if not claimed:
            await self._hasher.offer(batch.offset, batch.chunks, self.written.prefix_end)
        await self._checkpointer.add(batch.size)

    async def _mark_complete(self) -> None:
        if self.written.covers(self.size):
            await self._threads.run(self._part.mark_complete)

    def _write(self, batch: _Batch) -> None:
        self._part.check_writer()
        offset = batch.offset
        for chunk in batch.chunks:
            self._part.write(offset, chunk)
            offset += len(chunk)

    def _write_and_hash(self, batch: _Batch) -> None:
        self._write(batch)
        self._hasher.update(batch.chunks)

    async def _check_header(self) -> None:
        if self._header or self.written.prefix_end < self._header_read_bytes:
            return
        found = await self._threads.run(
            read_available_header, self._part.read, self.written.prefix_end, self.size, self._header_read_bytes
        )
        if isinstance(found, Incomplete):
            self._header_read_bytes = found.needed
        else:
            check_role(found, self._role)
            check_complete(found, self.size)
            self._header = found
        self._connections.allow_parallel()
