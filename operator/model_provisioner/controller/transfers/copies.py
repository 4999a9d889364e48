"""Offers a worker pod the files of its fetch that are published on a claim of the operator.

A file is offered when its source has accepted the credentials of the object for it, just now. Everything that goes
wrong here means that the pod asks the source, which tells the object what is wrong. Called by `shared_transfer`. What
may be copied is decided in `domain.store.copying`; the bytes are sent by `controller.workers.door.file_route`.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

from model_provisioner.controller.stores.object_index import PublishedCopy
from model_provisioner.controller.stores.store_client import new_request_id
from model_provisioner.controller.workers.door.grants import Grants, Stored
from model_provisioner.domain.credentials.credentials import Credentials
from model_provisioner.domain.errors import ProvisionError
from model_provisioner.domain.store.claim import Claim
from model_provisioner.domain.store.copying import may_be_copied, moved
from model_provisioner.domain.store.plan import Plan, PlannedFile
from model_provisioner.worker_protocol.copies import Copy
from model_provisioner.worker_protocol.messages import ProveAccess

_LOG = logging.getLogger(__name__)
_PROOF_SECONDS = 30.0
_SLOWEST_BYTES_PER_SECOND = 1024**2
"""A fetch with a lower limit is not offered a copy: it would keep a place at the door for hours."""

_MOST_ASKED = 3
"""Of the claims that seem to have a file, so many are asked."""

Find = Callable[[PlannedFile], Sequence[PublishedCopy]]
Confirms = Callable[[Stored], Awaitable[bool]]
Prove = Callable[[ProveAccess], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Offer:
    """`copies` are what the pod is told. `origin` says for the object where they are; empty if there are none."""

    copies: tuple[Copy, ...] = ()
    origin: str = ""

    def origin_of(self, copied: int, received: int) -> str:
        """Where `received` bytes came from, of which `copied` were copied; empty if all are of the source."""
        if not copied:
            return ""
        return self.origin if copied == received else f"in part {self.origin}"


NOTHING = Offer()


class Copies:
    """`find` returns where a file seems to be on a claim of the operator, and `confirms` whether it is there.

    `prove` asks the source, and raises ProvisionError if that does not send the file to the credentials of the request.
    """

    def __init__(self, find: Find, confirms: Confirms, prove: Prove, grants: Grants) -> None:
        self._find = find
        self._confirms = confirms
        self._prove = prove
        self._grants = grants

    @contextlib.asynccontextmanager
    async def offered(
        self, plan: Plan, credentials: Credentials | None, bytes_per_second: int | None, process: object
    ) -> AsyncIterator[Offer]:
        """What the pod `process`, which fetches `plan`, can copy while the block runs."""
        slow = bytes_per_second is not None and bytes_per_second < _SLOWEST_BYTES_PER_SECOND
        with contextlib.ExitStack() as given:
            copies, claims = list[Copy](), dict[Claim, None]()
            for file in () if slow else plan.files:
                if (stored := await self._stored(file)) and await self._is_accessible(plan, file, credentials):
                    copies.append(Copy(file.path, given.enter_context(self._grants.given(process, stored))))
                    claims[stored.claim] = None
            names = " and ".join(f"{claim.namespace}/{claim.name}" for claim in claims)
            yield Offer(tuple(copies), f"from the cluster: claim {names}") if copies else NOTHING

    async def _stored(self, file: PlannedFile) -> Stored | None:
        """Where `file` is. A status may say anything, so the volume confirms it."""
        for found in self._find(file)[:_MOST_ASKED] if may_be_copied(file) else ():
            stored = Stored(found.claim, found.store_id, moved(file, found.path))
            if await self._confirms(stored):
                return stored
        return None

    async def _is_accessible(self, plan: Plan, file: PlannedFile, credentials: Credentials | None) -> bool:
        question = ProveAccess(new_request_id(), plan.ref, file.endpoint or "", file, credentials)
        try:
            async with asyncio.timeout(_PROOF_SECONDS):
                await self._prove(question)
        except (ProvisionError, TimeoutError) as error:
            why = error.message if isinstance(error, ProvisionError) else "it does not answer"
            _LOG.info("%s is not copied: its source does not confirm access: %s", file.path, why)
            return False
        return True
