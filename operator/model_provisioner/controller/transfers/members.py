"""The members of one transfer: the objects that want the same bytes at the same place, and what they want together.

Values for `controller.transfers.shared_transfer`, which decides what happens to members and with them. No I/O here.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from model_provisioner.domain.credentials.credentials import Credentials
from model_provisioner.domain.lifecycle.events import Event
from model_provisioner.domain.modeldownload import Spec
from model_provisioner.domain.scheduling.queueing import Waiting
from model_provisioner.domain.store.claim import Claim
from model_provisioner.domain.store.holders import Holder
from model_provisioner.domain.store.plan import Plan
from model_provisioner.worker_protocol import messages


@dataclass(slots=True, eq=False)
class Member:
    """One object that wants the files of a settled plan.

    `settled` is the answer of its own settle request. `creation_time` is RFC 3339. `latest_spec` returns its current
    spec: limits and priority may change while the transfer runs. `on_started` is called with the number of bytes that
    are in the store when a worker begins, `on_event` with each later event. `result` is the end of the transfer.
    `origin` says then where the bytes came from, as a clause; empty if that was the source.
    """

    claim: Claim
    holder: Holder
    settled: messages.Settled
    credentials: Credentials | None
    creation_time: str
    latest_spec: Callable[[], Spec]
    on_started: Callable[[int], None]
    on_event: Callable[[Event], None]
    result: asyncio.Future[messages.Published] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    origin: str = ""

    @property
    def plan(self) -> Plan:
        return self.settled.plan

    @property
    def spec(self) -> Spec:
        return self.latest_spec()

    @property
    def asked_url(self) -> str | None:
        """A URL of what the first file is asked of; None for a local file."""
        first = self.plan.files[0]
        return first.url or first.endpoint

    @property
    def addresses(self) -> tuple[object, ...]:
        """What the object itself has resolved of each file: its address, its version, and what the file must be.

        Bytes that are wrong for one object may be right for another one with another address or version. A signed file
        has no address here, because the source is asked for one. The members of a transfer ask it for the same bytes:
        the source, the digest and the archive are equal for all of them. Only the pinned version can differ.
        """
        return tuple((file.url, file.pin, file.role) for file in self.plan.files)

    def succeed(self, published: messages.Published) -> None:
        if not self.result.done():
            self.result.set_result(published)

    def fail(self, error: Exception) -> None:
        if not self.result.done():
            self.result.set_exception(error)


class Members:
    """In the order of their joining. A loop over it may remove members."""

    def __init__(self, first: Member) -> None:
        self._by_uid = {first.holder.uid: first}

    def __bool__(self) -> bool:
        return bool(self._by_uid)

    def __iter__(self) -> Iterator[Member]:
        return iter([*self._by_uid.values()])

    @property
    def uids(self) -> tuple[str, ...]:
        return tuple(self._by_uid)

    def add(self, member: Member) -> None:
        self._by_uid[member.holder.uid] = member

    def remove(self, member: Member) -> Member:
        """Returns `member`, which need not be there any more."""
        self._by_uid.pop(member.holder.uid, None)
        return member

    @property
    def wanted(self) -> int | None:
        """The highest limit of all in bytes per second; None if one has no limit."""
        limits = [member.spec.max_bytes_per_second for member in self]
        return None if None in limits or not limits else max(limit for limit in limits if limit is not None)

    @property
    def connections(self) -> int:
        return max((member.spec.connections for member in self), default=1)

    def queue_entry(self, queue_id: str, namespace: str) -> Waiting:
        """The highest priority and the earliest creation of all members, which are all in `namespace`."""
        priority = max((member.spec.priority for member in self), default=0)
        created = min((member.creation_time for member in self), default="")
        return Waiting(queue_id, namespace, priority, created)
