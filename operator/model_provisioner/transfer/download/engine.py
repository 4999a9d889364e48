"""Carries out one settled plan: every file at its final path, verified, or an error that says why not.

The story is `_Transfer.run`. What is there and attested for is taken as it is, what is there and not
attested for is hashed, everything else is fetched into a part, verified and published. The first part
of a split model is published last, because its being there means that the model is.
"""

import os
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from model_provisioner.aio.clock import Clock
from model_provisioner.aio.threads import Threads
from model_provisioner.domain.errors import (
    DigestMismatch,
    InsufficientStorage,
    NotGGUF,
    SourceNotFound,
    SourceUnavailable,
)
from model_provisioner.domain.gguf.header import GGUFHeader, Incomplete, check_complete, combine
from model_provisioner.domain.modeldownload import FileRecord, GGUFSummary
from model_provisioner.domain.network.credentials import Credentials
from model_provisioner.domain.store.digest import Digest
from model_provisioner.domain.store.plan import Plan, PlannedFile
from model_provisioner.domain.store.space import Room
from model_provisioner.transfer.download.file_download import FileDownload
from model_provisioner.transfer.download.gguf_header import first_look, header_within
from model_provisioner.transfer.download.hashing import hash_file
from model_provisioner.transfer.download.remote_file import RemoteFile
from model_provisioner.transfer.download.throttle import Limits, Throttle
from model_provisioner.transfer.http.client import Client
from model_provisioner.transfer.store.files import PublishedFile, StoreFiles
from model_provisioner.transfer.store.partfile import PartFile

_CONTENT_ERRORS = (NotGGUF, DigestMismatch)  # not that parts do not belong together: each of them is what it should be


@dataclass(frozen=True, slots=True)
class Job:
    """`plan` has its final paths, and `limits` may change while it runs.

    `holder_uid` None keeps no record: the files are a person's, not an object's.
    """

    plan: Plan
    limits: Limits
    epoch: int
    credentials: Credentials | None = None
    holder_uid: str | None = None


@dataclass(frozen=True, slots=True)
class Provided:
    """`files` are in the order of the plan, each with the digest of its content. `received` bytes came for it.

    `read`: every byte was read for it, none believed because a record attests for it.
    """

    files: tuple[FileRecord, ...]
    gguf: GGUFSummary
    received: int
    read: bool


class Reporter(Protocol):
    """Hears of every step, many times a second; must not block."""

    def progress(self, done: int, total: int, restarts: int, received: int) -> None:
        """`done` of `total` bytes are written; never falls while `restarts` stays the same.

        `received` bytes came from the source for this job, also those that were thrown away.
        """

    def verifying(self, hashed: int, total: int, received: int) -> None:
        """Every byte is here, `hashed` of them are hashed; `received` as above."""


async def provide(job: Job, store: StoreFiles, client: Client, reporter: Reporter, clock: Clock) -> Provided:
    """Raises ProvisionError. When it is cancelled, the journal is written first, within a second."""
    return await _Transfer(job, store, client, reporter, clock).run()


