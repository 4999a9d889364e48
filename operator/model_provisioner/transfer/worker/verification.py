"""Hashes published files again for a `verify` request. Called by `worker`; changes no file and no record."""

import os
from collections.abc import Callable

from model_provisioner.aio.threads import Threads
from model_provisioner.domain.model_facts import FileRecord
from model_provisioner.transfer.download.content.hashing import hash_file
from model_provisioner.transfer.store.posix import volume_errors
from model_provisioner.transfer.store.store import Store


async def wrong_files(
    store: Store, files: tuple[FileRecord, ...], verifying: Callable[[int, int], None]
) -> tuple[str, ...]:
    """The paths of `files` that are missing, or whose content has another size or digest.

    `verifying` is called with the bytes hashed so far and the bytes of all files. Raises ProvisionError.
    """
    threads, total, done = Threads(), sum(file.size_bytes for file in files), 0
    try:
        wrong = (await threads.run(store.records.check, files)).missing
        for file in files:
            if file.path not in wrong and file.digest != await _hash(store, file, threads, verifying, done, total):
                wrong = (*wrong, file.path)
            done += file.size_bytes
    finally:
        await threads.idle()  # no thread may use the store when the caller closes it
    return wrong


async def _hash(
    store: Store, file: FileRecord, threads: Threads, verifying: Callable[[int, int], None], done: int, total: int
) -> str:
    with volume_errors(f"read {file.path}"):
        async with threads.opened(lambda: store.files.open_published(file.path), os.close) as fd:
            return str(await hash_file(fd, threads, lambda read: verifying(done + read, total)))
