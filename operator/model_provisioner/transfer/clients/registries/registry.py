"""Asks one repository of an OCI registry for manifests, and for what blobs are requested with.

Called by `oci` and `ollama`. `registry_login` answers a registry that asks for a login, `registry_replies` says what is
wrong with a reply, and `registry_answers` reads the bodies. Source: distribution-spec 1.1, spec.md, "Pulling manifests"
and "Pulling blobs". HEAD is not used: some registries answer it otherwise than GET.
"""

import hashlib
import time
from collections.abc import Callable, Sequence

from model_provisioner.domain.credentials.credentials import Credentials
from model_provisioner.domain.download.ranges import ByteRange
from model_provisioner.domain.errors import (
    DigestMismatch,
    SourceUnavailable,
)
from model_provisioner.domain.network.file_address import Address
from model_provisioner.domain.store.digest import Digest
from model_provisioner.domain.store.plan import PlannedFile
from model_provisioner.transfer.clients.bodies import ONE_BYTE
from model_provisioner.transfer.clients.registries.registry_answers import (
    MANIFEST_TYPES,
    Manifest,
    parse_manifest,
)
from model_provisioner.transfer.clients.registries.registry_login import Session
from model_provisioner.transfer.clients.registries.registry_replies import Registry
from model_provisioner.transfer.http.client import Client, Reply

MAX_MANIFEST_BYTES = 4 * 1024 * 1024
"""What registries take at least, and at most (distribution-spec, "Pushing manifests")."""
_WHOLE, _PARTIAL = frozenset({200}), frozenset({200, 206})


class RegistryClient:
    """`credentials` are sent as they may be. `wall` is the time in seconds since the epoch.

    Each method raises what `Client.get` raises and `http_error` returns, SourceUnavailable for an answer that does not
    have its shape, and UnsupportedSource for one that is too large or of an unknown kind.
    """

    def __init__(
        self,
        client: Client,
        registry: Registry,
        credentials: Credentials | None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._registry = registry
        self._session = Session(client, registry, credentials, wall)
        self._replies = self._session.replies
        self._answered = False

    @property
    def answered(self) -> bool:
        """Whether the registry has answered a request at all."""
        return self._answered

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be shown if the registry sends it back, besides the credentials themselves."""
        return self._session.secrets

    def check_echo(self, files: Sequence[PlannedFile]) -> None:
        """Raises SourceUnavailable if a path has a token: paths are shown. Takes time for each of `files`."""
        if self._client.redaction(None, self.secrets).is_in("\n".join(file.path for file in files)):
            raise SourceUnavailable(
                f"{self._registry.origin} sent back a token that it had been sent, in the name of a file of "
                f"{self._registry.subject}: check the registry"
            )

    async def manifest(self, reference: str) -> Manifest:
        """The manifest that `reference` names, a tag or `sha256:<hex>`. Raises DigestMismatch if it is another one."""
        body, reply = await self._read(f"manifests/{reference}", {"Accept": ", ".join(MANIFEST_TYPES)})
        digest = Digest(hashlib.sha256(body).hexdigest())
        if ":" in reference and str(digest) != reference:
            raise DigestMismatch(
                f"{reply.origin} answers with the manifest {digest} when asked for {reference} of "
                f"{self._registry.subject}: a proxy's doing, or the registry is damaged"
            )
        content_type = reply.headers.get("Content-Type", "")
        return self._replies.checked(reply, lambda: parse_manifest(body, content_type, digest))

    async def small_blob(self, digest: str) -> bytes:
        """The content of a blob, such as the configuration of a model. It is not compared with `digest`."""
        body, _ = await self._read(f"blobs/{digest}", {})
        return body

    async def checked_blob(self, digest: Digest, what: str) -> bytes:
        """The content of a small blob; `what` says in messages what it is. Raises DigestMismatch if it is another."""
        body, reply = await self._read(f"blobs/{digest}", {}, f"{what} of ")
        found = Digest(hashlib.sha256(body).hexdigest())
        if found != digest:
            raise DigestMismatch(
                f"{reply.origin} answers with {found} when asked for {digest}, {what} of {self._registry.subject}: a "
                "proxy's doing, or the registry is damaged"
            )
        return body

    async def blob_address(self, digest: Digest) -> Address:
        """Where the blob is, and what it is requested with. One byte of it is asked for to learn that."""
        url, logins = self._url(f"blobs/{digest}"), self._session.logins
        last = await self._headers(url)
        if last.status == 401 and self._session.can_log_in(last, logins):
            await self._session.log_in(last, logins)
        elif not (last.is_redirect or last.status in {200, 206}):
            raise self._replies.error(last)
        return Address(url, self._session.headers, self._session.expires)

    async def _headers(self, url: str) -> Reply:
        return (await self._client.headers("GET", url, {**ONE_BYTE, **self._session.headers}, None))[-1]

    async def blob(self, digest: Digest, wanted: ByteRange) -> Reply:
        """The answer with `wanted` of a blob, or with the whole of it. The caller closes it."""
        return await self._open(f"blobs/{digest}", {"Range": wanted.header}, _PARTIAL)

    async def _read(self, path: str, headers: dict[str, str], what: str = "") -> tuple[bytes, Reply]:
        async with await self._open(path, headers, _WHOLE, what) as reply:
            return await self._replies.body(reply, MAX_MANIFEST_BYTES), reply

    async def _open(self, path: str, headers: dict[str, str], good: frozenset[int], what: str = "") -> Reply:
        """The answer, whose status is one of `good`. The caller closes it. Errors have `what` before the subject."""
        url, logins = self._url(path), self._session.logins
        reply = await self._client.get(url, {**headers, **self._session.headers}, None)
        self._answered = True
        if reply.status == 401 and self._session.can_log_in(reply, logins):
            reply.close()
            await self._session.log_in(reply, logins)
            reply = await self._client.get(url, {**headers, **self._session.headers}, None)
        if reply.status not in good:
            reply.close()
            raise self._replies.error(reply, what)
        return reply

    def _url(self, path: str) -> str:
        return f"{self._registry.url}/v2/{self._registry.repository}/{path}"