class _Transfer:
    def __init__(self, job: Job, store: StoreFiles, client: Client, reporter: Reporter, clock: Clock) -> None:
        self._job = job
        self._plan = job.plan
        self._store = store
        self._client = client
        self._reporter = reporter
        self._clock = clock
        self._threads = Threads()
        self._throttle = Throttle(job.limits, clock)
        self._headers: dict[str, GGUFHeader] = {}
        self._records: dict[str, FileRecord] = {}
        self._read: set[str] = set()
        self._restarts = 0

    async def run(self) -> Provided:
        """However it ends, no thread uses the store any more, so that it may be closed."""
        try:
            for file in (*self._plan.files[1:], self._plan.files[0]):
                if not await self._adopted(file):
                    await self._fetch(file)
        finally:
            await self._threads.idle()
        records = tuple(self._records[file.path] for file in self._plan.files)
        return Provided(records, self._summary(), self._throttle.received, len(self._read) == len(records))

    async def _adopted(self, file: PlannedFile) -> bool:
        """Is the file at its path what it should be? Content that nobody attests for is hashed to find out."""
        published = await self._threads.run(self._store.published, file)
        if published is None or published.size != file.size:
            self._check_fetchable(file, published)
            return False
        digest = published.digest
        if digest is None and file.url is not None and file.digest is None:
            return False  # neither the source nor a record tells what it should be
        if digest is None:
            digest = await self._hash_published(file)
        if file.digest not in {None, digest}:
            if file.url is None:
                raise _mismatch(file, digest)
            if published.digest is None:
                self._restarts += 1  # its bytes were told of as being here
            return False
        self._headers[file.path] = await self._published_header(file)
        await self._complete(file, digest)
        return True

    def _check_fetchable(self, file: PlannedFile, published: PublishedFile | None) -> None:
        """Raises where it can't be fetched, because it is a local one."""
        if file.url is not None:
            return
        if published is None:
            raise SourceNotFound(f"{file.path} is not on the volume any more: put it there again")
        raise SourceUnavailable(f"{file.path} has changed on the volume a moment ago: is it still being written?")

    async def _hash_published(self, file: PlannedFile) -> Digest:
        self._read.add(file.path)
        async with self._published(file) as fd:
            return await hash_file(fd, self._threads, lambda hashed: self._tell_hashed(file, hashed))

    async def _published_header(self, file: PlannedFile) -> GGUFHeader:
        async with self._published(file) as fd:
            return await self._threads.run(_whole_header, fd, file)

    def _published(self, file: PlannedFile) -> AbstractAsyncContextManager[int]:
        return self._threads.opened(lambda: self._store.open_published(file.path), os.close)

    async def _fetch(self, file: PlannedFile) -> None:
        """Where the volume is full it is told how full, also when that shows only in the middle."""
        (await self._room(file)).check(self._plan.ref)
        try:
            await self._fetch_into_part(file)
        except InsufficientStorage as error:
            raise (await self._room(file)).explain(self._plan.ref, error) from error

    async def _fetch_into_part(self, file: PlannedFile) -> None:
        self._read.add(file.path)
        async with self._threads.opened(lambda: self._store.part(file, self._job.epoch), PartFile.close) as part:
            try:
                digest, self._headers[file.path] = await self._download(file, part)
                if len(self._headers) == len(self._plan.files):
                    self._summary()
                await self._threads.run(self._store.publish, part, file.path, self._job.holder_uid)
            except _CONTENT_ERRORS:
                await self._threads.run(part.discard)
                raise
        self._restarts += part.restarts
        await self._complete(file, digest)

    async def _room(self, file: PlannedFile) -> Room:
        waiting = tuple(f for f in self._plan.files if f is not file and f.path not in self._records)
        return await self._threads.run(self._store.room, (file,), waiting)

    async def _download(self, file: PlannedFile, part: PartFile) -> tuple[Digest, GGUFHeader]:
        """Bytes with the right digest. Wrong ones are fetched once more, because a disturbed line may be to blame."""
        resumed = part.spans.total > 0
        try:
            digest, header = await self._download_once(file, part)
            if file.digest in {None, digest}:
                return digest, header
        except NotGGUF:
            if not resumed:  # else the volume may have lost what it was given
                raise
        await self._threads.run(part.restart)
        digest, header = await self._download_once(file, part)
        if file.digest not in {None, digest}:
            raise _mismatch(file, digest)
        return digest, header

    async def _download_once(self, file: PlannedFile, part: PartFile) -> tuple[Digest, GGUFHeader]:
        if file.url is None:
            raise SourceNotFound(f"{file.path} has no address to be fetched from")
        job = self._job
        remote = RemoteFile(self._client, file.url, file.size, file.source, job.credentials, self._clock)
        download = FileDownload(
            part,
            remote,
            job.limits,
            self._throttle,
            self._clock,
            self._threads,
            lambda: self._tell(part, download),
        )
        self._tell(part, download)
        try:
            return await download.run()
        except NotGGUF as error:
            raise NotGGUF(f"{file.path}: {error.message}") from None
        finally:
            self._tell(part, download)  # of what came and could not be written nobody has heard yet

    def _tell(self, part: PartFile, download: FileDownload) -> None:
        finished, received = self._finished_bytes, self._throttle.received
        if finished + download.bytes_there == self._total:
            self._reporter.verifying(finished + download.bytes_hashed, self._total, received)
        else:
            restarts = self._restarts + part.restarts
            self._reporter.progress(finished + download.bytes_there, self._total, restarts, received)

    def _tell_hashed(self, file: PlannedFile, hashed: int) -> None:
        """Of a published file; it may be the only part of a split model that is there."""
        finished = self._finished_bytes
        if finished + file.size == self._total:
            self._reporter.verifying(finished + hashed, self._total, self._throttle.received)
        else:
            self._reporter.progress(finished + hashed, self._total, self._restarts, self._throttle.received)

    async def _complete(self, file: PlannedFile, digest: Digest) -> None:
        record = FileRecord(file.path, file.size, str(digest))
        if self._job.holder_uid is not None:
            await self._threads.run(self._store.record_digest, self._job.holder_uid, record)
        self._records[file.path] = record

    def _summary(self) -> GGUFSummary:
        return combine([self._headers[file.path] for file in self._plan.files])

    @property
    def _total(self) -> int:
        return self._plan.total_bytes

    @property
    def _finished_bytes(self) -> int:
        return sum(record.size_bytes for record in self._records.values())


def _whole_header(fd: int, file: PlannedFile) -> GGUFHeader:
    def read(offset: int, count: int) -> bytes:
        return os.pread(fd, count, offset)

    try:
        header = header_within(read, file.size, file.size, first_look(file.size))
        if isinstance(header, Incomplete):
            raise NotGGUF("its header does not end within the file")
        check_complete(header, file.size)
    except NotGGUF as error:
        raise NotGGUF(f"{file.path}: {error.message}") from None
    return header


def _mismatch(file: PlannedFile, found: Digest) -> DigestMismatch:
    return DigestMismatch(
        f"{file.path} should be {file.digest} and is {found}: compare the digest with its publisher's; "
        "where that is the same, the file at the source is damaged"
    )
