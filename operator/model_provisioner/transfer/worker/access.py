"""Proves that a source sends a file to the credentials of an object, before a copy of it is given to the object's pod.

Called by `worker` in the resolver process, for the operator: what a worker pod says of a source is not believed. The
request is that of a download, over the same redirects, for the first byte of the file.
"""

from model_provisioner.aio.clock import Clock
from model_provisioner.domain.download.range_answer import RequestedFile
from model_provisioner.domain.download.ranges import ByteRange
from model_provisioner.domain.errors import SourceUnavailable
from model_provisioner.transfer.download.requests.place import AskedPlace, FixedPlace, Place
from model_provisioner.transfer.download.requests.remote_file import (
    RangesNotSupported,
    RemoteFile,
    RepresentationChanged,
)
from model_provisioner.transfer.http.client import Client
from model_provisioner.transfer.http.echoes import redacted_errors
from model_provisioner.transfer.sources.resolver import Resolver, addresses_of
from model_provisioner.worker_protocol.messages import AccessProved, ProveAccess

_FIRST_BYTE = ByteRange(0, 1)


async def prove(request: ProveAccess, resolver: Resolver, client: Client, clock: Clock) -> AccessProved:
    """Raises the ProvisionError of the source. SourceUnavailable if it sends no ranges, which prove nothing else."""
    file, place = request.file, _place(request, resolver, client, clock)
    sent = RequestedFile(file.size, digest_known=file.digest is not None)
    remote = RemoteFile(client, place, sent, file.source, clock, file.pin)
    try:
        with redacted_errors(lambda: client.redaction(request.credentials, remote.secrets)):
            answer = await remote.get(_FIRST_BYTE, allow_whole=False, on_request=lambda _: None)
            async with answer.reply as reply:
                if not await reply.read():
                    raise SourceUnavailable(f"{reply.origin} sends no byte of {file.source}")
    except (RangesNotSupported, RepresentationChanged):
        raise SourceUnavailable(f"{file.source} is not sent in ranges, or has changed") from None
    return AccessProved(request.id)


def _place(request: ProveAccess, resolver: Resolver, client: Client, clock: Clock) -> Place:
    file = request.file
    if file.url is not None:
        return FixedPlace(client, file.url, request.credentials, clock)
    addresses = addresses_of(resolver, request.ref, request.credentials)
    return AskedPlace(client, lambda: addresses(file), clock)
