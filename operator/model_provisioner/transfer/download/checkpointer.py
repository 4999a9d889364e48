"""Decides when the journal of a part is written, so that a crash loses few bytes and the volume syncs rarely.

Called by `file_download` after each write. What a journal holds and how it becomes durable belongs to
`transfer.store.partfile`.
"""

import asyncio
from collections.abc import Callable

from model_provisioner.aio.threads import Threads
from model_provisioner.domain.download.spans import Spans
from model_provisioner.transfer.store.partfile import PartFile

_UNSAVED_BYTES = 8 * 1024 * 1024


class Checkpointer:
    """`written` returns the bytes that are in the file now. A save covers those that are in the file when it begins."""

    def __init__(self, part: PartFile, written: Callable[[], Spans], threads: Threads) -> None:
        self._part = part
        self._written = written
        self._threads = threads
        self._unsaved = 0
        self._save_task: asyncio.Task[None] | None = None

    async def add(self, size: int) -> None:
        """Counts `size` more bytes in the file, and begins a save after every 8 MiB.

        Waits while the previous save runs, so that at most about 16 MiB are unsaved. Raises what the previous save
        raised.
        """
        self._unsaved += size
        while self._unsaved >= _UNSAVED_BYTES:
            if self._save_task is None or _succeeded(self._save_task):
                self._save_task = asyncio.create_task(self._save())
                return
            await asyncio.shield(self._save_task)

    async def flush(self) -> None:
        """Returns when all written bytes are durable and in the journal. Raises as `PartFile.commit` does."""
        await self.wait_idle()
        await self._save()

    async def wait_idle(self) -> None:
        """Returns when no save runs. Raises what the last save raised."""
        if self._save_task is not None:
            await self._save_task

    async def _save(self) -> None:
        written, self._unsaved = self._written(), 0
        if written != self._part.spans:
            await self._threads.run(self._part.commit, written)


def _succeeded(save: "asyncio.Task[None]") -> bool:
    return save.done() and not save.cancelled() and save.exception() is None
