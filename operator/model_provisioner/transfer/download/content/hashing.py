"""Computes the SHA-256 of a file: of a part while its bytes arrive, or of a published file.

Called by `file_download`, `engine` and `transfer.worker.verification`. Bytes that arrive in order are hashed from
memory. Other bytes are read back from the part, through the page cache, when all bytes before them are written.
What else gets the bytes in order (`also`) is decided by `file_download` and `engine`, and so is what the digest is
compared with.
"""

import asyncio
import hashlib
import os
from collections import deque
from collections.abc import Callable, Sequence

from model_provisioner.aio.threads import Threads
from model_provisioner.domain.store.digest import Digest

_READ_BYTES = 1024 * 1024
_PIECE_BYTES = 128 * 1024  # of _READ_BYTES at one time, to use little memory
_MAX_QUEUED = 4

Read = Callable[[int, int], bytes]
"""A function of offset and count in bytes; returns that many bytes."""


class PrefixHasher:
    """Hashes the contiguous prefix of a file of `size` bytes while it grows.

    `run` is a task beside the download; it calls `on_progress` after each step. `position` is the number of bytes that
    are hashed. A writer that is not ahead of the hasher hashes its bytes itself (`claim`), in the thread
    that wrote them: each change of threads costs time. `also` gets the same bytes in the same order, in a thread, and
    may raise.
    """

    def __init__(
        self,
        size: int,
        read: Read,
        threads: Threads,
        on_progress: Callable[[], None],
        also: Callable[[bytes], None] | None = None,
    ) -> None:
        self._size = size
        self._read = read
        self._threads = threads
        self._on_progress = on_progress
        self._also = also
        self._sha = hashlib.sha256()
        self._tail = 0  # end of the bytes that are hashed or queued
        self._prefix_end = 0  # end of the prefix that is in the file
        self._queue: deque[Sequence[bytes]] = deque()
        self._changed = asyncio.Condition()
        self._claims = 0
        self._stopped = False
        self.position = 0

    def claim(self, offset: int, size: int) -> bool:
        """Whether the caller is to hash the `size` bytes at `offset` with `update`, and then to call `hashed`.

        That is so if all bytes before them are hashed or claimed: callers hash in the order of their claims. Nothing
        else is hashed meanwhile.
        """
        if offset != self._tail or self._queue or not (self._claims or self.position == self._tail):
            return False
        self._tail += size
        self._claims += 1
        return True

    async def hashed(self, end: int, prefix_end: int) -> None:
        """The claimed bytes up to `end` are hashed, and all bytes before `prefix_end` are in the file."""
        async with self._changed:
            self.position = max(self.position, end)
            self._claims -= 1
            self._prefix_end = max(self._prefix_end, prefix_end)
            self._changed.notify_all()

    async def offer(self, offset: int, chunks: Sequence[bytes], prefix_end: int) -> None:
        """Tells that `chunks` are in the file at `offset`, and all bytes before `prefix_end` too.

        Waits while the queue is full: a fast network must not fill the memory.
        """
        async with self._changed:
            if chunks and offset == self._tail:
                self._tail += sum(map(len, chunks))
                self._queue.append(chunks)
            self._prefix_end = max(self._prefix_end, prefix_end)
            self._changed.notify_all()
            await self._changed.wait_for(lambda: self._stopped or len(self._queue) < _MAX_QUEUED)

    async def run(self) -> Digest:
        """Returns the digest when all bytes are hashed."""
        try:
            return await self._follow()
        finally:
            async with self._changed:
                self._stopped = True
                self._changed.notify_all()

    async def _follow(self) -> Digest:
        while self.position < self._size:
            async with self._changed:
                await self._changed.wait_for(self._has_work)
                if self.position == self._size:
                    break
                chunks = self._queue.popleft() if self._queue else None
                self._changed.notify_all()
            if chunks is None:
                start, stop = self._tail, min(self._prefix_end, self._tail + _READ_BYTES)
                self._tail = stop  # bytes that follow may be queued from now on
                await self._threads.run(self._read_back, start, stop)
                self.position = stop
            else:
                await self._threads.run(self.update, chunks)
                self.position += sum(map(len, chunks))
            self._on_progress()
        return Digest(self._sha.hexdigest())

    def _has_work(self) -> bool:
        if self._claims:
            return False
        return bool(self._queue) or self._prefix_end > self._tail or self.position == self._size

    def update(self, chunks: Sequence[bytes]) -> None:
        """Hashes `chunks`, which were claimed. Called in a thread."""
        for chunk in chunks:
            self._sha.update(chunk)
            if self._also:
                self._also(chunk)

    def _read_back(self, start: int, stop: int) -> None:
        for offset in range(start, stop, _PIECE_BYTES):
            self.update((self._read(offset, min(_PIECE_BYTES, stop - offset)),))


async def hash_file(
    fd: int, threads: Threads, on_progress: Callable[[int], None], also: Callable[[bytes], None] | None = None
) -> Digest:
    """The digest of the open file `fd`; `on_progress` receives the number of bytes hashed so far.

    `also` gets the same bytes in order, in a thread, and may raise.
    """
    sha, position = hashlib.sha256(), 0
    while data := await threads.run(os.pread, fd, _READ_BYTES, position):
        await threads.run(sha.update, data)
        if also:
            await threads.run(also, data)
        position += len(data)
        on_progress(position)
    return Digest(sha.hexdigest())
