"""Selects the source that resolves a ref to a plan. Called by `transfer.worker` and `transfer.cli.fetch`.

No secret that a hub sends back leaves this module: it is taken out of messages, and a plan that has one is refused,
because its names become paths, and its names, digests and commit are shown in the status.
"""

import asyncio
from dataclasses import replace

from model_provisioner.aio.threads import DetachedThreads
from model_provisioner.domain.errors import InvalidRef, SourceUnavailable
from model_provisioner.domain.lifecycle.suspended_message import Alternatives
from model_provisioner.domain.network.addresses import Origin
from model_provisioner.domain.network.redaction import Redaction
from model_provisioner.domain.network.response_time import resolve_seconds
from model_provisioner.domain.refs.projectors import NO_PROJECTOR
from model_provisioner.domain.refs.refs import LocalRef, ModelRef, parse
from model_provisioner.domain.store.digest import Digest
from model_provisioner.domain.store.plan import Plan
from model_provisioner.transfer.http.client import Client
from model_provisioner.transfer.http.echoes import redacted_errors
from model_provisioner.transfer.sources import huggingface, local
from model_provisioner.worker_protocol.messages import Resolve, ResolvedAnswer

_MOST_READING = 2
_MOST_ON_VOLUMES = 16


class Resolver:
    """`client` sends all requests, and belongs to the running event loop.

    `seconds` is the deadline of one question, by default as long as the response timeout of the client demands.
    Long answers of hubs are read in two threads, so that the memory for them is bounded. `local:` refs have threads of
    their own: a volume that hangs keeps them.
    """

    def __init__(self, client: Client, seconds: float | None = None) -> None:
        self._client = client
        self._seconds = seconds or resolve_seconds(client.response_timeout)
        self._reading = DetachedThreads(_MOST_READING)
        self._on_volumes = DetachedThreads(_MOST_ON_VOLUMES)

    async def resolve(self, request: Resolve) -> ResolvedAnswer:
        """The plan for `request.ref`, and other models of the same repository. Raises ProvisionError.

        One deadline holds for all requests, pages, redirects, bodies and threads together.
        """
        ref, digest = parse(request.ref), _digest(request.digest)
        deadline = asyncio.timeout(self._seconds)
        try:
            async with deadline:
                return await self._answer(request, ref, digest)
        except TimeoutError:
            if not deadline.expired():
                raise
            source = "the volume" if isinstance(ref, LocalRef) else Origin.of(request.endpoint)
            raise SourceUnavailable(f"{source} did not tell what {ref} is within {self._seconds:g} seconds") from None

    async def _answer(self, request: Resolve, ref: ModelRef, digest: Digest | None) -> ResolvedAnswer:
        if isinstance(ref, LocalRef):
            store = request.store
            if store is None:
                raise InvalidRef(f"{ref} names a file of a volume, and no volume was given to look at")
            if request.projector:
                raise InvalidRef(f"{ref} names one file, and no projector is looked for beside it: {NO_PROJECTOR}")
            return ResolvedAnswer(request.id, await self._on_volumes.run(lambda: local.resolve(ref, store, digest)))
        redaction = self._client.redaction(request.credentials)
        with redacted_errors(redaction):
            plan, alternatives = await huggingface.resolve(
                ref,
                request.endpoint,
                request.revision,
                digest,
                request.credentials,
                self._client,
                self._reading,
                own_hub=request.own_hub,
                projector=request.projector,
            )
        await self._reading.run(lambda: _check(plan, redaction, request))
        return ResolvedAnswer(request.id, plan, _redacted(alternatives, redaction))


def _check(plan: Plan, redaction: Redaction, request: Resolve) -> None:
    """Raises SourceUnavailable if the plan has a secret."""
    files = (text for file in plan.files for text in (file.path, str(file.digest)))
    if redaction.is_in("\n".join((plan.repository or "", plan.revision or "", *files))):
        raise SourceUnavailable(
            f"{Origin.of(request.endpoint)} sent back a secret that it had been sent, in a file name, a digest or a "
            f"commit of {request.ref}: check the endpoint, and revoke the token if that hub is not to be trusted"
        )


def _redacted(alternatives: Alternatives, redaction: Redaction) -> Alternatives:
    nearest = tuple(replace(one, selector=redaction.text(one.selector)) for one in alternatives.nearest)
    return replace(alternatives, nearest=nearest)


def _digest(text: str | None) -> Digest | None:
    try:
        return None if text is None else Digest.parse(text)
    except ValueError as error:
        raise InvalidRef(str(error)) from None
