"""The claims that this operator mounts or has worker pods for, and the requests to the store on each.

The requests go to the store worker of the claim, not to the workers of the slots, one at a time for each claim.
Therefore two objects never settle one path at the same time, a deletion does not wait for a 40 GB download, and no
request waits for the volume of another claim. `verify` and `survey` run beside these requests.

Called by `controller.reconcile`, `controller.transfers` and the other modules of this room. Which worker serves a
claim is decided in `controller.workers.pool`.
"""

import asyncio
import copy
import uuid
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from model_provisioner.domain.annotations import RECONCILE_AT
from model_provisioner.domain.errors import ClaimNotMounted, InternalError, VolumeChanged, WorkerPending
from model_provisioner.domain.model_facts import FileRecord
from model_provisioner.domain.modeldownload import ModelDownload
from model_provisioner.domain.store.claim import Claim, StoreRef
from model_provisioner.domain.store.holders import Holder, Holding
from model_provisioner.domain.store.modes import READABLE, Modes
from model_provisioner.domain.store.plan import Plan
from model_provisioner.domain.store.space import Room, Usage
from model_provisioner.domain.views.ollama_model import ViewedModel
from model_provisioner.worker_processes.worker import ProgressHandler, Worker
from model_provisioner.worker_protocol.messages import (
    Check,
    Checked,
    Identified,
    Identify,
    MarkCorrupt,
    MarkedCorrupt,
    Measure,
    Measured,
    RecordedReady,
    RecordReady,
    Remove,
    Removed,
    Resolve,
    ResolvedAnswer,
    Settle,
    Settled,
    Survey,
    Surveyed,
    Sweep,
    Swept,
    Verified,
    Verify,
    View,
    Viewed,
)

_ANSWER_SECONDS = 120.0
_NO_VOLUME = (
    "this operator mounts no volume (--store none, in the chart persistence.enabled: false): have its administrator "
    "start it with --store for this claim"
)

POD_DIRECTORY = "/models"
"""Where a worker pod has the volume of its claim; it takes its own, if it differs."""

T = TypeVar("T")


class Pods(Protocol):
    """The workers of the claims that the operator does not mount. `controller.workers.pod_pool` is the one."""

    def worker(self, claim: Claim) -> Worker: ...

    def is_ready(self, claim: Claim) -> bool:
        """Whether the pod of `claim` runs and has connected."""
        ...

    async def until_ready(self, claim: Claim) -> None:
        """Returns when the pod of `claim` is connected."""
        ...


@dataclass(frozen=True, slots=True)
class LiveObjects:
    """The uids of all objects of these namespaces ("*": of all), and their names as `namespace/name`."""

    namespaces: tuple[str, ...]
    uids: tuple[str, ...]
    names: tuple[str, ...]


