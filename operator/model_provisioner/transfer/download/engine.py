"""Downloads one plan: afterwards each file is at its final path and verified, or an error says why not.

Called by `transfer.worker` and `transfer.cli`. A published file whose digest is recorded is used as it is; one without
a record, or whose upload parts were not compared by any record, is hashed; every other file is downloaded into a part,
verified and published. The projector of a model is published first, and the first file of a split model last, because
its presence means that the model is complete. Requests, connections and retries belong to `file_download` and
`connections`, files and records to `transfer.store`.
"""

import functools
import logging
import os
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

from model_provisioner.aio.clock import Clock
from model_provisioner.aio.threads import Threads
from model_provisioner.domain.download.range_answer import RequestedFile
from model_provisioner.domain.errors import (
    DigestMismatch,
    InsufficientStorage,
    NotGGUF,
    SourceNotFound,
)
from model_provisioner.domain.gguf.header import GGUFHeader, combine
from model_provisioner.domain.model_facts import FileRecord, GGUFSummary
from model_provisioner.domain.network.redaction import Redaction
from model_provisioner.domain.store.digest import Digest
from model_provisioner.domain.store.plan import Plan, PlannedFile
from model_provisioner.domain.store.space import Room
from model_provisioner.transfer.download.content.gguf_header import read_whole_header
from model_provisioner.transfer.download.content.hashing import hash_file
from model_provisioner.transfer.download.content.upload_parts_check import UploadPartsCheck
from model_provisioner.transfer.download.file_download import FileDownload
from model_provisioner.transfer.download.file_errors import changed, mismatch, still_written
from model_provisioner.transfer.download.job import Job, Provided, Reporter
from model_provisioner.transfer.download.requests.copies import COPY_ERRORS, CopyPlace, copy_error
from model_provisioner.transfer.download.requests.place import AskedPlace, FixedPlace, Place
from model_provisioner.transfer.download.requests.remote_file import RemoteFile
from model_provisioner.transfer.download.requests.throttle import Limits, Throttle
from model_provisioner.transfer.http.client import Client
from model_provisioner.transfer.http.echoes import redacted_errors
from model_provisioner.transfer.store.files import PublishedFile, StoreFiles
from model_provisioner.transfer.store.partfile import PartFile
from model_provisioner.transfer.store.posix import FileVersion

_LOG = logging.getLogger(__name__)
_CONTENT_ERRORS = (NotGGUF, DigestMismatch)  # not IncompleteModel: each file is then what it should be


async def provide(job: Job, store: StoreFiles, client: Client, reporter: Reporter, clock: Clock) -> Provided:
    """Provides all files of the plan. Raises ProvisionError.

    When it is cancelled, it writes the journal first, within a second. No secret that the source sends back is in the
    result, in an error or in a report.
    """
    redaction = client.redaction(job.credentials)
    transfer = _Transfer(job, store, client, reporter, clock, redaction)
    with redacted_errors(redaction):
        provided = await transfer.run()
    return replace(provided, gguf=_redacted(provided.gguf, client.redaction(job.credentials, transfer.told_secrets)))


