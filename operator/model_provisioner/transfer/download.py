"""Brings the bytes of one file into its part, over one or more connections, and hashes them on the way.

The story of `FileDownload.run`: lanes (one connection each) take the next bytes that nobody has; what
comes is written by a thread, told to the hasher and now and then to the journal. Until the GGUF
header has been judged there is one lane. Everything about the plan, the store and publishing is the
engine's.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

from model_provisioner.domain.backoff import delay
from model_provisioner.domain.digest import Digest
from model_provisioner.domain.errors import NotGGUF, ProvisionError, Retryable, SourceUnavailable, TransferStalled
from model_provisioner.domain.gguf import GGUFHeader, Incomplete, check_complete
from model_provisioner.domain.ranges import MIB, SMALLEST_RANGE, ByteRange, next_range, range_size
from model_provisioner.transfer.client import Reply
from model_provisioner.transfer.clock import Clock
from model_provisioner.transfer.hashing import PrefixHasher
from model_provisioner.transfer.headers import first_look, header_within
from model_provisioner.transfer.partfile import PartFile
from model_provisioner.transfer.remote import RangesIgnored, RemoteFile
from model_provisioner.transfer.saver import Saver
from model_provisioner.transfer.threads import Threads
from model_provisioner.transfer.throttle import Throttle

_TRIES = 3
_PARALLEL_FROM = 64 * MIB
_BATCH_BYTES = MIB
_SMALLEST_BATCH = 128 * 1024
_BATCH_SECONDS = 0.25
_MAY_PASS = (SourceUnavailable, TransferStalled)  # for anything else, waiting a second or two does not help


@dataclass
class _Batch:
    """Bytes that came one after the other and are written together, to cross threads less often."""

    offset: int
    since: float
    chunks: list[bytes] = field(default_factory=list)
    size: int = 0

    @property
    def end(self) -> int:
        return self.offset + self.size

    def append(self, chunk: bytes) -> None:
        self.chunks.append(chunk)
        self.size += len(chunk)


class FileDownload:
    """`moved` is called whenever `bytes_there` or `restarts` has changed."""

    def __init__(
        self,
        part: PartFile,
        remote: RemoteFile,
        connections: int,
        throttle: Throttle,
        clock: Clock,
        threads: Threads,
        moved: Callable[[], None],
    ) -> None:
        self._part = part
        self._remote = remote
        self._lanes = connections if part.size >= _PARALLEL_FROM else 1
        self._range_size = range_size(part.size, self._lanes)
        self._throttle = throttle
        self._clock = clock
        self._threads = threads
        self._moved = moved
        self._written = part.spans
        self._claimed: set[ByteRange] = set()
        self._saver = Saver(part, lambda: self._written, threads)
        self._hasher = PrefixHasher(part.size, part.read, threads, moved)
        self._header: GGUFHeader | None = None
        self._header_look = first_look(part.size)
        self._header_judged = asyncio.Event()

    @property
    def bytes_there(self) -> int:
        return self._written.total

    @property
    def bytes_hashed(self) -> int:
        return self._hasher.position

    async def run(self) -> tuple[Digest, GGUFHeader]:
        """The digest and the header, when every byte is there.

        Raises NotGGUF as soon as that is known, and any error of the source or the volume. However it
        ends, no thread runs any more; where it fails or is cancelled, the journal has what was written.
        """
        try:
            result = await self._attempts()
        except BaseException:
            await self._threads.idle()
            with contextlib.suppress(ProvisionError):
                await self._saver.finish()
            raise
        await self._saver.settle()
        return result

    async def _attempts(self) -> tuple[Digest, GGUFHeader]:
        for _ in range(_TRIES):
            try:
                return await self._attempt()
            except RangesIgnored:
                await self._begin_again_in_one_stream()
        raise SourceUnavailable("the source can't send parts of a file, and no connection lasted for the whole of it")

    async def _attempt(self) -> tuple[Digest, GGUFHeader]:
        await self._hasher.offer(0, (), self._written.prefix_end)
        await self._judge_header()
        try:
            async with asyncio.TaskGroup() as tasks:
                digest = tasks.create_task(self._hasher.run())
                for number in range(self._lanes):
                    tasks.create_task(self._lane(first=number == 0))
        except BaseExceptionGroup as group:
            raise _most_telling(group) from None
        if self._header is None:
            raise NotGGUF("its header does not end within the file")
        check_complete(self._header, self._part.size)
        return digest.result(), self._header

    async def _begin_again_in_one_stream(self) -> None:
        await self._threads.idle()
        await self._saver.settle()
        if self._written.total:
            await self._threads.run(self._part.restart)
        self._written = self._part.spans
        self._lanes, self._range_size = 1, self._part.size
        self._hasher = PrefixHasher(self._part.size, self._part.read, self._threads, self._moved)
        self._moved()

    async def _lane(self, first: bool) -> None:
        """One connection: range after range, until nobody needs more."""
        if not first:
            await self._header_judged.wait()
        failures = 0
        while wanted := self._claim():
            try:
                await self._fetch(wanted)
                failures = 0
            except _MAY_PASS as error:
                failures = 1 if self._has_begun(wanted) else failures + 1
                if failures >= _TRIES:
                    raise
                await self._clock.sleep(delay(failures, error.retry_after, self._clock.random()))
            finally:
                self._claimed.discard(wanted)

    def _claim(self) -> ByteRange | None:
        """The header comes in a small range of its own, because the file may turn out to be nothing of ours."""
        one_stream = self._range_size == self._part.size
        largest = self._range_size if self._header or one_stream else SMALLEST_RANGE
        wanted = next_range(self._written, self._claimed, self._part.size, largest)
        if wanted:
            self._claimed.add(wanted)
        return wanted

    def _has_begun(self, wanted: ByteRange) -> bool:
        return any(start <= wanted.start < end for start, end in self._written.pairs)

    async def _fetch(self, wanted: ByteRange) -> None:
        async with await self._remote.get(wanted) as reply:
            end = await self._receive(reply, wanted)
        if end != wanted.stop:
            raise SourceUnavailable(f"{reply.origin} ended the connection {wanted.stop - end} bytes early")

    async def _receive(self, reply: Reply, wanted: ByteRange) -> int:
        """The next batch comes in while the last one is written. What came is kept, however this ends."""
        batch, storing = self._batch(wanted.start), None
        try:
            async for chunk in reply.chunks():
                await self._throttle.take(len(chunk))
                if batch.end + len(chunk) > wanted.stop:
                    raise SourceUnavailable(f"{reply.origin} sends more than it was asked for")
                batch.append(chunk)
                if self._is_due(batch):
                    if storing:
                        await asyncio.shield(storing)
                    storing = asyncio.create_task(self._store(batch))
                    batch = self._batch(batch.end)
        finally:
            if storing:
                await storing
            await self._store(batch)
        return batch.end

    def _batch(self, offset: int) -> _Batch:
        return _Batch(offset, self._clock.monotonic())

    def _is_due(self, batch: _Batch) -> bool:
        full = batch.size >= max(_SMALLEST_BATCH, _BATCH_BYTES // self._lanes)
        return full or self._clock.monotonic() - batch.since >= _BATCH_SECONDS

    async def _store(self, batch: _Batch) -> None:
        await self._threads.run(self._write, batch)
        self._written = self._written.add(batch.offset, batch.end)
        self._moved()
        await self._judge_header()
        await self._hasher.offer(batch.offset, batch.chunks, self._written.prefix_end)
        await self._saver.wrote(batch.size)

    def _write(self, batch: _Batch) -> None:
        offset = batch.offset
        for chunk in batch.chunks:
            self._part.write(offset, chunk)
            offset += len(chunk)

    async def _judge_header(self) -> None:
        if self._header or self._written.prefix_end < self._header_look:
            return
        found = await self._threads.run(
            header_within, self._part.read, self._written.prefix_end, self._part.size, self._header_look
        )
        if isinstance(found, Incomplete):
            self._header_look = found.needed
        else:
            self._header = found
            self._header_judged.set()


def _most_telling(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Of several lanes' errors the one to act on: what can't be mended before what may pass."""
    errors = group.exceptions
    return min(errors, key=lambda error: (isinstance(error, Retryable), isinstance(error, RangesIgnored)))
