"""Selects the source that resolves a ref to a plan. Called by `transfer.worker` and `transfer.cli.fetch`."""

import asyncio

from model_provisioner.domain.errors import InvalidRef
from model_provisioner.domain.network.response_time import resolve_seconds
from model_provisioner.domain.refs.refs import LocalRef, parse
from model_provisioner.domain.store.digest import Digest
from model_provisioner.transfer.http.client import Client
from model_provisioner.transfer.sources import huggingface, local
from model_provisioner.worker_protocol.messages import Resolve, ResolvedAnswer


class Resolver:
    """`client` sends all requests, and belongs to the running event loop."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._seconds = resolve_seconds(client.response_timeout)

    async def resolve(self, request: Resolve) -> ResolvedAnswer:
        """The plan for `request.ref`, and other models of the same repository. Raises ProvisionError."""
        ref, digest = parse(request.ref), _digest(request.digest)
        if isinstance(ref, LocalRef):
            if request.store is None:
                raise InvalidRef(f"{ref} names a file of a volume, and no volume was given to look at")
            return ResolvedAnswer(request.id, await asyncio.to_thread(local.resolve, ref, request.store, digest))
        plan, alternatives = await huggingface.resolve(
            ref,
            request.endpoint,
            request.revision,
            digest,
            request.credentials,
            self._client,
            self._seconds,
            own_hub=request.own_hub,
        )
        return ResolvedAnswer(request.id, plan, alternatives)


def _digest(text: str | None) -> Digest | None:
    try:
        return None if text is None else Digest.parse(text)
    except ValueError as error:
        raise InvalidRef(str(error)) from None
