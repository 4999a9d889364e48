"""Resolves `https:` refs: a file on a web server, with its size, its digest and what pins this version of it.

Called by `resolver`. HEAD is not trusted, because servers and proxies answer it otherwise than GET: one byte is asked
for. What a digest or a validator in an answer is worth is decided in `file_facts`. No byte of a model is kept here.
"""

import time
from collections.abc import Sequence
from dataclasses import replace

from model_provisioner.aio.parallel import in_parallel
from model_provisioner.domain.credentials.credentials import Credentials
from model_provisioner.domain.errors import IncompleteModel, NotGGUF, ProvisionError, SourceNotFound, SourceUnavailable
from model_provisioner.domain.gguf.file_role import FileRole
from model_provisioner.domain.model_files.part_names import parts_of
from model_provisioner.domain.network.addresses import Origin
from model_provisioner.domain.network.redirects import redirect_target
from model_provisioner.domain.refs.https import HttpsRef
from model_provisioner.domain.refusals.http_errors import http_error
from model_provisioner.domain.refusals.hub_errors import HubRequest
from model_provisioner.domain.store.paths import store_path
from model_provisioner.domain.store.plan import Plan, PlannedFile
from model_provisioner.transfer.clients.bodies import ONE_BYTE, Malformed
from model_provisioner.transfer.clients.file_facts import FileFacts, read_facts, revision_of
from model_provisioner.transfer.http.client import Reply
from model_provisioner.transfer.sources.source import Asked, Resolved, Source, with_expected_digest

_PARALLEL_REQUESTS = 8
_MAX_ORIGINS = 5
_GOOD = frozenset({200, 206})


class Https(Source[HttpsRef]):
    """Files on web servers, Artifactory and WebDAV: whatever answers a GET with the bytes."""

    async def resolve(self, asked: Asked[HttpsRef]) -> Resolved:
        """Raises the errors of the client and of `http_error`, NotGGUF for a web page, IncompleteModel if a part is
        missing, and what `with_expected_digest` raises. The revision of an earlier resolution is compared with by the
        transfer: an older version can't be asked for.
        """
        refs = [HttpsRef(asked.ref.origin, path) for path in parts_of(asked.ref.path)]
        facts = await self._all_facts(refs, asked.credentials)
        files = with_expected_digest(tuple(map(_planned, refs, facts)), asked.digest)
        pinned = tuple(_pinned(file, one) for file, one in zip(files, facts, strict=True))
        return Resolved(Plan(str(asked.ref), revision_of([one.version for one in facts]), pinned))

    async def _all_facts(self, refs: Sequence[HttpsRef], credentials: Credentials | None) -> list[FileFacts]:
        first = await self._facts(refs[0], credentials)  # alone: the others would fail for the same reason

        async def facts(ref: HttpsRef) -> FileFacts:
            try:
                return await self._facts(ref, credentials)
            except SourceNotFound:
                raise IncompleteModel(
                    f"the part {ref} of the model is not there: upload it, or name another model"
                ) from None

        return [first, *await in_parallel(_PARALLEL_REQUESTS, facts, refs[1:])]

    async def _facts(self, ref: HttpsRef, credentials: Credentials | None) -> FileFacts:
        url, replies = str(ref), list[Reply]()
        for _ in range(_MAX_ORIGINS):
            replies += await self._tools.client.headers("GET", url, ONE_BYTE, credentials)
            last = replies[-1]
            if not last.is_redirect:
                break
            url, credentials = redirect_target(last.url, last.headers["Location"]), last.credentials
        return self._read(ref, replies, withheld=replies[0].credentials is not None and replies[-1].credentials is None)

    def _read(self, ref: HttpsRef, replies: Sequence[Reply], *, withheld: bool) -> FileFacts:
        last = replies[-1]
        if last.is_redirect:
            raise SourceUnavailable(f"{ref.origin} redirects {ref} again and again: the address leads nowhere")
        if last.status not in _GOOD:
            raise _status_error(ref, last, withheld=withheld)
        if last.is_web_page:
            raise NotGGUF(
                f"{last.origin} answers with a web page when asked for {ref}, most likely to log in: give a credential "
                "in a Secret, or correct the address"
            )
        try:
            return read_facts(last.status, [reply.headers for reply in replies])
        except Malformed as error:
            raise SourceUnavailable(
                f"{last.origin} {error} when asked for one byte of {ref}: check the address, and whether a proxy "
                "interferes"
            ) from None


def _status_error(ref: HttpsRef, last: Reply, *, withheld: bool) -> ProvisionError:
    if last.status == 416:
        return NotGGUF(f"{ref} is empty (416): upload the model again")
    request = HubRequest(str(ref), str(last.origin), last.credentials is not None, withheld=withheld)
    return http_error(last.status, last.headers, request, time.time())


def _planned(ref: HttpsRef, facts: FileFacts) -> PlannedFile:
    return PlannedFile(
        path=store_path(ref, ref.file),
        size=facts.size,
        digest=facts.digest,
        source=str(ref),
        url=str(ref),
        endpoint=str(Origin.of(str(ref))),
        digest_published=facts.digest is not None,
        role=FileRole.NAMED,
    )


def _pinned(file: PlannedFile, facts: FileFacts) -> PlannedFile:
    """With a digest, validators decide nothing: the hosts of one service may give the same bytes different ones."""
    return file if file.digest else replace(file, pin=facts.pin)
