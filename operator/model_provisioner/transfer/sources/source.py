"""The port of a source: what a ref means there, and where the bytes of a file are now.

`resolver` calls it, and has the table of the sources; each is one class in a file beside this one. A source moves no
model bytes. The deadline is the caller's: a source is cancelled when it is over.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from model_provisioner.aio.threads import DetachedThreads
from model_provisioner.domain.credentials.credentials import Credentials
from model_provisioner.domain.errors import DigestMismatch, InvalidRef
from model_provisioner.domain.gguf.file_role import FileRole
from model_provisioner.domain.lifecycle.suspended_message import NO_ALTERNATIVES, Alternatives
from model_provisioner.domain.model_facts import OllamaSettings
from model_provisioner.domain.model_files.projectors import NO_PROJECTOR
from model_provisioner.domain.network.file_address import Address
from model_provisioner.domain.refs.model_ref import ModelRef
from model_provisioner.domain.store.claim import StoreRef
from model_provisioner.domain.store.digest import Digest
from model_provisioner.domain.store.plan import Plan, PlannedFile
from model_provisioner.transfer.http.client import Client

if TYPE_CHECKING:
    from model_provisioner.transfer.clients.buckets.pod_keys import PodKeys

R = TypeVar("R", bound=ModelRef)


@dataclass(frozen=True, slots=True)
class Tools:
    """What sources share. `client` sends all requests, and its guard judges every address.

    What takes time in proportion to an answer runs in `reading`, of which there are few so that the memory for answers
    is bounded. What a volume can hold up runs in `on_volumes`. `pod_keys` has the access key of this pod, None if
    there is none.
    """

    client: Client
    reading: DetachedThreads
    on_volumes: DetachedThreads
    pod_keys: "PodKeys | None" = None


@dataclass(frozen=True, slots=True)
class Asked(Generic[R]):
    """A question about `ref`.

    `endpoint` is the normalised URL that is asked, "" for `local:`; with `own_endpoint` it is the administrator's or
    the ref's own one, else one that an object names. `revision` is that of an earlier resolution, None for the first
    one. `digest` is the one that the user expects. `store` is where `local:` files are. `projector`: the plan must also
    have the multimodal projector of the model.
    """

    ref: R
    endpoint: str
    own_endpoint: bool = True
    revision: str | None = None
    digest: Digest | None = None
    credentials: Credentials | None = None
    store: StoreRef | None = None
    projector: bool = False


@dataclass(frozen=True, slots=True)
class Resolved:
    """The plan of a ref; `alternatives` are other models at the same place, `ollama` what Ollama says of the model."""

    plan: Plan
    alternatives: Alternatives = NO_ALTERNATIVES
    ollama: OllamaSettings | None = None


class Source(ABC, Generic[R]):
    """One kind of source. `tools` outlive it."""

    finds_projectors: ClassVar[bool] = False
    """Whether it looks for the projector that belongs to a model. Else it is never asked for one."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    @abstractmethod
    async def resolve(self, asked: Asked[R]) -> Resolved:
        """What the ref means now, or at `asked.revision` if the source still has it. Raises ProvisionError."""

    async def address(self, asked: Asked[R], file: PlannedFile) -> Address:
        """Where the bytes of `file` are, which is of an earlier plan and `signed`. Raises ProvisionError.

        It is asked once for all connections, again near the expiry of the address, and when the host refuses it.
        """
        raise InvalidRef(f"{asked.ref} has no address that is asked for, and none for {file.path}")


def identity(source: str, endpoint: str, *, own: bool) -> str:
    """`source`, the identity of a file at the administrator's endpoint; elsewhere the endpoint is part of it."""
    return source if own else f"{source} at {endpoint}"


def no_projector_for(ref: ModelRef) -> InvalidRef:
    """The error for a single file, whose source has no others to find a projector among."""
    return InvalidRef(f"{ref} names a single file, and nothing says which projector fits it: {NO_PROJECTOR}")


def with_expected_digest(files: tuple[PlannedFile, ...], digest: Digest | None) -> tuple[PlannedFile, ...]:
    """`files` with the digest that the user expects, which applies to a model in a single file; not to its projector.

    Raises InvalidRef for several files, DigestMismatch if the source publishes another digest.
    """
    if digest is None:
        return files
    model, *others = files
    parts = [file for file in others if file.role is not FileRole.PROJECTOR]
    if parts:
        raise InvalidRef(
            f"a digest is for models in one file, this one has {1 + len(parts)} parts: leave the digest out"
        )
    published = model.digest
    if published not in {None, digest}:
        raise DigestMismatch(
            f"the source says that {model.path} is {published}, and {digest} is asked for: correct the digest, "
            "or name the revision that has it"
        )
    return (replace(model, digest=digest), *others)
