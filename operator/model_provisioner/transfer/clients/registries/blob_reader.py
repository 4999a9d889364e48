"""Reads small pieces of a blob in a registry, to learn what is in it before it is fetched.

Called by `transfer.sources.archives`. The requests are sent by `registry`. The bytes of models are moved by
`transfer.download`.
"""

from model_provisioner.domain.download.range_answer import Body, RequestedFile, WrongAnswer, judge
from model_provisioner.domain.download.ranges import ByteRange
from model_provisioner.domain.errors import SourceUnavailable
from model_provisioner.domain.store.digest import Digest
from model_provisioner.transfer.clients.bodies import answer_header, check_not_encoded
from model_provisioner.transfer.clients.registries.registry import RegistryClient
from model_provisioner.transfer.http.client import Reply

MOST_PASSED_OVER = 1024 * 1024


class BlobReader:
    """Reads the blob `digest` of `size` bytes. What is read is verified later, with all of the blob."""

    def __init__(self, registry: RegistryClient, digest: Digest, size: int) -> None:
        self._registry = registry
        self._digest = digest
        self._blob = RequestedFile(size, digest_known=True)

    async def read(self, wanted: ByteRange) -> bytes | None:
        """The bytes of `wanted`; None if the registry has no ranges and more than 1 MiB comes before them.

        Raises what `RegistryClient.blob` raises, and SourceUnavailable for other bytes, or fewer.
        """
        async with await self._registry.blob(self._digest, wanted) as reply:
            check_not_encoded(reply, f"the layer {self._digest}")
            body = judge(answer_header(reply.status, reply.headers), wanted, self._blob)
            if isinstance(body, WrongAnswer):
                raise SourceUnavailable(f"{reply.origin}, asked for a part of the layer {self._digest}, {body.problem}")
            skip = wanted.start - body.range.start if isinstance(body, Body) else wanted.start
            if skip > MOST_PASSED_OVER:
                return None
            return await self._receive(reply, skip, wanted.size)

    async def _receive(self, reply: Reply, skip: int, size: int) -> bytes:
        content = bytearray()
        while len(content) < skip + size and (chunk := await reply.read(skip + size - len(content))):
            content += chunk
        if len(content) < skip + size:
            raise SourceUnavailable(f"{reply.origin} ended the connection in the layer {self._digest}")
        return bytes(content[skip : skip + size])
