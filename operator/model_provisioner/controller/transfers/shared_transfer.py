"""One transfer and its members: the objects that want the same bytes at the same place.

The transfer has one place in the queue and runs in one worker, with the credentials of one member; all members see the
same progress. If that member leaves, or its credentials are refused or limited, or its addresses do not give the right
bytes, the transfer goes on with the credentials and addresses of the next member and keeps the bytes. Then the same
worker records the other members as holders of the files, with one short fetch each.

Called by `controller.transfers.transfers`. Each member has resolved the model with its own credentials before.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator

from model_provisioner.aio.cancellation import cancel_and_wait
from model_provisioner.controller.stores.store_client import expect, new_request_id
from model_provisioner.controller.transfers.addresses import FetchAddresses
from model_provisioner.controller.transfers.copies import NOTHING, Offer
from model_provisioner.controller.transfers.members import Member, Members
from model_provisioner.controller.transfers.queue import Lanes, Slot, WithdrawnError
from model_provisioner.controller.transfers.services import TransferServices
from model_provisioner.controller.transfers.transfer_progress import TransferProgress
from model_provisioner.domain.errors import (
    AccessDenied,
    DigestMismatch,
    LicenseNotAccepted,
    NotGGUF,
    ProvisionError,
    RateLimited,
    SourceNotFound,
    SourceUnavailable,
)
from model_provisioner.domain.lifecycle.events import Event, Queued
from model_provisioner.domain.lifecycle.snapshot import DISCARDING
from model_provisioner.domain.scheduling.lanes import Lane, lane_of
from model_provisioner.domain.scheduling.queueing import Waiting
from model_provisioner.domain.store.plan import Plan
from model_provisioner.domain.store.space import Room
from model_provisioner.worker_processes.worker import Worker
from model_provisioner.worker_protocol import messages

_CREDENTIAL_ERRORS = (AccessDenied, LicenseNotAccepted, RateLimited, SourceNotFound)
"""What a source answers to one credential. Another member's may be good."""
_ADDRESS_ERRORS = (SourceUnavailable, DigestMismatch, NotGGUF)
"""What one address gives can be wrong, while another one, such as that of another commit, gives the right bytes."""
_SILENCE_SECONDS = 300.0  # a worker reports progress every second; a slow disk may delay it
_WAITING_FOR_SLOT = "waiting for a free slot"
_STOPPED = "waiting for a free slot: another namespace has its turn, and what is here is kept"