class _Transfer:
    def __init__(
        self, job: Job, store: StoreFiles, client: Client, reporter: Reporter, clock: Clock, redaction: Redaction
    ) -> None:
        self._redaction = redaction
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
        self._read_paths: set[str] = set()
        self._restarts = 0
        self.told_secrets = set[str]()
        """What addresses had that the source told, such as a token of a registry."""

    async def run(self) -> Provided:
        """When it ends, also with an error, no thread uses the store, so the caller may close it."""
        try:
            await self._threads.run(self._store.check_paths, self._plan)
            await self._check_local_headers()
            for file in _in_publishing_order(self._plan):
                if not await self._reuse_published(file):
                    await self._fetch(file)
        finally:
            try:
                await self._threads.idle()
            finally:
                self._threads.close()
        records = tuple(self._records[file.path] for file in self._plan.files)
        return Provided(records, self._summary(), self._throttle.received, len(self._read_paths) == len(records))

    async def _check_local_headers(self) -> None:
        """Judges local files by their size and header before any is hashed: a file of holes may have terabytes."""
        local = [file for file in self._plan.files if file.is_local]
        for file in local:
            published = await self._threads.run(self._store.published, file)
            if published is None or published.size != file.size:
                self._check_fetchable(file, published)
            self._headers[file.path] = await self._published_header(file)
        if local and len(local) == len(self._plan.files):
            self._summary()

    async def _reuse_published(self, file: PlannedFile) -> bool:
        """Whether the file at its path is the planned one. Content without a recorded digest is hashed first."""
        published = await self._threads.run(self._store.published, file)
        if published is None or published.size != file.size:
            self._check_fetchable(file, published)
            return False
        digest, version = published.digest, published.version
        if digest is None and not file.is_local and file.digest is None and file.upload_parts is None:
            return False  # neither the source nor a record has a digest to compare with
        if digest is None:
            try:
                digest, version = await self._hash_published(file)
            except DigestMismatch:  # of an upload part
                self._restarts += 1  # its bytes were reported as done
                return False
        if file.digest not in {None, digest}:
            if file.is_local:
                raise mismatch(file, digest)
            if published.digest is None:
                self._restarts += 1  # its bytes were reported as done
            return False
        self._headers[file.path] = await self._published_header(file)
        # A file that lies there and has the user's digest can be from anywhere.
        from_hub = published.digest is not None or file.digest_published or file.upload_parts is not None
        await self._complete(file, digest, version, from_hub=from_hub)
        return True

    def _check_fetchable(self, file: PlannedFile, published: PublishedFile | None) -> None:
        """Raises SourceNotFound or SourceUnavailable if `file` is local: there is no source to fetch it from."""
        if not file.is_local:
            return
        if published is None:
            raise SourceNotFound(f"{file.path} is not on the volume any more: put it there again")
        raise still_written(file)

    async def _hash_published(self, file: PlannedFile) -> tuple[Digest, FileVersion]:
        """The digest, and the file that it is of. A write meanwhile shows in `_complete`.

        Raises DigestMismatch if an upload part is wrong.
        """
        self._read_paths.add(file.path)
        check = UploadPartsCheck(file.upload_parts) if file.upload_parts else None
        async with self._published(file) as fd:
            version = FileVersion.of(await self._threads.run(os.fstat, fd))
            report = functools.partial(self._report_hashed, file)
            digest = await hash_file(fd, self._threads, report, check.update if check else None)
        if check:
            check.end()
        return digest, version

    async def _published_header(self, file: PlannedFile) -> GGUFHeader:
        async with self._published(file) as fd:
            return await self._threads.run(read_whole_header, fd, file)

    def _published(self, file: PlannedFile) -> AbstractAsyncContextManager[int]:
        return self._threads.opened(lambda: self._store.open_published(file.path), os.close)

    async def _fetch(self, file: PlannedFile) -> None:
        """Raises InsufficientStorage with needed and free bytes, also if the volume fills up during the download."""
        (await self._room(file)).check(self._plan.ref)
        try:
            await self._fetch_into_part(file)
        except InsufficientStorage as error:
            raise (await self._room(file)).explain(self._plan.ref, error) from error

    async def _fetch_into_part(self, file: PlannedFile) -> None:
        self._read_paths.add(file.path)
        async with self._threads.opened(lambda: self._store.part(file, self._job.epoch), PartFile.close) as part:
            try:
                digest, self._headers[file.path] = await self._download(file, part)
                if len(self._headers) == len(self._plan.files):
                    self._summary()
                if not await self._threads.run(part.seal):
                    await self._check_part(file, part, digest)
                version = await self._threads.run(self._store.publish, part, file.path, self._job.holder_uid)
            except _CONTENT_ERRORS:
                await self._threads.run(part.discard)
                raise
        self._restarts += part.restarts
        await self._complete(file, digest, version, from_hub=True)

    async def _check_part(self, file: PlannedFile, part: PartFile, digest: Digest) -> None:
        """Hashes a part that is not as it was after its last write. Raises VolumeUnsuitable if the content changed."""
        found = await hash_file(part.fd, self._threads, lambda hashed: self._report_hashed(file, hashed))
        if found != digest:
            await self._threads.run(part.discard)
            raise part.changed()

    async def _room(self, file: PlannedFile) -> Room:
        waiting = tuple(f for f in self._plan.files if f is not file and f.path not in self._records)
        return await self._threads.run(self._store.room, (file,), waiting)

    async def _download(self, file: PlannedFile, part: PartFile) -> tuple[Digest, GGUFHeader]:
        """Downloads once more if the digest is wrong: the bytes may have been damaged on the way."""
        if copied := await self._copy(file, part):
            return copied
        resumed = part.spans.total > 0
        try:
            digest, header = await self._download_once(file, part, self._place(file))
            if file.digest in {None, digest}:
                return digest, header
        except DigestMismatch:  # of the archive that has the file, or of an upload part
            pass
        except NotGGUF:
            if not resumed:  # else the volume may have lost bytes of an earlier attempt
                raise
        await self._threads.run(part.restart)
        digest, header = await self._download_once(file, part, self._place(file))
        if file.digest not in {None, digest}:
            raise mismatch(file, digest)
        return digest, header

    async def _copy(self, file: PlannedFile, part: PartFile) -> tuple[Digest, GGUFHeader] | None:
        """As `_download`, from the operator. None if the source must be asked, also for what is missing then.

        The part keeps what has come, and is continued with bytes of the source: they are to have one digest, which is
        compared when all are there. Wrong content is thrown away at once.
        """
        copies = self._job.copies
        place = copies.place(file, self._client) if copies else None
        if copies is None or place is None:
            return None
        try:
            with copies.counting(lambda: self._throttle.received):
                digest, header = await self._download_once(file, part, place)
            if digest == file.digest:
                return digest, header
            problem = f"it has the digest {digest}"
        except _CONTENT_ERRORS as error:
            problem = error.message
        except COPY_ERRORS as error:
            _LOG.warning("%s is fetched from its source: %s", file.path, error.message)
            return None
        _LOG.warning("the copy of %s is wrong, and is fetched from its source: %s", file.path, problem)
        await self._threads.run(part.restart)
        return None

    async def _download_once(self, file: PlannedFile, part: PartFile, place: Place) -> tuple[Digest, GGUFHeader]:
        is_copy = isinstance(place, CopyPlace)
        limits, explain = (Limits(1), copy_error) if is_copy else (self._job.limits, None)
        sent = RequestedFile(file.archive.size if file.archive else file.size, file.sent_digest is not None)
        offset = file.archive.offset if file.archive and not file.archive.compressed else 0
        remote = RemoteFile(self._client, place, sent, file.source, self._clock, file.pin, offset, explain)
        download = FileDownload(
            part,
            remote,
            limits,
            self._throttle,
            self._clock,
            self._threads,
            lambda: self._report(part, download),
            file.role,
            file.archive,
            file.upload_parts,
        )
        self._report(part, download)
        try:
            with redacted_errors(lambda: self._client.redaction(None, remote.secrets)):
                return await download.run()
        except _CONTENT_ERRORS as error:
            raise type(error)(f"{file.path}: {error.message}") from None
        finally:
            self.told_secrets.update(remote.secrets)
            self._report(part, download)  # bytes that were received and not written are not reported yet

    def _place(self, file: PlannedFile) -> Place:
        """Raises SourceNotFound if there is nowhere to ask."""
        if file.url is not None:
            return FixedPlace(self._client, file.url, self._job.credentials, self._clock)
        addresses = self._job.addresses
        if not file.signed or addresses is None:
            raise SourceNotFound(f"{file.path} has no address to be fetched from")
        return AskedPlace(self._client, lambda: addresses(file), self._clock)

    def _report(self, part: PartFile, download: FileDownload) -> None:
        finished, received = self._finished_bytes, self._throttle.received
        if finished + download.bytes_written == self._total:
            self._reporter.verifying(finished + download.bytes_hashed, self._total, received)
        else:
            restarts, wait = self._restarts + part.restarts, download.wait
            if wait:
                wait = replace(wait, origin=self._redaction.text(wait.origin))
            self._reporter.progress(finished + download.bytes_written, self._total, restarts, received, wait)

    def _report_hashed(self, file: PlannedFile, hashed: int) -> None:
        """Of a published file. Other files of a split model may be missing, so this is not always `verifying`."""
        finished = self._finished_bytes
        if finished + file.size == self._total:
            self._reporter.verifying(finished + hashed, self._total, self._throttle.received)
        else:
            self._reporter.progress(finished + hashed, self._total, self._restarts, self._throttle.received)

    async def _complete(self, file: PlannedFile, digest: Digest, version: FileVersion, *, from_hub: bool) -> None:
        """Raises SourceUnavailable or VolumeUnsuitable if the file is not the verified `version` any more."""
        record, uid = FileRecord(file.path, file.size, str(digest)), self._job.holder_uid
        if uid is not None and not await self._threads.run(
            lambda: self._store.record_digest(uid, record, version, from_hub=from_hub, upload_key=file.upload_key)
        ):
            raise still_written(file) if file.is_local else changed(file)
        self._records[file.path] = record

    def _summary(self) -> GGUFSummary:
        """Of the model alone: a projector is no part of it."""
        return combine([self._headers[file.path] for file in self._plan.model_files])

    @property
    def _total(self) -> int:
        return self._plan.total_bytes

    @property
    def _finished_bytes(self) -> int:
        return sum(record.size_bytes for record in self._records.values())


def _in_publishing_order(plan: Plan) -> tuple[PlannedFile, ...]:
    """The projector, which is small and may be the wrong file, before the model; the model's first file last."""
    first, *others = plan.model_files
    return (*((plan.projector,) if plan.projector else ()), *others, first)


def _redacted(gguf: GGUFSummary, redaction: Redaction) -> GGUFSummary:
    def shown(text: str | None) -> str | None:
        return None if text is None else redaction.text(text)

    return replace(
        gguf,
        architecture=shown(gguf.architecture),
        name=shown(gguf.name),
        quantization=shown(gguf.quantization),
        license=shown(gguf.license),
    )
