"""Selects the source that resolves a ref to a plan, or says where a file is. Called by `transfer.worker` and `cli`.

No secret that a hub sends back leaves this module: it is taken out of messages, and a plan that has one is refused,
because its names become paths, and its names, digests and commit are shown in the status.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import replace
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from model_provisioner.aio.threads import DetachedThreads
from model_provisioner.domain.credentials.ambient import Provider
from model_provisioner.domain.credentials.credentials import Credentials
from model_provisioner.domain.errors import InvalidRef, SourceUnavailable
from model_provisioner.domain.lifecycle.suspended_message import Alternatives
from model_provisioner.domain.network.addresses import Origin
from model_provisioner.domain.network.file_address import Address
from model_provisioner.domain.network.redaction import Redaction
from model_provisioner.domain.network.response_time import resolve_seconds
from model_provisioner.domain.refs.https import HttpsRef
from model_provisioner.domain.refs.hugging_face import HuggingFaceRef
from model_provisioner.domain.refs.local import LocalRef
from model_provisioner.domain.refs.model_ref import ModelRef
from model_provisioner.domain.refs.modelscope import ModelScopeRef
from model_provisioner.domain.refs.oci import OciRef
from model_provisioner.domain.refs.ollama import OllamaRef
from model_provisioner.domain.refs.refs import parse
from model_provisioner.domain.refs.s3 import S3Ref
from model_provisioner.domain.store.digest import Digest
from model_provisioner.domain.store.plan import Plan, PlannedFile
from model_provisioner.transfer.http.client import Client
from model_provisioner.transfer.http.echoes import redacted_errors
from model_provisioner.transfer.sources.source import Asked, Source, Tools, no_projector_for
from model_provisioner.worker_protocol.messages import Locate, Located, Resolve, ResolvedAnswer

if TYPE_CHECKING:
    from model_provisioner.transfer.clients.buckets.pod_keys import PodKeys

SOURCES: Mapping[type[ModelRef], str] = MappingProxyType(
    {
        HuggingFaceRef: "huggingface.HuggingFace",
        ModelScopeRef: "modelscope.ModelScope",
        HttpsRef: "https.Https",
        S3Ref: "s3.S3",
        LocalRef: "local.Local",
        OciRef: "oci.Oci",
        OllamaRef: "ollama.Ollama",
    }
)
"""The source of each kind of ref: a file of this room, and the class in it."""
_MOST_READING = 2
_MOST_ON_VOLUMES = 16
T = TypeVar("T")


class Resolver:
    """`client` sends all requests, and belongs to the running event loop.

    `seconds` is the deadline of one question, by default as long as the response timeout of the client demands.
    Long answers of hubs are read in two threads, so that the memory for them is bounded. `local:` refs have threads of
    their own: a volume that hangs keeps them. `provider` gives this pod an access key for buckets, whose session
    ends by `wall`, in seconds since the epoch.
    """

    def __init__(
        self,
        client: Client,
        seconds: float | None = None,
        provider: Provider | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._seconds = seconds or resolve_seconds(client.response_timeout)
        threads = DetachedThreads(_MOST_READING), DetachedThreads(_MOST_ON_VOLUMES)
        self._tools = Tools(client, *threads, _pod_keys(provider, client, wall))

    async def resolve(self, request: Resolve) -> ResolvedAnswer:
        """The plan for `request.ref`, and other models at the same place. Raises ProvisionError.

        One deadline holds for all requests, pages, redirects, bodies and threads together.
        """
        ref = parse(request.ref)
        asked = Asked(
            ref,
            request.endpoint,
            request.own_hub,
            request.revision,
            _digest(request.digest),
            request.credentials,
            request.store,
            request.projector,
        )
        source = self._source(ref)
        if asked.projector and not source.finds_projectors:
            raise no_projector_for(ref)
        with redacted_errors(lambda: self._redaction(request.credentials)):
            found = await self._in_time(asked, source.resolve(asked))
            redaction = self._redaction(request.credentials)
            if not isinstance(ref, LocalRef):
                await self._in_time(asked, self._tools.reading.run(lambda: _check(found.plan, redaction, request)))
        return ResolvedAnswer(request.id, found.plan, _redacted(found.alternatives, redaction), found.ollama)

    async def address(self, request: Locate) -> Located:
        """Where the bytes of `request.file` are now. Raises ProvisionError. The deadline is that of `resolve`."""
        ref = parse(request.ref)
        asked = Asked(ref, request.endpoint, credentials=request.credentials)
        with redacted_errors(lambda: self._redaction(request.credentials)):
            return Located(request.id, await self._in_time(asked, self._source(ref).address(asked, request.file)))

    def _redaction(self, credentials: Credentials | None) -> Redaction:
        """Called at the end: the key of this pod is known only after it was asked for."""
        pod_keys = self._tools.pod_keys
        return self._client.redaction(credentials, pod_keys.secrets if pod_keys else ())

    def _source(self, ref: ModelRef) -> Source[Any]:
        return source_of(type(ref))(self._tools)

    async def _in_time(self, asked: Asked[Any], answer: Coroutine[Any, Any, T]) -> T:
        deadline = asyncio.timeout(self._seconds)
        try:
            async with deadline:
                return await answer
        except TimeoutError:
            if not deadline.expired():
                raise
            source = "the volume" if isinstance(asked.ref, LocalRef) else Origin.of(asked.endpoint)
            raise SourceUnavailable(
                f"{source} did not tell what {asked.ref} is within {self._seconds:g} seconds"
            ) from None


def _pod_keys(provider: Provider | None, client: Client, wall: Callable[[], float]) -> "PodKeys | None":
    if provider is None:
        return None
    from model_provisioner.transfer.clients.buckets.pod_keys import PodKeys  # noqa: PLC0415 - few pods have a key

    return PodKeys(provider, client, wall)


def source_of(kind: type[ModelRef]) -> type[Source[Any]]:
    """The class. It is imported when it is first asked for: a person who fetches one model would wait for all."""
    file, name = SOURCES[kind].split(".")
    found: type[Source[Any]] = getattr(import_module(f"{__package__}.{file}"), name)
    return found


def addresses_of(
    resolver: Resolver, ref: str, credentials: Credentials | None
) -> Callable[[PlannedFile], Awaitable[Address]]:
    """Asks `resolver` in this process where the files of a plan of `ref` are, as the operator does for its workers."""

    async def address(file: PlannedFile) -> Address:
        return (await resolver.address(Locate("locate", ref, file.endpoint or "", file, credentials))).address

    return address


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