class SharedTransfer:
    """Starts with the member `first`; others join. `on_finished` is called when no worker writes for it any more."""

    def __init__(
        self, services: TransferServices, first: Member, on_finished: Callable[["SharedTransfer"], None]
    ) -> None:
        self._services = services
        self._claim = first.claim
        self._settled = first.settled
        # Begins with the uid, so that ties are broken in the order that the gateway shows. The rest makes it unique:
        # the member may leave and start another transfer while this one is still in the queue.
        self._queue_id = f"{first.holder.uid}/{new_request_id()}"
        self._members = Members(first)
        self._open = True
        self._current: tuple[Member, asyncio.Task[messages.Published]] | None = None
        self._request_id = ""
        self._slot: Slot | None = None
        self._lane = Lane.FETCHING
        self._stops = 0
        self._progress = TransferProgress(
            first.settled.durable_bytes, self._claim.namespace, services.metrics, services.monotonic
        )
        self._last_event: Event | None = None
        self._granted: int | None = None
        self._on_finished = on_finished
        self.finished = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Joins the queue. `finished` is set when the transfer has ended."""
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(self._finish)

    def conflicts_with(self, member: Member) -> bool:
        """True if both write the same file."""
        paths = {file.path for file in self._settled.plan.files}
        return self._claim == member.claim and not paths.isdisjoint(file.path for file in member.plan.files)

    def accepts(self, member: Member) -> bool:
        """True if the transfer has not ended and brings the bytes that `member` wants."""
        return self._open and _part_keys(self._settled.plan) == _part_keys(member.plan)

    def has_member(self, uid: str) -> bool:
        return uid in self._members.uids

    async def join(self, member: Member) -> messages.Published:
        """Returns when the files are published and held by `member`. Raises ProvisionError.

        A cancelled member leaves; the transfer goes on for the others.
        """
        self._members.add(member)
        self._replay_last_event(member)
        self.on_update()
        try:
            return await member.result
        finally:
            await self._leave(member)

    def on_update(self) -> None:
        """Applies the priority and the limits of the members, which may have changed."""
        self._check_lane()
        self._queue[self._lane].reorder(self._queue_entry)
        self._services.bandwidth.rebalance()
        self._send_limits()

    def _check_lane(self) -> None:
        """Changes the lane if the limits of the members, which may have changed, belong to another one.

        If that lane has no free slot, the transfer is stopped and waits there.
        """
        queue, wanted = self._queue, self._wanted_lane
        if not self._members or wanted is self._lane:
            return
        queue[self._lane].withdraw(self._queue_id)
        if self._slot and queue[self._lane].hand_over(self._queue_id, queue[wanted]):
            self._lane = wanted
        elif self._slot:
            self._slot.wanted_back.set()

    @property
    def wanted(self) -> int | None:
        """The limit of all members in bytes per second. See `bandwidth.Consumer`."""
        return self._members.wanted

    def grant(self, bytes_per_second: int | None) -> None:
        """Sets the share of the bandwidth in bytes per second. See `bandwidth.Consumer`."""
        if bytes_per_second != self._granted:
            self._granted = bytes_per_second
            self._send_limits()

    @property
    def _queue(self) -> Lanes:
        return self._services.queues.of(self._claim)

    @property
    def _wanted_lane(self) -> Lane:
        return lane_of(self.wanted, local=self._local)

    @property
    def _local(self) -> bool:
        return all(file.is_local for file in self._settled.plan.files)

    @property
    def _queue_entry(self) -> Waiting:
        return self._members.queue_entry(self._queue_id, self._claim.namespace)

    async def _run(self) -> None:
        try:
            while self._members:
                async with self._acquired_slot() as slot:
                    while self._members and not slot.wanted_back.is_set():
                        await self._fetch_for(slot, next(iter(self._members)))
                    self._stops += slot.stopped
        except Exception as error:  # noqa: BLE001 -- each member's reconciler handles it
            self._fail_all(error)
        finally:
            self._open = False

    def _finish(self, _: asyncio.Task[None]) -> None:
        """A done callback: it also runs if the task was cancelled before its first step."""
        self._on_finished(self)
        self.finished.set()

    @contextlib.asynccontextmanager
    async def _acquired_slot(self) -> AsyncIterator[Slot]:
        """Waits for a slot and for space. Without space it gives the slot back, waits, and joins the queue again."""
        services = self._services
        self._broadcast(Queued(_STOPPED if self._stops else _WAITING_FOR_SLOT))
        while True:
            self._lane = self._wanted_lane
            entry, members = self._queue_entry, self._members.uids
            try:
                async with self._queue.acquire(self._lane, entry, members, self._stops) as slot:
                    why = await services.reservations.reserve(self._claim, self, self._remaining_bytes, self._measure)
                    if why is None:
                        with self._using(slot):
                            yield slot
                        return
            except WithdrawnError:
                continue  # the limits have changed: it waits in another lane
            self._broadcast(Queued(why))
            await services.reservations.freed()

    @contextlib.contextmanager
    def _using(self, slot: Slot) -> Iterator[None]:
        """Holds the reserved space and, unless the files are only hashed, a share of the bandwidth."""
        with contextlib.ExitStack() as held:
            held.callback(self._services.reservations.release, self._claim, self)
            if not self._local:
                held.enter_context(self._services.bandwidth.consumer(self))
            self._slot = slot
            self._check_lane()  # the limits may have changed while it waited
            try:
                yield
            finally:
                self._slot = None

    def _remaining_bytes(self) -> int:
        return self._settled.plan.total_bytes - self._progress.done

    async def _measure(self) -> Room:
        return await self._services.stores.measure(self._claim, self._settled.store_id, self._settled.plan)

    async def _fetch_for(self, slot: Slot, member: Member) -> None:
        """Runs one fetch with the credentials of `member`, and removes the members for which it is the end.

        It ends early, and removes none, if the slot is wanted back.
        """
        try:
            self._check_rate_limits(member)
        except RateLimited as error:
            self._members.remove(member).fail(error)
            return
        task = asyncio.create_task(self._send_fetch(slot.worker, member))
        wanted_back = asyncio.create_task(slot.wanted_back.wait())
        self._current = (member, task)
        try:
            await asyncio.wait({task, wanted_back}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await cancel_and_wait(task, wanted_back)
            self._current = None
        self._handle_result(member, task)

    def _handle_result(self, member: Member, task: asyncio.Task[messages.Published]) -> None:
        if task.cancelled():
            return  # the member has left, and the next fetch uses another's credentials; or the slot is wanted back
        error = task.exception()
        is_own = self._services.stores.is_mounted(self._claim)  # what a pod says of a source counts for its claim only
        if is_own and isinstance(error, ProvisionError) and (url := member.asked_url):
            self._services.rate_limits.record(url, member.credentials, error)
        if error is None:
            self._members.remove(member).succeed(task.result())
        elif isinstance(error, _CREDENTIAL_ERRORS):
            self._members.remove(member).fail(error)
        elif isinstance(error, _ADDRESS_ERRORS):
            self._fail_all_at(member.addresses, error)
        elif isinstance(error, Exception):
            self._fail_all(error)

    def _fail_all(self, error: Exception) -> None:
        self._open = False
        for member in self._members:
            self._members.remove(member).fail(error)

    def _fail_all_at(self, addresses: tuple[object, ...], error: ProvisionError) -> None:
        """Fails the members with these addresses: another credential does not make their bytes right."""
        for member in [member for member in self._members if member.addresses == addresses]:
            self._members.remove(member).fail(error)
        if error.reason in DISCARDING:  # the part is gone: the others begin again
            self._broadcast(self._progress.discarded())

    async def _send_fetch(self, worker: Worker, member: Member) -> messages.Published:
        process = await worker.start()
        for other in self._members:
            other.on_started(self._progress.done)
        async with self._offered(member, process) as offer:
            request = self._request(member, offer)  # only now, so that it has the current limits
            self._request_id = request.id
            addresses = FetchAddresses(request, self._services.resolve_client.address, worker.notify)
            try:
                answer = await worker.call(
                    request,
                    lambda answer: self._broadcast(self._progress.advanced(answer)),
                    silence=_SILENCE_SECONDS,
                    on_address=addresses.on_wanted,
                )
            finally:
                await addresses.stop()
        published = expect(messages.Published, answer)
        self._progress.count(published)
        for other in self._members if published.copied else ():
            other.origin = offer.origin_of(published.copied, published.received)
        return published

    @contextlib.asynccontextmanager
    async def _offered(self, member: Member, process: object) -> AsyncIterator[Offer]:
        """What a worker pod can copy. A worker of the operator copies nothing."""
        copies = self._services.copies
        if copies is None or self._services.stores.is_mounted(self._claim) or not self._remaining_bytes():
            self._progress.begin("")
            yield NOTHING
            return
        async with copies.offered(member.plan, member.credentials, self._granted, process) as offer:
            self._progress.begin(offer.origin)
            if offer.origin:
                self._broadcast(self._progress.copying())
            yield offer

    def _request(self, member: Member, offer: Offer) -> messages.Fetch:
        return messages.Fetch(
            new_request_id(),
            self._services.stores.reference(self._claim, member.settled.store_id),
            member.holder,
            member.plan,
            connections=self._members.connections,
            bytes_per_second=self._granted,
            epoch=self._services.epoch,
            credentials=member.credentials,
            copies=offer.copies,
        )

    def _send_limits(self) -> None:
        if self._current and self._request_id and self._slot:
            self._slot.worker.notify(messages.Limit(self._request_id, self._members.connections, self._granted))

    def _check_rate_limits(self, member: Member) -> None:
        if (url := member.asked_url) and self._remaining_bytes():
            self._services.rate_limits.check(url, member.credentials)

    def _broadcast(self, event: Event) -> None:
        self._last_event = event
        for member in self._members:
            member.on_event(event)

    def _replay_last_event(self, member: Member) -> None:
        if self._current:
            member.on_started(self._progress.done)
        if self._last_event:  # else the transfer joins the queue later, and reports all its members then
            member.on_event(self._last_event)
            self._services.queues.mark_synced(member.holder.uid)

    async def _leave(self, member: Member) -> None:
        """Returns when no worker writes with the credentials of `member` any more."""
        self._members.remove(member)
        try:
            if not self._members:
                self._open = False
                if self._task:
                    await cancel_and_wait(self._task)
            elif self._current and self._current[0] is member:
                await cancel_and_wait(self._current[1])
        finally:
            self.on_update()


def _part_keys(plan: Plan) -> tuple[str, ...]:
    """Equal for two plans that can share a transfer: source with its hub, size, digest and path of every file."""
    return tuple(file.part_key for file in plan.files)
