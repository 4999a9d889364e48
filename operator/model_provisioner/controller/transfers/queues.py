"""The queues of all transfers: one for the claims that the operator mounts, one for each other claim.

A transfer to a claim of its own takes no slot of the operator: it runs in the worker pod of that claim, which has one
download at a time as each slot has. `controller.transfers.shared_transfer` asks for the queue of its claim. The order
within a queue is in `queue`; which claims have a pod is decided in `controller.workers.pods.places`.
"""

from collections.abc import Callable, Collection, Iterable

from model_provisioner.controller.transfers.queue import Lanes, TransferQueue
from model_provisioner.domain.scheduling.lanes import Lane
from model_provisioner.domain.store.claim import Claim
from model_provisioner.worker_processes.worker import Worker

_SLOW_TRANSFERS = 8  # in one pod, as in one process of the operator


class Queues:
    """`own` is for the claims in `mounted`. `pod` returns the worker of another claim; None: there are no others."""

    def __init__(
        self, own: Lanes, mounted: Collection[Claim] = (), pod: Callable[[Claim], Worker] | None = None
    ) -> None:
        self._own = own
        self._mounted = mounted
        self._pod = pod
        self._others: dict[Claim, Lanes] = {}

    def of(self, claim: Claim) -> Lanes:
        """The queue of the transfers to `claim`."""
        if self._pod is None or claim in self._mounted:
            return self._own
        if claim not in self._others:
            self._others = {known: lanes for known, lanes in self._others.items() if lanes.is_used}
            self._others[claim] = _lanes(self._pod(claim))
        return self._others[claim]

    def hold_until_synced(self, uids: Collection[str]) -> None:
        """As `TransferQueue.hold_until_synced`. A pod takes longer to start than objects take to join."""
        self._own.hold_until_synced(uids)

    def mark_synced(self, uid: str) -> None:
        """As `TransferQueue.mark_synced`."""
        self._own.mark_synced(uid)

    @property
    def size(self) -> int:
        """The number of the operator's own slots for downloads."""
        return self._own.size

    @property
    def busy(self) -> int:
        """The number of transfers that run."""
        return sum(lanes.busy for lanes in self._all)

    @property
    def stuck(self) -> bool:
        """As `TransferQueue.stuck`, of any queue."""
        return any(lanes.stuck for lanes in self._all)

    def running(self, namespace: str) -> int:
        """The number of transfers of `namespace` that run."""
        return sum(lanes.running(namespace) for lanes in self._all)

    def waiting(self, namespace: str) -> int:
        """The number of transfers of `namespace` in the queues."""
        return sum(lanes.waiting(namespace) for lanes in self._all)

    @property
    def _all(self) -> Iterable[Lanes]:
        return (self._own, *self._others.values())


def _lanes(worker: Worker) -> Lanes:
    slots = {Lane.FETCHING: 1, Lane.SLOW: _SLOW_TRANSFERS, Lane.HASHING: 1}
    return Lanes({lane: TransferQueue([worker] * number) for lane, number in slots.items()})