class StoreClient:
    """`mounted` maps claims to directories; the first claim of a namespace is its default.

    `store_workers` has the store worker of each claim. Claims may share one; if it is replaced because a volume hangs,
    its requests for other claims fail once. `recorded_ids` returns the store ids in the status of all objects on a
    claim, except the object with the given uid. `modes` are those of the files that the worker creates. `pods` are for
    the claims that are not mounted; None: there are none.
    """

    def __init__(
        self,
        mounted: Mapping[Claim, Path],
        store_workers: Mapping[Claim, Worker],
        recorded_ids: Callable[[Claim, str], frozenset[str]],
        modes: Modes = READABLE,
        pods: Pods | None = None,
    ) -> None:
        self._mounted = dict(mounted)
        self._recorded_ids = recorded_ids
        self._store_workers = store_workers
        self._modes = modes
        self._pods = pods
        self._starts_pods = True
        self._request_locks = defaultdict[Claim, asyncio.Lock](asyncio.Lock)
        self._verify_locks = defaultdict[Claim, asyncio.Lock](asyncio.Lock)

    def without_starting_pods(self) -> "StoreClient":
        """The same stores. A request raises WorkerPending if it is for a worker pod that is not connected."""
        other = copy.copy(self)
        other._starts_pods = False
        return other

    @property
    def claims(self) -> tuple[Claim, ...]:
        """The mounted claims."""
        return tuple(self._mounted)

    def is_mounted(self, claim: Claim) -> bool:
        """Whether the operator mounts `claim`; else a worker pod does."""
        return claim in self._mounted

    def is_served_by_pod(self, download: ModelDownload) -> bool:
        """Whether the claim that the spec of `download` names is one that the operator does not mount."""
        name = download.spec.claim_name
        return name is not None and self.is_for_pods(Claim(download.namespace, name))

    def is_for_pods(self, claim: Claim) -> bool:
        """Whether worker pods serve `claim`: there are some, and the operator does not mount it."""
        return self._pods is not None and claim not in self._mounted

    def needs_pod(self, claim: Claim) -> bool:
        """Whether nothing can be asked of the store on `claim` before its pod is started."""
        return self._pods is not None and not (self.is_mounted(claim) or self._pods.is_ready(claim))

    def is_visited(self, claim: Claim) -> bool:
        """Whether the worker pod of `claim`, which is not mounted, is connected."""
        return self._pods is not None and self.is_for_pods(claim) and self._pods.is_ready(claim)

    async def until_ready(self, claim: Claim) -> None:
        """Returns when the worker pod of `claim` is connected; never without worker pods."""
        await (asyncio.Event().wait() if self._pods is None else self._pods.until_ready(claim))

    def claim_of(self, download: ModelDownload) -> Claim:
        """The claim of `spec.claimName`, or the default of the namespace. Raises ClaimNotMounted."""
        if not self._mounted and self._pods is None:
            raise ClaimNotMounted(_NO_VOLUME)
        own = [claim for claim in self._mounted if claim.namespace == download.namespace]
        if download.spec.claim_name is None:
            if own:
                return own[0]
            mounted = ", ".join(sorted({claim.namespace for claim in self._mounted}))
            message = f"no claim of namespace {download.namespace} is mounted by the operator"
            message += f", only of: {mounted}" if mounted else ""
            if self._pods:
                raise ClaimNotMounted(
                    f"{message}; name the claim in spec.destination.claimName, and a worker pod will mount it"
                )
            raise ClaimNotMounted(f"{message}; create the object there, or start the operator with --store for it")
        claim = Claim(download.namespace, download.spec.claim_name)
        if claim not in self._mounted and not self._pods:
            names = ", ".join(claim.name for claim in own) or "none"
            message = f"claim {claim.name} is not mounted by the operator (of this namespace it mounts: {names})"
            raise ClaimNotMounted(f"{message}; name one of these or start the operator with --store for it")
        return claim

    async def expected_id(self, claim: Claim, download: ModelDownload, own: str | None) -> str | None:
        """The id that the store on `claim` must have, because it is in the status of objects; `own` is in this one's.

        None if no object has one: then a store may be created. Raises VolumeChanged if the objects disagree, unless
        this one names the mounted store and has its record there: the status of another object may be forged.
        """
        ids = self._recorded_ids(claim, download.uid).union({own} if own else ())
        if len(ids) > 1 and own and await self.own_store_id(claim, download.uid) == own:
            return own
        return only_store_id(claim, ids)

    async def own_store_id(self, claim: Claim, uid: str) -> str | None:
        """The id of the mounted store, if the object `uid` has its record there; else None."""
        request = Identify(new_request_id(), self.reference(claim, None), (uid,))
        found = expect(Identified, await self._call(claim, request))
        return found.store_id if found.uids else None

    def reference(self, claim: Claim, store_id: str | None) -> StoreRef:
        """The directory of `claim`, with the id that its store must have. Raises ClaimNotMounted."""
        if claim in self._mounted:
            return StoreRef(str(self._mounted[claim]), store_id, self._modes)
        if self._pods:
            return StoreRef(POD_DIRECTORY, store_id, self._modes)
        raise ClaimNotMounted(f"claim {claim.name} of namespace {claim.namespace} is not mounted by the operator")

    async def resolve_local(self, claim: Claim, request: Resolve) -> ResolvedAnswer:
        """Resolves a `local:` ref in the worker pod of `claim`: the operator's resolver does not see the volume."""
        return expect(ResolvedAnswer, await self._call(claim, request))

    async def settle(self, claim: Claim, store_id: str | None, holder: Holder, plan: Plan, *, delete: bool) -> Settled:
        """Fixes the final paths of `plan` and records `holder`. If it held other files, `delete` removes them."""
        request = Settle(new_request_id(), self.reference(claim, store_id), holder, plan, delete)
        return expect(Settled, await self._call(claim, request))

    async def record_ready(
        self,
        claim: Claim,
        store_id: str | None,
        holdings: tuple[Holding, ...],
        *,
        confirm: bool = False,
        verified: bool = False,
    ) -> RecordedReady:
        """Writes the record of each of these Ready objects that has none, if the content of its files is known.

        `verified`: they were read just now, every byte. With `confirm`, the store is told that each Ready object on
        `claim` has its record, if each of these has one.
        """
        reference = self.reference(claim, store_id)
        request = RecordReady(new_request_id(), reference, holdings, claim if confirm else None, verified)
        return expect(RecordedReady, await self._call(claim, request))

    async def check(
        self, claim: Claim, store_id: str, files: tuple[FileRecord, ...] = (), holder: str | None = None
    ) -> Checked:
        """Which of `files` are missing, and which are not attested by the record of `holder`, a uid.

        Raises VolumeChanged if the store has another id.
        """
        request = Check(new_request_id(), self.reference(claim, store_id), files, holder)
        return expect(Checked, await self._call(claim, request))

    async def measure(self, claim: Claim, store_id: str, plan: Plan) -> Room:
        """The bytes that a settled `plan` still needs, and the free bytes of the volume."""
        answer = expect(
            Measured, await self._call(claim, Measure(new_request_id(), self.reference(claim, store_id), plan))
        )
        return Room(answer.needed, answer.free)

    async def verify(
        self,
        claim: Claim,
        store_id: str,
        files: tuple[FileRecord, ...],
        on_progress: ProgressHandler,
        *,
        mark_corrupt: bool = True,
    ) -> tuple[str, ...]:
        """Reads every byte of `files`; returns the paths with wrong content. No record attests those any more.

        Without `mark_corrupt`, records stay as they are: the digests in `files` may be wrong instead. One model at a
        time for each claim, beside other requests: this takes as long as the disk needs.
        """
        async with self._verify_locks[claim]:
            request = Verify(new_request_id(), self.reference(claim, store_id), files)
            wrong = expect(Verified, await self._worker(claim).call(request, on_progress)).wrong
        if wrong and mark_corrupt:
            expect(
                MarkedCorrupt,
                await self._call(claim, MarkCorrupt(new_request_id(), self.reference(claim, store_id), wrong)),
            )
        return wrong

    async def remove(self, claim: Claim, store_id: str | None, uid: str, delete: bool) -> tuple[str, ...]:
        """Removes the record of the object `uid`; returns the paths of the published files that were deleted.

        `delete` asks for its files too, if no other object holds them.
        """
        answer = await self._call(claim, Remove(new_request_id(), self.reference(claim, store_id), uid, delete))
        return expect(Removed, answer).paths

    async def sweep(self, claim: Claim, store_id: str | None, live_objects: Callable[[], LiveObjects]) -> Swept:
        """Removes the records and parts of deleted objects.

        `live_objects` is called under the lock of the claim: no object can settle between that call and the sweep.
        """
        reference = self.reference(claim, store_id)
        async with self._request_locks[claim]:
            live = live_objects()
            request = Sweep(new_request_id(), reference, live.namespaces, live.uids, live.names)
            return expect(Swept, await self._worker(claim).call(request, seconds=_ANSWER_SECONDS))

    async def survey(self, claim: Claim, store_id: str | None) -> Usage | None:
        """The free bytes of the volume and the bytes that no object holds; None if there is no store yet.

        Runs beside other requests, so that none waits for a metric.
        """
        request = Survey(new_request_id(), self.reference(claim, store_id))
        return expect(Surveyed, await self._worker(claim).call(request)).usage

    def _worker(self, claim: Claim) -> Worker:
        if self._pods and claim not in self._mounted:
            if not (self._starts_pods or self._pods.is_ready(claim)):
                raise WorkerPending(f"the worker pod of claim {claim.name} is not connected, and none is started")
            return self._pods.worker(claim)
        return self._store_workers[claim]

    async def view(self, claim: Claim, store_id: str | None, models: tuple[ViewedModel, ...] | None) -> Viewed:
        """Makes the view of Ollama list `models`, all that are Ready on `claim`; None removes it."""
        request = View(new_request_id(), self.reference(claim, store_id), claim, models)
        return expect(Viewed, await self._call(claim, request))

    async def _call(
        self,
        claim: Claim,
        request: Resolve | Settle | RecordReady | Check | Identify | Measure | MarkCorrupt | Remove | View,
    ) -> object:
        async with self._request_locks[claim]:
            return await self._worker(claim).call(request, seconds=_ANSWER_SECONDS)


def only_store_id(claim: Claim, ids: frozenset[str]) -> str | None:
    """The only one of `ids`; None if `ids` is empty. Raises VolumeChanged if there are more."""
    if len(ids) > 1:
        raise VolumeChanged(
            f"objects on claim {claim.name} were recorded on different stores ({', '.join(sorted(ids))}): annotate"
            f" each of those on the lost one with {RECONCILE_AT} to accept the new one, or delete them"
        )
    return next(iter(ids), None)


def new_request_id() -> str:
    return uuid.uuid4().hex


def expect(kind: type[T], answer: object) -> T:
    """Returns `answer`, which must be of `kind`: worker and operator have the same version. Raises InternalError."""
    if not isinstance(answer, kind):
        raise InternalError(f"a worker answered {type(answer).__name__} where {kind.__name__} was due")
    return answer
