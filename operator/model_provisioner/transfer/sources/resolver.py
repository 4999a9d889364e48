"""Selects the source that resolves a ref to a plan. Called by `transfer.worker` and `transfer.cli.fetch`.

No secret that a hub sends back leaves this module: it is taken out of messages, and a plan that has one is refused,
because its names become paths, and its names, digests and commit are shown in the status.
"""

import asyncio
from dataclasses import replace

from model_provisioner.domain.errors import InvalidRef, SourceUnavailable
from model_provisioner.domain.lifecycle.suspended_message import Alternatives
from model_provisioner.domain.network.addresses import Origin
from model_provisioner.domain.network.redaction import Redaction
from model_provisioner.domain.network.response_time import resolve_seconds
from model_provisioner.domain.refs.refs import LocalRef, parse
from model_provisioner.domain.store.digest import Digest
from model_provisioner.domain.store.plan import Plan
from model_provisioner.transfer.http.client import Client
from model_provisioner.transfer.http.echoes import redacted_errors
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
        redaction = self._client.redaction(request.credentials)
        with redacted_errors(redaction):
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
        _check(plan, redaction, request)
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
